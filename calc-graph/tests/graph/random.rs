//! Random objects and random steps of a history.

use caracal_calc_graph::{Overlaps, Settings, SourceSpoofing};
use caracal_model::{Action, Kind, Object, PolicyKind, Rule, TierAction, TunnelMode};
use caracal_net::Protocol;
use proptest::prelude::*;
use proptest::sample::select;

use crate::world::{
    HERE, PolicyThing, RuleThing, THERE, Thing as _, allow, cluster_service, deny, host_endpoint, namespace,
    network_set, node, pod, policy, profile, service_account, slice, tier, tunnelled,
};

const SELECTORS: &[&str] = &[
    "",
    "all()",
    "!all()",
    "a == '1'",
    "a != '1'",
    "a in {'1', '2'}",
    "a not in {'2'}",
    "a in {}",
    "has(a)",
    "!has(b)",
    "b starts with 'x'",
    "b contains 'y'",
    "b ends with 'y' || a == '2'",
    "pcns.team == 'red'",
    "pcns.team == 'red' && a == '1'",
    "has(pcns.team) && !(a == '1' && has(b))",
    "pcsa.role == 'db' || projectcalico.org/namespace == 'n0'",
    "shared == '1'",
];

/// One step of a history.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Put(Kind, Object),
    /// Deletes the object at a place of the world, if it has so many.
    Delete(usize),
    /// Deletes what may not be there.
    DeleteSpuriously(Kind, Object),
    /// The graph and its receiver start again; what is held comes in an order of this number.
    Restart(u64),
    /// Lists a kind anew, leaving out some objects.
    Relist(Kind, Vec<bool>),
    /// A list of a kind starts; what comes until it ends is a part of it.
    Begin(Kind),
    /// Repeats the object at a place of the world, if it has so many.
    Repeat(usize),
    End(Kind),
    Settings(Settings),
    Flush,
}

fn label_pairs() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let label = select(vec![
        ("a", "1"),
        ("a", "2"),
        ("a", "3"),
        ("b", "xy"),
        ("b", "y"),
        ("b", ""),
        ("shared", "1"),
        ("shared", "2"),
        ("noise", "1"),
        ("noise", "2"),
    ]);
    prop::collection::vec(label, 0..4)
}

fn workload() -> impl Strategy<Value = (Kind, Object)> {
    let addresses = prop::collection::vec(select(vec!["10.0.0.1", "10.0.0.2", "10.0.1.1/24", "fd00::1"]), 0..3);
    let ports = prop::collection::vec(
        (select(vec!["http", "dns"]), select(vec![Protocol::TCP, Protocol::UDP]), 80u16..82),
        0..3,
    );
    let profiles = prop::collection::vec(select(vec!["ksa.n0.s0", "kns.n1", "p0"]), 0..3);
    let place = (0..2u8, 0..4u8, select(vec![HERE, THERE]));
    let odd = prop::bool::weighted(0.05);
    (place, addresses, label_pairs(), ports, profiles, (odd, odd, odd)).prop_map(
        |((n, i, host), addresses, labels, ports, profiles, (spoofs, faceless, resource))| {
            let mut thing = pod(&format!("n{n}/w{i}"), &addresses).on(host);
            for (key, value) in labels {
                thing = thing.label(key, value);
            }
            for (name, protocol, port) in ports {
                thing = thing.port(name, protocol, port);
            }
            for name in profiles {
                thing = thing.profile(name);
            }
            if spoofs {
                thing = thing.spoofing("10.9.0.0/16");
            }
            if faceless {
                thing = thing.without_interface();
            }
            if resource { thing.into_workload_endpoint() } else { thing.deliver() }
        },
    )
}

fn rule() -> impl Strategy<Value = Rule> {
    let selector = || prop::option::weighted(0.5, select(SELECTORS));
    let ports = prop::collection::vec(select(vec!["http", "dns", "443"]), 0..3);
    let protocol = prop::option::of(select(vec![Protocol::TCP, Protocol::UDP]));
    let invalid = prop::bool::weighted(0.02);
    let service = prop::option::weighted(0.2, select(vec!["db", "web"]));
    (selector(), selector(), selector(), ports, protocol, any::<bool>(), invalid, service).prop_map(
        |(from, to, not_from, ports, protocol, negate, invalid, service)| {
            let mut rule: RuleThing = if negate { deny() } else { allow() };
            if let Some(text) = from {
                rule = rule.from(text);
            }
            if let Some(text) = to {
                rule = rule.to(text);
            }
            if let Some(text) = not_from {
                rule = rule.not_from(text);
            }
            for port in ports {
                rule = if negate { rule.not_dst_port(port) } else { rule.dst_port(port) };
            }
            if let Some(protocol) = protocol {
                rule = rule.protocol(protocol);
            }
            if let Some(service) = service {
                rule = if negate { rule.src_service("shop", service) } else { rule.dst_service("shop", service) };
            }
            if invalid {
                rule = rule.from("a = b");
            }
            rule.into()
        },
    )
}

