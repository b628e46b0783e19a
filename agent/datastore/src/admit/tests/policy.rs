//! Calico's policies and their rules.

use super::check;

fn namespaced(spec: &str) -> String {
    format!("{{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {{name: p}}, spec: {spec}}}")
}

fn global(spec: &str) -> String {
    format!("{{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {{name: p}}, spec: {spec}}}")
}

/// A policy whose only ingress rule allows and has these further fields.
fn ingress(fields: &str) -> String {
    namespaced(&format!("{{ingress: [{{action: Allow, {fields}}}]}}"))
}

#[test]
fn names() {
    let named = |kind: &'static str| {
        move |name: &str| {
            format!("{{apiVersion: projectcalico.org/v3, kind: {kind}, metadata: {{name: {name}}}, spec: {{}}}}")
        }
    };
    let both = [
        ("a", ""),
        ("a.b", ""),
        ("default.a-1", ""),
        ("A", "meta metadata.name"),
        ("a.b.c", "meta metadata.name: \"a.b.c\" has more than one '.'"),
    ];
    check(named("NetworkPolicy"), &both);
    check(named("GlobalNetworkPolicy"), &both);
    check(named("NetworkPolicy"), &[("knp.default.a.b.c", ""), ("knp.other.a", "meta metadata.name")]);
    check(named("GlobalNetworkPolicy"), &[("knp.default.a", "meta metadata.name")]);
}

#[test]
fn specs() {
    let both = [
        ("{}", ""),
        ("{tier: '', order: null, selector: '', types: [], ingress: [], egress: []}", ""),
        ("{tier: apps, order: -1.5, selector: all(), serviceAccountSelector: has(a), types: [Egress, Ingress]}", ""),
        ("{performanceHints: [AssumeNeededOnEveryNode]}", ""),
        ("null", "crd spec: is missing"),
        ("[]", "decode spec: a mapping is expected, not a list"),
        ("{teir: apps}", "decode spec.teir: unknown field"),
        ("{order: '10'}", "decode spec.order: a number is expected, not text"),
        ("{selector: [a]}", "decode spec.selector: text is expected, not a list"),
        ("{types: Ingress}", "decode spec.types: a list is expected, not text"),
        ("{ingress: [{action: Allow}, x]}", "decode spec.ingress[1]: a mapping is expected, not text"),
        ("{types: [Ingress, ingress]}", "crd spec.types[1]: \"ingress\" is not one of Ingress, Egress"),
        ("{types: [Ingress, Ingress]}", "crd spec.types[1]: \"Ingress\" occurs twice"),
        ("{performanceHints: [Fast]}", "crd spec.performanceHints[0]: \"Fast\" is not one of"),
        ("{selector: global()}", "crd spec.selector: global() has a meaning in a rule's namespaceSelector only"),
        ("{serviceAccountSelector: 'a == \"b\" || global()'}", "crd spec.serviceAccountSelector: global()"),
        ("{selector: a == b}", "client spec.selector: not a selector: column 6"),
        ("{serviceAccountSelector: '())'}", "client spec.serviceAccountSelector: not a selector: column 2"),
        ("{tier: No Tier}", "client spec.tier: \"No Tier\" is not a name"),
        (
            "{egress: [{action: Allow, http: {methods: [GET]}}]}",
            "client spec.egress[0].http: is for ingress rules only",
        ),
        (
            "{ingress: [{action: Allow, destination: {services: {name: a, namespace: b}}}]}",
            "client spec.ingress[0].destination.services: cannot be the destination of an ingress rule",
        ),
        (
            "{egress: [{action: Allow, source: {services: {name: a, namespace: b}}}]}",
            "client spec.egress[0].source.services: cannot be the source of an egress rule",
        ),
    ];
    check(namespaced, &both);
    check(global, &both);

    check(
        namespaced,
        &[
            ("{namespaceSelector: all()}", "decode spec.namespaceSelector: unknown field"),
            ("{preDNAT: true}", "decode spec.preDNAT: unknown field"),
            ("{egress: [{action: Allow, destination: {services: {name: a}}}]}", ""),
        ],
    );
    check(
        global,
        &[
            ("{namespaceSelector: team == 'a'}", ""),
            ("{namespaceSelector: global()}", "crd spec.namespaceSelector: global()"),
            ("{namespaceSelector: '!'}", "client spec.namespaceSelector: not a selector"),
            ("{preDNAT: true, applyOnForward: true, ingress: [{action: Allow}]}", ""),
            ("{doNotTrack: true, applyOnForward: true, egress: [{action: Allow}]}", ""),
            ("{preDNAT: false, doNotTrack: false}", ""),
            ("{preDNAT: true, doNotTrack: true, applyOnForward: true}", "crd spec.preDNAT: excludes doNotTrack"),
            (
                "{preDNAT: true, applyOnForward: true, egress: [{action: Allow}]}",
                "crd spec.egress: cannot be in a policy with preDNAT",
            ),
            (
                "{preDNAT: true, applyOnForward: true, types: [Egress]}",
                "crd spec.types: cannot have Egress with preDNAT",
            ),
            ("{preDNAT: true}", "crd spec.applyOnForward: must be true"),
            ("{doNotTrack: true, applyOnForward: false}", "crd spec.applyOnForward: must be true"),
            (
                "{egress: [{action: Allow, destination: {services: {name: a}}}]}",
                "client spec.egress[0].destination.services.namespace: is missing",
            ),
            (
                "{ingress: [{action: Allow, source: {services: {name: a}}}]}",
                "client spec.ingress[0].source.services.namespace: is missing",
            ),
        ],
    );

    for (length, expected) in [(1024, ""), (1025, "crd spec.selector: is longer than 1024 characters")] {
        let selector = format!("a == 'é{}'", "x".repeat(length - 8));
        assert_eq!(selector.chars().count(), length);
        check(namespaced, &[(&format!("{{selector: \"{selector}\"}}"), expected)]);
    }
    for (rules, expected) in [(1024, ""), (1025, "crd spec.ingress: has 1025 elements, 1024 at most are allowed")] {
        check(namespaced, &[(&format!("{{ingress: [{}]}}", vec!["{action: Deny}"; rules].join(",")), expected)]);
    }
}

