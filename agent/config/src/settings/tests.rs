use super::*;
use crate::kind::Kind;
use crate::parameter::{Disposition, Param};
use crate::table::PARAMETERS;

fn settings(texts: &[(&str, &str)]) -> Settings {
    let texts = texts.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned()));
    Settings::from_config_map(&texts.collect())
}

fn ports(texts: &str) -> Vec<ProtocolPort> {
    texts.split(',').map(|text| text.parse().expect("a port")).collect()
}

#[test]
fn defaults() {
    let listener = |host: &str, port| HttpListener { enabled: false, host: host.into(), port, tls: None };
    let expected = Settings {
        hostname: String::new(),
        interface_prefixes: vec!["cali".into()],
        ipv6: true,
        nftables_mode: NftablesMode::Auto,
        nftables_mark_mask: MarkMask::FELIX_DEFAULT,
        filter_deny_action: DenyAction::Drop,
        endpoint_to_host_action: EndpointToHostAction::Drop,
        failsafe_inbound: ports("22,udp:68,179,2379,2380,5473,6443,6666,6667"),
        failsafe_outbound: ports("udp:53,udp:67,179,2379,2380,5473,6443,6666,6667"),
        source_spoofing: SourceSpoofing::Disabled,
        disable_conntrack_invalid_check: false,
        ipip_from_workloads: false,
        vxlan_from_workloads: false,
        vxlan_port: 4789,
        nat_address: None,
        nat_exclusions: NatExclusions::Pools,
        nat_ports: None,
        nat_interface: String::new(),
        service_loops: ServiceLoops::Drop,
        log_rate: String::new(),
        log_burst: 5,
        max_ipset_size: Some(1_048_576),
        nftables_events: true,
        revoke_established: true,
        ip_forwarding: true,
        device_route_protocol: 3,
        remove_external_routes: true,
        ipv4_route_priority: 1024,
        ipv6_route_priority: 1024,
        route_refresh_interval: Some(Duration::from_secs(90)),
        endpoint_status_path_prefix: Some("/var/run/calico".into()),
        policy_sync_path_prefix: None,
        external_driver: None,
        flow_logs: false,
        log_prefix: "calico-packet".into(),
        log_severity_screen: Some(LogSeverity::Info),
        health: listener("localhost", 9099),
        metrics: listener("", 9091),
        process_metrics: true,
        health_timeouts: BTreeMap::new(),
        dataplane_watchdog: Some(Duration::from_secs(90)),
    };
    assert_eq!(Settings::default(), expected);
}

#[test]
fn texts() {
    let settings = settings(&[
        ("FelixHostname", "node-1"),
        ("InterfacePrefix", "cali,tap"),
        ("NFTablesMode", "disabled"),
        ("NftablesMarkMask", "0xff00"),
        ("NftablesFilterDenyAction", "Reject"),
        ("DefaultEndpointToHostAction", "Accept"),
        ("WorkloadSourceSpoofing", "Any"),
        ("AllowIPIPPacketsFromWorkloads", "true"),
        ("AllowVXLANPacketsFromWorkloads", "true"),
        ("VXLANPort", "8472"),
        ("NATOutgoingAddress", "192.0.2.9"),
        ("NATOutgoingExclusions", "IPPoolsAndHostIPs"),
        ("NATPortRange", "20000:29999"),
        ("IptablesNATOutgoingInterfaceFilter", "eth+"),
        ("ServiceLoopPrevention", "Disabled"),
        ("LogActionRateLimit", "10/minute"),
        ("LogActionRateLimitBurst", "7"),
        ("MaxIpsetSize", "1000"),
        ("NftablesEvents", "false"),
        ("RevokeEstablishedConnections", "false"),
        ("IPForwarding", "Disabled"),
        ("DeviceRouteProtocol", "80"),
        ("RouteRefreshInterval", "0"),
        ("EndpointStatusPathPrefix", "none"),
        ("PolicySyncPathPrefix", "/var/run/nodeagent"),
        ("UseInternalDataplaneDriver", "false"),
        ("DataplaneDriver", "/usr/bin/vpp-driver"),
        ("FlowLogsLocalReporter", "Enabled"),
        ("LogSeverityScreen", "none"),
        ("PrometheusMetricsEnabled", "true"),
        ("PrometheusMetricsPort", "1"),
    ]);
    let expected = Settings {
        hostname: "node-1".into(),
        interface_prefixes: vec!["cali".into(), "tap".into()],
        nftables_mode: NftablesMode::Disabled,
        nftables_mark_mask: MarkMask(0xff00),
        filter_deny_action: DenyAction::Reject,
        endpoint_to_host_action: EndpointToHostAction::Accept,
        source_spoofing: SourceSpoofing::Any,
        ipip_from_workloads: true,
        vxlan_from_workloads: true,
        vxlan_port: 8472,
        nat_address: Some(Ipv4Addr::new(192, 0, 2, 9)),
        nat_exclusions: NatExclusions::PoolsAndHosts,
        nat_ports: "20000:29999".parse().ok(),
        nat_interface: "eth+".into(),
        service_loops: ServiceLoops::Forward,
        log_rate: "10/minute".into(),
        log_burst: 7,
        max_ipset_size: Some(1000),
        nftables_events: false,
        revoke_established: false,
        ip_forwarding: false,
        device_route_protocol: 80,
        route_refresh_interval: None,
        endpoint_status_path_prefix: None,
        policy_sync_path_prefix: Some("/var/run/nodeagent".into()),
        external_driver: Some("/usr/bin/vpp-driver".into()),
        flow_logs: true,
        log_severity_screen: None,
        metrics: HttpListener { enabled: true, host: String::new(), port: 1, tls: None },
        ..Settings::default()
    };
    assert_eq!(settings, expected);
}

