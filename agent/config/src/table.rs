//! The table of parameters.

use crate::kind::Kind::{
    self, Bool, Cidrs, InterfacePatterns, Ipv4, Ipv6, KeyDurations, KeyValues, MarkMask, Milliseconds, OneOf, Pattern,
    PortRange, PortRanges, ProtocolPorts, Regex, Seconds, TableRanges, Text,
};
use crate::parameter::Disposition::{self, ActedOn, Ignored, Refused};
use crate::parameter::Param;

const ANY_INTEGER: Kind = integer(i64::MIN, i64::MAX);
const PORT_NUMBER: Kind = integer(0, 65535);
const HOST_NAME: Kind = Pattern(r"^[a-zA-Z0-9_.-]+$");
const HOST_OR_ADDRESS: Kind = Pattern(r"^[a-zA-Z0-9:._+-]{1,64}$");
const HOST_AND_PORT: Kind = Pattern(r"^[^:/]+:\d+$");
const INTERFACE_NAME: Kind = Pattern(r"^[a-zA-Z0-9:._+-]{1,15}$");

// A parameter that the program begins to use gets ACTS in its row, and a field
// in `Settings`: a test changes every parameter and looks whether they change.
// Page and schema follow: `CARACAL_REWRITE=1 cargo test -p caracal-config --test documents`.
const ACTS: Disposition = ActedOn;
const NO_EBPF: Disposition = Refused("this build has no eBPF dataplane; nftables enforces policy");
const NO_ENCRYPTION: Disposition = Refused("this build does not encrypt; packets between nodes are sent as they are");
const DATASTORE: Disposition = Ignored("the datastore is named by --datastore, and needs no Typha");
const EBPF: Disposition = Ignored("this build has no eBPF dataplane");
const ENCRYPTION: Disposition = Ignored("this build does not encrypt");
const OVERLAY: Disposition = Ignored("routes and tunnels between nodes are the network plugin's");
const IPTABLES: Disposition = Ignored("this build programs nftables, not iptables or ipset");
const GO: Disposition = Ignored("this program has no Go runtime");
const WINDOWS: Disposition = Ignored("this build is for Linux");
const DEBUG: Disposition = Ignored("it is a tool for those who work on Felix");
const OPENSTACK: Disposition = Ignored("this build has no OpenStack support");
const REPORTS: Disposition = Ignored("this program reports its use to nobody");
const LOGS: Disposition = Ignored("messages go to standard error only; LogSeverityScreen decides which");
const NO_ROUTE_SWITCH: Disposition = Refused("this build programs the routes of local workloads in any case");
const NO_FLOATING_IPS: Disposition = Refused("this build does not translate floating IPs to workloads");
const NO_NODE_SOURCE: Disposition = Refused("this build gives the routes of workloads no preferred source address");
const NO_GOLDMANE: Disposition = Refused(
    "this build pushes flow records nowhere; it keeps them, as FlowLogsLocalReporter has it, for `caracal flows`",
);
const NO_AMBIENT: Disposition = Refused("this build does not lead traffic into Istio's ambient mesh");
const NO_FLOW_TABLE: Disposition = Refused("this build sets up no flow table; every packet goes through its rules");
const NO_AWS: Disposition = Refused("this build does not speak to the cloud's API");
const NO_REPORTS: Disposition =
    Refused("this build writes no endpoint status to the datastore; `caracal endpoints` has it");
const FLOW_FLUSH: Disposition = Ignored("a flow record can be read within seconds, not at the end of an interval");
const FLOW_EVALUATION: Disposition =
    Ignored("a record says what rules in force decided; `caracal explain` says what staged ones would");
const FLOW_TABLE: Disposition = Ignored("this build sets up no flow table");
const AMBIENT: Disposition = Ignored("this build does not lead traffic into Istio's ambient mesh");
const STATUS: Disposition =
    Ignored("this build writes no status to the datastore; `caracal status` and the metrics have it");