#[test]
fn actions() {
    check(
        |action| namespaced(&format!("{{egress: [{{{action}}}]}}")),
        &[
            ("action: Allow", ""),
            ("action: Deny", ""),
            ("action: Log", ""),
            ("action: Pass", ""),
            ("", "crd spec.egress[0].action: is missing"),
            ("action: allow", "crd spec.egress[0].action: \"allow\" is not one of Allow, Deny, Log, Pass"),
            ("action: 1", "decode spec.egress[0].action: text is expected"),
            ("action: Deny, http: {}", "crd spec.egress[0].http: is for rules with action Allow only"),
        ],
    );
}

#[test]
fn protocols() {
    check(
        ingress,
        &[
            ("protocol: TCP", ""),
            ("protocol: UDPLite, notProtocol: ICMPv6", ""),
            ("protocol: 1", ""),
            ("protocol: '255'", ""),
            ("protocol: 256", "decode spec.ingress[0].protocol: 256 is not within 0-255"),
            ("protocol: -1", "decode spec.ingress[0].protocol"),
            ("protocol: [TCP]", "decode spec.ingress[0].protocol"),
            ("protocol: 0", "client spec.ingress[0].protocol: protocol 0 is not within 1-255"),
            ("protocol: tcp", "client spec.ingress[0].protocol: \"tcp\" is not a protocol"),
            ("protocol: any", "client spec.ingress[0].protocol: \"any\" is not a protocol"),
            ("notProtocol: GRE", "client spec.ingress[0].notProtocol: \"GRE\" is not a protocol"),
            ("ipVersion: 4", ""),
            ("ipVersion: 5", "crd spec.ingress[0].ipVersion: 5 is not one of 4, 6"),
            ("ipVersion: '4'", "decode spec.ingress[0].ipVersion: a whole number is expected, not text"),
            ("ipVersion: 4, protocol: ICMP", ""),
            ("ipVersion: 6, protocol: 58", ""),
            ("ipVersion: 6, protocol: ICMP", "crd spec.ingress[0].protocol: ICMP needs ipVersion 4"),
            ("ipVersion: 6, protocol: 1", "crd spec.ingress[0].protocol"),
            ("ipVersion: 4, protocol: ICMPv6", "crd spec.ingress[0].protocol: ICMPv6 needs ipVersion 6"),
            ("ipVersion: 6, notProtocol: '1'", "crd spec.ingress[0].notProtocol: ICMP needs ipVersion 4"),
            ("ipVersion: 4, notProtocol: 58", "crd spec.ingress[0].notProtocol"),
        ],
    );
}