/// Every option and every bound of every parameter has a place in the types.
#[test]
fn extremes() {
    for parameter in &PARAMETERS {
        let texts = match parameter.kind {
            Kind::OneOf(options) => options.iter().map(ToString::to_string).collect(),
            Kind::Integer { min, max } => vec![min.to_string(), max.to_string()],
            _ => vec!["none".to_owned()],
        };
        for text in texts {
            assert!(parameter.required || parameter.parse(&text).is_ok(), "{} {text}", parameter.name);
            settings(&[(parameter.name, &text)]);
        }
    }
}

#[test]
fn routes_of_nobody_are_written_at_boot() {
    let protocols =
        ["none", "0", "1", "80"].map(|text| settings(&[("DeviceRouteProtocol", text)]).device_route_protocol);
    assert_eq!(protocols, [3, 3, 1, 80]);
}

/// Texts of all kinds. Whatever a parameter is, it can read two of them.
const SAMPLES: [&str; 30] = [
    "true",
    "false",
    "1",
    "2",
    "120",
    "127.0.0.1",
    "192.0.2.7",
    "fd00::1",
    "fd00::2",
    "10.0.0.0/8",
    "fd00::/8",
    "a",
    "b",
    "eth0,eth1",
    "/^en/",
    "k=1s",
    "k=1m,l=2s",
    "tcp:1",
    "udp:2",
    "1-9",
    "10-20",
    "a:1",
    "b:2",
    "http://a:1",
    "http://b:2",
    "0x3",
    "0xff00",
    "10/second",
    "20/minute",
    "25",
];

/// Two values of a parameter that it reads, and that differ.
fn two_values(parameter: &Param) -> [&'static str; 2] {
    let options = match parameter.kind {
        Kind::OneOf(options) => options.to_vec(),
        _ => SAMPLES.to_vec(),
    };
    let mut good = options.iter().filter_map(|text| Some((*text, parameter.parse(text).ok()?)));
    let (first, value) = good.next().unwrap_or_else(|| panic!("no sample for {}", parameter.name));
    let second = good.find(|(_, other)| *other != value).map(|(text, _)| text);
    // One that knows a single word can still be without it.
    [first, second.or((!parameter.required).then_some("none")).unwrap_or_else(|| panic!("one for {}", parameter.name))]
}

/// What the table says is acted on is what the settings are made of.
#[test]
fn settings_change_with_what_is_acted_on_and_with_nothing_else() {
    for parameter in &PARAMETERS {
        let Param { name, disposition, .. } = parameter;
        // Without these, others have no say.
        let others = [("UseInternalDataplaneDriver", "false"), ("PrometheusMetricsCertFile", "/certificate")];
        let with = |text| settings(&[others[0], others[1], (name, text)]);
        let [first, second] = two_values(parameter);
        let differ = with(first) != with(second);
        match disposition {
            Disposition::ActedOn => {
                assert!(differ, "{name} is said to be acted on: {first} and {second} do the same")
            }
            Disposition::Ignored(_) => assert!(!differ, "{name} is said to be ignored: {first} and {second} differ"),
            // What refuses a value may have to know it.
            Disposition::Refused(_) => {}
        }
    }
}

#[test]
fn bits_of_the_mark_are_those_that_somebody_gave() {
    let (ours, other) = ("NftablesMarkMask", "IptablesMarkMask");
    for (texts, mask) in [
        (&[][..], 0xffff_0000),
        (&[(ours, "0xf0")], 0xf0),
        (&[(other, "0xf00")], 0xf00),
        (&[(ours, "0xf0"), (other, "0xf00")], 0xf0),
        (&[(ours, "0xffff0000"), (other, "0xf00")], 0xffff_0000),
        // One bit is none that counts.
        (&[(ours, "0x10"), (other, "0xf00")], 0xf00),
    ] {
        assert_eq!(settings(texts).nftables_mark_mask, MarkMask(mask), "{texts:?}");
    }
}

#[test]
fn metrics_are_in_the_clear_or_over_tls() {
    use ClientCertificate::{Any, Unasked, Verified, VerifiedIfGiven};
    let clients = |texts: &[(&str, &str)]| {
        let renamed: Vec<(String, &str)> = texts.iter().map(|(n, t)| (format!("PrometheusMetrics{n}"), *t)).collect();
        let renamed: Vec<(&str, &str)> = renamed.iter().map(|(n, t)| (n.as_str(), *t)).collect();
        settings(&renamed).metrics.tls.map(|tls| tls.clients)
    };
    let (cert, key, authorities) = (("CertFile", "/cert"), ("KeyFile", "/key"), ("CAFile", "/ca"));
    assert_eq!(clients(&[]), None);
    assert_eq!(clients(&[authorities]), None, "nothing to be known by");
    assert_eq!(clients(&[cert]), Some(Unasked), "half of it is no reason to answer in the clear");
    assert_eq!(clients(&[key]), Some(Unasked));
    assert_eq!(clients(&[cert, key]), Some(Unasked));
    assert_eq!(clients(&[cert, key, authorities]), Some(Verified));
    for (word, asked) in [
        ("NoClientCert", Unasked),
        ("RequireAnyClientCert", Any),
        ("VerifyClientCertIfGiven", VerifiedIfGiven),
        ("RequireAndVerifyClientCert", Verified),
    ] {
        assert_eq!(clients(&[cert, key, authorities, ("ClientAuth", word)]), Some(asked));
    }
    let tls = settings(&[("PrometheusMetricsCertFile", "/cert")]).metrics.tls.expect("wanted");
    assert_eq!(tls.certificate.path.as_deref(), Some("/cert".as_ref()));
    assert_eq!(tls.key, NamedFile { parameter: "PrometheusMetricsKeyFile", path: None });
}
