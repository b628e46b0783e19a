//! What rules have counted, while their chains are rewritten under traffic.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use caracal_net::{MarkMask, Protocol};
use caracal_program::{Decider, Measurement, Packet, RuleCounts, Transport};
use caracal_proto::felix;
use caracal_sys::nft::{Expr, Value};

use super::*;
use crate::settings::{DenyAction, FlowLogs, InvalidPackets};
use crate::testing::wire::Wire;

const PORT: u16 = 5_000;

/// Pods that let everything through, the second one by a policy of these rules.
fn world(rules: &[felix::Rule]) -> World {
    let mut world = World::default();
    world.profile("open", &[rule("allow")], &[rule("allow")]).policy("default/web", rules, &[]).in_sync();
    world.endpoint("ns/0", "cali0", &[], &["open"]);
    world.endpoint("ns/1", "cali1", &[("default", "Deny", &["default/web"], &[])], &[]);
    world
}

fn udp(port: u16) -> Packet {
    let [src, dst] = ["10.0.0.1", "10.0.0.2"].map(|addr| addr.parse().expect("an address"));
    Packet::new(src, dst, Protocol::UDP, Transport::Ports { src: 1024, dst: port }).expect("one family")
}

fn port(action: &str, port: u16) -> felix::Rule {
    let protocol = felix::Protocol { number_or_name: Some(felix::protocol::NumberOrName::Name("udp".into())) };
    let ports = vec![felix::PortRange { first: port.into(), last: port.into() }];
    felix::Rule { protocol: Some(protocol), dst_ports: ports, ..rule(action) }
}

/// Packets that the rule for [`PORT`] of the policy has counted, and how many kernel rules that is.
fn counted(wire: &Wire) -> (u64, usize) {
    wire.in_router(|| {
        let table = TableId::inet(Name::new(TABLE).expect("a name"));
        let chain = Name::new("policy-ingress/NetworkPolicy/default/web").expect("a name");
        let rules = NftSocket::open().expect("a socket").rules_of(&table, &chain).expect("the chain");
        let wanted = rules.iter().filter(|listed| {
            let port = Value::from(PORT);
            listed.rule.exprs.iter().any(|expr| matches!(expr, Expr::Cmp { value, .. } if *value == port))
        });
        let packets = wanted.map(|listed| {
            let counter = listed.rule.exprs.iter().find_map(|expr| match expr {
                Expr::Counter { packets, .. } => Some(*packets),
                _ => None,
            });
            counter.expect("a counter")
        });
        let packets: Vec<u64> = packets.collect();
        (packets.iter().sum(), packets.len())
    })
}