const GATES: Disposition = Ignored("this build has none of the features that Felix's gates open");
const MIGRATION: Disposition = Ignored("this build knows no live migration, so no route is ever elevated");
const MTU: Disposition = Ignored("this build sets no MTU; the network plugin does");
const TUNNEL: Disposition = Ignored("this build makes no tunnels between nodes; the network plugin does");
const NODE_PORTS: Disposition = Ignored("node ports are kube-proxy's; host endpoints see what it made of them");
const GENERATION: Disposition =
    Ignored("changes by others are noticed by the kernel's generation number, not on a timer");
const LINKS: Disposition = Ignored("interfaces are followed by the kernel's own events, not on a timer");
const NETLINK: Disposition =
    Ignored("the kernel works on a netlink request while it is sent, so nothing waits for answers");
const IPVS_DEVICE: Disposition =
    Ignored("rules look at the interface of each packet, and one that carries no packets needs no exclusion");
const OWN_TABLE: Disposition = Ignored("in a table of its own both actions leave the packet to the tables of others");
const XDP: Disposition = Ignored("untracked policy is enforced by nftables, before connection tracking, not by XDP");
const NEIGHBOURS: Disposition = Ignored("this build answers no ARP for pods beyond their own node");
const SOCKMAP: Disposition = Ignored("it needs eBPF on sockets, which this build does not have");

// How what a parameter does differs from what Felix does.
const NO_IPV6: &str = "off, IPv6 of workloads is dropped; Felix has no rules for it then, and lets it pass";
const ONE_BIT: &str = "one bit is used, the lowest, so that two are enough; Felix needs eight at least";
const OTHER_MASK: &str = "it counts where it is set and NftablesMarkMask is not";

