//! Calico's other kinds.

use super::check;

fn calico(kind: &str, name: &str, spec: &str) -> String {
    format!("{{apiVersion: projectcalico.org/v3, kind: {kind}, metadata: {{name: {name}}}, spec: {spec}}}")
}

#[test]
fn tiers() {
    check(
        |spec| calico("Tier", "apps", spec),
        &[
            ("{}", ""),
            ("{order: -7.5, defaultAction: Pass}", ""),
            ("null", "crd spec: is missing"),
            ("{order: first}", "decode spec.order: a number is expected, not text"),
            ("{defaultAction: Allow}", "crd spec.defaultAction: \"Allow\" is not one of Deny, Pass"),
        ],
    );
    check(
        |name| calico("Tier", name, "{}"),
        &[
            ("a-1", ""),
            ("a.b", "meta metadata.name: \"a.b\" is not a DNS label"),
            (&"x".repeat(64), "meta metadata.name"),
        ],
    );
    check(
        |spec| calico("Tier", "default", spec),
        &[
            ("{}", ""),
            ("{order: 1000000, defaultAction: Deny}", ""),
            ("{order: 1000000.0}", ""),
            ("{order: 1}", "crd spec.order: must be 1000000 for the tier default"),
            ("{defaultAction: Pass}", "crd spec.defaultAction: must be Deny for the tier default"),
        ],
    );
    check(
        |spec| calico("Tier", "kube-admin", spec),
        &[
            ("{order: 1000, defaultAction: Pass}", ""),
            ("{order: 7, defaultAction: Pass}", "crd spec.order: must be 1000 for the tier kube-admin"),
            ("{defaultAction: Pass}", "crd spec.order: must be 1000"),
            ("{order: 1000}", "crd spec.defaultAction: must be Pass for the tier kube-admin"),
        ],
    );
    check(
        |spec| calico("Tier", "kube-baseline", spec),
        &[
            ("{order: 10000000, defaultAction: Pass}", ""),
            ("{order: 1000, defaultAction: Pass}", "crd spec.order: must be 10000000 for the tier kube-baseline"),
        ],
    );
}

#[test]
fn network_sets() {
    for kind in ["NetworkSet", "GlobalNetworkSet"] {
        check(
            |spec| calico(kind, "s", spec),
            &[
                ("{}", ""),
                ("{nets: [10.0.0.7/8, 192.0.2.1, 0.0.0.0/0, 'fd00::1/64']}", ""),
                ("{nets: null}", ""),
                ("null", "crd spec: is missing"),
                ("{nets: 10.0.0.0/8}", "decode spec.nets: a list is expected, not text"),
                (
                    "{nets: [10.0.0.0/8, 10.65.0.0/40]}",
                    "client spec.nets[1]: \"10.65.0.0/40\" is not an IP address or prefix",
                ),
                ("{nets: [a, a]}", "client spec.nets[0]"),
                ("{nets: [10.0.0.0/8, 10.0.0.0/8]}", "crd spec.nets[1]: \"10.0.0.0/8\" occurs twice"),
                ("{nets: [10.0.0.0/8, 10.0.0.1/8]}", ""),
                ("{allowedEgressDomains: []}", "decode spec.allowedEgressDomains: unknown field"),
            ],
        );
        check(
            |labels| calico(kind, &format!("s, labels: {labels}"), "{}"),
            &[
                ("{role: x}", ""),
                ("{projectcalico.org/namespace: x}", "client metadata.labels: cannot have projectcalico.org/namespace"),
            ],
        );
    }
}