/// Sends packets without a pause while `rounds` revisions are made of the policy;
/// how many were sent, and how many its rule has counted.
fn under_traffic(rounds: u16, rules: impl Fn(u16) -> Vec<felix::Rule>) -> (u64, u64) {
    let wire = Wire::new();
    let mut world = world(&rules(0));
    let limited = |settings: &mut Settings| {
        settings.ownership = Ownership::Shared;
        settings.log_rate = "10/minute".parse().ok();
    };
    let mut driver = wire.in_router(|| driver_with(limited));
    apply(&mut driver, &mut world);
    let (sent, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                wire.sends(&udp(PORT));
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
        for round in 1..=rounds {
            world.policy("default/web", &rules(round), &[]);
            apply(&mut driver, &mut world);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let (counted, rules) = counted(&wire);
    assert_eq!(rules, 1);
    assert_eq!(driver.look_at_everything(), None);
    (sent.load(Ordering::Relaxed), counted)
}

/// A rule whose neighbours behind it come, change and go is not touched: it loses no
/// count, and a Log rule nothing of its limit, which the kernel keeps in the rule too.
#[test]
fn a_rule_counts_every_packet_through_a_thousand_rewrites_of_its_chain() {
    for action in ["allow", "log"] {
        let (sent, counted) = under_traffic(1_000, |round| {
            let mut rules = vec![port("allow", 1), port(action, PORT)];
            rules.extend((0..round % 5).map(|more| port("deny", 6_000 + round + more)));
            rules
        });
        assert!(sent > 1_000, "{sent}");
        assert_eq!(counted, sent, "{action}");
    }
}

/// A rule that gets another place is made anew with what it has counted: what comes
/// between reading and writing is lost, and none is counted twice.
#[test]
fn a_rule_that_gets_another_place_goes_on_counting() {
    let (sent, counted) = under_traffic(1_000, |round| {
        let mut rules: Vec<_> = (0..round % 5).map(|more| port("deny", 6_000 + round + more)).collect();
        rules.push(port("allow", PORT));
        rules
    });
    assert!(sent > 1_000, "{sent}");
    assert!(counted <= sent, "{counted} of {sent}");
    // A rewrite takes less than a millisecond, a packet some microseconds.
    assert!(sent - counted <= 1_000 * 20, "{counted} of {sent}");
    assert!(counted * 10 >= sent * 5, "{counted} of {sent}");
}

/// What rules have counted, however long that is read.
fn counts(driver: &mut NftablesDriver, world: &World) -> RuleCounts {
    let counts = || driver.rule_counts(&world.store).expect("the kernel answers");
    std::iter::repeat_with(counts).flatten().next().expect("an end comes")
}

/// What a driver tells of each decider: packets.
fn told(driver: &mut NftablesDriver, world: &World) -> Vec<(String, u64)> {
    let counts = counts(driver, world);
    let told = counts.rules.iter().map(|count| {
        let decider = match &count.decider {
            Decider::Policy(id, rule) => format!("{id} {} {rule}", count.direction),
            Decider::Profile(name, rule) => format!("profile {name} {} {rule}", count.direction),
            Decider::EndOfTier(tier) => format!("end of {tier} {}", count.direction),
            Decider::NoMatch => format!("no match {}", count.direction),
        };
        (decider, count.packets)
    });
    told.collect()
}

/// The packets of the sums over rules, by kind, name, direction and action.
fn sums(driver: &mut NftablesDriver, world: &World) -> Vec<(String, u64)> {
    let counts = counts(driver, world);
    let packets = counts.totals.iter().filter(|total| total.name == "caracal_policy_packets_total");
    let sums = packets.map(|total| {
        let of = |name: &str| total.labels.iter().find(|(label, _)| *label == name).expect("a label").1.to_string();
        (["kind", "name", "direction", "action"].map(of).join(" "), total.value as u64)
    });
    sums.collect()
}

#[test]
fn counts_are_told_by_policy_rule_and_by_end_and_sums_do_not_fall() {
    let wire = Wire::new();
    let mut world = world(&[port("allow", 1), port("deny", 2)]);
    let mut driver = wire.in_router(driver);
    apply(&mut driver, &mut world);
    let send = |port: u16, times: usize| (0..times).for_each(|_| wire.sends(&udp(port)));
    assert_eq!(told(&mut driver, &world), []);
    send(1, 3);
    send(2, 4);
    send(3, 5);
    let expected = [
        ("NetworkPolicy default/web ingress 0", 3),
        ("NetworkPolicy default/web ingress 1", 4),
        ("profile open egress 0", 12),
        ("end of default ingress", 5),
    ];
    assert_eq!(told(&mut driver, &world), expected.map(|(decider, packets)| (decider.to_owned(), packets)));
    // The first rule goes, the second gets another place and goes on.
    world.policy("default/web", &[port("deny", 2), port("allow", 9)], &[]);
    apply(&mut driver, &mut world);
    send(2, 2);
    let expected =
        [("NetworkPolicy default/web ingress 0", 6), ("profile open egress 0", 14), ("end of default ingress", 5)];
    assert_eq!(told(&mut driver, &world), expected.map(|(decider, packets)| (decider.to_owned(), packets)));
    let expected = [
        ("EndOfTier default inbound deny", 5),
        ("NetworkPolicy web inbound allow", 3),
        ("NetworkPolicy web inbound deny", 6),
        ("Profile open outbound allow", 14),
    ];
    assert_eq!(sums(&mut driver, &world), expected.map(|(sum, packets)| (sum.to_owned(), packets)));
    // The table is lost with all that it has counted.
    wire.in_router(|| nft(&["delete", "table", "inet", TABLE], "")).expect("nft deletes the table");
    poll_until_healed(&mut driver, &world, "the table is gone");
    send(9, 1);
    let expected = [
        ("EndOfTier default inbound deny", 5),
        ("NetworkPolicy web inbound allow", 4),
        ("NetworkPolicy web inbound deny", 6),
        ("Profile open outbound allow", 15),
    ];
    assert_eq!(sums(&mut driver, &world), expected.map(|(sum, packets)| (sum.to_owned(), packets)));
}

/// Reading many chains takes several turns; what is rewritten between two of them is not
/// counted as the old rule and as the new one.
#[test]
fn what_is_rewritten_while_counts_are_read_is_counted_once() {
    const POLICIES: u16 = 400;
    /// So many of them count a packet each, and are rewritten again and again.
    const USED: u16 = 20;
    let wire = Wire::new();
    let mut world = world(&[]);
    let names: Vec<String> = (0..POLICIES).map(|n| format!("default/p{n}")).collect();
    for (name, n) in names.iter().zip(1..) {
        world.policy(name, &[port("allow", n)], &[]);
    }
    let tier: Vec<&str> = names.iter().map(String::as_str).collect();
    world.endpoint("ns/1", "cali1", &[("default", "Deny", &tier, &[])], &[]);
    let mut driver = wire.in_router(driver);
    apply(&mut driver, &mut world);
    for n in 1..=USED {
        wire.sends(&udp(n));
    }
    let mut turns = 0;
    for _ in 0..3 {
        let counts = loop {
            turns += 1;
            if let Some(counts) = driver.rule_counts(&world.store).expect("the kernel answers") {
                break counts;
            }
            for (name, n) in names.iter().zip(1..=USED) {
                // The rule stays, and gets another place with what it has counted.
                let more = (turns % 2 == 0).then(|| port("deny", 6_000));
                world.policy(name, &more.into_iter().chain([port("allow", n)]).collect::<Vec<_>>(), &[]);
            }
            apply(&mut driver, &mut world);
        };
        let is_used = |total: &&Measurement| {
            total.name == "caracal_policy_packets_total"
                && total.value != 0.0
                && total.labels.contains(&("kind", "NetworkPolicy".into()))
        };
        let used: Vec<f64> = counts.totals.iter().filter(is_used).map(|total| total.value).collect();
        assert_eq!(used, [1.0; USED as usize]);
    }
    assert!(turns > 6, "{turns} turns for three readings");
}

/// A driver that knows nothing of the one before changes the rules that differ, and no count.
#[test]
fn adoption_of_a_chain_with_other_rules_keeps_what_the_others_have_counted() {
    let wire = Wire::new();
    let mut before = world(&[port("allow", PORT)]);
    apply(&mut wire.in_router(driver), &mut before);
    for _ in 0..7 {
        wire.sends(&udp(PORT));
    }
    assert_eq!(counted(&wire), (7, 1));
    let after = world(&[port("allow", 1), port("allow", PORT), port("deny", 2)]);
    let mut driver = wire.in_router(driver);
    driver.resync(&after.store, Sweep::Remove).expect("the kernel takes it");
    assert_eq!(counted(&wire), (7, 1));
    assert_eq!(driver.look_at_everything(), None);
}

/// What only parameters choose of a rule is none of what it has counted.
#[test]
fn parameters_that_change_every_rule_keep_what_the_rules_have_counted() {
    let wire = Wire::new();
    let mut world = world(&[port("log", 1), port("allow", 1), port("deny", 2), port("next-tier", 3)]);
    let tiers: [(&str, &str, &[&str], &[&str]); 2] =
        [("default", "Deny", &["default/web"], &[]), ("last", "Deny", &["default/last"], &[])];
    world.policy("default/last", &[port("allow", 3)], &[]).endpoint("ns/1", "cali1", &tiers, &[]);
    let mut driver = wire.in_router(driver);
    apply(&mut driver, &mut world);
    for (port, times) in [(1, 3), (2, 4), (3, 5), (4, 6)] {
        (0..times).for_each(|_| wire.sends(&udp(port)));
    }
    let counted = told(&mut driver, &world);
    assert_eq!(counted.iter().map(|(_, packets)| packets).sum::<u64>(), 44, "{counted:?}");
    let defaults = driver.settings.clone();
    let mut check = |what: &str, change: fn(&mut Settings)| {
        let mut settings = defaults.clone();
        change(&mut settings);
        driver.set_settings(settings);
        assert_eq!(apply(&mut driver, &mut world).transactions, 1, "{what}");
        assert_eq!(told(&mut driver, &world), counted, "{what}");
        assert_eq!(driver.look_at_everything(), None, "{what}");
    };
    check("the end of what is denied", |settings| settings.deny = DenyAction::Reject);
    check("flow records", |settings| settings.flow_logs = FlowLogs::On);
    check("how often lines are logged", |settings| settings.log_rate = "10/minute".parse().ok());
    check("invalid packets", |settings| settings.invalid = InvalidPackets::Judge);
    check("the text before logged lines", |settings| *settings = settings.clone().with_log_prefix("other"));
    check("the mark", |settings| *settings = settings.clone().with_mark_mask(MarkMask(0x300)).expect("a bit"));
    check("nothing any more", |_| {});
}
