//! FelixConfiguration. What a value means is the configuration's to say; these
//! are the schema's fields and limits.

use super::{API_VERSION, KIND, METADATA, SELECTOR, STATUS};
use crate::admit::fields::{self, Fields};
use crate::admit::format::Format;
use crate::admit::schema::{
    INTEGER, List, Object, TEXT, TEXT_LIST, Type, any_case, defaulted, formatted, integer, limited, one_of, optional,
    required, short,
};
use crate::admit::violation::Violation;
use crate::admit::{Admission, Gate, syntax};

pub(in crate::admit) static ADMISSION: Admission = Admission {
    gate: Gate::Calico,
    schema: &Object::of(&[API_VERSION, KIND, METADATA, required("spec", Type::Object(&SPEC)), STATUS]),
    name: syntax::dns_subdomain,
    fill_in: |_| {},
};

/// A duration. The schema's pattern escapes its backslash once too often, so
/// that a cluster takes no fractions.
const DURATION: Type = formatted(Format::Pattern(r"^([0-9]+(\\.[0-9]+)?(ms|s|m|h))*$"));
const CONNTRACK_TIMEOUT: Type = formatted(Format::Pattern(r"^(([0-9]*(\.[0-9]*)?(ms|s|h|m|us)+)+|Auto)$"));

