use std::collections::BTreeSet;

use super::*;
use crate::kind::Kind;
use crate::parameter::{Disposition, Param, parameter};
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
    let listener = |host: &str, port| HttpListener { enabled: false, host: host.into(), port };
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
        revoke_established: true,
        device_route_protocol: 3,
        remove_external_routes: true,
        ipv4_route_priority: 1024,
        ipv6_route_priority: 1024,
        route_refresh_interval: Some(Duration::from_secs(90)),
        endpoint_status_path_prefix: Some("/var/run/calico".into()),
        policy_sync_path_prefix: None,
        external_driver: None,
        log_prefix: "calico-packet".into(),
        log_severity_screen: Some(LogSeverity::Info),
        health: listener("localhost", 9099),
        metrics: listener("", 9091),
        metrics_tls: false,
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
        ("RevokeEstablishedConnections", "false"),
        ("DeviceRouteProtocol", "80"),
        ("RouteRefreshInterval", "0"),
        ("EndpointStatusPathPrefix", "none"),
        ("PolicySyncPathPrefix", "/var/run/nodeagent"),
        ("UseInternalDataplaneDriver", "false"),
        ("DataplaneDriver", "/usr/bin/vpp-driver"),
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
        revoke_established: false,
        device_route_protocol: 80,
        route_refresh_interval: None,
        endpoint_status_path_prefix: None,
        policy_sync_path_prefix: Some("/var/run/nodeagent".into()),
        external_driver: Some("/usr/bin/vpp-driver".into()),
        log_severity_screen: None,
        metrics: HttpListener { enabled: true, host: String::new(), port: 1 },
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

/// What the table says is acted on is what the settings are made of.
#[test]
fn the_settings_have_what_is_acted_on_and_nothing_that_is_ignored() {
    let read: BTreeSet<&str> =
        include_str!("../settings.rs").split('"').filter_map(|text| Some(parameter(text)?.name)).collect();
    for Param { name, disposition, .. } in &PARAMETERS {
        match disposition {
            Disposition::ActedOn => assert!(read.contains(name), "{name} is said to be acted on, and nobody reads it"),
            Disposition::Ignored(_) => assert!(!read.contains(name), "{name} is said to be ignored, and is read"),
            // What refuses a value may have to know it.
            Disposition::Refused(_) => {}
        }
    }
}