#[test]
fn host_endpoints() {
    check(
        |spec| calico("HostEndpoint", "h", spec),
        &[
            ("{node: n1, interfaceName: eth0}", ""),
            ("{node: n1, interfaceName: '*', profiles: [p], ports: [{name: http, protocol: TCP, port: 80}]}", ""),
            ("{node: n1, expectedIPs: [192.0.2.1, 'fd00::1']}", ""),
            ("{interfaceName: eth0}", "crd spec.node: is missing"),
            ("{node: '', interfaceName: eth0}", "crd spec.node: is missing"),
            ("{node: N1, interfaceName: eth0}", "client spec.node: \"N1\" is not a name"),
            ("{node: n1}", "crd spec.interfaceName: is missing, and so is expectedIPs"),
            ("{node: n1, interfaceName: '', expectedIPs: []}", "crd spec.interfaceName: is missing"),
            ("{node: n1, interfaceName: sixteen-letters-}", "crd spec.interfaceName: is longer than 15 characters"),
            ("{node: n1, interfaceName: 'eth0:1'}", "client spec.interfaceName: \"eth0:1\" is not an interface's name"),
            (
                "{node: n1, expectedIPs: [192.0.2.0/24]}",
                "client spec.expectedIPs[0]: \"192.0.2.0/24\" is not an IP address",
            ),
            ("{node: n1, expectedIPs: [192.0.2.1, 192.0.2.1]}", "crd spec.expectedIPs[1]: \"192.0.2.1\" occurs twice"),
            ("{node: n1, interfaceName: a, profiles: [p, p]}", "crd spec.profiles[1]: \"p\" occurs twice"),
            ("{node: n1, interfaceName: a, profiles: [P]}", "client spec.profiles[0]"),
        ],
    );
    let port = |port: &str| calico("HostEndpoint", "h", &format!("{{node: n1, interfaceName: a, ports: [{port}]}}"));
    check(
        port,
        &[
            ("{name: a, protocol: 6, port: 65535}", ""),
            ("{protocol: TCP, port: 1}", "crd spec.ports[0].name: is missing"),
            ("{name: A, protocol: TCP, port: 1}", "client spec.ports[0].name"),
            ("{name: a, port: 1}", "crd spec.ports[0].protocol: is missing"),
            ("{name: a, protocol: ICMP, port: 1}", "client spec.ports[0].protocol: must be TCP, UDP or SCTP"),
            ("{name: a, protocol: 1, port: 1}", "client spec.ports[0].protocol: must be TCP, UDP or SCTP"),
            ("{name: a, protocol: TCP}", "crd spec.ports[0].port: is missing"),
            ("{name: a, protocol: TCP, port: 0}", "crd spec.ports[0].port: 0 is not within 1-65535"),
            ("{name: a, protocol: TCP, port: 65536}", "decode spec.ports[0].port: 65536 is not within 0-65535"),
        ],
    );
}

#[test]
fn profiles() {
    check(
        |spec| calico("Profile", "kns.web", spec),
        &[
            ("null", ""),
            ("{}", ""),
            ("{ingress: [{action: Allow}], egress: [{action: Deny}], labelsToApply: {role: x}}", ""),
            ("{ingress: [{action: Foo}]}", "crd spec.ingress[0].action"),
            ("{labelsToApply: {a b: c}}", "client spec.labelsToApply: the key \"a b\""),
            ("{labelsToApply: [a]}", "decode spec.labelsToApply: a mapping is expected"),
            ("{selector: all()}", "decode spec.selector: unknown field"),
        ],
    );
}

