//! Calico's policies: selectors, scopes and rules.

use super::{lines, policy};

fn namespaced(spec: &str) -> String {
    format!(
        "{{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {{name: p, namespace: shop}}, spec: {{{spec}}}}}"
    )
}

fn global(spec: &str) -> String {
    format!("{{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {{name: p}}, spec: {{{spec}}}}}")
}

#[test]
fn the_selector_of_a_namespaced_policy_stays_in_its_namespace() {
    for (spec, selector) in [
        ("", "projectcalico.org/namespace == 'shop'"),
        ("selector: app == 'web'", "(app == 'web') && projectcalico.org/namespace == 'shop'"),
        ("selector: all()", "(all()) && projectcalico.org/namespace == 'shop'"),
        (
            "serviceAccountSelector: role == 'front'",
            "(projectcalico.org/namespace == 'shop') && pcsa.role == \"front\"",
        ),
        (
            "selector: has(a), serviceAccountSelector: all()",
            "((has(a)) && projectcalico.org/namespace == 'shop') && all()",
        ),
    ] {
        let (key, policy) = policy(&namespaced(spec));
        assert_eq!(key, "NetworkPolicy/shop/p");
        assert_eq!(policy.selector, selector, "{spec}");
    }
}

#[test]
fn the_selector_of_a_global_policy_takes_in_namespaces_and_service_accounts() {
    for (spec, selector) in [
        ("", ""),
        ("selector: app == 'web'", "app == 'web'"),
        ("namespaceSelector: team == 'red'", "pcns.team == \"red\""),
        ("namespaceSelector: all()", "has(projectcalico.org/namespace)"),
        (
            "selector: app == 'web' || all(), namespaceSelector: has(team)",
            "(app == 'web' || has(projectcalico.org/namespace)) && has(pcns.team)",
        ),
        ("serviceAccountSelector: all()", "has(projectcalico.org/serviceaccount)"),
        (
            "selector: all(), serviceAccountSelector: has(role)",
            "(has(projectcalico.org/serviceaccount)) && has(pcsa.role)",
        ),
        (
            "selector: has(a), namespaceSelector: all(), serviceAccountSelector: role == 'x'",
            "((has(a)) && has(projectcalico.org/namespace)) && pcsa.role == \"x\"",
        ),
    ] {
        let (key, policy) = policy(&global(spec));
        assert_eq!(key, "GlobalNetworkPolicy//p");
        assert_eq!(policy.selector, selector, "{spec}");
    }
}

#[test]
fn the_sides_of_a_rule_stay_in_the_policy_s_namespace_if_they_name_endpoints() {
    let own = "projectcalico.org/namespace == 'shop'";
    for (side, in_namespace, in_cluster) in [
        ("", "allow".to_owned(), "allow"),
        ("nets: [10.0.0.0/8]", "allow from 10.0.0.0/8".to_owned(), "allow from 10.0.0.0/8"),
        ("selector: app == 'db'", format!("allow from {{({own}) && (app == 'db')}}"), "allow from {app == 'db'}"),
        ("notSelector: app == 'db'", format!("allow from {{{own}}} !{{app == 'db'}}"), "allow from !{app == 'db'}"),
        (
            "namespaceSelector: all()",
            "allow from {has(projectcalico.org/namespace)}".to_owned(),
            "allow from {has(projectcalico.org/namespace)}",
        ),
        (
            "namespaceSelector: global()",
            "allow from {!has(projectcalico.org/namespace)}".to_owned(),
            "allow from {!has(projectcalico.org/namespace)}",
        ),
        (
            "namespaceSelector: team == 'red', selector: has(a)",
            "allow from {(pcns.team == \"red\") && (has(a))}".to_owned(),
            "allow from {(pcns.team == \"red\") && (has(a))}",
        ),
        (
            "serviceAccounts: {names: [web, db]}",
            format!("allow from {{({own}) && (projectcalico.org/serviceaccount in {{\"db\", \"web\"}})}}"),
            "allow from {projectcalico.org/serviceaccount in {\"db\", \"web\"}}",
        ),
        (
            "serviceAccounts: {selector: role == 'front'}",
            format!("allow from {{({own}) && (pcsa.role == \"front\")}}"),
            "allow from {pcsa.role == \"front\"}",
        ),
        (
            "serviceAccounts: {names: [web], selector: has(r)}, selector: has(a)",
            format!(
                "allow from {{({own}) && (((has(pcsa.r)) && (projectcalico.org/serviceaccount in {{\"web\"}})) && (has(a)))}}"
            ),
            "allow from {((has(pcsa.r)) && (projectcalico.org/serviceaccount in {\"web\"})) && (has(a))}",
        ),
    ] {
        let spec = format!("ingress: [{{action: Allow, source: {{{side}}}}}]");
        assert_eq!(lines(&policy(&namespaced(&spec)).1.inbound_rules), [in_namespace], "{side}");
        assert_eq!(lines(&policy(&global(&spec)).1.inbound_rules), [in_cluster], "{side}");
    }
}

