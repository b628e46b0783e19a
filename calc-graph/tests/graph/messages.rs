//! The deltas that each kind of change causes: these and no others.

use caracal_calc_graph::{CalcGraph, Flush, Locality, NotFlushed, Overlaps, Settings, SourceSpoofing};
use caracal_model::{Event, Kind, PolicyKind, Stamp, TierAction};
use caracal_net::Protocol;

use crate::receiver::{Receiver, flush, set_of, snapshot};
use crate::world::{
    HERE, PolicyThing, THERE, Thing, World, allow, cluster_service, default_tier, deny, host_endpoint, namespace,
    network_set, node, pod, policy, pool, profile, service_account, tier,
};

/// A graph that has told a world.
struct Told {
    graph: CalcGraph,
    receiver: Receiver,
}

impl Told {
    fn new(world: &World) -> Self {
        let mut graph = CalcGraph::new(Locality::Node(HERE.into()), Settings::default());
        let mut receiver = Receiver::default();
        for event in world.lists() {
            graph.on_event(event);
        }
        flush(&mut graph, &mut receiver);
        receiver.take_log();
        Self { graph, receiver }
    }

    fn apply(&mut self, thing: impl Thing) -> &mut Self {
        let (kind, object) = thing.deliver();
        self.graph.on_event(Event::Apply(kind, object, Stamp(1)));
        self
    }

    fn delete(&mut self, thing: impl Thing) -> &mut Self {
        let (kind, object) = thing.deliver();
        self.graph.on_event(Event::Delete(kind, object.key(), Stamp(1)));
        self
    }

    /// What the events since the last flush cause.
    fn causes<const N: usize>(&mut self, want: [&str; N]) {
        flush(&mut self.graph, &mut self.receiver);
        assert_eq!(self.receiver.take_log(), want);
    }

    /// The events since the last flush do not even ask for a flush.
    fn causes_no_flush(&mut self) {
        assert!(!self.graph.is_dirty());
        self.causes([]);
    }
}

/// A node with pod `web` and a policy on it that lets `app == 'db'` in.
fn shop() -> World {
    World::new().with(default_tier()).with(namespace("shop", &[("team", "red")])).with(web()).with(web_policy())
}

fn web() -> crate::world::Pod {
    pod("shop/web", &["10.0.0.1"]).label("app", "web")
}

fn web_policy() -> PolicyThing {
    policy("p", "app == 'web'").inbound(allow().from("app == 'db'"))
}

fn db(name: &str, address: &str) -> crate::world::Pod {
    pod(&format!("shop/{name}"), &[address]).label("app", "db")
}

fn db_set(rest: &str) -> String {
    format!("set {} {rest}", set_of("app == 'db'"))
}

#[test]
fn what_changes_nothing_tells_nothing() {
    let mut told = Told::new(&shop().with(db("db", "10.0.0.2").on(THERE)));
    told.apply(web()).apply(web_policy()).causes_no_flush();
    told.delete(pod("shop/never", &["10.0.0.9"])).causes_no_flush();
    told.apply(default_tier()).apply(namespace("shop", &[("team", "red")]));
    told.causes_no_flush();
}

/// Sources that start again may drop objects and deliver them anew.
#[test]
fn what_goes_and_comes_back_tells_nothing() {
    let service = || cluster_service("api", &["10.96.0.1"], 80);
    let mut told = Told::new(&shop().with(node("m", "192.0.2.1/24")).with(service()));
    told.delete(web()).apply(web()).causes([]);
    told.delete(node("m", "192.0.2.1/24")).apply(node("m", "192.0.2.1/24")).causes([]);
    told.delete(service()).apply(service()).causes([]);
    told.delete(web_policy()).apply(web_policy()).causes([]);
    told.delete(namespace("shop", &[])).apply(namespace("shop", &[("team", "red")])).causes([]);
    told.delete(node("m", "192.0.2.1/24")).apply(node("m", "192.0.2.9/24")).causes(["node m 192.0.2.9/24"]);
    told.delete(service()).apply(cluster_service("api", &["10.96.0.2"], 80)).causes(["service api [10.96.0.2]"]);
}