#[test]
fn icmp() {
    check(
        ingress,
        &[
            ("protocol: ICMP, icmp: {type: 8, code: 0}", ""),
            ("protocol: 58, icmp: {type: 254, code: 255}", ""),
            ("protocol: ICMP, icmp: {}", ""),
            ("notICMP: {type: 8}", ""),
            ("icmp: {type: 8}", "crd spec.ingress[0].icmp: needs protocol ICMP or ICMPv6"),
            ("protocol: TCP, icmp: {}", "crd spec.ingress[0].icmp: needs protocol ICMP or ICMPv6"),
            ("protocol: ICMP, icmp: {code: 0}", "crd spec.ingress[0].icmp.code: needs a type"),
            ("notICMP: {code: 0}", "crd spec.ingress[0].notICMP.code: needs a type"),
            ("protocol: ICMP, icmp: {type: 255}", "crd spec.ingress[0].icmp.type: 255 is not within 0-254"),
            ("protocol: ICMP, icmp: {type: 8, code: 256}", "crd spec.ingress[0].icmp.code: 256 is not within 0-255"),
            ("protocol: ICMP, icmp: {type: -1}", "crd spec.ingress[0].icmp.type"),
            (
                "protocol: ICMP, icmp: {type: echo}",
                "decode spec.ingress[0].icmp.type: a whole number is expected, not text",
            ),
            ("protocol: ICMP, icmp: {kind: 8}", "decode spec.ingress[0].icmp.kind: unknown field"),
        ],
    );
}

#[test]
fn ports() {
    let tcp = |ports: &str| ingress(&format!("protocol: TCP, destination: {{ports: [{ports}]}}"));
    check(
        tcp,
        &[
            ("80, '443', '8000:8080', http, '7:7'", ""),
            ("80, 80", ""),
            ("65536", "decode spec.ingress[0].destination.ports[0]: 65536 is not within 0-65535"),
            ("'65536'", "decode spec.ingress[0].destination.ports[0]: port 65536 is above 65535"),
            (
                "'99999999999999999999999'",
                "decode spec.ingress[0].destination.ports[0]: port 99999999999999999999999 is above 65535",
            ),
            ("'1:65536'", "decode spec.ingress[0].destination.ports[0]: port range 1:65536 reaches above 65535"),
            ("'90:80'", "decode spec.ingress[0].destination.ports[0]: port range 90:80 is inverted"),
            ("'80:'", "decode spec.ingress[0].destination.ports[0]: \"80:\" is not a port"),
            ("''", "decode spec.ingress[0].destination.ports[0]"),
            ("a b", "decode spec.ingress[0].destination.ports[0]: \"a b\" is not a port"),
            ("1.5", "decode spec.ingress[0].destination.ports[0]: 1.5 is not a whole number"),
            ("0", "client spec.ingress[0].destination.ports[0]: port 0 is not within 1-65535"),
            ("'00:80'", "client spec.ingress[0].destination.ports[0]: port range 00:80 begins below 1"),
            ("80, HTTP", "client spec.ingress[0].destination.ports[1]: \"HTTP\" is not a port name"),
            ("under_score", "client spec.ingress[0].destination.ports[0]"),
            (&vec!["80"; 50].join(","), ""),
            (
                &vec!["80"; 51].join(","),
                "crd spec.ingress[0].destination.ports: has 51 elements, 50 at most are allowed",
            ),
        ],
    );
    check(
        ingress,
        &[
            ("protocol: 17, source: {notPorts: [53]}", ""),
            ("protocol: '132', source: {ports: [53]}", ""),
            ("destination: {ports: [http]}, source: {notPorts: [dns]}", ""),
            ("protocol: ICMP, destination: {ports: []}", ""),
            (
                "destination: {ports: [http, 80]}",
                "client spec.ingress[0].destination.ports: has a number, which needs protocol",
            ),
            (
                "source: {notPorts: ['1:2']}",
                "client spec.ingress[0].source.notPorts: has a number, which needs protocol",
            ),
            (
                "protocol: ICMP, source: {ports: [http]}",
                "client spec.ingress[0].source.ports: needs protocol TCP, UDP or SCTP",
            ),
            (
                "protocol: UDPLite, destination: {ports: [80]}",
                "client spec.ingress[0].destination.ports: needs protocol",
            ),
        ],
    );
}

