use caracal_program::Packet;
use proptest::prelude::*;

use super::*;
use crate::garbage::Garbage;
use crate::model::Model;
use crate::plan::plan;
use crate::render::render_text;
use crate::sets::Place;
use crate::settings::DenyAction;
use crate::testing::host::check_hosts;
use crate::testing::random::{everything, packet};
use crate::testing::sim::Sim;
use crate::testing::{World, in_namespace, nft, rule};

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn packets_at_host_endpoints_end_as_the_evaluator_says(
        start in everything(),
        deny in prop::sample::select(vec![DenyAction::Drop, DenyAction::Reject]),
        packets in prop::collection::vec((packet(), prop::option::of(packet())), 6),
    ) {
        let mut world = World::default();
        start.iter().for_each(|told| world.hear(told));
        let mut settings = Settings::default();
        settings.deny = deny;
        let of_one_family = |(original, translated): (Packet, Option<Packet>)| {
            (original, translated.filter(|packet| packet.family() == original.family()))
        };
        let packets: Vec<_> = packets.into_iter().map(of_one_family).collect();
        let (_, edits) = Model::build(&world.store, &settings, rustc_hash::FxHashMap::default(), |_| Place::Free(0));
        let mut sim = Sim::default();
        prop_assert_eq!(sim.commit(&plan(edits, Garbage::default())), Ok(()));
        check_hosts(&sim, &world, &settings, &packets)?;
    }
}

/// The text of a store whose policies are all `p`.
fn text(world: &mut World, settings: &Settings) -> String {
    world.policy("p", &[rule("allow")], &[rule("deny")]);
    let text = render_text(&world.store, settings);
    in_namespace(|| nft(&["-c", "-f", "-"], &text)).expect("nft takes the text");
    text
}

const P: &[crate::testing::Tier<'_>] = &[("default", "Deny", &["p"], &["p"])];

#[test]
fn an_endpoint_of_every_kind() {
    let mut world = World::default();
    world.host("named", "eth0", &[], [P, P, P, P], &["kns.default"]).host("all", "*", &[], [P, &[], P, P], &[]);
    insta::assert_snapshot!(text(&mut world, &Settings::default()));
}

#[test]
fn tunnels_of_the_cluster_pass_first() {
    let mut world = World::default();
    world.pool("10.0.0.0/8", "ipip vxlan").pool("fd00::/8", "vxlan").node("a", "192.0.2.1/24", "2001:db8::1");
    world.host("all", "*", &[], [&[]; 4], &[]);
    let rules = |text: &str, chain: &str| -> Vec<String> {
        let chain = text.split("\n\n").find(|object| object.contains(&format!("chain {chain} ")));
        let rules = chain.expect("the chain is there").lines().map(str::trim);
        rules.filter(|rule| rule.contains("@tunnel-hosts")).map(str::to_owned).collect()
    };
    let mut settings = Settings::default();
    settings.vxlan_port = 8472;
    let text = text(&mut world, &settings);
    for (point, side) in [(HostPoint::Input, "saddr"), (HostPoint::Output, "daddr")] {
        let wanted = [
            format!("meta l4proto 4 ip {side} @tunnel-hosts4 accept"),
            format!("meta l4proto udp th dport 8472 ip {side} @tunnel-hosts4 accept"),
            format!("meta l4proto udp th dport 8472 ip6 {side} @tunnel-hosts6 accept"),
        ];
        assert_eq!(rules(&text, &names::host(point)), wanted, "{text}");
    }
    for point in [HostPoint::ForwardIngress, HostPoint::ForwardEgress, HostPoint::Translated] {
        assert_eq!(rules(&text, &names::host(point)), [""; 0], "{text}");
    }
}

#[test]
fn where_the_kernel_cannot_answer_a_packet_is_dropped() {
    let mut world = World::default();
    world.host("named", "eth0", &[], [P, P, P, P], &[]);
    let mut settings = Settings::default();
    settings.deny = DenyAction::Reject;
    let text = text(&mut world, &settings);
    let chain = |name: &str| {
        let chain = text.split("\n\n").find(|object| object.contains(&format!("chain {name} ")));
        chain.unwrap_or_else(|| panic!("{name} in {text}"))
    };
    assert!(chain("policy-egress/GlobalNetworkPolicy//p").contains("reject"));
    assert!(chain("policy-egress-leaving/GlobalNetworkPolicy//p").contains("drop"));
}

#[test]
fn without_host_endpoints_there_is_nothing() {
    let mut world = World::default();
    let none = text(&mut world, &Settings::default());
    assert!(!none.contains("host-") && !none.contains("failsafe"), "{none}");
    world.host("named", "cali0", &[], [P, P, P, P], &[]);
    assert_eq!(text(&mut world, &Settings::default()), none, "an interface of a workload has no host endpoint");
}