fn any_policy() -> impl Strategy<Value = (Kind, Object)> {
    let kind = select(PolicyKind::ALL.to_vec());
    let rules = || prop::collection::vec(rule(), 0..3);
    let order = prop::option::of(select(vec![1.0, 2.0, f64::INFINITY]));
    let form = (0..8u8, prop::bool::weighted(0.05), prop::bool::weighted(0.02));
    let selectors = select(SELECTORS);
    let other_kind = prop::bool::weighted(0.2);
    let place = (kind, other_kind, 0..3u8, select(vec!["default", "t0", "t1"]), order);
    (place, selectors, rules(), rules(), form).prop_map(
        |((kind, other_kind, i, tier, order), selector, inbound, outbound, (form, hinted, invalid))| {
            let mut thing: PolicyThing =
                policy(&format!("p{i}"), if invalid { "%" } else { selector }).of(kind, "n0").tier(tier);
            if let Some(order) = order {
                thing = thing.order(order);
            }
            for rule in inbound {
                thing = thing.inbound(rule);
            }
            for rule in outbound {
                thing = thing.outbound(rule);
            }
            thing = match form {
                0 => thing.ingress_only(),
                1 => thing.egress_only(),
                2 => thing.untracked(),
                3 => thing.pre_dnat(),
                4 => thing.forward(),
                _ => thing,
            };
            if hinted {
                thing = thing.hint("AssumeNeededOnEveryNode");
            }
            match thing.deliver() {
                // Two kinds of resource may describe one policy.
                (Kind::ClusterNetworkPolicy, object) if other_kind && i == 0 => (Kind::AdminNetworkPolicy, object),
                (Kind::ClusterNetworkPolicy, object) if other_kind => (Kind::BaselineAdminNetworkPolicy, object),
                delivered => delivered,
            }
        },
    )
}

fn other() -> impl Strategy<Value = (Kind, Object)> {
    let team = || select(vec![vec![("team", "red")], vec![("team", "blue")], vec![("shared", "1")], vec![]]);
    let nets = prop::collection::vec(
        select(vec![
            "10.0.0.0/8",
            "10.0.0.0/31",
            "10.0.0.0/24",
            "10.0.0.1",
            "10.0.0.2/32",
            "0.0.0.0/0",
            "0.0.0.0/1",
            "fd00::/64",
            "fd00::1",
            "::/0",
        ]),
        0..5,
    );
    let action = select(vec![TierAction::Deny, TierAction::Pass]);
    let order = prop::option::of(select(vec![1.0, 2.0]));
    prop_oneof![
        (0..2u8, team()).prop_map(|(n, labels)| namespace(&format!("n{n}"), &labels)),
        team().prop_map(|_| service_account("n0", "s0", &[("role", "db")])),
        (select(vec!["p0", "kns.n0"]), label_pairs(), prop::collection::vec(rule(), 0..2))
            .prop_map(|(name, labels, rules)| profile(name, &labels, &rules, &[Rule::any(Action::Allow)])),
        (select(vec!["default", "t0", "t1"]), order, action)
            .prop_map(|(name, order, action)| tier(name, order, action)),
        (select(vec!["s0", "s1", "n0/s2"]), label_pairs(), nets)
            .prop_map(|(name, labels, nets)| network_set(name, &labels, &nets)),
        (0..2u8, select(vec![HERE, THERE]), label_pairs()).prop_map(|(i, host, labels)| host_endpoint(
            &format!("h{i}"),
            host,
            &labels,
            &["10.0.0.2", "10.0.0.9"]
        )),
        (0..3u8, select(vec!["db", "web"]), prop::sample::subsequence(vec!["10.0.0.1", "10.0.0.2", "fd00::1"], 0..=3))
            .prop_map(|(i, service, addresses)| slice(
                &format!("e{i}"),
                service,
                &addresses,
                &[(Protocol::TCP, 80), (Protocol::UDP, 53)][..usize::from(i)]
            )),
        (0..4u8, select(vec!["10.64.0.0/16", "10.64.0.0/24", "10.64.1.0/24", "10.65.0.0/16", "fd00:64::/64"]))
            .prop_map(|(i, net)| {
                let [ipip, vxlan] = [i == 1, i > 1].map(|on| if on { TunnelMode::Always } else { TunnelMode::Never });
                tunnelled(&format!("p{i}"), net, ipip, vxlan)
            }),
        (
            0..4u8,
            prop::sample::subsequence(vec!["10.96.0.1", "10.96.0.2", "fd00:96::1", "None"], 0..=2),
            select(vec![80u16, 81])
        )
            .prop_map(|(i, addresses, port)| cluster_service(&format!("v{i}"), &addresses, port)),
        (0..2u8, select(vec!["192.0.2.1/24", "192.0.2.2/24"])).prop_map(|(i, ip)| node(&format!("m{i}"), ip)),
    ]
}

pub(crate) fn settings() -> impl Strategy<Value = Settings> {
    let overlaps = select(vec![Overlaps::Suppressed, Overlaps::Kept]);
    let spoofing = select(vec![SourceSpoofing::Disabled, SourceSpoofing::Any]);
    (overlaps, spoofing)
        .prop_map(|(suppress_overlaps, source_spoofing)| Settings { suppress_overlaps, source_spoofing })
}

/// Any object that a source may deliver.
pub(crate) fn thing() -> impl Strategy<Value = (Kind, Object)> {
    prop_oneof![workload(), any_policy(), other()]
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let put = |(kind, object)| Step::Put(kind, object);
    prop_oneof![
        6 => workload().prop_map(put),
        5 => any_policy().prop_map(put),
        5 => other().prop_map(put),
        5 => (0..40usize).prop_map(Step::Delete),
        1 => thing().prop_map(|(kind, object)| Step::DeleteSpuriously(kind, object)),
        1 => any::<u64>().prop_map(Step::Restart),
        1 => (select(Kind::ALL.to_vec()), prop::collection::vec(any::<bool>(), 8))
            .prop_map(|(kind, kept)| Step::Relist(kind, kept)),
        2 => settings().prop_map(Step::Settings),
        1 => select(Kind::ALL.to_vec()).prop_map(Step::Begin),
        4 => (0..40usize).prop_map(Step::Repeat),
        1 => select(Kind::ALL.to_vec()).prop_map(Step::End),
        4 => Just(Step::Flush),
    ]
}