#[test]
fn each_field_of_a_rule_is_taken() {
    for (rule, line) in [
        ("action: Deny", "deny"),
        ("action: Pass", "next-tier"),
        ("action: Log", "log"),
        ("action: Allow, protocol: TCP", "allow tcp"),
        ("action: Allow, protocol: UDPLite", "allow udplite"),
        ("action: Allow, protocol: 47", "allow #47"),
        ("action: Allow, notProtocol: ICMPv6", "allow not icmpv6"),
        ("action: Allow, ipVersion: 6", "allow IPv6"),
        ("action: Allow, protocol: ICMP, icmp: {type: 8}", "allow icmp icmp 8"),
        ("action: Allow, protocol: ICMP, icmp: {type: 0, code: 0}", "allow icmp icmp 0/0"),
        ("action: Allow, protocol: ICMPv6, notICMP: {type: 3, code: 1}", "allow icmpv6 not icmp 3/1"),
        ("action: Allow, protocol: ICMP, icmp: {}", "allow icmp"),
        ("action: Allow, protocol: TCP, destination: {ports: [80, '90:99', http]}", "allow tcp to :80,90:99,http"),
        ("action: Allow, protocol: UDP, source: {notPorts: [53, dns-tcp]}", "allow udp from !:53,dns-tcp"),
        (
            "action: Allow, source: {nets: [10.0.0.0/8], notNets: [10.1.0.0/16]}, destination: {nets: [11.0.0.0/8]}",
            "allow from 10.0.0.0/8 !10.1.0.0/16 to 11.0.0.0/8",
        ),
    ] {
        assert_eq!(lines(&policy(&global(&format!("egress: [{{{rule}}}]"))).1.outbound_rules), [line], "{rule}");
    }
}

#[test]
fn what_goes_to_clients_is_kept_as_it_was_written() {
    let spec = "ingress: [{action: Allow, protocol: TCP, metadata: {annotations: {why: because}}, \
                http: {methods: [GET, PUT], paths: [{exact: /a}, {prefix: /b}]}, \
                source: {selector: \"a=='1'\", notSelector: has( b ), namespaceSelector: has(c), \
                serviceAccounts: {names: [z, a], selector: has( d )}}}]";
    let (_, policy) = policy(&namespaced(spec));
    let [rule] = policy.inbound_rules.as_slice() else { panic!("{policy:?}") };
    let source = &rule.source;
    assert_eq!(source.original_selector, "a=='1'");
    assert_eq!(source.original_not_selector, "has( b )");
    assert_eq!(source.original_namespace_selector, "has(c)");
    let accounts = source.service_accounts.as_ref().expect("it is there");
    assert_eq!(
        (accounts.names.as_slice(), accounts.selector.as_str()),
        (["z".into(), "a".into()].as_slice(), "has( d )")
    );
    assert_eq!(format!("{:?}", rule.annotations), r#"{"why": "because"}"#);
    let http = rule.http.as_ref().expect("it is there");
    assert_eq!(format!("{:?} {:?}", http.methods, http.paths), r#"["GET", "PUT"] [Exact("/a"), Prefix("/b")]"#);
}

#[test]
fn a_service_is_where_the_rule_says() {
    let egress = |services: &str| format!("egress: [{{action: Allow, destination: {{services: {{{services}}}}}}}]");
    for (services, line) in
        [("name: api, namespace: pay", "allow to service pay/api"), ("name: api", "allow to service /api")]
    {
        assert_eq!(lines(&policy(&namespaced(&egress(services))).1.outbound_rules), [line]);
    }
}

#[test]
fn attributes() {
    let types = |policy: &caracal_model::Policy| (policy.ingress, policy.egress);
    let (_, plain) = policy(&namespaced(""));
    assert_eq!((plain.tier.as_str(), plain.order), ("default", None));
    assert_eq!(types(&plain), (true, false), "admission fills in Ingress");
    assert_eq!(types(&policy(&namespaced("egress: [{action: Allow}]")).1), (false, true));
    assert_eq!(types(&policy(&namespaced("types: [Egress, Ingress]")).1), (true, true));

    let (_, policy) = policy(&global(
        "tier: security, order: 7.5, applyOnForward: true, doNotTrack: true, types: [Ingress], \
         performanceHints: [AssumeNeededOnEveryNode]",
    ));
    assert_eq!((policy.tier.as_str(), policy.order), ("security", Some(7.5)));
    assert_eq!((policy.untracked, policy.pre_dnat, policy.apply_on_forward), (true, false, true));
    assert_eq!(policy.perf_hints, ["AssumeNeededOnEveryNode"]);
}
