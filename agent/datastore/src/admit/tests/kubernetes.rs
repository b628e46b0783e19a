//! Native kinds.

use super::check;

#[test]
fn namespaces() {
    let namespace = |metadata: &str| format!("{{apiVersion: v1, kind: Namespace, metadata: {metadata}}}");
    check(
        namespace,
        &[
            ("{name: web}", ""),
            ("{name: web, namespace: ignored}", ""),
            ("{name: a.b}", "meta metadata.name: \"a.b\" is not a DNS label"),
            (&format!("{{name: {}}}", "x".repeat(63)), ""),
            (&format!("{{name: {}}}", "x".repeat(64)), "meta metadata.name"),
        ],
    );
}

#[test]
fn nodes() {
    let node = |rest: &str| format!("{{apiVersion: v1, kind: Node, metadata: {{name: n.example.com}}, {rest}}}");
    check(
        node,
        &[
            ("spec: {}", ""),
            ("spec: {podCIDR: 10.0.0.0/24, podCIDRs: [10.0.0.0/24, 'fd00::/64'], unknown: 1}", ""),
            ("status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}", ""),
            ("spec: {podCIDR: 10.0.0.1}", "k8s spec.podCIDR: \"10.0.0.1\" has no prefix length"),
            ("spec: {podCIDRs: [10.0.0.0/24, 10.0.1.0/24]}", "k8s spec.podCIDRs: has more than one prefix of a family"),
            ("spec: {podCIDRs: x}", "decode spec.podCIDRs: a list is expected"),
            ("status: {addresses: [{type: InternalIP}]}", "k8s status.addresses[0].address: is missing"),
        ],
    );
}

