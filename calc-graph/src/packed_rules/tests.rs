use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn text() -> impl Strategy<Value = SmolStr> {
    let long = "x".repeat(300);
    select(vec![SmolStr::default(), "a".into(), "é".into(), long.into()])
}

fn texts() -> impl Strategy<Value = Vec<SmolStr>> {
    prop::collection::vec(text(), 0..3)
}

fn nets() -> impl Strategy<Value = Vec<Cidr>> {
    let net = select(vec!["10.0.0.1/32", "0.0.0.0/0", "fd00::/64", "::1/128"]);
    prop::collection::vec(net.prop_map(|net| net.parse().expect("a prefix")), 0..3)
}

fn ports() -> impl Strategy<Value = Vec<RulePort>> {
    let range = (any::<u16>(), any::<u16>()).prop_map(|(a, b)| PortRange::new(a.min(b), a.max(b)).expect("in order"));
    let port = prop_oneof![range.prop_map(RulePort::Numeric), text().prop_map(RulePort::Named)];
    prop::collection::vec(port, 0..3)
}

fn entity() -> impl Strategy<Value = Entity> {
    let lists = (nets(), nets(), ports(), ports());
    let service = prop::option::of((text(), text()).prop_map(|(namespace, name)| ServiceRef { namespace, name }));
    let accounts =
        prop::option::of((texts(), text()).prop_map(|(names, selector)| ServiceAccounts { names, selector }));
    let originals = (text(), text(), text());
    (text(), text(), lists, service, originals, accounts).prop_map(
        |(selector, not_selector, (nets, not_nets, ports, not_ports), service, originals, service_accounts)| Entity {
            selector,
            not_selector,
            nets,
            not_nets,
            ports,
            not_ports,
            service: service.map(Box::new),
            original_selector: originals.0,
            original_namespace_selector: originals.1,
            original_not_selector: originals.2,
            service_accounts: service_accounts.map(Box::new),
        },
    )
}

fn protocol() -> impl Strategy<Value = Option<RuleProtocol>> {
    let named = select(vec![RuleProtocol::Name as fn(Protocol) -> RuleProtocol, RuleProtocol::Number]);
    let number = (1..=255i64).prop_map(|number| Protocol::from_number(number).expect("in range"));
    prop::option::of((named, number).prop_map(|(form, protocol)| form(protocol)))
}

fn icmp() -> impl Strategy<Value = Option<Icmp>> {
    let icmp = (any::<u8>(), any::<Option<u8>>()).prop_map(|(icmp_type, code)| Icmp { icmp_type, code });
    prop::option::of(icmp)
}

fn rule() -> impl Strategy<Value = Rule> {
    let action = select(vec![Action::Allow, Action::Deny, Action::Pass, Action::Log]);
    let family = prop::option::of(select(Family::ALL.to_vec()));
    let path = (any::<bool>(), text()).prop_map(|(exact, text)| match exact {
        true => HttpPath::Exact(text),
        false => HttpPath::Prefix(text),
    });
    let http = (texts(), prop::collection::vec(path, 0..3)).prop_map(|(methods, paths)| HttpMatch { methods, paths });
    let annotations = prop::collection::btree_map(text(), text(), 0..3);
    let protocols = (protocol(), protocol(), icmp(), icmp());
    (action, family, protocols, entity(), entity(), prop::option::of(http), annotations).prop_map(
        |(action, ip_version, protocols, source, destination, http, annotations)| Rule {
            action,
            ip_version,
            protocol: protocols.0,
            not_protocol: protocols.1,
            icmp: protocols.2,
            not_icmp: protocols.3,
            source,
            destination,
            http: http.map(Box::new),
            annotations,
        },
    )
}

proptest! {
    #[test]
    fn unpacking_gives_back_what_was_packed(
        inbound in prop::collection::vec(rule(), 0..3),
        outbound in prop::collection::vec(rule(), 0..3),
    ) {
        let packed = Packer::default().rules(&inbound, &outbound).to_vec();
        prop_assert_eq!(Packed::split(&packed).rules(), Rules { inbound, outbound });
    }

    #[test]
    fn a_policy_comes_back_with_its_selector(
        selector in text(),
        inbound in prop::collection::vec(rule(), 0..3),
        outbound in prop::collection::vec(rule(), 0..3),
        before in prop::collection::vec(rule(), 0..2),
    ) {
        let mut packer = Packer::default();
        packer.rules(&before, &before);
        let packed = packer.policy(&selector, &inbound, &outbound);
        prop_assert_eq!(packed.selector(), selector);
        prop_assert_eq!(packed.policy_rules(), Rules { inbound, outbound });
    }
}

/// The size is what the policies that no endpoint needs cost.
#[test]
fn a_plain_rule_takes_three_bytes() {
    let mut packer = Packer::default();
    let packed = Packed::split(packer.rules(&[Rule::any(Action::Allow)], &[]));
    assert_eq!((packed.form.len(), packed.texts.len()), (5, 0));
    assert!(packer.rules(&[], &[]).is_empty());
}

#[test]
fn policies_of_one_pattern_have_one_form() {
    let of = |name: &str, port: u16| {
        let selector = SmolStr::from(format!("name == '{name}'"));
        let mut rule = Rule::any(Action::Allow);
        rule.source.selector = selector.clone();
        rule.destination.ports = vec![RulePort::Numeric(PortRange::single(port))];
        Packer::default().policy(&selector, &[rule], &[]).form.to_vec()
    };
    assert_eq!(of("a", 80), of("b", 80));
    assert_ne!(of("a", 80), of("a", 81));
}