#[test]
fn nets() {
    let source = |nets: &str| ingress(&format!("source: {{{nets}}}"));
    check(
        source,
        &[
            ("nets: [10.0.0.0/8, 192.0.2.7/32], notNets: [10.1.0.0/16]", ""),
            ("nets: ['fd00::/8', '::/0']", ""),
            ("nets: [10.0.0.7]", ""),
            ("nets: [10.0.0.0/8, 10.0.0.0/8]", "crd spec.ingress[0].source.nets[1]: \"10.0.0.0/8\" occurs twice"),
            (
                "nets: [10.0.0.0/33]",
                "client spec.ingress[0].source.nets[0]: \"10.0.0.0/33\" is not an IP address or prefix",
            ),
            (
                "nets: [10.0.0.0/8, host]",
                "client spec.ingress[0].source.nets[1]: \"host\" is not an IP address or prefix",
            ),
            (
                "nets: [10.0.0.1/8]",
                "client spec.ingress[0].source.nets[0]: \"10.0.0.1/8\" has bits set beyond its prefix length",
            ),
            ("notNets: ['fd00::1/64']", "client spec.ingress[0].source.notNets[0]"),
            ("notNets: [0.0.0.0/0]", "client spec.ingress[0].source.notNets[0]: 0.0.0.0/0 leaves no address"),
            ("notNets: ['::/0']", "client spec.ingress[0].source.notNets[0]: ::/0 leaves no address"),
            (
                "nets: [10.0.0.0/8, 'fd00::/8']",
                "client spec.ingress[0].source.nets[1]: fd00::/8 is IPv6, the rule is not",
            ),
            ("nets: [10.0.0.0/8], notNets: ['fd00::/8']", "client spec.ingress[0].source.notNets[0]: fd00::/8 is IPv6"),
            (
                "nets: [10.0.0.0/8]}, destination: {nets: ['fd00::/8']",
                "client spec.ingress[0].destination.nets[0]: fd00::/8 is IPv6",
            ),
            ("nets: [10.0.0.0/8]}, ipVersion: 4, destination: {", ""),
            (
                "nets: [10.0.0.0/8]}, ipVersion: 6, destination: {",
                "client spec.ingress[0].source.nets[0]: 10.0.0.0/8 is IPv4",
            ),
        ],
    );
    for (count, expected) in [(256, ""), (257, "crd spec.ingress[0].source.nets: has 257 elements")] {
        let nets: Vec<_> = (0..count).map(|i| format!("10.{}.{}.0/24", i / 256, i % 256)).collect();
        check(source, &[(&format!("nets: [{}]", nets.join(",")), expected)]);
    }
}