#[test]
fn pods() {
    let pod = |spec: &str| format!("{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, {spec}}}");
    check(
        pod,
        &[
            ("spec: {containers: [{name: c, image: i}]}", ""),
            ("spec: {containers: [{name: c, image: i}], nodeName: n1, hostNetwork: yes, unknown: {a: 1}}", ""),
            (
                "spec: {containers: [{name: c, image: i}]}, status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}]}",
                "",
            ),
            ("status: {}", "k8s spec: is missing"),
            ("spec: {}", "k8s spec.containers: is missing"),
            ("spec: {containers: []}", "k8s spec.containers: has 0 elements, 1 at least are needed"),
            ("spec: {containers: [{image: i}]}", "k8s spec.containers[0].name: is missing"),
            ("spec: {containers: [{name: C, image: i}]}", "k8s spec.containers[0].name: \"C\" is not a DNS label"),
            ("spec: {containers: [{name: c}]}", "k8s spec.containers[0].image: is missing"),
            (
                "spec: {containers: [{name: c, image: i}, {name: c, image: i}]}",
                "k8s spec.containers[1].name: c occurs twice",
            ),
            (
                "spec: {containers: [{name: c, image: i}], initContainers: [{name: c, image: i}]}",
                "k8s spec.initContainers[0].name: c occurs twice",
            ),
            (
                "spec: {containers: [{name: c, image: i}], nodeName: N1}",
                "k8s spec.nodeName: \"N1\" is not a DNS subdomain",
            ),
            ("spec: {containers: [{name: c, image: i}], nodeName: 7}", "decode spec.nodeName: text is expected"),
            (
                "spec: {containers: [{name: c, image: i}], hostNetwork: 'true'}",
                "decode spec.hostNetwork: true or false is expected",
            ),
            (
                "spec: {containers: [{name: c, image: i}], restartPolicy: Sometimes}",
                "k8s spec.restartPolicy: \"Sometimes\" is not one of",
            ),
            (
                "spec: {containers: [{name: c, image: i}]}, status: {podIPs: [10.0.0.1]}",
                "decode status.podIPs[0]: a mapping is expected",
            ),
        ],
    );

    let port = |port: &str| pod(&format!("spec: {{containers: [{{name: c, image: i, ports: [{port}]}}]}}"));
    check(
        port,
        &[
            ("{containerPort: 80}", ""),
            ("{containerPort: 80, protocol: SCTP, name: http, hostPort: 30080, hostIP: 192.0.2.1}", ""),
            ("{containerPort: 53, name: dns, protocol: UDP}, {containerPort: 53, name: dns-tcp}", ""),
            ("{containerPort: 80, hostPort: 1}, {containerPort: 80, hostPort: 1, protocol: UDP}", ""),
            ("{}", "k8s spec.containers[0].ports[0].containerPort: is missing"),
            ("{containerPort: 0}", "k8s spec.containers[0].ports[0].containerPort: 0 is not within 1-65535"),
            ("{containerPort: 65536}", "k8s spec.containers[0].ports[0].containerPort"),
            (
                "{containerPort: http}",
                "decode spec.containers[0].ports[0].containerPort: a whole number is expected, not text",
            ),
            ("{containerPort: 80.5}", "decode spec.containers[0].ports[0].containerPort: 80.5 is not a whole number"),
            (
                "{containerPort: 80, protocol: tcp}",
                "k8s spec.containers[0].ports[0].protocol: \"tcp\" is not one of TCP, UDP, SCTP",
            ),
            ("{containerPort: 80, name: HTTP}", "k8s spec.containers[0].ports[0].name: \"HTTP\" is not a port name"),
            ("{containerPort: 80, name: '8080'}", "k8s spec.containers[0].ports[0].name: \"8080\" is not a port name"),
            ("{containerPort: 80, name: sixteen-letters-}", "k8s spec.containers[0].ports[0].name"),
            ("{containerPort: 80, name: a--b}", "k8s spec.containers[0].ports[0].name"),
            (
                "{containerPort: 80, name: a}, {containerPort: 81, name: a}",
                "k8s spec.containers[0].ports[1].name: a occurs twice",
            ),
            (
                "{containerPort: 80, hostPort: 1}, {containerPort: 81, hostPort: 1}",
                "k8s spec.containers[0].ports[1].hostPort: 1 occurs twice",
            ),
            ("{containerPort: 80, hostIP: x}", "k8s spec.containers[0].ports[0].hostIP: \"x\" is not an IP address"),
        ],
    );
    check(
        |ports| pod(&format!("spec: {{hostNetwork: true, containers: [{{name: c, image: i, ports: [{ports}]}}]}}")),
        &[
            ("{containerPort: 80, hostPort: 80}", ""),
            ("{containerPort: 80}", ""),
            ("{containerPort: 80, hostPort: 81}", "k8s spec.containers[0].ports[0].containerPort: is not the hostPort"),
        ],
    );
}