pub(in crate::admit) static SPEC: Object = Object::of(&[
    optional("allowIPIPPacketsFromWorkloads", Type::Boolean),
    optional("allowVXLANPacketsFromWorkloads", Type::Boolean),
    optional("awsSrcDstCheck", one_of(&["DoNothing", "Enable", "Disable"])),
    optional("bpfAttachType", one_of(&["TC", "TCX", "Netkit"])),
    optional("bpfCTLBLogFilter", TEXT),
    optional("bpfConnectTimeLoadBalancing", one_of(&["TCP", "Enabled", "Disabled"])),
    optional("bpfConnectTimeLoadBalancingEnabled", Type::Boolean),
    optional("bpfConntrackLogLevel", one_of(&["Off", "Debug"])),
    optional("bpfConntrackMode", one_of(&["Auto", "Userspace", "BPFProgram"])),
    optional("bpfConntrackTimeouts", Type::Object(&CONNTRACK_TIMEOUTS)),
    optional("bpfDSROptoutCIDRs", TEXT_LIST),
    optional("bpfDataIfacePattern", TEXT),
    optional("bpfDisableGROForIfaces", TEXT),
    optional("bpfDisableUnprivileged", Type::Boolean),
    optional("bpfEnabled", Type::Boolean),
    optional("bpfEnforceRPF", any_case(&["Disabled", "Strict", "Loose"])),
    optional("bpfExcludeCIDRsFromNAT", TEXT_LIST),
    optional("bpfExportBufferSizeMB", INTEGER),
    optional("bpfExtToServiceConnmark", INTEGER),
    optional("bpfExternalServiceMode", any_case(&["Tunnel", "DSR"])),
    optional("bpfForceTrackPacketsFromIfaces", TEXT_LIST),
    optional("bpfHostConntrackBypass", Type::Boolean),
    optional("bpfHostNetworkedNATWithoutCTLB", one_of(&["Enabled", "Disabled"])),
    optional("bpfIPFragTimeout", DURATION),
    optional("bpfIPFragmentReassemblyEnabled", Type::Boolean),
    optional("bpfJITHardening", one_of(&["Auto", "Strict"])),
    optional("bpfKubeProxyHealthzPort", INTEGER),
    optional("bpfKubeProxyIptablesCleanupEnabled", Type::Boolean),
    optional("bpfKubeProxyMinSyncPeriod", DURATION),
    optional("bpfL3IfacePattern", TEXT),
    optional("bpfLogFilters", Type::Texts),
    optional("bpfLogLevel", any_case(&["Off", "Info", "Debug"])),
    optional("bpfMaglevMaxEndpointsPerService", INTEGER),
    optional("bpfMaglevMaxServices", INTEGER),
    optional("bpfMapSizeConntrack", INTEGER),
    optional("bpfMapSizeConntrackCleanupQueue", limited(1, i64::MAX)),
    optional("bpfMapSizeConntrackScaling", any_case(&["Disabled", "DoubleIfFull"])),
    optional("bpfMapSizeIPSets", INTEGER),
    optional("bpfMapSizeIfState", INTEGER),
    optional("bpfMapSizeNATAffinity", INTEGER),
    optional("bpfMapSizeNATBackend", INTEGER),
    optional("bpfMapSizeNATFrontend", INTEGER),
    optional("bpfMapSizePerCpuConntrack", INTEGER),
    optional("bpfMapSizeRoute", INTEGER),
    optional("bpfOverlayHostSourceIP", one_of(&["TunnelAddress", "HostAddress"])),
    optional("bpfPSNATPorts", Type::Port),
    optional("bpfPolicyDebugEnabled", Type::Boolean),
    optional("bpfProfiling", one_of(&["Enabled", "Disabled"])),
    optional("bpfRedirectToPeer", one_of(&["Enabled", "Disabled"])),
    optional("cgroupV2Path", TEXT),
    optional("chainInsertMode", any_case(&["Insert", "Append"])),
    optional("dataplaneDriver", TEXT),
    optional("dataplaneWatchdogTimeout", TEXT),
    optional("debugDisableLogDropping", Type::Boolean),
    optional("debugHost", TEXT),
    optional("debugMemoryProfilePath", TEXT),
    optional("debugPort", INTEGER),
    optional("debugSimulateCalcGraphHangAfter", DURATION),
    optional("debugSimulateDataplaneApplyDelay", DURATION),
    optional("debugSimulateDataplaneHangAfter", DURATION),
    optional("defaultEndpointToHostAction", any_case(&["Drop", "Accept", "Return"])),
    optional("deviceRouteProtocol", INTEGER),
    optional("deviceRouteSourceAddress", formatted(Format::Ipv4)),
    optional("deviceRouteSourceAddressIPv6", formatted(Format::Ipv6)),
    optional("disableConntrackInvalidCheck", Type::Boolean),
    optional("endpointReportingDelay", DURATION),
    optional("endpointReportingEnabled", Type::Boolean),
    optional("endpointStatusPathPrefix", TEXT),
    optional("externalNodesList", TEXT_LIST),
    optional("failsafeInboundHostPorts", Type::List(&List::of(Type::Object(&PROTO_PORT)))),
    optional("failsafeOutboundHostPorts", Type::List(&List::of(Type::Object(&PROTO_PORT)))),
    optional(
        "featureDetectOverride",
        formatted(Format::Pattern(r"^([a-zA-Z0-9-_]+=(true|false|),)*([a-zA-Z0-9-_]+=(true|false|))?$")),
    ),
    optional("featureGates", formatted(Format::Pattern(r"^([a-zA-Z0-9-_]+=([^=]+),)*([a-zA-Z0-9-_]+=([^=]+))?$"))),
    optional("floatingIPs", one_of(&["Enabled", "Disabled"])),
    optional("flowLogsCollectorDebugTrace", Type::Boolean),
    optional("flowLogsFlushInterval", DURATION),
    optional("flowLogsGoldmaneServer", TEXT),
    optional("flowLogsLocalReporter", one_of(&["Disabled", "Enabled"])),
    optional("flowLogsPolicyEvaluationMode", one_of(&["None", "Continuous"])),
    optional("genericXDPEnabled", Type::Boolean),
    optional("goGCThreshold", INTEGER),
    optional("goMaxProcs", INTEGER),
    optional("goMemoryLimitMB", INTEGER),
    optional("healthEnabled", Type::Boolean),
    optional("healthHost", TEXT),
    optional("healthPort", INTEGER),
    optional("healthTimeoutOverrides", Type::List(&List::of(Type::Object(&HEALTH_TIMEOUT)))),
    optional("interfaceExclude", TEXT),
    optional("interfacePrefix", TEXT),
    optional("interfaceRefreshInterval", DURATION),
    optional("ipForwarding", one_of(&["Enabled", "Disabled"])),
    optional("ipipEnabled", Type::Boolean),
    optional("ipipMTU", INTEGER),
    optional("ipsetsRefreshInterval", DURATION),
    optional("iptablesBackend", one_of(&["Legacy", "NFT", "Auto"])),
    optional("iptablesFilterAllowAction", any_case(&["Accept", "Return"])),
    optional("iptablesFilterDenyAction", any_case(&["Drop", "Reject"])),
    optional("iptablesLockProbeInterval", DURATION),
    optional("iptablesMangleAllowAction", any_case(&["Accept", "Return"])),
    optional("iptablesMarkMask", limited(0, 4_294_967_295)),
    optional("iptablesNATOutgoingInterfaceFilter", TEXT),
    optional("iptablesPostWriteCheckInterval", DURATION),
    optional("iptablesRefreshInterval", DURATION),
    optional("ipv4ElevatedRoutePriority", INTEGER),
    optional("ipv4NormalRoutePriority", INTEGER),
    optional("ipv6ElevatedRoutePriority", INTEGER),
    optional("ipv6NormalRoutePriority", INTEGER),
    optional("ipv6Support", Type::Boolean),
    optional("istioAmbientMode", one_of(&["Enabled", "Disabled"])),
    optional("istioDSCPMark", Type::IntOrText),
    optional("kubeNodePortRanges", Type::List(&List::of(Type::Port).max(7))),
    optional("liveMigrationRouteConvergenceTime", formatted(Format::Pattern(r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))*$"))),
    optional("localSubnetL2Reachability", one_of(&["Disabled", "PodsAndLoadBalancers"])),
    optional("localSubnetL2ReachabilityRefreshInterval", TEXT),
    optional("logActionRateLimit", formatted(Format::Pattern(r"^[1-9]\d{0,3}/(?:second|minute|hour|day)$"))),
    optional("logActionRateLimitBurst", limited(0, 9_999)),
    optional("logDebugFilenameRegex", TEXT),
    optional("logFilePath", TEXT),
    optional("logPrefix", formatted(Format::Pattern(r"^([a-zA-Z0-9%: /_-])*$"))),
    optional("logSeverityFile", any_case(&["Trace", "Debug", "Info", "Warning", "Error", "Fatal"])),
    optional("logSeverityScreen", any_case(&["Trace", "Debug", "Info", "Warning", "Error", "Fatal"])),
    optional("logSeveritySys", any_case(&["Trace", "Debug", "Info", "Warning", "Error", "Fatal"])),
    optional("maxIpsetSize", INTEGER),
    optional("metadataAddr", TEXT),
    optional("metadataPort", INTEGER),
    optional("mtuIfacePattern", TEXT),
    optional("natOutgoingAddress", formatted(Format::Ipv4)),
    optional("natOutgoingExclusions", one_of(&["IPPoolsOnly", "IPPoolsAndHostIPs"])),
    optional("natPortRange", Type::Port),
    optional("netlinkTimeout", DURATION),
    optional("nftablesFilterAllowAction", any_case(&["Accept", "Return"])),
    optional("nftablesFilterDenyAction", any_case(&["Drop", "Reject"])),
    optional("nftablesFlowTableDataIfacePattern", TEXT),
    defaulted("nftablesFlowTableOffload", one_of(&["All", "Disabled"]), "Disabled"),
    optional("nftablesMangleAllowAction", any_case(&["Accept", "Return"])),
    optional("nftablesMarkMask", limited(0, 4_294_967_295)),
    defaulted("nftablesMode", one_of(&["Disabled", "Enabled", "Auto"]), "Auto"),
    optional("nftablesRefreshInterval", TEXT),
    optional("nodeSelector", SELECTOR),
    optional("openstackRegion", short(Format::DnsLabel, 46)),
    optional("policySyncPathPrefix", TEXT),
    optional("programClusterRoutes", one_of(&["Enabled", "Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly"])),
    optional("prometheusGoMetricsEnabled", Type::Boolean),
    optional("prometheusMetricsCAFile", TEXT),
    optional("prometheusMetricsCertFile", TEXT),
    optional(
        "prometheusMetricsClientAuth",
        one_of(&["RequireAndVerifyClientCert", "RequireAnyClientCert", "VerifyClientCertIfGiven", "NoClientCert"]),
    ),
    optional("prometheusMetricsEnabled", Type::Boolean),
    optional("prometheusMetricsHost", TEXT),
    optional("prometheusMetricsKeyFile", TEXT),
    optional("prometheusMetricsPort", INTEGER),
    optional("prometheusProcessMetricsEnabled", Type::Boolean),
    optional("prometheusWireGuardMetricsEnabled", Type::Boolean),
    optional("removeExternalRoutes", Type::Boolean),
    optional("reportingInterval", DURATION),
    optional("reportingTTL", DURATION),
    optional("requireMTUFile", Type::Boolean),
    optional("routeRefreshInterval", DURATION),
    optional("routeSource", any_case(&["WorkloadIPs", "CalicoIPAM"])),
    optional("routeSyncDisabled", Type::Boolean),
    optional("routeTableRange", Type::Object(&ROUTE_TABLE_RANGE)),
    optional("routeTableRanges", Type::List(&List::of(Type::Object(&ROUTE_TABLE_ID_RANGE)))),
    optional("serviceLoopPrevention", any_case(&["Drop", "Reject", "Disabled"])),
    optional("sidecarAccelerationEnabled", Type::Boolean),
    optional("usageReportingEnabled", Type::Boolean),
    optional("usageReportingInitialDelay", DURATION),
    optional("usageReportingInterval", DURATION),
    optional("useInternalDataplaneDriver", Type::Boolean),
    optional("vxlanEnabled", Type::Boolean),
    optional("vxlanMTU", INTEGER),
    optional("vxlanMTUV6", INTEGER),
    optional("vxlanPort", INTEGER),
    optional("vxlanVNI", INTEGER),
    optional("windowsManageFirewallRules", one_of(&["Enabled", "Disabled"])),
    optional("wireguardEnabled", Type::Boolean),
    optional("wireguardEnabledV6", Type::Boolean),
    optional("wireguardHostEncryptionEnabled", Type::Boolean),
    optional("wireguardInterfaceName", TEXT),
    optional("wireguardInterfaceNameV6", TEXT),
    optional("wireguardKeepAlive", DURATION),
    optional("wireguardListeningPort", INTEGER),
    optional("wireguardListeningPortV6", INTEGER),
    optional("wireguardMTU", INTEGER),
    optional("wireguardMTUV6", INTEGER),
    optional("wireguardRoutingRulePriority", INTEGER),
    optional("wireguardThreadingEnabled", Type::Boolean),
    optional("workloadSourceSpoofing", any_case(&["Disabled", "Any"])),
    optional("xdpEnabled", Type::Boolean),
    optional("xdpRefreshInterval", DURATION),
])
.rules(&[one_form_of_route_tables, node_ports_are_numbers]);

static CONNTRACK_TIMEOUTS: Object = Object::of(&[
    optional("creationGracePeriod", CONNTRACK_TIMEOUT),
    optional("genericTimeout", CONNTRACK_TIMEOUT),
    optional("icmpTimeout", CONNTRACK_TIMEOUT),
    optional("tcpEstablished", CONNTRACK_TIMEOUT),
    optional("tcpFinsSeen", CONNTRACK_TIMEOUT),
    optional("tcpResetSeen", CONNTRACK_TIMEOUT),
    optional("tcpSynSent", CONNTRACK_TIMEOUT),
    optional("udpTimeout", CONNTRACK_TIMEOUT),
]);

static PROTO_PORT: Object = Object::of(&[
    optional("net", formatted(Format::PrefixOrAddress)),
    // Which ones there are is the parameter's to say: TCP and UDP.
    optional("protocol", TEXT),
    required("port", integer(0, 65535)),
]);

static HEALTH_TIMEOUT: Object =
    Object::of(&[required("name", formatted(Format::Pattern("^[a-zA-Z0-9_ -]+$"))), required("timeout", TEXT)]);

/// The tables that a single range may be of.
const ROUTE_TABLE: Type = limited(1, 250);

static ROUTE_TABLE_RANGE: Object =
    Object::of(&[required("min", ROUTE_TABLE), required("max", ROUTE_TABLE)]).rules(&[range_is_in_order]);

static ROUTE_TABLE_ID_RANGE: Object =
    Object::of(&[required("min", limited(1, i64::MAX)), required("max", INTEGER)]).rules(&[range_is_in_order]);

fn range_is_in_order(range: &Fields) -> Result<(), Violation> {
    if fields::integer(range, "min") > fields::integer(range, "max") {
        return Err(Violation::crd("is below min").at("max"));
    }
    Ok(())
}

fn one_form_of_route_tables(spec: &Fields) -> Result<(), Violation> {
    if spec.contains_key("routeTableRange") && spec.contains_key("routeTableRanges") {
        return Err(Violation::crd("excludes routeTableRanges").at("routeTableRange"));
    }
    Ok(())
}

fn node_ports_are_numbers(spec: &Fields) -> Result<(), Violation> {
    let is_name = |port: &str| !port.contains(':');
    match fields::list(spec, "kubeNodePortRanges").iter().position(|port| port.as_str().is_some_and(is_name)) {
        Some(i) => Err(Violation::client("is a port's name, not a range of ports").at_item(i).at("kubeNodePortRanges")),
        None => Ok(()),
    }
}