#[test]
fn a_label_that_no_selector_mentions_tells_nothing() {
    let mut told = Told::new(&shop().with(db("db", "10.0.0.2").on(THERE)));
    told.apply(web().label("pod-template-hash", "abc")).causes_no_flush();
    told.apply(db("db", "10.0.0.2").on(THERE).label("unique", "1")).causes_no_flush();
    told.apply(pod("shop/remote", &["10.0.0.7"]).on(THERE)).causes_no_flush();
}

#[test]
fn another_replica_is_a_member_and_if_local_an_endpoint() {
    let mut world = shop();
    for i in 0..49 {
        world = world.with(db(&format!("db-{i}"), &format!("10.0.1.{i}")).on(if i % 2 == 0 { HERE } else { THERE }));
    }
    let mut told = Told::new(&world);
    told.apply(db("db-here", "10.0.2.1"));
    told.causes([&db_set("+10.0.2.1/32"), "pod shop/db-here []"]);
    told.apply(db("db-there", "10.0.2.2").on(THERE));
    told.causes([&db_set("+10.0.2.2/32")]);
    told.delete(db("db-there", "10.0.2.2").on(THERE));
    told.causes([&db_set("-10.0.2.2/32")]);
    told.delete(db("db-here", "10.0.2.1"));
    told.causes([&db_set("-10.0.2.1/32"), "pod shop/db-here gone"]);
}

#[test]
fn an_address_that_moves_between_pods_of_a_set_does_not_flap() {
    let mut told = Told::new(&shop().with(db("old", "10.0.0.2").on(THERE)));
    told.apply(db("new", "10.0.0.2").on(THERE)).delete(db("old", "10.0.0.2").on(THERE));
    told.causes([]);
    told.apply(db("third", "10.0.0.2").on(THERE));
    told.causes([]);
    told.delete(db("new", "10.0.0.2").on(THERE));
    told.causes([]);
    told.delete(db("third", "10.0.0.2").on(THERE));
    told.causes([&db_set("-10.0.0.2/32")]);
}

