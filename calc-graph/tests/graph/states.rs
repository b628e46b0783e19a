//! Named states of a datastore, each about one thing.

use caracal_calc_graph::{Overlaps, Settings, SourceSpoofing};
use caracal_model::{Action, Kind, Object, PolicyKind, Rule, TierAction, TunnelMode};
use caracal_net::Protocol;

use crate::world::{
    HERE, THERE, World, allow, cluster_service, default_tier, deny, host_endpoint, namespace, network_set, node, pod,
    policy, pool, profile, service_account, slice, tier, tunnelled,
};

/// A state: what sources deliver, and the settings.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) name: &'static str,
    pub(crate) world: World,
    pub(crate) settings: Settings,
}

const KEPT: Settings = Settings { suppress_overlaps: Overlaps::Kept, source_spoofing: SourceSpoofing::Disabled };
const SPOOFING: Settings = Settings { suppress_overlaps: Overlaps::Suppressed, source_spoofing: SourceSpoofing::Any };

/// The state of a name.
pub(crate) fn state(name: &str) -> Named {
    let found = states().into_iter().find(|state| state.name == name);
    found.unwrap_or_else(|| panic!("there is a state {name:?}"))
}

/// A namespace, a tier and a pod that a policy selects.
fn base() -> World {
    World::new()
        .with(default_tier())
        .with(namespace("shop", &[("team", "red")]))
        .with(pod("shop/web", &["10.0.0.1"]).label("app", "web"))
}

fn from(selector: &str) -> World {
    base().with(policy("p", "app == 'web'").inbound(allow().from(selector)))
}