#[test]
fn workload_endpoints() {
    let endpoint = |metadata: &str, spec: &str| {
        format!("{{apiVersion: projectcalico.org/v3, kind: WorkloadEndpoint, metadata: {metadata}, spec: {spec}}}")
    };
    let k8s = "{orchestrator: k8s, node: n-1, pod: p, endpoint: eth0, interfaceName: cali1}";
    check(
        |metadata| endpoint(metadata, k8s),
        &[
            ("{name: n--1-k8s-p-eth0}", ""),
            ("{}", ""),
            ("null", ""),
            ("{name: wrong-name}", "client metadata.name: must be n--1-k8s-p-eth0"),
            ("{name: n-1-k8s-p-eth0}", "client metadata.name: must be n--1-k8s-p-eth0"),
        ],
    );
    check(
        |spec| endpoint("{}", spec),
        &[
            (
                "{orchestrator: cni, node: n1, containerID: C1, endpoint: e, interfaceName: a}",
                "meta metadata.name: \"n1-cni-C1-e\"",
            ),
            ("{orchestrator: cni, node: n1, containerID: c1, endpoint: e, interfaceName: a}", ""),
            ("{orchestrator: vm, node: n1, workload: w.x, endpoint: e, interfaceName: a}", ""),
            ("{orchestrator: k8s, pod: p, endpoint: e, interfaceName: a}", "client spec.node: is missing"),
            ("{node: n1, workload: w, endpoint: e, interfaceName: a}", "client spec.orchestrator: is missing"),
            (
                "{orchestrator: k8s, node: n1, workload: w, endpoint: e, interfaceName: a}",
                "client spec.pod: is missing",
            ),
            (
                "{orchestrator: k8s, node: n1, pod: -p, endpoint: e, interfaceName: a}",
                "client spec.pod: begins or ends with '-'",
            ),
        ],
    );
    let further = |fields: &str| endpoint("{}", &k8s.replace('}', &format!(", {fields}}}")));
    check(
        further,
        &[
            ("ipNetworks: [10.0.0.1, 'fd00::1/128'], ipNATs: [{internalIP: 10.0.0.1, externalIP: 192.0.2.1}]", ""),
            ("mac: 'EE:ee:EE:ee:ee:01', profiles: [kns.web], serviceAccountName: web", ""),
            ("ports: [{name: http, protocol: TCP, port: 80}, {protocol: 17, port: 1, hostPort: 2}]", ""),
            ("allowSpoofedSourcePrefixes: [10.0.0.0/8], qosControls: {egressBurst: 1}, ipv4Gateway: 10.0.0.254", ""),
            ("ipNetworks: [10.0.0.0/24]", "client spec.ipNetworks[0]: \"10.0.0.0/24\" holds more than one address"),
            ("ipNetworks: [x]", "client spec.ipNetworks[0]: \"x\" is not an IP address"),
            ("ipv4Gateway: 'fd00::1'", "client spec.ipv4Gateway: \"fd00::1\" is not an IPv4 address"),
            ("ipv6Gateway: 10.0.0.1", "client spec.ipv6Gateway"),
            ("mac: 'EE:EE'", "client spec.mac: \"EE:EE\" is not a MAC address"),
            (
                "ipNATs: [{internalIP: 10.0.0.1, externalIP: 192.0.2.1}]",
                "client spec.ipNATs[0].internalIP: 10.0.0.1 is not one of the endpoint's",
            ),
            (
                "ipNetworks: [10.0.0.1], ipNATs: [{internalIP: 10.0.0.1, externalIP: 'fd00::1'}]",
                "client spec.ipNATs[0].externalIP: is not of the internalIP's family",
            ),
            ("ports: [{protocol: TCP, port: 80}]", "client spec.ports[0].name: is missing, and so is hostPort"),
            ("ports: [{name: a, protocol: ICMP, port: 80}]", "client spec.ports[0].protocol: must be TCP, UDP or SCTP"),
            ("ports: [{name: a, protocol: TCP, port: 0}]", "crd spec.ports[0].port"),
            ("profiles: [A]", "client spec.profiles[0]"),
            ("state: active", "decode spec.state: unknown field"),
        ],
    );
    check(
        |interface| endpoint("{}", &k8s.replace("cali1", interface)),
        &[
            ("''", "crd spec.interfaceName: is missing"),
            ("a/b", "client spec.interfaceName: \"a/b\" is not an interface's name"),
        ],
    );
}