#[test]
fn network_policies() {
    let policy = |rest: &str| {
        format!("{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: a.b.c}}{rest}}}")
    };
    check(
        policy,
        &[
            ("", ""),
            (", spec: {}", ""),
            (", spec: {podSelector: {}, ingress: [], egress: [], policyTypes: []}", ""),
            (
                ", spec: {podSelector: null, ingress: null, policyTypes: [Ingress, Egress]}, status: {conditions: []}",
                "",
            ),
            (", spec: {policyTypes: [Ingress, Ingress]}", ""),
            (", spec: {policyTypes: [ingress]}", "k8s spec.policyTypes[0]: \"ingress\" is not one of Ingress, Egress"),
            (
                ", spec: {policyTypes: [Ingress, Egress, Egress]}",
                "k8s spec.policyTypes: has 3 elements, 2 at most are allowed",
            ),
            (", spec: {podSelektor: {}}", "decode spec.podSelektor: unknown field"),
            (", spec: {ingress: {}}", "decode spec.ingress: a list is expected, not a mapping"),
            (", spec: {ingress: [null]}", "decode spec.ingress[0]: a mapping is expected, not null"),
            (", spec: {ingress: [{to: []}]}", "decode spec.ingress[0].to: unknown field"),
            (", spec: {egress: [{from: []}]}", "decode spec.egress[0].from: unknown field"),
            (", extra: 1", "decode extra: unknown field"),
        ],
    );

    let peer = |peer: &str| policy(&format!(", spec: {{ingress: [{{from: [{peer}]}}]}}"));
    check(
        peer,
        &[
            ("{podSelector: {}}", ""),
            ("{namespaceSelector: {matchLabels: {a: b}}, podSelector: {}}", ""),
            ("{ipBlock: {cidr: 10.0.0.7/8, except: [10.1.0.0/16, 10.2.0.0/15]}}", ""),
            ("{ipBlock: {cidr: 'fd00::/16', except: ['fd00:1::/32']}}", ""),
            ("{}", "k8s spec.ingress[0].from[0]: names no peer"),
            (
                "{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}",
                "k8s spec.ingress[0].from[0].ipBlock: excludes podSelector",
            ),
            ("{ipBlock: {}}", "k8s spec.ingress[0].from[0].ipBlock.cidr: is missing"),
            (
                "{ipBlock: {cidr: 10.0.0.1}}",
                "k8s spec.ingress[0].from[0].ipBlock.cidr: \"10.0.0.1\" has no prefix length",
            ),
            ("{ipBlock: {cidr: 10.0.0.0/33}}", "k8s spec.ingress[0].from[0].ipBlock.cidr"),
            ("{ipBlock: {cidr: 010.0.0.0/8}}", "k8s spec.ingress[0].from[0].ipBlock.cidr"),
            (
                "{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}",
                "k8s spec.ingress[0].from[0].ipBlock.except[0]: 11.0.0.0/16 is not a part of 10.0.0.0/8",
            ),
            ("{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}", "k8s spec.ingress[0].from[0].ipBlock.except[0]"),
            (
                "{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 'fd00::/8']}}",
                "k8s spec.ingress[0].from[0].ipBlock.except[1]",
            ),
            (
                "{ipBlock: {cidr: 10.0.0.0/8, except: [x]}}",
                "k8s spec.ingress[0].from[0].ipBlock.except[0]: \"x\" is not an IP address",
            ),
        ],
    );

    let port = |port: &str| policy(&format!(", spec: {{egress: [{{ports: [{port}]}}]}}"));
    check(
        port,
        &[
            ("{}", ""),
            ("{port: 80}", ""),
            ("{port: http, protocol: UDP}", ""),
            ("{protocol: SCTP}", ""),
            ("{port: 80, endPort: 80}", ""),
            ("{port: 1, endPort: 65535}", ""),
            ("{port: 0}", "k8s spec.egress[0].ports[0].port: 0 is not within 1-65535"),
            ("{port: 65536}", "k8s spec.egress[0].ports[0].port"),
            ("{port: -1}", "k8s spec.egress[0].ports[0].port"),
            ("{port: '80'}", "k8s spec.egress[0].ports[0].port: \"80\" is not a port name"),
            ("{port: ''}", "k8s spec.egress[0].ports[0].port: \"\" is not a port name"),
            ("{port: HTTP}", "k8s spec.egress[0].ports[0].port: \"HTTP\" is not a port name"),
            ("{port: 80.5}", "decode spec.egress[0].ports[0].port"),
            ("{port: true}", "decode spec.egress[0].ports[0].port"),
            ("{protocol: tcp}", "k8s spec.egress[0].ports[0].protocol: \"tcp\" is not one of"),
            ("{protocol: ICMP}", "k8s spec.egress[0].ports[0].protocol"),
            ("{protocol: 6}", "decode spec.egress[0].ports[0].protocol: text is expected, not the number 6"),
            ("{endPort: 80}", "k8s spec.egress[0].ports[0].endPort: needs a port to count from"),
            ("{port: http, endPort: 80}", "k8s spec.egress[0].ports[0].endPort: needs a port that is a number"),
            ("{port: 80, endPort: 79}", "k8s spec.egress[0].ports[0].endPort: 79 is below the port, 80"),
            ("{port: 80, endPort: 65536}", "k8s spec.egress[0].ports[0].endPort: 65536 is not within 1-65535"),
            ("{port: 80, endPort: '90'}", "decode spec.egress[0].ports[0].endPort"),
        ],
    );

    let selector = |selector: &str| policy(&format!(", spec: {{podSelector: {selector}}}"));
    check(
        selector,
        &[
            ("{matchLabels: {a: b, example.com/c: ''}}", ""),
            ("{matchExpressions: [{key: a, operator: In, values: [b, '']}, {key: a, operator: Exists}]}", ""),
            ("{matchExpressions: [{key: a, operator: DoesNotExist, values: []}]}", ""),
            ("{matchLabels: {bad key: x}}", "k8s spec.podSelector.matchLabels: the key \"bad key\""),
            ("{matchLabels: {a: b c}}", "k8s spec.podSelector.matchLabels: the value \"b c\""),
            ("{matchLabels: {a: 1}}", "decode spec.podSelector.matchLabels.a: text is expected"),
            ("{matchLabel: {}}", "decode spec.podSelector.matchLabel: unknown field"),
            ("{matchExpressions: [{operator: Exists}]}", "k8s spec.podSelector.matchExpressions[0].key: is missing"),
            (
                "{matchExpressions: [{key: a b, operator: Exists}]}",
                "k8s spec.podSelector.matchExpressions[0].key: \"a b\"",
            ),
            ("{matchExpressions: [{key: a}]}", "k8s spec.podSelector.matchExpressions[0].operator: is missing"),
            (
                "{matchExpressions: [{key: a, operator: in, values: [b]}]}",
                "k8s spec.podSelector.matchExpressions[0].operator: \"in\" is not one of",
            ),
            (
                "{matchExpressions: [{key: a, operator: In}]}",
                "k8s spec.podSelector.matchExpressions[0].values: is missing",
            ),
            (
                "{matchExpressions: [{key: a, operator: NotIn, values: []}]}",
                "k8s spec.podSelector.matchExpressions[0].values",
            ),
            (
                "{matchExpressions: [{key: a, operator: Exists, values: [b]}]}",
                "k8s spec.podSelector.matchExpressions[0].values: has no meaning",
            ),
            (
                "{matchExpressions: [{key: a, operator: In, values: [b, c d]}]}",
                "k8s spec.podSelector.matchExpressions[0].values[1]: \"c d\"",
            ),
        ],
    );
}

