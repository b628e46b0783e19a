//! The parameters that the program uses, as types.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use caracal_net::{MarkMask, PortRange, ProtocolPort};

use crate::duration::parse_duration;
use crate::kind::{Value, items};
use crate::parameter::parameter;
use crate::resolve::{Effective, Resolved};
use crate::source::Source;

#[cfg(test)]
mod tests;

/// Whether nftables is the dataplane (`NFTablesMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NftablesMode {
    /// If kube-proxy uses it.
    Auto,
    /// Yes.
    Enabled,
    /// No.
    Disabled,
}

impl NftablesMode {
    const WORDS: [(&str, Self); 3] = [("Auto", Self::Auto), ("Enabled", Self::Enabled), ("Disabled", Self::Disabled)];
}

/// What is done with a packet that policy denies (`NftablesFilterDenyAction`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenyAction {
    /// It disappears.
    Drop,
    /// Its sender is told.
    Reject,
}

impl DenyAction {
    const WORDS: [(&str, Self); 2] = [("DROP", Self::Drop), ("REJECT", Self::Reject)];
}

/// What is done with a packet from a workload to its own host that the
/// workload's policy allows (`DefaultEndpointToHostAction`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointToHostAction {
    /// It disappears.
    Drop,
    /// The host's other rules decide.
    Return,
    /// It is let through.
    Accept,
}

impl EndpointToHostAction {
    const WORDS: [(&str, Self); 3] = [("DROP", Self::Drop), ("RETURN", Self::Return), ("ACCEPT", Self::Accept)];
}

/// Whether a workload may ask to send from addresses that are not its own
/// (`WorkloadSourceSpoofing`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceSpoofing {
    /// No.
    Disabled,
    /// From those that it lists.
    Any,
}

impl SourceSpoofing {
    const WORDS: [(&str, Self); 2] = [("Disabled", Self::Disabled), ("Any", Self::Any)];
}

/// Where packets of pools go to whose addresses are not translated
/// (`NATOutgoingExclusions`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatExclusions {
    /// To pools.
    Pools,
    /// To pools and to hosts of the cluster.
    PoolsAndHosts,
}

impl NatExclusions {
    const WORDS: [(&str, Self); 2] = [("IPPoolsOnly", Self::Pools), ("IPPoolsAndHostIPs", Self::PoolsAndHosts)];
}

/// What is done with forwarded packets to addresses of services that no service
/// proxy has translated (`ServiceLoopPrevention`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceLoops {
    /// They disappear.
    Drop,
    /// Their sender is told.
    Reject,
    /// They are forwarded.
    Forward,
}

impl ServiceLoops {
    const WORDS: [(&str, Self); 3] = [("Drop", Self::Drop), ("Reject", Self::Reject), ("Disabled", Self::Forward)];
}

/// The least severe messages that are logged (`LogSeverityScreen`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogSeverity {
    /// Everything.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What happens.
    Info,
    /// What should not happen and does no harm yet.
    Warning,
    /// What does harm.
    Error,
    /// What ends the program.
    Fatal,
}

impl LogSeverity {
    const WORDS: [(&str, Self); 6] = [
        ("TRACE", Self::Trace),
        ("DEBUG", Self::Debug),
        ("INFO", Self::Info),
        ("WARNING", Self::Warning),
        ("ERROR", Self::Error),
        ("FATAL", Self::Fatal),
    ];
}

/// A port that answers HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpListener {
    /// Whether it is wanted.
    pub enabled: bool,
    /// The name or address to listen on; empty for all.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// What it takes to answer over TLS; `None` to answer in the clear.
    pub tls: Option<TlsFiles>,
}

/// What it takes to answer over TLS. All files are in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and those that lead to its authority.
    pub certificate: NamedFile,
    /// The certificate's key.
    pub key: NamedFile,
    /// The authorities that certify clients.
    pub authorities: NamedFile,
    /// What is asked of a client.
    pub clients: ClientCertificate,
}

