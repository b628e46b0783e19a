use std::collections::BTreeMap;

use caracal_model::Action;
use caracal_net::PortRange;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

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
    let service = Some(Box::new(ServiceRef { namespace: "shop".into(), name: "db".into() }));
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

/// One end of a packet: what is known of its address, and its port.
#[derive(Clone, Debug)]
struct End {
    labels: Vec<(&'static str, &'static str)>,
    /// Names of ports with their protocols and numbers.
    named: Vec<(&'static str, Protocol, u16)>,
    /// Whether the service has the address, with the packet's protocol and port among others.
    serves: bool,
    port: u16,
}

impl End {
    fn is_named(&self, wanted: &str, protocol: Protocol) -> bool {
        self.named.iter().any(|(name, of, port)| (*name, *of, *port) == (wanted, protocol, self.port))
    }

    /// Whether a set holds this end of a packet.
    fn is_in(&self, request: SetRequest<'_>, packet: Protocol) -> bool {
        match request {
            SetRequest::Selector(selector) => selector.matches(&self.labels[..]),
            SetRequest::NamedPort { selector, protocol, name } => {
                let fits = match protocol {
                    NamedPortProtocol::Any => true,
                    NamedPortProtocol::Tcp => packet == Protocol::TCP,
                    NamedPortProtocol::Udp => packet == Protocol::UDP,
                    NamedPortProtocol::Sctp => packet == Protocol::SCTP,
                };
                fits && selector.matches(&self.labels[..]) && self.is_named(name, packet)
            }
            SetRequest::Service(..) => self.serves,
        }
    }

    /// Whether one side of a rule, as it was written, matches.
    fn matches(&self, entity: &Entity, packet: Protocol) -> bool {
        let selects = |text: &SmolStr| Selector::parse(text).expect("a selector").matches(&self.labels[..]);
        let is = |port: &RulePort| match port {
            RulePort::Numeric(range) => range.contains(self.port),
            RulePort::Named(name) => self.is_named(name, packet),
        };
        let Entity { selector, not_selector, ports, not_ports, service, .. } = entity;
        (selector.is_empty() || selects(selector))
            && (not_selector.is_empty() || !selects(not_selector))
            && (ports.is_empty() || ports.iter().any(is))
            && !not_ports.iter().any(is)
            && (service.is_none() || self.serves)
    }
}

fn end() -> impl Strategy<Value = End> {
    let named = vec![("http", Protocol::TCP, 80), ("http", Protocol::UDP, 80), ("dns", Protocol::UDP, 53)];
    let labels = subsequence(vec![("a", "1"), ("b", "1")], 0..=2);
    (labels, subsequence(named, 0..=3), any::<bool>(), select(vec![53, 80, 81]))
        .prop_map(|(labels, named, serves, port)| End { labels, named, serves, port })
}

fn entity() -> impl Strategy<Value = Entity> {
    let selectors = || select(vec!["", "", "a == '1'", "has(b)", "a == '1' || has(b)", "all()", " "]);
    let some_ports = || subsequence(vec!["80", "50-60", "http", "dns"], 0..=3).prop_map(|texts| ports(&texts));
    (selectors(), selectors(), some_ports(), some_ports(), any::<bool>()).prop_map(
        |(selector, not_selector, ports, not_ports, service)| Entity {
            selector: selector.into(),
            not_selector: not_selector.into(),
            ports,
            not_ports,
            service: service.then(|| ServiceRef { namespace: "shop".into(), name: "web".into() }.into()),
            ..Entity::default()
        },
    )
}

proptest! {
    /// A rule over sets matches what the rule as written does.
    #[test]
    fn sets_stand_for_what_was_written(
        source in entity(),
        destination in entity(),
        (from, to) in (end(), end()),
        (names_protocol, packet) in (any::<bool>(), select(vec![Protocol::TCP, Protocol::UDP])),
    ) {
        let protocol = names_protocol.then_some(RuleProtocol::Name(packet));
        let want = from.matches(&source, packet) && to.matches(&destination, packet);
        let rule = Rule { protocol, source, destination, ..Rule::any(Action::Allow) };
        // By the set's word: whether it holds the source, and the destination.
        let mut held = BTreeMap::new();
        let scanned = scan(rule, &mut SelectorParser::default(), &mut |request| {
            held.insert(word(request), [from.is_in(request, packet), to.is_in(request, packet)]);
            word(request)
        });
        let ScannedRule {
            rule,
            src_ip_sets,
            dst_ip_sets,
            not_src_ip_sets,
            not_dst_ip_sets,
            src_named_port_sets,
            dst_named_port_sets,
            not_src_named_port_sets,
            not_dst_named_port_sets,
            dst_ip_port_sets,
        } = scanned;
        let of = |side: usize, sets: &[SmolStr]| sets.iter().map(|set| held[set][side]).collect::<Vec<_>>();
        let numeric = |ports: &[RulePort], end: &End| {
            let numeric = ports.iter().filter_map(|port| match port {
                RulePort::Numeric(range) => Some(range.contains(end.port)),
                RulePort::Named(_) => None,
            });
            numeric.collect::<Vec<bool>>()
        };
        let sides = [
            (&rule.source, &from, src_ip_sets, not_src_ip_sets, src_named_port_sets, not_src_named_port_sets, Vec::new()),
            (
                &rule.destination,
                &to,
                dst_ip_sets,
                not_dst_ip_sets,
                dst_named_port_sets,
                not_dst_named_port_sets,
                dst_ip_port_sets,
            ),
        ];
        let matches = sides.iter().enumerate().all(|(side, (entity, end, sets, not_sets, named, not_named, pairs))| {
            let mut ports = numeric(&entity.ports, end);
            ports.extend(of(side, named));
            let mut not_ports = numeric(&entity.not_ports, end);
            not_ports.extend(of(side, not_named));
            !of(side, sets).contains(&false)
                && !of(side, pairs).contains(&false)
                && !of(side, not_sets).contains(&true)
                && (ports.is_empty() || ports.contains(&true))
                && !not_ports.contains(&true)
        });
        prop_assert_eq!(matches, want);
    }
}