#[test]
fn endpoint_slices() {
    let slice = |fields: &str| {
        format!("{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: s-1}}, {fields}}}")
    };
    check(
        slice,
        &[
            ("addressType: IPv4", ""),
            (
                "addressType: IPv4, endpoints: [{addresses: [10.0.0.1], conditions: {ready: false}}], ports: [{port: 80}]",
                "",
            ),
            ("addressType: IPv6, endpoints: [{addresses: ['fd00::1']}], ports: [{name: a, port: 1}, {name: b}]", ""),
            ("addressType: FQDN, endpoints: [{addresses: [db.example.org]}]", ""),
            ("addressType: IPv4, ports: null, endpoints: null", ""),
            ("addressType: IPv4, endpoints: [{addresses: [10.0.0.1, 10.0.0.1]}]", ""),
            ("endpoints: []", "k8s addressType: is missing"),
            ("addressType: ipv4", "k8s addressType: \"ipv4\" is not one of"),
            ("addressType: IPv4, endpoints: [{}]", "k8s endpoints[0].addresses: is missing"),
            ("addressType: IPv4, endpoints: [{addresses: []}]", "k8s endpoints[0].addresses: has 0 elements"),
            ("addressType: IPv4, endpoints: [{addresses: ['fd00::1']}]", "k8s endpoints[0].addresses[0]"),
            ("addressType: IPv6, endpoints: [{addresses: [10.0.0.1]}]", "k8s endpoints[0].addresses[0]"),
            ("addressType: IPv4, ports: [{port: 65536}]", "k8s ports[0].port: 65536 is not within 1-65535"),
            ("addressType: IPv4, ports: [{port: 80, protocol: ICMP}]", "k8s ports[0].protocol"),
            ("addressType: IPv4, ports: [{port: 80}, {port: 81}]", "k8s ports[1].name: \"\" occurs twice"),
        ],
    );
}