/// A file that a parameter names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The parameter.
    pub parameter: &'static str,
    /// The file; `None` if the parameter is empty.
    pub path: Option<PathBuf>,
}

/// What is asked of a client over TLS (`PrometheusMetricsClientAuth`), by Go's words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// Nothing.
    Unasked,
    /// A certificate, whoever signed it.
    Any,
    /// A certificate that an authority signed, or none.
    VerifiedIfGiven,
    /// A certificate that an authority signed.
    Verified,
}

impl ClientCertificate {
    const WORDS: [(&str, Self); 4] = [
        ("NoClientCert", Self::Unasked),
        ("RequireAnyClientCert", Self::Any),
        ("VerifyClientCertIfGiven", Self::VerifiedIfGiven),
        ("RequireAndVerifyClientCert", Self::Verified),
    ];
}

/// The parameters that the program uses.
///
/// An interval of `None` (a text of `0`) means: never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `FelixHostname`: which node this is. Empty if nobody said.
    pub hostname: String,
    /// `InterfacePrefix`: how the names of workload interfaces begin. One or
    /// more; new names use the first.
    pub interface_prefixes: Vec<String>,
    /// `Ipv6Support`.
    pub ipv6: bool,
    /// `NFTablesMode`.
    pub nftables_mode: NftablesMode,
    /// `NftablesMarkMask`, or `IptablesMarkMask` where that is the one that is set.
    pub nftables_mark_mask: MarkMask,
    /// `NftablesFilterDenyAction`.
    pub filter_deny_action: DenyAction,
    /// `DefaultEndpointToHostAction`.
    pub endpoint_to_host_action: EndpointToHostAction,
    /// `FailsafeInboundHostPorts`: ports of this host that no policy of a host
    /// endpoint closes.
    pub failsafe_inbound: Vec<ProtocolPort>,
    /// `FailsafeOutboundHostPorts`: ports of others that no policy of a host
    /// endpoint closes.
    pub failsafe_outbound: Vec<ProtocolPort>,
    /// `WorkloadSourceSpoofing`.
    pub source_spoofing: SourceSpoofing,
    /// `DisableConntrackInvalidCheck`: let packets through to policy that
    /// conntrack finds invalid.
    pub disable_conntrack_invalid_check: bool,
    /// `MaxIpsetSize`: an IP set with more members is not programmed, and what
    /// names it denies; `None`, for a value below 1, to take any.
    pub max_ipset_size: Option<usize>,
    /// `NftablesEvents`: hear by the kernel's events what others change in a
    /// table that they may write to. Felix has no such parameter.
    pub nftables_events: bool,
    /// `RevokeEstablishedConnections`: cut the connections that policy allowed
    /// once and denies now. Felix has no such parameter.
    pub revoke_established: bool,
    /// `IPForwarding`: make the host forward packets while it has workloads.
    pub ip_forwarding: bool,
    /// `AllowIPIPPacketsFromWorkloads`.
    pub ipip_from_workloads: bool,
    /// `AllowVXLANPacketsFromWorkloads`.
    pub vxlan_from_workloads: bool,
    /// `VXLANPort`: the UDP port of VXLAN.
    pub vxlan_port: u16,
    /// `NATOutgoingAddress`: the IPv4 address that packets of pools get on their
    /// way out; `None` for one of the interface that they leave by.
    pub nat_address: Option<Ipv4Addr>,
    /// `NATOutgoingExclusions`.
    pub nat_exclusions: NatExclusions,
    /// `NATPortRange`: the ports that TCP and UDP get with it; `None` for any.
    pub nat_ports: Option<PortRange>,
    /// `IptablesNATOutgoingInterfaceFilter`: the interfaces by which packets leave
    /// that get another address; empty for all.
    pub nat_interface: String,
    /// `ServiceLoopPrevention`.
    pub service_loops: ServiceLoops,
    /// `DeviceRouteProtocol`: `rtm_protocol` of our routes.
    pub device_route_protocol: u8,
    /// `RemoveExternalRoutes`: remove routes to workload interfaces that are
    /// not ours.
    pub remove_external_routes: bool,
    /// `IPv4NormalRoutePriority`: the metric of IPv4 routes to workloads.
    pub ipv4_route_priority: u32,
    /// `IPv6NormalRoutePriority`: the metric of IPv6 routes to workloads.
    pub ipv6_route_priority: u32,
    /// `RouteRefreshInterval`: how often routes are read back.
    pub route_refresh_interval: Option<Duration>,
    /// `EndpointStatusPathPrefix`: the folder of endpoint status files; `None`
    /// for no such files.
    pub endpoint_status_path_prefix: Option<PathBuf>,
    /// `PolicySyncPathPrefix`: the folder of the pods' sockets; `None` for no
    /// policy sync API.
    pub policy_sync_path_prefix: Option<PathBuf>,
    /// `UseInternalDataplaneDriver`, `DataplaneDriver`: the program that programs
    /// the dataplane; `None` if this one does.
    pub external_driver: Option<PathBuf>,
    /// `FlowLogsLocalReporter`, `FlowLogsGoldmaneServer`: keep records of flows. One
    /// of them is enough.
    pub flow_logs: bool,
    /// `LogPrefix`: how log lines of the Log action begin.
    pub log_prefix: String,
    /// `LogActionRateLimit`: how often each Log rule may write, such as
    /// `10/minute`; empty for always.
    pub log_rate: String,
    /// `LogActionRateLimitBurst`: how many lines may come at once.
    pub log_burst: u32,
    /// `LogSeverityScreen`; `None` to log nothing.
    pub log_severity_screen: Option<LogSeverity>,
    /// `HealthEnabled`, `HealthHost`, `HealthPort`.
    pub health: HttpListener,
    /// `PrometheusMetricsEnabled`, `PrometheusMetricsHost`, `PrometheusMetricsPort`,
    /// and over TLS if `PrometheusMetricsCertFile` or `PrometheusMetricsKeyFile` is set.
    pub metrics: HttpListener,
    /// `PrometheusProcessMetricsEnabled`.
    pub process_metrics: bool,
    /// `HealthTimeoutOverrides`: how long parts may be silent, by name.
    pub health_timeouts: BTreeMap<String, Duration>,
    /// `DataplaneWatchdogTimeout`: how long the data half may be silent.
    pub dataplane_watchdog: Option<Duration>,
}