#[test]
fn peers() {
    let source = |fields: &str| ingress(&format!("source: {{{fields}}}"));
    check(
        source,
        &[
            ("", ""),
            ("selector: a == 'b', notSelector: '', namespaceSelector: all()", ""),
            ("namespaceSelector: global()", ""),
            ("namespaceSelector: ' global( ) '", ""),
            ("serviceAccounts: {names: [a.b, default], selector: has(x)}", ""),
            ("serviceAccounts: {}", ""),
            ("services: {name: a, namespace: b}", ""),
            ("services: {name: a}, selector: '', nets: []", ""),
            ("selectr: a", "decode spec.ingress[0].source.selectr: unknown field"),
            ("selector: 'a =='", "client spec.ingress[0].source.selector: not a selector: column 5"),
            ("notSelector: '('", "client spec.ingress[0].source.notSelector: not a selector"),
            ("namespaceSelector: a b", "client spec.ingress[0].source.namespaceSelector: not a selector"),
            ("selector: global()", "crd spec.ingress[0].source.selector: global() has a meaning"),
            (
                "namespaceSelector: global() || a == 'b'",
                "client spec.ingress[0].source.namespaceSelector: global() cannot be combined",
            ),
            (
                "namespaceSelector: (global())",
                "client spec.ingress[0].source.namespaceSelector: global() cannot be combined",
            ),
            (
                "serviceAccounts: {names: [a, a]}",
                "crd spec.ingress[0].source.serviceAccounts.names[1]: \"a\" occurs twice",
            ),
            (
                "serviceAccounts: {selector: '!'}",
                "client spec.ingress[0].source.serviceAccounts.selector: not a selector",
            ),
            ("services: {}", "crd spec.ingress[0].source.services.name: is missing"),
            ("services: {name: A}", "client spec.ingress[0].source.services.name: \"A\" is not a name"),
            ("services: {name: a}, nets: [10.0.0.0/8]", "crd spec.ingress[0].source.nets: excludes services"),
            ("services: {name: a}, notNets: [10.0.0.0/8]", "crd spec.ingress[0].source.notNets: excludes services"),
            ("services: {name: a}, selector: all()", "crd spec.ingress[0].source.selector: excludes services"),
            ("services: {name: a}, notSelector: all()", "crd spec.ingress[0].source.notSelector: excludes services"),
            (
                "services: {name: a}, namespaceSelector: all()",
                "crd spec.ingress[0].source.namespaceSelector: excludes services",
            ),
            (
                "services: {name: a}, serviceAccounts: {}",
                "crd spec.ingress[0].source.serviceAccounts: excludes services",
            ),
        ],
    );
    check(
        |fields| namespaced(&format!("{{egress: [{{action: Allow, protocol: TCP, destination: {{{fields}}}}}]}}")),
        &[
            ("services: {name: a}, ports: []", ""),
            ("services: {name: a}, ports: [80]", "crd spec.egress[0].destination.ports: excludes services"),
            ("services: {name: a}, notPorts: [80]", "crd spec.egress[0].destination.notPorts: excludes services"),
        ],
    );
}

#[test]
fn http() {
    check(
        ingress,
        &[
            ("http: {methods: [GET, PUT], paths: [{exact: /a}, {prefix: /b/}]}", ""),
            ("http: {}, protocol: TCP", ""),
            ("http: {}, protocol: 6", ""),
            ("http: {}, protocol: UDP", "crd spec.ingress[0].protocol: must be TCP, or missing, in a rule with http"),
            ("http: {methods: [GET, GET]}", "client spec.ingress[0].http.methods[1]: GET occurs twice"),
            ("http: {paths: [{}]}", "client spec.ingress[0].http.paths[0]: has neither exact nor prefix"),
            ("http: {paths: [{exact: /a, prefix: /b}]}", "client spec.ingress[0].http.paths[0].prefix: excludes exact"),
            ("http: {paths: [{exact: a}]}", "client spec.ingress[0].http.paths[0].exact: \"a\" is not a path"),
            (
                "http: {paths: [{prefix: '/a?b'}]}",
                "client spec.ingress[0].http.paths[0].prefix: \"/a?b\" is not a path",
            ),
            (
                &format!("http: {{paths: [{}]}}", vec!["{exact: /}"; 21].join(",")),
                "crd spec.ingress[0].http.paths: has 21 elements",
            ),
            ("metadata: {annotations: {Any/Key: any value}}", ""),
            ("metadata: {annotations: {a b: c}}", "client spec.ingress[0].metadata.annotations: the key \"a b\""),
            ("metadata: {name: a}", "decode spec.ingress[0].metadata.name: unknown field"),
        ],
    );
}