#[test]
fn felix_configurations() {
    check(
        |spec| calico("FelixConfiguration", "node.n1", spec),
        &[
            ("{}", ""),
            ("{nftablesMode: Disabled, workloadSourceSpoofing: any, interfacePrefix: 'cali,tap'}", ""),
            ("{nftablesRefreshInterval: 10s, iptablesRefreshInterval: 1m30s, reportingInterval: 0s}", ""),
            (
                "{liveMigrationRouteConvergenceTime: 1.5s, bpfConntrackTimeouts: {tcpSynSent: Auto, udpTimeout: 1.5ms}}",
                "",
            ),
            (
                "{featureDetectOverride: 'A=true,B=', featureGates: 'A=b,C=d', logPrefix: 'calico %k: ', logActionRateLimit: 10/minute}",
                "",
            ),
            (
                "{kubeNodePortRanges: ['30000:32767', 80], natPortRange: '1:2', failsafeInboundHostPorts: [{net: 10.0.0.0/8, protocol: TCP, port: 22}]}",
                "",
            ),
            (
                "{routeTableRanges: [{min: 1, max: 4000}], healthTimeoutOverrides: [{name: a b, timeout: 1s}], bpfLogFilters: {all: x}}",
                "",
            ),
            (
                "{iptablesMarkMask: 4294967295, natOutgoingAddress: 192.0.2.1, deviceRouteSourceAddressIPv6: 'fd00::1', openstackRegion: r1}",
                "",
            ),
            ("{nfTablesMode: Auto}", "decode spec.nfTablesMode: unknown field"),
            ("{ipv6Support: 'true'}", "decode spec.ipv6Support: true or false is expected, not text"),
            ("{vxlanPort: '4789'}", "decode spec.vxlanPort: a whole number is expected, not text"),
            ("{nftablesMode: disabled}", "crd spec.nftablesMode: \"disabled\" is not one of Disabled, Enabled, Auto"),
            ("{workloadSourceSpoofing: all}", "crd spec.workloadSourceSpoofing: \"all\" is not one of Disabled, Any"),
            ("{reportingInterval: 90}", "decode spec.reportingInterval: text is expected, not the number 90: quote it"),
            ("{reportingInterval: 1.5s}", "crd spec.reportingInterval: \"1.5s\" does not match"),
            (
                "{liveMigrationRouteConvergenceTime: x}",
                "crd spec.liveMigrationRouteConvergenceTime: \"x\" does not match",
            ),
            ("{bpfConntrackTimeouts: {tcpSynSent: soon}}", "crd spec.bpfConntrackTimeouts.tcpSynSent"),
            ("{featureDetectOverride: A}", "crd spec.featureDetectOverride"),
            ("{featureGates: A}", "crd spec.featureGates"),
            ("{logPrefix: a$}", "crd spec.logPrefix"),
            ("{logActionRateLimit: 0/minute}", "crd spec.logActionRateLimit"),
            ("{logActionRateLimitBurst: 10000}", "crd spec.logActionRateLimitBurst: 10000 is not within 0-9999"),
            ("{iptablesMarkMask: 4294967296}", "crd spec.iptablesMarkMask"),
            ("{kubeNodePortRanges: [http]}", "client spec.kubeNodePortRanges[0]: is a port's name"),
            ("{kubeNodePortRanges: [1, 2, 3, 4, 5, 6, 7, 8]}", "crd spec.kubeNodePortRanges: has 8 elements"),
            ("{failsafeInboundHostPorts: [{protocol: TCP}]}", "crd spec.failsafeInboundHostPorts[0].port: is missing"),
            ("{routeTableRange: {min: 0, max: 5}}", "crd spec.routeTableRange.min: 0 is not within 1-250"),
            ("{routeTableRange: {min: 9, max: 5}}", "crd spec.routeTableRange.max: is below min"),
            (
                "{routeTableRange: {min: 1, max: 5}, routeTableRanges: []}",
                "crd spec.routeTableRange: excludes routeTableRanges",
            ),
            ("{natOutgoingAddress: 'fd00::1'}", "client spec.natOutgoingAddress: \"fd00::1\" is not an IPv4 address"),
            ("{nodeSelector: a =}", "client spec.nodeSelector: not a selector"),
            ("{healthTimeoutOverrides: [{name: a/b, timeout: 1s}]}", "crd spec.healthTimeoutOverrides[0].name"),
        ],
    );
}