#[test]
fn a_namespace_label_flips_its_pods_only() {
    let red = "pcns.team == 'red'";
    let mut told = Told::new(
        &shop()
            .with(policy("p", "app == 'web'").inbound(allow().from(red)))
            .with(namespace("pay", &[("team", "blue")]))
            .with(pod("pay/a", &["10.0.3.1"]).on(THERE))
            .with(pod("pay/b", &["10.0.3.2"]).on(THERE)),
    );
    told.apply(namespace("pay", &[("team", "red")]));
    told.causes([
        &format!("set {} +10.0.3.1/32 +10.0.3.2/32", set_of(red)),
        r#"namespace pay {"projectcalico.org/name": "pay", "team": "red"}"#,
    ]);
    told.apply(namespace("pay", &[("team", "red"), ("noise", "1")]));
    told.causes([r#"namespace pay {"noise": "1", "projectcalico.org/name": "pay", "team": "red"}"#]);
}

#[test]
fn a_rule_edit_tells_sets_and_the_policy_but_no_endpoint() {
    let mut told = Told::new(&shop().with(db("db", "10.0.0.2")));
    told.apply(policy("p", "app == 'web'").inbound(deny().from("app == 'db'")));
    told.causes(["policy p"]);
    told.apply(policy("p", "app == 'web'").inbound(deny().from("has(app)")));
    told.causes([&format!("set {} = [10.0.0.1/32 10.0.0.2/32]", set_of("has(app)")), "policy p", &db_set("gone")]);
}

#[test]
fn an_order_edit_tells_endpoints_but_no_policy() {
    let mut told = Told::new(&shop().with(policy("q", "app == 'web'").order(5.0)));
    told.apply(web_policy().order(1.0));
    told.causes(["pod shop/web [default Deny in:p,q out:p,q]"]);
    // The order changes and the place does not.
    told.apply(web_policy().order(2.0));
    told.causes([]);
}

#[test]
fn a_tier_edit_tells_the_endpoints_with_policies_in_it() {
    let mut told = Told::new(
        &shop()
            .with(tier("t", Some(1.0), TierAction::Deny))
            .with(policy("q", "app == 'db'").tier("t"))
            .with(db("db", "10.0.0.2")),
    );
    told.apply(tier("t", Some(1.0), TierAction::Pass));
    told.causes(["pod shop/db [t Pass in:q out:q]"]);
    told.apply(tier("t", Some(9.0), TierAction::Pass));
    told.causes([]);
    told.apply(tier("unused", Some(1.0), TierAction::Pass)).causes_no_flush();
    // What was the action before does not stay.
    told.delete(tier("t", None, TierAction::Pass));
    told.causes(["pod shop/db [t none in:q out:q]"]);
    told.apply(tier("t", Some(9.0), TierAction::Deny));
    told.causes(["pod shop/db [t Deny in:q out:q]"]);
}

#[test]
fn a_policy_comes_and_goes_with_what_it_needs() {
    let mut told = Told::new(&shop().with(db("db", "10.0.0.2")));
    told.delete(web_policy());
    told.causes(["pod shop/web []", "policy p gone", &db_set("gone")]);
    told.apply(web_policy());
    told.causes([&db_set("= [10.0.0.2/32]"), "policy p", "pod shop/web [default Deny in:p out:p]"]);
    // Gone and back between flushes: the receiver's set stays.
    told.delete(web_policy()).apply(web_policy());
    told.causes([]);
    told.delete(web_policy()).apply(policy("p", "app == 'web'").inbound(deny().from("app == 'db'")));
    told.causes(["policy p"]);
}

#[test]
fn rules_that_change_back_tell_nothing() {
    let mut told = Told::new(&shop());
    let other_policy = || policy("p", "app == 'web'").inbound(deny().from("has(app)"));
    told.apply(other_policy()).apply(web_policy()).causes([]);
    told.apply(other_policy()).delete(web_policy()).apply(web_policy()).causes([]);
    let allowing = || profile("kns.other", &[], &[allow().into()], &[]);
    let denying = || profile("kns.other", &[], &[deny().into()], &[]);
    told.apply(allowing()).apply(pod("other/pod", &["10.0.0.8"]));
    told.causes(["profile kns.other", "pod other/pod []"]);
    told.apply(denying()).apply(allowing()).causes([]);
    told.apply(denying()).delete(denying()).apply(allowing()).causes([]);
    told.apply(allowing()).apply(denying()).causes(["profile kns.other"]);
}

#[test]
fn the_last_local_pod_takes_its_policies_along() {
    let mut told = Told::new(&shop().with(db("db", "10.0.0.2").on(THERE)));
    told.delete(web());
    told.causes(["pod shop/web gone", "profile kns.shop gone", "policy p gone", &db_set("gone")]);
    told.apply(web());
    told.causes([&db_set("= [10.0.0.2/32]"), "policy p", "profile kns.shop", "pod shop/web [default Deny in:p out:p]"]);
}

#[test]
fn a_namespace_that_goes_first_denies() {
    let mut told = Told::new(&shop());
    told.delete(namespace("shop", &[]));
    told.causes(["profile kns.shop", "namespace shop gone"]);
    let denied = &told.receiver.state.profiles["kns.shop"];
    let actions: Vec<_> = denied.inbound_rules.iter().chain(&denied.outbound_rules).collect();
    assert!(actions.len() == 2 && actions.iter().all(|rule| rule.rule.action == caracal_model::Action::Deny));
}

#[test]
fn covering_prefixes_hide_and_uncover_members() {
    let lan = |nets: &[&str]| network_set("lan", &[("app", "db")], nets);
    let mut told = Told::new(&shop().with(db("db", "10.0.0.2").on(THERE)).with(db("far", "10.1.0.1").on(THERE)));
    told.apply(lan(&["10.0.0.0/16"]));
    told.causes([&db_set("+10.0.0.0/16 -10.0.0.2/32")]);
    told.apply(lan(&["10.0.0.0/16", "10.0.0.0/24"]));
    told.causes([]);
    told.apply(db("near", "10.0.0.3").on(THERE));
    told.causes([]);
    told.apply(lan(&["10.0.0.0/24", "10.1.0.0/24"]));
    told.causes([&db_set("+10.0.0.0/24 +10.1.0.0/24 -10.0.0.0/16 -10.1.0.1/32")]);
    told.apply(lan(&[]));
    told.causes([&db_set("+10.0.0.2/32 +10.0.0.3/32 +10.1.0.1/32 -10.0.0.0/24 -10.1.0.0/24")]);
}

#[test]
fn named_ports_follow_the_pod() {
    let dns = || db("db", "10.0.0.2").on(THERE);
    let world = shop().with(policy("p", "app == 'web'").outbound(allow().to("app == 'db'").dst_port("dns")));
    let mut told = Told::new(&world.with(dns().port("dns", Protocol::UDP, 53)));
    let set = told.receiver.state.sets.keys().next().expect("one set").clone();
    told.apply(dns().port("dns", Protocol::UDP, 53).port("dns", Protocol::TCP, 53));
    told.causes([&format!("set {set} +10.0.0.2,tcp:53")]);
    told.apply(dns().port("dns", Protocol::UDP, 54).port("web", Protocol::TCP, 53));
    told.causes([&format!("set {set} +10.0.0.2,udp:54 -10.0.0.2,tcp:53 -10.0.0.2,udp:53")]);
}

#[test]
fn hosts_and_accounts_are_told_by_name() {
    let mut told = Told::new(&shop().with(node(THERE, "192.0.2.2/24")));
    told.apply(node(THERE, "192.0.2.2/24")).causes_no_flush();
    told.apply(node(THERE, "192.0.2.3/24"));
    told.causes(["node node-b 192.0.2.3/24"]);
    told.delete(node(THERE, "")).apply(node(HERE, "192.0.2.1/24"));
    told.causes(["node node-b gone", "node node-a 192.0.2.1/24"]);
    told.apply(service_account("shop", "a.b", &[("role", "x")]));
    told.causes([r#"service account shop/a.b {"projectcalico.org/name": "a.b", "role": "x"}"#]);
    told.delete(service_account("shop", "a.b", &[]));
    told.causes(["service account shop/a.b gone"]);
}

#[test]
fn a_pool_is_told_unless_it_overlaps_an_earlier_one() {
    let mut told = Told::new(&shop().with(pool("m", "10.64.0.0/16")));
    told.apply(pool("m", "10.64.0.0/16")).causes_no_flush();
    told.apply(pool("n", "10.64.8.0/24"));
    told.causes([]);
    told.delete(pool("m", "10.64.0.0/16")).apply(pool("o", "10.64.0.0/16"));
    told.causes(["pool 10.64.0.0/16 gone", "pool 10.64.8.0/24"]);
    told.apply(pool("a", "10.64.0.0/16")).delete(pool("o", "10.64.0.0/16"));
    told.causes(["pool 10.64.8.0/24 gone", "pool 10.64.0.0/16"]);
    // The name is no part of what the receiver knows.
    told.delete(pool("a", "10.64.0.0/16")).apply(pool("b", "10.64.0.0/16"));
    told.causes([]);
}

#[test]
fn a_service_is_told_unless_an_earlier_one_has_its_address() {
    let mut told = Told::new(&shop().with(cluster_service("m", &["10.96.0.1"], 80)));
    told.apply(cluster_service("m", &["10.96.0.1"], 80)).causes_no_flush();
    told.apply(cluster_service("m", &["10.96.0.1"], 81));
    told.causes(["service m [10.96.0.1]"]);
    told.apply(cluster_service("n", &["10.96.0.1"], 80)).apply(cluster_service("o", &["10.96.0.1"], 80));
    told.causes([]);
    told.delete(cluster_service("n", &[], 80));
    told.causes([]);
    told.apply(cluster_service("a", &["10.96.0.1"], 80));
    told.causes(["service m gone", "service a [10.96.0.1]"]);
    told.apply(cluster_service("a", &["10.96.0.2"], 80));
    told.causes(["service a [10.96.0.2]", "service m [10.96.0.1]"]);
    told.delete(cluster_service("m", &[], 80));
    told.causes(["service m gone", "service o [10.96.0.1]"]);
}

#[test]
fn settings_change_live() {
    let mut told = Told::new(
        &shop()
            .with(network_set("lan", &[("app", "db")], &["10.0.0.0/16", "10.0.1.0/24"]))
            .with(db("liar", "10.0.0.2").spoofing("10.9.0.0/16")),
    );
    told.graph.set_settings(Settings { suppress_overlaps: Overlaps::Kept, source_spoofing: SourceSpoofing::Disabled });
    told.causes([&db_set("+10.0.1.0/24")]);
    told.graph.set_settings(Settings { suppress_overlaps: Overlaps::Suppressed, source_spoofing: SourceSpoofing::Any });
    told.causes([&db_set("-10.0.1.0/24"), "pod shop/liar []"]);
    told.graph.set_settings(Settings::default());
    told.causes(["pod shop/liar gone"]);
}

#[test]
fn a_list_sweeps_what_it_does_not_repeat_of_its_kind() {
    let world = shop().with(db("db", "10.0.0.2")).with(host_endpoint("eth", HERE, &[], &[]));
    let mut told = Told::new(&world);
    let relist = |told: &mut Told, world: &World, kind: Kind| {
        for event in world.list(kind) {
            told.graph.on_event(event);
        }
    };
    for kind in Kind::ALL {
        relist(&mut told, &world, kind);
        told.causes_no_flush();
    }
    let without = world.clone().without(Kind::Pod, "shop/db");
    relist(&mut told, &without, Kind::WorkloadEndpoint);
    told.causes_no_flush();
    told.graph.on_event(Event::Begin(Kind::Pod));
    told.causes_no_flush();
    relist(&mut told, &without, Kind::Pod);
    told.causes([&db_set("-10.0.0.2/32"), "pod shop/db gone"]);
    relist(&mut told, &World::new(), Kind::GlobalNetworkPolicy);
    told.causes(["pod shop/web []", "policy p gone", &db_set("gone")]);
}

#[test]
fn a_hidden_object_comes_back_unless_its_list_dropped_it() {
    let hidden = || profile("kns.shop", &[("pcns.team", "blue")], &[], &[]);
    let red = || namespace("shop", &[("team", "red")]);
    let world = shop().without(Kind::Namespace, "kns.shop").with(hidden());
    let mut told = Told::new(&world);
    told.apply(red());
    told.causes(["profile kns.shop", r#"namespace shop {"projectcalico.org/name": "shop", "team": "red"}"#]);
    told.delete(red());
    told.causes(["profile kns.shop", r#"namespace shop {"team": "blue"}"#]);
    told.graph.on_event(Event::Begin(Kind::Profile));
    told.apply(red());
    told.graph.on_event(Event::End(Kind::Profile));
    told.delete(red());
    told.causes(["profile kns.shop", "namespace shop gone"]);
    assert_eq!(told.graph.problems().count(), 0);
}

#[test]
fn settings_do_not_stand_in_for_a_list() {
    let any = Settings { source_spoofing: SourceSpoofing::Any, ..Settings::default() };
    for (before, after) in [(Settings::default(), any), (any, Settings::default())] {
        let liar = || db("liar", "10.0.0.2").spoofing("10.9.0.0/16").on(THERE);
        let mut told = Told::new(&shop().with(liar()));
        told.graph.set_settings(before);
        flush(&mut told.graph, &mut told.receiver);
        told.graph.on_event(Event::Begin(Kind::Pod));
        told.apply(web());
        told.graph.set_settings(after);
        flush(&mut told.graph, &mut told.receiver);
        told.graph.on_event(Event::End(Kind::Pod));
        told.graph.set_settings(any);
        flush(&mut told.graph, &mut told.receiver);
        let (_, members) = &told.receiver.state.sets[&*set_of("app == 'db'")];
        assert!(members.is_empty(), "{before:?} to {after:?}: {members:?}");
    }
}

#[test]
fn a_policy_that_another_kind_hides_comes_back() {
    let admin = || {
        let (_, object) = policy("p", "").of(PolicyKind::KubernetesClusterNetworkPolicy, "").order(7.0).deliver();
        (Kind::AdminNetworkPolicy, object)
    };
    let cluster = || policy("p", "").of(PolicyKind::KubernetesClusterNetworkPolicy, "").inbound(deny());
    let mut told = Told::new(&shop().without(Kind::GlobalNetworkPolicy, "\"p\"").with(admin()));
    let policies = told.receiver.state.policies.clone();
    told.apply(cluster());
    told.causes(["policy p"]);
    told.delete(cluster());
    told.causes(["policy p"]);
    assert_eq!(told.receiver.state.policies, policies);
}

#[test]
fn no_endpoint_is_told_before_every_kind_was_listed() {
    let mut graph = CalcGraph::new(Locality::Node(HERE.into()), Settings::default());
    let mut receiver = Receiver::default();
    let (last, world) = (Kind::Node, shop());
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != last) {
        for event in world.list(kind) {
            graph.on_event(event);
        }
        flush(&mut graph, &mut receiver);
    }
    let told = receiver.take_log();
    assert!(told.contains(&"policy p".to_owned()) && !told.iter().any(|line| line.starts_with("pod")));
    assert!(!graph.in_sync());
    for event in world.list(last) {
        graph.on_event(event);
    }
    assert!(graph.is_dirty());
    flush(&mut graph, &mut receiver);
    assert_eq!(receiver.take_log(), ["pod shop/web [default Deny in:p out:p]", "tunnels []", "in sync"]);
    assert!(graph.in_sync());
    graph.on_event(Event::Begin(last));
    assert!(graph.in_sync());
}

#[test]
fn a_flush_counts_its_deltas_and_carries_the_oldest_stamp() {
    let mut told = Told::new(&shop());
    let mut stamped = |stamps: &[(u64, crate::world::Pod)]| {
        for (stamp, thing) in stamps.iter().cloned() {
            let (kind, object) = thing.deliver();
            told.graph.on_event(Event::Apply(kind, object, Stamp(stamp)));
        }
        flush(&mut told.graph, &mut told.receiver)
    };
    let irrelevant = web().label("noise", "1");
    let want = |deltas, stamp: Option<u64>| Flush { deltas, stamp: stamp.map(Stamp) };
    assert_eq!(stamped(&[(1, irrelevant)]), want(0, None));
    let two = [(7, db("a", "10.0.0.2")), (5, db("b", "10.0.0.3"))];
    assert_eq!(stamped(&two), want(3, Some(5)));
    assert_eq!(stamped(&[]), want(0, None));
}

#[test]
fn a_snapshot_is_of_what_was_told() {
    let mut told = Told::new(&shop().with(db("db", "10.0.0.2")));
    assert_eq!(snapshot(&mut told.graph), told.receiver.state);
    told.delete(web_policy());
    assert_eq!(told.graph.snapshot(&mut |_| {}), Err(NotFlushed));
    flush(&mut told.graph, &mut told.receiver);
    assert_eq!(snapshot(&mut told.graph), told.receiver.state);
    // A snapshot is no flush: what comes after it is told as if it had not been.
    told.receiver.take_log();
    told.apply(web_policy());
    told.causes([&db_set("= [10.0.0.2/32]"), "policy p", "pod shop/web [default Deny in:p out:p]"]);
}

#[test]
fn everywhere_every_workload_is_local_and_lists_are_shared() {
    let mut graph = CalcGraph::new(Locality::Everywhere, Settings::default());
    let mut receiver = Receiver::default();
    let world = shop().with(db("a", "10.0.0.2").on(THERE)).with(db("b", "10.0.0.3").on("node-c"));
    for event in world.lists() {
        graph.on_event(event);
    }
    flush(&mut graph, &mut receiver);
    let lists: Vec<_> = receiver.state.workloads.values().map(|(_, list)| list).collect();
    assert_eq!(lists.len(), 3);
    let empty: Vec<_> = lists.iter().filter(|list| list.is_empty()).collect();
    assert!(std::sync::Arc::ptr_eq(empty[0], empty[1]));
}
