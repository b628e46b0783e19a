use caracal_model::Action;
use caracal_net::PortRange;

use super::*;

/// What a request stands for, in words.
fn word(request: SetRequest<'_>) -> SmolStr {
    let text = match request {
        SetRequest::Selector(selector) => format!("s {selector}"),
        SetRequest::NamedPort { selector, protocol, name } => format!("n {selector} {protocol} {name}"),
        SetRequest::Service(ServiceRef { namespace, name }, ServicePorts::With) => format!("svc {namespace}/{name}"),
        SetRequest::Service(ServiceRef { namespace, name }, ServicePorts::Without) => {
            format!("svcnoport {namespace}/{name}")
        }
    };
    text.into()
}

fn ports(texts: &[&str]) -> Vec<RulePort> {
    let port = |text: &&str| match text.parse::<PortRange>() {
        Ok(range) => RulePort::Numeric(range),
        Err(_) => RulePort::Named((*text).into()),
    };
    texts.iter().map(port).collect()
}

/// One side's part of a rule, and the sets that come of it.
struct Case {
    selector: &'static str,
    not_selector: &'static str,
    ports: &'static [&'static str],
    not_ports: &'static [&'static str],
    sets: &'static [&'static str],
    not_sets: &'static [&'static str],
    named: &'static [&'static str],
    not_named: &'static [&'static str],
}

const NONE: Case = Case {
    selector: "",
    not_selector: "",
    ports: &[],
    not_ports: &[],
    sets: &[],
    not_sets: &[],
    named: &[],
    not_named: &[],
};

/// The case holds for the source and for the destination.
fn check(case: &Case, protocol: Option<RuleProtocol>) {
    let entity = Entity {
        selector: case.selector.into(),
        not_selector: case.not_selector.into(),
        ports: ports(case.ports),
        not_ports: ports(case.not_ports),
        ..Entity::default()
    };
    let name = format!("{} {} {:?} {:?}", case.selector, case.not_selector, case.ports, case.not_ports);
    let rule = Rule { protocol, source: entity.clone(), ..Rule::any(Action::Allow) };
    let mut parser = SelectorParser::default();
    let scanned = scan(rule.clone(), &mut parser, &mut word);
    let want = ScannedRule {
        src_ip_sets: case.sets.iter().copied().map(SmolStr::from).collect(),
        not_src_ip_sets: case.not_sets.iter().copied().map(SmolStr::from).collect(),
        src_named_port_sets: case.named.iter().copied().map(SmolStr::from).collect(),
        not_src_named_port_sets: case.not_named.iter().copied().map(SmolStr::from).collect(),
        dst_ip_sets: Vec::new(),
        not_dst_ip_sets: Vec::new(),
        dst_named_port_sets: Vec::new(),
        not_dst_named_port_sets: Vec::new(),
        dst_ip_port_sets: Vec::new(),
        rule,
    };
    assert_eq!(scanned, want, "{name}");
    let rule = Rule { protocol, destination: entity, ..Rule::any(Action::Allow) };
    let scanned = scan(rule.clone(), &mut parser, &mut word);
    let mirrored = ScannedRule {
        src_ip_sets: want.dst_ip_sets,
        not_src_ip_sets: want.not_dst_ip_sets,
        src_named_port_sets: want.dst_named_port_sets,
        not_src_named_port_sets: want.not_dst_named_port_sets,
        dst_ip_sets: want.src_ip_sets,
        not_dst_ip_sets: want.not_src_ip_sets,
        dst_named_port_sets: want.src_named_port_sets,
        not_dst_named_port_sets: want.not_src_named_port_sets,
        dst_ip_port_sets: want.dst_ip_port_sets,
        rule,
    };
    assert_eq!(scanned, mirrored, "{name}, destination");
}

#[test]
fn selectors_and_ports_become_sets() {
    let cases = [
        NONE,
        Case { selector: "has( a )", sets: &["s has(a)"], ..NONE },
        Case { not_selector: "a=='b'", not_sets: &[r#"s a == "b""#], ..NONE },
        Case {
            selector: "has(a)",
            not_selector: "a == 'b' || a == 'c'",
            sets: &[r#"s (has(a) && !(a == "b" || a == "c"))"#],
            ..NONE
        },
        Case { selector: " ", not_selector: "has(a)", sets: &["s (all() && !has(a))"], ..NONE },
        Case { ports: &["http"], named: &["n all() tcp http"], ..NONE },
        Case { selector: "has(a)", ports: &["http", "dns"], named: &["n has(a) tcp http", "n has(a) tcp dns"], ..NONE },
        Case {
            selector: "has(a)",
            ports: &["http", "80:81"],
            sets: &["s has(a)"],
            named: &["n has(a) tcp http"],
            ..NONE
        },
        Case { selector: "has(a)", ports: &["80"], sets: &["s has(a)"], ..NONE },
        Case {
            selector: "has(a)",
            not_ports: &["http"],
            sets: &["s has(a)"],
            not_named: &["n has(a) tcp http"],
            ..NONE
        },
        Case {
            not_selector: "has(a)",
            ports: &["http"],
            not_sets: &["s has(a)"],
            named: &["n all() tcp http"],
            ..NONE
        },
        Case {
            selector: "has(a)",
            not_selector: "has(b)",
            ports: &["http"],
            named: &["n (has(a) && !has(b)) tcp http"],
            ..NONE
        },
    ];
    for case in &cases {
        check(case, Some(RuleProtocol::Name(Protocol::TCP)));
    }
}

#[test]
fn the_protocol_of_a_named_port() {
    let number = |number| Some(RuleProtocol::Number(Protocol::from_number(number).expect("a protocol")));
    for (protocol, named) in [
        (None, &["n all() any http"]),
        (Some(RuleProtocol::Name(Protocol::UDP)), &["n all() udp http"]),
        (number(17), &["n all() udp http"]),
        (number(132), &["n all() sctp http"]),
        (number(6), &["n all() tcp http"]),
        (number(47), &["n all() tcp http"]),
        (Some(RuleProtocol::Name(Protocol::ICMP)), &["n all() tcp http"]),
    ] {
        let ports = &["http"];
        check(&Case { ports, named, ..NONE }, protocol);
    }
}

#[test]
fn services_make_sets_of_their_own() {
    let service = Some(ServiceRef { namespace: "shop".into(), name: "db".into() });
    let mut rule = Rule::any(Action::Allow);
    rule.source.service = service.clone();
    rule.source.selector = "has(a)".into();
    rule.destination.service = service;
    let scanned = scan(rule, &mut SelectorParser::default(), &mut word);
    assert_eq!(scanned.src_ip_sets, ["s has(a)", "svcnoport shop/db"]);
    assert_eq!(scanned.dst_ip_port_sets, ["svc shop/db"]);
    assert_eq!(scanned.ip_sets().count(), 3);
}

#[test]
fn a_bad_selector_is_named_with_its_field() {
    let mut rules = vec![Rule::any(Action::Allow), Rule::any(Action::Deny)];
    let mut parser = SelectorParser::default();
    assert_eq!(check_rules(&rules, &mut parser), Ok(()));
    rules[1].destination.not_selector = "a == b".into();
    let problem = check_rules(&rules, &mut parser).expect_err("it does not parse");
    assert!(
        problem.starts_with(r#"inbound_rules[1].destination.not_selector: invalid selector "a == b": "#),
        "{problem}"
    );
}

fn check_rules(rules: &[Rule], parser: &mut SelectorParser) -> Result<(), String> {
    super::check("inbound_rules", rules, parser).map_err(|problem| problem.to_string())
}