impl Settings {
    /// The settings in the `config` of a `ConfigUpdate`.
    /// [`Resolved::from_config_map`] also tells what is wrong with it.
    #[must_use]
    pub fn from_config_map(texts: &BTreeMap<String, String>) -> Self {
        Resolved::from_config_map(texts).settings()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::from_config_map(&BTreeMap::new())
    }
}

impl Resolved {
    /// The parameters that the program uses.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            hostname: self.text("FelixHostname"),
            interface_prefixes: self.list("InterfacePrefix"),
            ipv6: self.switch("Ipv6Support"),
            nftables_mode: self.option("NFTablesMode", &NftablesMode::WORDS).unwrap_or(NftablesMode::Auto),
            nftables_mark_mask: self.mark_mask(),
            filter_deny_action: self.option("NftablesFilterDenyAction", &DenyAction::WORDS).unwrap_or(DenyAction::Drop),
            endpoint_to_host_action: self
                .option("DefaultEndpointToHostAction", &EndpointToHostAction::WORDS)
                .unwrap_or(EndpointToHostAction::Drop),
            failsafe_inbound: self.protocol_ports("FailsafeInboundHostPorts"),
            failsafe_outbound: self.protocol_ports("FailsafeOutboundHostPorts"),
            source_spoofing: self
                .option("WorkloadSourceSpoofing", &SourceSpoofing::WORDS)
                .unwrap_or(SourceSpoofing::Disabled),
            disable_conntrack_invalid_check: self.switch("DisableConntrackInvalidCheck"),
            max_ipset_size: usize::try_from(self.number::<i64>("MaxIpsetSize")).ok().filter(|size| *size > 0),
            nftables_events: self.switch("NftablesEvents"),
            revoke_established: self.switch("RevokeEstablishedConnections"),
            ip_forwarding: self.text("IPForwarding") == "Enabled",
            ipip_from_workloads: self.switch("AllowIPIPPacketsFromWorkloads"),
            vxlan_from_workloads: self.switch("AllowVXLANPacketsFromWorkloads"),
            vxlan_port: self.port("VXLANPort"),
            nat_address: self.parsed("NATOutgoingAddress"),
            nat_exclusions: self.option("NATOutgoingExclusions", &NatExclusions::WORDS).unwrap_or(NatExclusions::Pools),
            nat_ports: self.parsed("NATPortRange"),
            nat_interface: self.text("IptablesNATOutgoingInterfaceFilter"),
            service_loops: self.option("ServiceLoopPrevention", &ServiceLoops::WORDS).unwrap_or(ServiceLoops::Drop),
            device_route_protocol: self.route_protocol("DeviceRouteProtocol"),
            remove_external_routes: self.switch("RemoveExternalRoutes"),
            ipv4_route_priority: self.number("IPv4NormalRoutePriority"),
            ipv6_route_priority: self.number("IPv6NormalRoutePriority"),
            route_refresh_interval: self.interval("RouteRefreshInterval"),
            endpoint_status_path_prefix: self.path("EndpointStatusPathPrefix"),
            policy_sync_path_prefix: self.path("PolicySyncPathPrefix"),
            external_driver: if self.switch("UseInternalDataplaneDriver") {
                None
            } else {
                self.path("DataplaneDriver")
            },
            flow_logs: self.text("FlowLogsLocalReporter") == "Enabled"
                || !self.text("FlowLogsGoldmaneServer").is_empty(),
            log_prefix: self.text("LogPrefix"),
            log_rate: self.text("LogActionRateLimit"),
            log_burst: self.number("LogActionRateLimitBurst"),
            log_severity_screen: self.option("LogSeverityScreen", &LogSeverity::WORDS),
            health: HttpListener {
                enabled: self.switch("HealthEnabled"),
                host: self.text("HealthHost"),
                port: self.number("HealthPort"),
                tls: None,
            },
            metrics: HttpListener {
                enabled: self.switch("PrometheusMetricsEnabled"),
                host: self.text("PrometheusMetricsHost"),
                port: self.number("PrometheusMetricsPort"),
                tls: self.metrics_tls(),
            },
            process_metrics: self.switch("PrometheusProcessMetricsEnabled"),
            health_timeouts: self.durations("HealthTimeoutOverrides"),
            dataplane_watchdog: self.interval("DataplaneWatchdogTimeout"),
        }
    }

    fn effective(&self, name: &str) -> &Effective {
        self.get(name).expect("settings are made of parameters in the table")
    }

    fn value(&self, name: &str) -> &Value {
        &self.effective(name).value
    }

    fn source(&self, name: &str) -> Source {
        self.effective(name).source
    }

    fn switch(&self, name: &str) -> bool {
        *self.value(name) == Value::Bool(true)
    }

    fn number<N: TryFrom<i64>>(&self, name: &str) -> N {
        match self.value(name) {
            Value::Integer(number) => N::try_from(*number).ok().expect("the table bounds the number"),
            other => unreachable!("{name} is a number in the table, not {other:?}"),
        }
    }

    fn interval(&self, name: &str) -> Option<Duration> {
        match self.value(name) {
            Value::Duration(duration) => (!duration.is_zero()).then_some(*duration),
            other => unreachable!("{name} is a duration in the table, not {other:?}"),
        }
    }

    /// Who gave bits to Felix's iptables means the same bits here.
    fn mark_mask(&self) -> MarkMask {
        let name = match (self.source("NftablesMarkMask"), self.source("IptablesMarkMask")) {
            (Source::Default, source) if source != Source::Default => "IptablesMarkMask",
            _ => "NftablesMarkMask",
        };
        match self.value(name) {
            Value::MarkMask(mask) => *mask,
            other => unreachable!("{name} is a mask in the table, not {other:?}"),
        }
    }

    fn text(&self, name: &str) -> String {
        match self.value(name) {
            Value::Text(text) => text.clone(),
            Value::Unset => String::new(),
            other => unreachable!("{name} is a text in the table, not {other:?}"),
        }
    }

    /// What a text says; `None` for an empty one.
    fn parsed<T: FromStr>(&self, name: &str) -> Option<T> {
        let text = self.text(name);
        let parsed = (!text.is_empty()).then(|| text.parse().ok());
        parsed.map(|value| value.expect("the table checks the text"))
    }

    /// A port; the default for `none`, which the table lets pass as Felix does.
    fn port(&self, name: &str) -> u16 {
        let port = |value: &Value| match value {
            Value::Integer(number) => u16::try_from(*number).ok().filter(|port| *port != 0),
            other => unreachable!("{name} is a number in the table, not {other:?}"),
        };
        let default = || parameter(name).and_then(|parameter| parameter.default.parse().ok());
        port(self.value(name)).or_else(default).expect("the table has a port as default")
    }

    /// Who wrote a route. Nobody in particular (`RTPROT_UNSPEC` of `linux/rtnetlink.h`)
    /// becomes `RTPROT_BOOT`, as the kernel has it for IPv6: in the deletion of a route
    /// it would stand for everybody.
    fn route_protocol(&self, name: &str) -> u8 {
        match self.number(name) {
            0 => 3,
            protocol => protocol,
        }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.text(name)).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    fn durations(&self, name: &str) -> BTreeMap<String, Duration> {
        let text = self.text(name);
        let pairs = items(&text).filter_map(|item| item.split_once('='));
        pairs.filter_map(|(key, value)| Some((key.to_owned(), parse_duration(value)?))).collect()
    }

    fn metrics_tls(&self) -> Option<TlsFiles> {
        let file = |parameter| NamedFile { parameter, path: self.path(parameter) };
        let [certificate, key, authorities] =
            ["PrometheusMetricsCertFile", "PrometheusMetricsKeyFile", "PrometheusMetricsCAFile"].map(file);
        if certificate.path.is_none() && key.path.is_none() {
            return None;
        }
        let clients = match self.source("PrometheusMetricsClientAuth") {
            // Who names authorities and says no more wants clients that they certify.
            Source::Default if authorities.path.is_some() => ClientCertificate::Verified,
            _ => self
                .option("PrometheusMetricsClientAuth", &ClientCertificate::WORDS)
                .unwrap_or(ClientCertificate::Verified),
        };
        Some(TlsFiles { certificate, key, authorities, clients })
    }

    fn list(&self, name: &str) -> Vec<String> {
        items(&self.text(name)).map(str::to_owned).collect()
    }

    fn protocol_ports(&self, name: &str) -> Vec<ProtocolPort> {
        items(&self.text(name)).map(|item| item.parse().expect("the table checks the ports")).collect()
    }

    /// The option that a word stands for; `None` for the text `none`.
    fn option<T: Copy>(&self, name: &str, options: &[(&str, T)]) -> Option<T> {
        let text = self.text(name);
        let found = options.iter().find(|(word, _)| *word == text);
        assert!(found.is_some() || text.is_empty(), "{name} has no option {text} here");
        found.map(|(_, option)| *option)
    }
}