/// Every state.
pub(crate) fn states() -> Vec<Named> {
    let db = || pod("shop/db", &["10.0.0.2"]).label("app", "db");
    let plain = [
        ("nothing", World::new()),
        ("a pod without policies", base()),
        ("a pod without its namespace", World::new().with(default_tier()).with(pod("shop/web", &["10.0.0.1"]))),
        ("one policy", base().with(policy("p", "app == 'web'").inbound(allow()))),
        (
            "a policy that no local pod needs",
            base().with(db().on(THERE)).with(policy("p", "app == 'db'").inbound(allow().from("all()"))),
        ),
        ("members here and there", from("has(app)").with(db().on(THERE)).with(pod("shop/x", &["10.0.0.3"]).on(THERE))),
        (
            "one address of two pods",
            from("app == 'db'").with(db().on(THERE)).with(pod("shop/old", &["10.0.0.2"]).label("app", "old").on(THERE)),
        ),
        (
            "one address of two members",
            from("has(app)")
                .with(db().on(THERE))
                .with(pod("shop/old", &["10.0.0.2"]).label("app", "old"))
                .with(network_set("set", &[("app", "set")], &["10.0.0.2/32", "10.0.0.7"])),
        ),
        (
            "labels of the namespace",
            from("pcns.team == 'blue'")
                .with(namespace("pay", &[("team", "blue")]))
                .with(pod("pay/card", &["10.0.1.1"]).on(THERE))
                .with(db()),
        ),
        (
            "an own label wins over the namespace's",
            from("pcns.team == 'blue'")
                .with(namespace("pay", &[("team", "blue")]))
                .with(pod("pay/card", &["10.0.1.1"]).label("pcns.team", "green").on(THERE))
                .with(pod("shop/odd", &["10.0.1.2"]).label("pcns.team", "blue").on(THERE)),
        ),
        (
            "an earlier profile wins over a later one",
            from("color == 'red'")
                .with(profile("one", &[("color", "red")], &[], &[]))
                .with(profile("two", &[("color", "blue"), ("size", "1")], &[], &[]))
                .with(pod("shop/a", &["10.0.1.1"]).profiles(&["one", "two"]).on(THERE))
                .with(pod("shop/b", &["10.0.1.2"]).profiles(&["two", "one"])),
        ),
        ("a negative selector alone", base().with(policy("p", "").inbound(deny().not_from("app == 'db'"))).with(db())),
        (
            "a positive and a negative selector",
            base().with(policy("p", "").inbound(deny().from("has(app)").not_from("app == 'db'"))).with(db()),
        ),
        (
            "a named port",
            base()
                .with(policy("p", "").inbound(allow().to("has(app)").protocol(Protocol::TCP).dst_port("http")))
                .with(db().port("http", Protocol::TCP, 8080).port("http", Protocol::UDP, 53))
                .with(pod("shop/two", &["10.0.0.4", "fd00::4"]).label("app", "b").port("http", Protocol::TCP, 80)),
        ),
        (
            "a named port beside a number",
            base()
                .with(
                    policy("p", "")
                        .inbound(allow().to("has(app)").protocol(Protocol::TCP).dst_port("http").dst_port("443")),
                )
                .with(db().port("http", Protocol::TCP, 8080)),
        ),
        (
            "a negated named port",
            base()
                .with(policy("p", "").inbound(deny().to("app == 'db'").protocol(Protocol::UDP).not_dst_port("dns")))
                .with(db().port("dns", Protocol::UDP, 53).port("dns", Protocol::TCP, 53)),
        ),
        (
            "a named port of any protocol",
            base()
                .with(policy("p", "").inbound(allow().dst_port("dns")))
                .with(db().port("dns", Protocol::UDP, 53).port("dns", Protocol::TCP, 53))
                .with(pod("shop/s", &["10.0.0.5"]).port("dns", Protocol::SCTP, 99).on(THERE)),
        ),
        (
            "network sets",
            from("role == 'lan'")
                .with(network_set("lan", &[("role", "lan")], &["192.168.0.0/16", "fd00:1::/64"]))
                .with(network_set("shop/lan", &[("role", "lan")], &["172.16.0.1"])),
        ),
        (
            "a network set of everything",
            from("role == 'all'").with(network_set("all", &[("role", "all")], &["0.0.0.0/0", "::/0", "10.0.0.0/8"])),
        ),
        (
            "a network set inherits from its namespace",
            from("pcns.team == 'red'").with(network_set("shop/lan", &[], &["172.16.0.1"])),
        ),
        ("nested prefixes", nested()),
        (
            "a prefix covers a pod",
            from("has(role)")
                .with(pod("shop/r", &["10.9.0.1"]).label("role", "x").on(THERE))
                .with(pod("shop/s", &["10.8.0.1"]).label("role", "x").on(THERE))
                .with(network_set("lan", &[("role", "lan")], &["10.9.0.0/16"])),
        ),
        (
            "tiers in order",
            base()
                .with(tier("later", Some(20.0), TierAction::Pass))
                .with(tier("sooner", Some(10.0), TierAction::Deny))
                .with(policy("p", "").tier("later").inbound(allow()))
                .with(policy("q", "").tier("sooner").inbound(allow()))
                .with(policy("r", "").inbound(allow())),
        ),
        (
            "tiers the other way round",
            base()
                .with(tier("later", Some(5.0), TierAction::Deny))
                .with(tier("sooner", Some(10.0), TierAction::Pass))
                .with(policy("p", "").tier("later").inbound(allow()))
                .with(policy("q", "").tier("sooner").inbound(allow()))
                .with(policy("r", "").inbound(allow())),
        ),
        (
            "a tier that does not exist",
            base()
                .with(tier("last", None, TierAction::Pass))
                .with(policy("p", "").tier("missing").inbound(allow()))
                .with(policy("q", "").tier("last").inbound(allow()))
                .with(policy("r", "").inbound(allow())),
        ),
        (
            "tiers of one order",
            base()
                .with(tier("apps", Some(1_000_000.0), TierAction::Pass))
                .with(tier("security", Some(1_000_000.0), TierAction::Pass))
                .with(policy("p", "").tier("security").inbound(allow()))
                .with(policy("q", "").tier("apps").inbound(allow()))
                .with(policy("r", "").inbound(allow())),
        ),
        (
            "policies of one order",
            base()
                .with(policy("b", "").order(1.0))
                .with(policy("a", "").order(1.0))
                .with(policy("a", "").of(PolicyKind::NetworkPolicy, "shop").order(1.0))
                .with(policy("a", "").of(PolicyKind::KubernetesNetworkPolicy, "shop").order(1.0))
                .with(policy("a-a", "").order(1.0))
                .with(policy("0", ""))
                .with(policy("z", "").order(-1.0)),
        ),
        (
            "staged policies",
            base()
                .with(policy("s", "").of(PolicyKind::StagedNetworkPolicy, "shop").inbound(deny()))
                .with(policy("s", "").of(PolicyKind::NetworkPolicy, "shop").inbound(allow())),
        ),
        (
            "one direction each",
            base()
                .with(tier("t", Some(1.0), TierAction::Pass))
                .with(policy("in", "").inbound(allow()).ingress_only())
                .with(policy("out", "").tier("t").outbound(allow()).egress_only()),
        ),
        (
            "the lists of a host endpoint",
            base()
                .with(host_endpoint("eth", HERE, &[("role", "node")], &["192.0.2.1"]))
                .with(host_endpoint("far", THERE, &[("role", "node")], &["192.0.2.2"]))
                .with(policy("a-normal", "role == 'node'").inbound(allow().from("role == 'node'")))
                .with(policy("b-forward", "role == 'node'").forward().outbound(deny()))
                .with(policy("c-untracked", "role == 'node'").untracked())
                .with(policy("d-prednat", "role == 'node'").pre_dnat()),
        ),
        (
            "an untracked policy on a pod",
            base().with(policy("u", "").untracked().inbound(allow().from("app == 'web'"))),
        ),
        (
            "an invalid policy selector",
            base().with(policy("p", "app = 'web'").inbound(allow())).with(policy("q", "").inbound(allow())),
        ),
        (
            "an invalid rule selector",
            base().with(policy("p", "").inbound(allow()).outbound(allow().to("has(")).inbound(allow())),
        ),
        (
            "an invalid profile",
            base()
                .with(profile("odd", &[("role", "odd")], &[allow().from("a").into()], &[]))
                .with(pod("shop/odd", &["10.0.0.9"]).profile("odd"))
                .with(policy("p", "").inbound(allow().from("role == 'odd'"))),
        ),
        (
            "a valid profile",
            base()
                .with(profile("odd", &[("role", "odd")], &[allow().from("has(a)").into()], &[]))
                .with(pod("shop/odd", &["10.0.0.9"]).profile("odd"))
                .with(policy("p", "").inbound(allow().from("role == 'odd'"))),
        ),
        ("a pod that may not spoof", spoofers()),
        (
            "a pod without an interface",
            from("app == 'db'").with(db().without_interface()).with(pod("shop/web", &["10.0.0.1"]).without_interface()),
        ),
        (
            "rules about services",
            base().with(
                policy("p", "").outbound(allow().dst_service("shop", "db")).inbound(allow().src_service("shop", "db")),
            ),
        ),
        ("a service of two slices", db_rules().with(first_slice()).with(second_slice())),
        ("a service of one slice", db_rules().with(second_slice())),
        (
            "slices change services",
            db_rules().with(slice("a", "other", &["10.7.0.1"], &[(Protocol::TCP, 80)])).with(first_slice_as("b")),
        ),
        (
            "a policy that every node needs",
            base().with(policy("p", "!all()").inbound(allow().from("app == 'web'")).hint("AssumeNeededOnEveryNode")),
        ),
        (
            "prefix lengths of pods",
            from("app == 'net'").with(pod("shop/n", &["10.3.3.3/24", "fd00::3/64"]).label("app", "net")),
        ),
        (
            "service accounts",
            from("pcsa.projectcalico.org/name == 'a.b'")
                .with(service_account("shop", "a.b", &[("tier", "1")]))
                .with(db().profile("ksa.shop.a.b")),
        ),
        ("pools", World::new().with(pool("v4", "10.64.0.0/16")).with(pool("v6", "fd00:64::/64"))),
        (
            "pools with tunnels",
            World::new()
                .with(tunnelled("v4", "10.64.0.0/16", TunnelMode::CrossSubnet, TunnelMode::Never))
                .with(tunnelled("v6", "fd00:64::/64", TunnelMode::Never, TunnelMode::Always))
                .with(tunnelled("within", "fd00:64::/80", TunnelMode::Never, TunnelMode::Never)),
        ),
        (
            "pools that overlap",
            World::new()
                .with(pool("b", "10.64.0.0/16"))
                .with(pool("a", "10.64.1.0/24"))
                .with(pool("c", "10.64.2.0/24"))
                .with(pool("d", "10.64.1.0/24")),
        ),
        (
            "services",
            World::new()
                .with(cluster_service("api", &["10.96.0.1", "fd00:96::1"], 80))
                .with(cluster_service("headless", &["None"], 80))
                .with(cluster_service("nameless", &["None"], 443)),
        ),
        (
            "services that claim one address",
            World::new()
                .with(cluster_service("b", &["10.96.0.1"], 80))
                .with(cluster_service("c", &["10.96.0.1", "fd00:96::1"], 80))
                .with(cluster_service("d", &["fd00:96::1"], 80))
                .with(cluster_service("e", &["10.96.0.9"], 80)),
        ),
        ("nodes", World::new().with(node(HERE, "192.0.2.1/24")).with(node(THERE, "192.0.2.2/24"))),
        (
            "a namespace hides a profile",
            base().with(profile("kns.shop", &[("pcns.team", "blue")], &[], &[Rule::any(Action::Deny)])),
        ),
        (
            "a profile in place of a namespace",
            base().without(caracal_model::Kind::Namespace, "kns.shop").with(profile(
                "kns.shop",
                &[("pcns.team", "blue")],
                &[],
                &[Rule::any(Action::Deny)],
            )),
        ),
        (
            "a pod hides a workload endpoint",
            from("has(app)").with(pod("shop/web", &["10.7.7.7"]).label("app", "other").into_workload_endpoint()),
        ),
        (
            "a workload endpoint in place of a pod",
            from("has(app)")
                .without(caracal_model::Kind::Pod, "shop/web")
                .with(pod("shop/web", &["10.7.7.7"]).label("app", "web").into_workload_endpoint()),
        ),
        (
            "selectors that match nothing",
            base()
                .with(policy("p", "app in {}"))
                .with(policy("q", "").inbound(allow().from("app in {}").from("!all()"))),
        ),
        (
            "an empty value is there",
            from("has(empty)").with(db().label("empty", "")).with(pod("shop/e", &["10.0.0.8"])),
        ),
        (
            "one selector spelled twice",
            base().with(
                policy("p", "")
                    .inbound(allow().from("app in {'web','db',}"))
                    .outbound(allow().to(" app in { \"db\", 'web' }")),
            ),
        ),
    ];
    let plain = plain.into_iter().map(|(name, world)| Named { name, world, settings: Settings::default() });
    let set = [
        Named { name: "nested prefixes, all told", world: nested(), settings: KEPT },
        Named { name: "a pod that may spoof", world: spoofers(), settings: SPOOFING },
    ];
    plain.chain(set).chain([everything()]).collect()
}