const fn integer(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

const fn param(
    name: &'static str,
    field: &'static str,
    kind: Kind,
    default: &'static str,
    disposition: Disposition,
) -> Param {
    Param::new(name, field, kind, default, disposition)
}

/// A parameter that says how to reach the datastore, or which node this is:
/// what the datastore says about it comes too late.
const fn local(name: &'static str, kind: Kind, default: &'static str, disposition: Disposition) -> Param {
    Param::new(name, "", kind, default, disposition).local()
}

/// Every parameter that Felix documents (`felix/docs/config-params.json`), in
/// its order, and then ours: its name, the field of FelixConfiguration that sets it, how its
/// text is read, its default, and what this build makes of it.
#[rustfmt::skip]
pub static PARAMETERS: [Param; 211] = [
    local("DatastoreType", OneOf(&["etcdv3", "kubernetes"]), "etcdv3", DATASTORE).required(),
    local("EtcdAddr", HOST_AND_PORT, "127.0.0.1:2379", DATASTORE),
    local("EtcdCaFile", Text, "", DATASTORE),
    local("EtcdCertFile", Text, "", DATASTORE),
    local("EtcdEndpoints", Pattern(r"^https?://[^,/]+:\d+/?(,\s*https?://[^,/]+:\d+/?)*$"), "", DATASTORE),
    local("EtcdKeyFile", Text, "", DATASTORE),
    local("EtcdScheme", OneOf(&["http", "https"]), "http", DATASTORE),
    local("FelixHostname", HOST_NAME, "", ACTS).required(),
    local("TyphaAddr", HOST_AND_PORT, "", DATASTORE),
    local("TyphaCAFile", Text, "", DATASTORE),
    local("TyphaCN", Text, "", DATASTORE),
    local("TyphaCertFile", Text, "", DATASTORE),
    local("TyphaK8sNamespace", Text, "kube-system", DATASTORE).required(),
    local("TyphaK8sServiceName", Text, "", DATASTORE),
    local("TyphaKeyFile", Text, "", DATASTORE),
    local("TyphaReadTimeout", Seconds, "30", DATASTORE),
    local("TyphaURISAN", Text, "", DATASTORE),
    local("TyphaWriteTimeout", Seconds, "10", DATASTORE),
    param("FeatureDetectOverride", "featureDetectOverride", KeyValues, "", IPTABLES),
    param("FeatureGates", "featureGates", KeyValues, "", GATES),
    param("GoGCThreshold", "goGCThreshold", integer(-1, i64::MAX), "40", GO),
    param("GoMaxProcs", "goMaxProcs", integer(-1, i64::MAX), "-1", GO),
    param("GoMemoryLimitMB", "goMemoryLimitMB", integer(-1, i64::MAX), "-1", GO),
    param("HealthEnabled", "healthEnabled", Bool, "false", ACTS),
    param("HealthHost", "healthHost", HOST_OR_ADDRESS, "localhost", ACTS),
    param("HealthPort", "healthPort", PORT_NUMBER, "9099", ACTS),
    param("HealthTimeoutOverrides", "healthTimeoutOverrides", KeyDurations, "", ACTS),
    param("LogActionRateLimit", "logActionRateLimit", Pattern(r"^([1-9]\d{0,3}/(?:second|minute|hour|day))?$"), "", ACTS),
    param("LogActionRateLimitBurst", "logActionRateLimitBurst", integer(0, 9999), "5", ACTS),
    param("LogDebugFilenameRegex", "logDebugFilenameRegex", Regex, "", LOGS),
    param("LogFilePath", "logFilePath", Text, "/var/log/calico/felix.log", LOGS),
    param("LogPrefix", "logPrefix", Text, "calico-packet", ACTS),
    param("LogSeverityFile", "logSeverityFile", OneOf(&["DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARNING"]), "INFO", LOGS),
    param("LogSeverityScreen", "logSeverityScreen", OneOf(&["DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARNING"]), "INFO", ACTS),
    param("LogSeveritySys", "logSeveritySys", OneOf(&["DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARNING"]), "INFO", LOGS),
    param("PrometheusGoMetricsEnabled", "prometheusGoMetricsEnabled", Bool, "true", GO),
    param("PrometheusMetricsCAFile", "prometheusMetricsCAFile", Text, "", ACTS),
    param("PrometheusMetricsCertFile", "prometheusMetricsCertFile", Text, "", ACTS),
    param("PrometheusMetricsClientAuth", "prometheusMetricsClientAuth", OneOf(&["NoClientCert", "RequireAndVerifyClientCert", "RequireAnyClientCert", "VerifyClientCertIfGiven"]), "NoClientCert", ACTS),
    param("PrometheusMetricsEnabled", "prometheusMetricsEnabled", Bool, "false", ACTS),
    param("PrometheusMetricsHost", "prometheusMetricsHost", HOST_OR_ADDRESS, "", ACTS),
    param("PrometheusMetricsKeyFile", "prometheusMetricsKeyFile", Text, "", ACTS),
    param("PrometheusMetricsPort", "prometheusMetricsPort", PORT_NUMBER, "9091", ACTS),
    param("PrometheusProcessMetricsEnabled", "prometheusProcessMetricsEnabled", Bool, "true", ACTS),
    param("PrometheusWireGuardMetricsEnabled", "prometheusWireGuardMetricsEnabled", Bool, "true", ENCRYPTION),
    param("AllowIPIPPacketsFromWorkloads", "allowIPIPPacketsFromWorkloads", Bool, "false", ACTS),
    param("AllowVXLANPacketsFromWorkloads", "allowVXLANPacketsFromWorkloads", Bool, "false", ACTS),
    param("CgroupV2Path", "cgroupV2Path", Text, "", EBPF),
    param("ChainInsertMode", "chainInsertMode", OneOf(&["append", "insert"]), "insert", IPTABLES).required(),
    param("DataplaneDriver", "dataplaneDriver", Text, "calico-iptables-plugin", ACTS).required(),
    param("DataplaneWatchdogTimeout", "dataplaneWatchdogTimeout", Seconds, "90", ACTS),
    param("DefaultEndpointToHostAction", "defaultEndpointToHostAction", OneOf(&["ACCEPT", "DROP", "RETURN"]), "DROP", ACTS).required(),
    param("DeviceRouteProtocol", "deviceRouteProtocol", integer(0, 255), "3", ACTS),
    param("DeviceRouteSourceAddress", "deviceRouteSourceAddress", Ipv4, "", NO_NODE_SOURCE),
    param("DeviceRouteSourceAddressIPv6", "deviceRouteSourceAddressIPv6", Ipv6, "", NO_NODE_SOURCE),
    param("DisableConntrackInvalidCheck", "disableConntrackInvalidCheck", Bool, "false", ACTS),
    param("EndpointStatusPathPrefix", "endpointStatusPathPrefix", Text, "/var/run/calico", ACTS),
    param("ExternalNodesCIDRList", "externalNodesList", Cidrs, "", OVERLAY),
    param("FailsafeInboundHostPorts", "failsafeInboundHostPorts", ProtocolPorts, "tcp:22,udp:68,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667", ACTS),
    param("FailsafeOutboundHostPorts", "failsafeOutboundHostPorts", ProtocolPorts, "udp:53,udp:67,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667", ACTS),
    param("FloatingIPs", "floatingIPs", OneOf(&["Disabled", "Enabled"]), "Disabled", NO_FLOATING_IPS),
    param("IPForwarding", "ipForwarding", OneOf(&["Disabled", "Enabled"]), "Enabled", ACTS),
    param("IPv4ElevatedRoutePriority", "ipv4ElevatedRoutePriority", integer(1, 2_147_483_646), "512", MIGRATION),
    param("IPv4NormalRoutePriority", "ipv4NormalRoutePriority", integer(1, 2_147_483_646), "1024", ACTS),
    param("IPv6ElevatedRoutePriority", "ipv6ElevatedRoutePriority", integer(1, 2_147_483_646), "512", MIGRATION),
    param("IPv6NormalRoutePriority", "ipv6NormalRoutePriority", integer(1, 2_147_483_646), "1024", ACTS),
    param("InterfaceExclude", "interfaceExclude", InterfacePatterns, "kube-ipvs0", IPVS_DEVICE),
    param("InterfacePrefix", "interfacePrefix", Pattern(r"^[a-zA-Z0-9_-]{1,14}(,[a-zA-Z0-9_-]{1,14})*$"), "cali", ACTS).required(),
    param("InterfaceRefreshInterval", "interfaceRefreshInterval", Seconds, "90", LINKS),
    param("Ipv6Support", "ipv6Support", Bool, "true", ACTS).note(NO_IPV6),
    param("IstioAmbientMode", "istioAmbientMode", OneOf(&["Disabled", "Enabled"]), "Disabled", NO_AMBIENT),
    param("IstioDSCPMark", "istioDSCPMark", Pattern(r"(?i)^(6[0-3]|[1-5]?[0-9]|CS[0-7]|AF[1-4][1-3]|EF|VA|LE|DF)$"), "23", AMBIENT),
    param("LiveMigrationRouteConvergenceTime", "liveMigrationRouteConvergenceTime", Seconds, "30", MIGRATION),
    param("LocalSubnetL2Reachability", "localSubnetL2Reachability", OneOf(&["Disabled", "PodsAndLoadBalancers"]), "Disabled", NEIGHBOURS),
    param("LocalSubnetL2ReachabilityRefreshInterval", "localSubnetL2ReachabilityRefreshInterval", Seconds, "120", NEIGHBOURS),
    param("MTUIfacePattern", "mtuIfacePattern", Regex, "^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)", MTU),
    param("NATOutgoingAddress", "natOutgoingAddress", Ipv4, "", ACTS),
    param("NATOutgoingExclusions", "natOutgoingExclusions", OneOf(&["IPPoolsAndHostIPs", "IPPoolsOnly"]), "IPPoolsOnly", ACTS),
    param("NATPortRange", "natPortRange", PortRange, "", ACTS),
    param("NFTablesFlowTableDataIfacePattern", "nftablesFlowTableDataIfacePattern", Regex, "", FLOW_TABLE),
    param("NFTablesFlowTableOffload", "nftablesFlowTableOffload", OneOf(&["All", "Disabled"]), "Disabled", NO_FLOW_TABLE),
    param("NFTablesMode", "nftablesMode", OneOf(&["Auto", "Disabled", "Enabled"]), "Auto", ACTS),
    param("NetlinkTimeoutSecs", "netlinkTimeout", Seconds, "10", NETLINK),
    param("PolicySyncPathPrefix", "policySyncPathPrefix", Text, "", ACTS),
    param("ProgramClusterRoutes", "programClusterRoutes", OneOf(&["Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly", "Enabled"]), "EnabledIPIPOnly", OVERLAY),
    param("RemoveExternalRoutes", "removeExternalRoutes", Bool, "true", ACTS),
    param("RequireMTUFile", "requireMTUFile", Bool, "false", MTU),
    param("RouteRefreshInterval", "routeRefreshInterval", Seconds, "90", ACTS),
    param("RouteSource", "routeSource", OneOf(&["CalicoIPAM", "WorkloadIPs"]), "CalicoIPAM", OVERLAY),
    param("RouteSyncDisabled", "routeSyncDisabled", Bool, "false", NO_ROUTE_SWITCH),
    param("RouteTableRange", "routeTableRange", TableRanges { count: 1, max: 250 }, "", OVERLAY),
    param("RouteTableRanges", "routeTableRanges", TableRanges { count: usize::MAX, max: u32::MAX }, "", OVERLAY),
    param("ServiceLoopPrevention", "serviceLoopPrevention", OneOf(&["Disabled", "Drop", "Reject"]), "Drop", ACTS),
    param("SidecarAccelerationEnabled", "sidecarAccelerationEnabled", Bool, "false", SOCKMAP),
    param("UseInternalDataplaneDriver", "useInternalDataplaneDriver", Bool, "true", ACTS),
    param("WorkloadSourceSpoofing", "workloadSourceSpoofing", OneOf(&["Any", "Disabled"]), "Disabled", ACTS),
    param("IpsetsRefreshInterval", "ipsetsRefreshInterval", Seconds, "90", IPTABLES),
    param("IptablesBackend", "iptablesBackend", OneOf(&["auto", "legacy", "nft"]), "auto", IPTABLES),
    param("IptablesFilterAllowAction", "iptablesFilterAllowAction", OneOf(&["ACCEPT", "RETURN"]), "ACCEPT", IPTABLES).required(),
    param("IptablesFilterDenyAction", "iptablesFilterDenyAction", OneOf(&["DROP", "REJECT"]), "DROP", IPTABLES).required(),
    param("IptablesLockProbeIntervalMillis", "iptablesLockProbeInterval", Milliseconds, "50", IPTABLES),
    param("IptablesMangleAllowAction", "iptablesMangleAllowAction", OneOf(&["ACCEPT", "RETURN"]), "ACCEPT", IPTABLES).required(),
    param("IptablesMarkMask", "iptablesMarkMask", MarkMask, "0xffff0000", ACTS).required().note(OTHER_MASK),
    param("IptablesNATOutgoingInterfaceFilter", "iptablesNATOutgoingInterfaceFilter", Pattern(r"^[a-zA-Z0-9._+-]{1,15}$"), "", ACTS),
    param("IptablesPostWriteCheckIntervalSecs", "iptablesPostWriteCheckInterval", Seconds, "5", IPTABLES),
    param("IptablesRefreshInterval", "iptablesRefreshInterval", Seconds, "180", IPTABLES),
    param("KubeNodePortRanges", "kubeNodePortRanges", PortRanges, "30000:32767", NODE_PORTS),
    param("MaxIpsetSize", "maxIpsetSize", ANY_INTEGER, "1048576", ACTS).required(),
    param("NftablesFilterAllowAction", "nftablesFilterAllowAction", OneOf(&["ACCEPT", "RETURN"]), "ACCEPT", OWN_TABLE).required(),
    param("NftablesFilterDenyAction", "nftablesFilterDenyAction", OneOf(&["DROP", "REJECT"]), "DROP", ACTS).required(),
    param("NftablesMangleAllowAction", "nftablesMangleAllowAction", OneOf(&["ACCEPT", "RETURN"]), "ACCEPT", OWN_TABLE).required(),
    param("NftablesMarkMask", "nftablesMarkMask", MarkMask, "0xffff0000", ACTS).required().note(ONE_BIT),
    param("NftablesRefreshInterval", "nftablesRefreshInterval", Seconds, "180", GENERATION),
    param("BPFAttachType", "bpfAttachType", OneOf(&["Netkit", "TCX", "TC"]), "Netkit", EBPF).required(),
    param("BPFCTLBLogFilter", "bpfCTLBLogFilter", OneOf(&["all"]), "", EBPF),
    param("BPFConnectTimeLoadBalancing", "bpfConnectTimeLoadBalancing", OneOf(&["Disabled", "Enabled", "TCP"]), "TCP", EBPF).required(),
    param("BPFConnectTimeLoadBalancingEnabled", "bpfConnectTimeLoadBalancingEnabled", Bool, "", EBPF),
    param("BPFConntrackCleanupMode", "bpfConntrackMode", OneOf(&["Auto", "BPFProgram", "Userspace"]), "Auto", EBPF),
    param("BPFConntrackLogLevel", "bpfConntrackLogLevel", OneOf(&["debug", "off"]), "off", EBPF).required(),
    param("BPFConntrackTimeouts", "bpfConntrackTimeouts", KeyValues, "CreationGracePeriod=10s,TCPSynSent=20s,TCPEstablished=1h,TCPFinsSeen=Auto,TCPResetSeen=40s,UDPTimeout=60s,GenericTimeout=10m,ICMPTimeout=5s", EBPF),
    param("BPFDSROptoutCIDRs", "bpfDSROptoutCIDRs", Cidrs, "", EBPF),
    param("BPFDataIfacePattern", "bpfDataIfacePattern", Regex, "^((en|wl|ww|sl|ib)[Popsx].*|(eth|wlan|wwan|bond).*)", EBPF),
    param("BPFDisableGROForIfaces", "bpfDisableGROForIfaces", Regex, "", EBPF),
    param("BPFDisableUnprivileged", "bpfDisableUnprivileged", Bool, "true", EBPF),
    param("BPFEnabled", "bpfEnabled", Bool, "false", NO_EBPF),
    param("BPFEnforceRPF", "bpfEnforceRPF", OneOf(&["Disabled", "Loose", "Strict"]), "Loose", EBPF).required(),
    param("BPFExcludeCIDRsFromNAT", "bpfExcludeCIDRsFromNAT", Cidrs, "", EBPF),
    param("BPFExportBufferSizeMB", "bpfExportBufferSizeMB", ANY_INTEGER, "1", EBPF).required(),
    param("BPFExtToServiceConnmark", "bpfExtToServiceConnmark", ANY_INTEGER, "0", EBPF),
    param("BPFExternalServiceMode", "bpfExternalServiceMode", OneOf(&["dsr", "tunnel"]), "tunnel", EBPF).required(),
    param("BPFForceTrackPacketsFromIfaces", "bpfForceTrackPacketsFromIfaces", Pattern(r"^[a-zA-Z0-9:._+-]{1,15}(,[a-zA-Z0-9:._+-]{1,15})*$"), "docker+", EBPF),
    param("BPFHostConntrackBypass", "bpfHostConntrackBypass", Bool, "false", EBPF),
    param("BPFHostNetworkedNATWithoutCTLB", "bpfHostNetworkedNATWithoutCTLB", OneOf(&["Disabled", "Enabled"]), "Enabled", EBPF).required(),
    param("BPFIPFragTimeout", "bpfIPFragTimeout", Seconds, "0", EBPF),
    param("BPFIPFragmentReassemblyEnabled", "bpfIPFragmentReassemblyEnabled", Bool, "true", EBPF),
    param("BPFJITHardening", "bpfJITHardening", OneOf(&["Auto", "Strict"]), "Auto", EBPF).required(),
    param("BPFKubeProxyHealthzPort", "bpfKubeProxyHealthzPort", ANY_INTEGER, "10256", EBPF),
    param("BPFKubeProxyIptablesCleanupEnabled", "bpfKubeProxyIptablesCleanupEnabled", Bool, "true", EBPF),
    param("BPFKubeProxyMinSyncPeriod", "bpfKubeProxyMinSyncPeriod", Seconds, "1", EBPF),
    param("BPFL3IfacePattern", "bpfL3IfacePattern", Regex, "", EBPF),
    param("BPFLogFilters", "bpfLogFilters", KeyValues, "", EBPF),
    param("BPFLogLevel", "bpfLogLevel", OneOf(&["debug", "info", "off"]), "off", EBPF).required(),
    param("BPFMaglevMaxEndpointsPerService", "bpfMaglevMaxEndpointsPerService", integer(1, 3000), "100", EBPF),
    param("BPFMaglevMaxServices", "bpfMaglevMaxServices", integer(1, 3000), "100", EBPF),
    param("BPFMapSizeConntrack", "bpfMapSizeConntrack", ANY_INTEGER, "512000", EBPF).required(),
    param("BPFMapSizeConntrackCleanupQueue", "bpfMapSizeConntrackCleanupQueue", ANY_INTEGER, "100000", EBPF).required(),
    param("BPFMapSizeConntrackScaling", "bpfMapSizeConntrackScaling", OneOf(&["Disabled", "DoubleIfFull"]), "DoubleIfFull", EBPF).required(),
    param("BPFMapSizeIPSets", "bpfMapSizeIPSets", ANY_INTEGER, "1048576", EBPF).required(),
    param("BPFMapSizeIfState", "bpfMapSizeIfState", ANY_INTEGER, "1000", EBPF).required(),
    param("BPFMapSizeNATAffinity", "bpfMapSizeNATAffinity", ANY_INTEGER, "65536", EBPF).required(),
    param("BPFMapSizeNATBackend", "bpfMapSizeNATBackend", ANY_INTEGER, "262144", EBPF).required(),
    param("BPFMapSizeNATFrontend", "bpfMapSizeNATFrontend", ANY_INTEGER, "65536", EBPF).required(),
    param("BPFMapSizePerCPUConntrack", "bpfMapSizePerCpuConntrack", ANY_INTEGER, "0", EBPF),
    param("BPFMapSizeRoute", "bpfMapSizeRoute", ANY_INTEGER, "262144", EBPF).required(),
    param("BPFOverlayHostSourceIP", "bpfOverlayHostSourceIP", OneOf(&["HostAddress", "TunnelAddress"]), "TunnelAddress", EBPF).required(),
    param("BPFPSNATPorts", "bpfPSNATPorts", PortRange, "20000:29999", EBPF),
    param("BPFPolicyDebugEnabled", "bpfPolicyDebugEnabled", Bool, "true", EBPF),
    param("BPFProfiling", "bpfProfiling", OneOf(&["Disabled", "Enabled"]), "Disabled", EBPF).required(),
    param("BPFRedirectToPeer", "bpfRedirectToPeer", OneOf(&["Disabled", "Enabled", "L2Only"]), "Enabled", EBPF).required(),
    param("WindowsManageFirewallRules", "windowsManageFirewallRules", OneOf(&["Disabled", "Enabled"]), "Disabled", WINDOWS),
    param("EndpointReportingDelaySecs", "endpointReportingDelay", Seconds, "1", STATUS),
    param("EndpointReportingEnabled", "endpointReportingEnabled", Bool, "false", NO_REPORTS),
    param("MetadataAddr", "metadataAddr", HOST_NAME, "127.0.0.1", OPENSTACK),
    param("MetadataPort", "metadataPort", PORT_NUMBER, "8775", OPENSTACK),
    param("OpenstackRegion", "openstackRegion", Pattern(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"), "", OPENSTACK),
    param("ReportingIntervalSecs", "reportingInterval", Seconds, "30", STATUS),
    param("ReportingTTLSecs", "reportingTTL", Seconds, "90", STATUS),
    param("GenericXDPEnabled", "genericXDPEnabled", Bool, "false", XDP),
    param("XDPEnabled", "xdpEnabled", Bool, "true", XDP),
    param("XDPRefreshInterval", "xdpRefreshInterval", Seconds, "90", XDP),
    param("VXLANEnabled", "vxlanEnabled", Bool, "", TUNNEL),
    param("VXLANMTU", "vxlanMTU", ANY_INTEGER, "0", MTU),
    param("VXLANMTUV6", "vxlanMTUV6", ANY_INTEGER, "0", MTU),
    param("VXLANPort", "vxlanPort", integer(1, 65535), "4789", ACTS),
    param("VXLANVNI", "vxlanVNI", ANY_INTEGER, "4096", TUNNEL),
    param("IpInIpEnabled", "ipipEnabled", Bool, "", TUNNEL),
    param("IpInIpMtu", "ipipMTU", ANY_INTEGER, "0", MTU),
    param("WireguardEnabled", "wireguardEnabled", Bool, "false", NO_ENCRYPTION),
    param("WireguardEnabledV6", "wireguardEnabledV6", Bool, "false", NO_ENCRYPTION),
    param("WireguardHostEncryptionEnabled", "wireguardHostEncryptionEnabled", Bool, "false", NO_ENCRYPTION),
    param("WireguardInterfaceName", "wireguardInterfaceName", INTERFACE_NAME, "wireguard.cali", ENCRYPTION).required(),
    param("WireguardInterfaceNameV6", "wireguardInterfaceNameV6", INTERFACE_NAME, "wg-v6.cali", ENCRYPTION).required(),
    param("WireguardListeningPort", "wireguardListeningPort", ANY_INTEGER, "51820", ENCRYPTION),
    param("WireguardListeningPortV6", "wireguardListeningPortV6", ANY_INTEGER, "51821", ENCRYPTION),
    param("WireguardMTU", "wireguardMTU", ANY_INTEGER, "0", ENCRYPTION),
    param("WireguardMTUV6", "wireguardMTUV6", ANY_INTEGER, "0", ENCRYPTION),
    param("WireguardPersistentKeepAlive", "wireguardKeepAlive", Seconds, "0", ENCRYPTION),
    param("WireguardRoutingRulePriority", "wireguardRoutingRulePriority", ANY_INTEGER, "99", ENCRYPTION),
    param("WireguardThreadingEnabled", "wireguardThreadingEnabled", Bool, "false", ENCRYPTION),
    param("FlowLogsCollectorDebugTrace", "flowLogsCollectorDebugTrace", Bool, "false", DEBUG),
    param("FlowLogsFlushInterval", "flowLogsFlushInterval", Seconds, "300", FLOW_FLUSH),
    param("FlowLogsGoldmaneServer", "flowLogsGoldmaneServer", Text, "", NO_GOLDMANE),
    param("FlowLogsLocalReporter", "flowLogsLocalReporter", OneOf(&["Disabled", "Enabled"]), "Disabled", ACTS),
    param("FlowLogsPolicyEvaluationMode", "flowLogsPolicyEvaluationMode", OneOf(&["Continuous", "None"]), "Continuous", FLOW_EVALUATION),
    param("AWSSrcDstCheck", "awsSrcDstCheck", OneOf(&["Disable", "DoNothing", "Enable"]), "DoNothing", NO_AWS).required(),
    local("DebugBPFCgroupV2", Text, "", EBPF),
    param("DebugCPUProfilePath", "", Text, "/tmp/felix-cpu-<timestamp>.pprof", DEBUG),
    param("DebugDisableLogDropping", "debugDisableLogDropping", Bool, "false", DEBUG),
    param("DebugHost", "debugHost", HOST_OR_ADDRESS, "localhost", DEBUG),
    param("DebugMemoryProfilePath", "debugMemoryProfilePath", Text, "", DEBUG),
    param("DebugPanicAfter", "", Seconds, "0", DEBUG),
    param("DebugPort", "debugPort", PORT_NUMBER, "", DEBUG),
    param("DebugSimulateCalcGraphHangAfter", "debugSimulateCalcGraphHangAfter", Seconds, "0", DEBUG),
    param("DebugSimulateDataRace", "", Bool, "false", DEBUG),
    param("DebugSimulateDataplaneApplyDelay", "debugSimulateDataplaneApplyDelay", Seconds, "0", DEBUG),
    param("DebugSimulateDataplaneHangAfter", "debugSimulateDataplaneHangAfter", Seconds, "0", DEBUG),
    param("UsageReportingEnabled", "usageReportingEnabled", Bool, "true", REPORTS),
    param("UsageReportingInitialDelaySecs", "usageReportingInitialDelay", Seconds, "300", REPORTS),
    param("UsageReportingIntervalSecs", "usageReportingInterval", Seconds, "86400", REPORTS),
    // Ours alone: FelixConfiguration has no field for them.
    param("NftablesEvents", "", Bool, "true", ACTS),
    param("RevokeEstablishedConnections", "", Bool, "true", ACTS),
];