fn nested() -> World {
    let nets = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3", "10.2.0.0/16"];
    from("has(role)").with(network_set("inner", &[("role", "a")], &nets[1..])).with(network_set(
        "outer",
        &[("role", "b")],
        &nets[..2],
    ))
}

fn spoofers() -> World {
    from("app == 'db'")
        .with(pod("shop/db", &["10.0.0.2"]).label("app", "db").spoofing("10.9.0.0/16").on(THERE))
        .with(pod("shop/liar", &["10.0.0.3"]).label("app", "db").spoofing("10.9.0.0/16"))
}

/// Many things at once.
fn everything() -> Named {
    let mut world = base()
        .with(tier("first", Some(1.0), TierAction::Pass))
        .with(namespace("pay", &[("team", "blue")]))
        .with(node(HERE, "192.0.2.9/24"))
        .with(network_set("lan", &[("role", "x")], &["10.0.0.0/8", "192.168.0.0/16"]))
        .with(host_endpoint("eth", HERE, &[("app", "host")], &["192.0.2.1"]));
    for i in 0u8..20 {
        let (namespace, host) = if i % 2 == 0 { ("shop", HERE) } else { ("pay", THERE) };
        let thing = pod(&format!("{namespace}/many-{i}"), &[&format!("10.0.2.{i}")])
            .label("app", if i % 3 == 0 { "web" } else { "db" })
            .label("unique", &i.to_string())
            .port("http", Protocol::TCP, 80 + u16::from(i % 4))
            .on(host);
        world = world.with(thing);
        world = world.with(
            policy(&format!("many-{i}"), &format!("app == 'web' && unique != '{i}'"))
                .order(f64::from(i % 5))
                .tier(if i % 2 == 0 { "first" } else { "default" })
                .inbound(allow().from("pcns.team == 'blue'").dst_port("http"))
                .outbound(deny().to("has(role) || app == 'db'")),
        );
    }
    Named { name: "everything", world, settings: Settings::default() }
}

fn db_rules() -> World {
    base().with(policy("p", "").outbound(allow().dst_service("shop", "db")).inbound(allow().src_service("shop", "db")))
}

fn first_slice() -> (Kind, Object) {
    first_slice_as("a")
}

fn first_slice_as(name: &str) -> (Kind, Object) {
    slice(name, "db", &["10.7.0.1", "10.7.0.2", "10.7.0.1"], &[(Protocol::TCP, 80), (Protocol::UDP, 53)])
}

/// Shares an address and port with the first.
fn second_slice() -> (Kind, Object) {
    slice("b", "db", &["10.7.0.2", "fd00:7::1"], &[(Protocol::TCP, 80)])
}
