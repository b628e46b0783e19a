//! What a fresh graph tells of named states, written out.

use caracal_calc_graph::{CalcGraph, Locality};
use caracal_model::Kind;
use caracal_selector::{NamedPortProtocol, canonical_named_port_id, set_id};

use crate::receiver::{Receiver, flush, set_of};
use crate::states::state;
use crate::world::HERE;

/// The lines that a fresh graph tells of a state and that start with a word.
fn told(name: &str, word: &str) -> Vec<String> {
    let named = state(name);
    let mut graph = CalcGraph::new(Locality::Node(HERE.into()), named.settings);
    let mut receiver = Receiver::default();
    for event in named.world.lists() {
        graph.on_event(event);
    }
    flush(&mut graph, &mut receiver);
    let log = receiver.take_log().into_iter();
    log.filter(|line| line.starts_with(word)).collect()
}

fn check(name: &str, word: &str, want: &[&str]) {
    assert_eq!(told(name, word), want, "{name}");
}

/// The only set that is told is that of a selector.
fn check_set(name: &str, selector: &str, members: &str) {
    check(name, "set ", &[&format!("set {} = [{members}]", set_of(selector))]);
}

/// Whole states, every line.
#[test]
fn flushes() {
    const SHOP: &str = r#"namespace shop {"projectcalico.org/name": "shop", "team": "red"}"#;
    check("nothing", "", &["tunnels []", "in sync"]);
    check("a pod without policies", "", &["profile kns.shop", "pod shop/web []", SHOP, "tunnels []", "in sync"]);
    check(
        "a policy that no local pod needs",
        "",
        &["profile kns.shop", "pod shop/web []", SHOP, "tunnels []", "in sync"],
    );
    let set = format!("set {} = [10.0.0.1/32 10.0.0.2/32]", set_of("has(app)"));
    check(
        "members here and there",
        "",
        &[
            &set,
            "policy p",
            "profile kns.shop",
            "pod shop/web [default Deny in:p out:p]",
            SHOP,
            "tunnels []",
            "in sync",
        ],
    );
    check("pools", "", &["pool 10.64.0.0/16", "pool fd00:64::/64", "tunnels []", "in sync"]);
    let pools = ["pool 10.64.0.0/16", "pool fd00:64::/64", "tunnels [ipip vxlan-v6]", "in sync"];
    check("pools with tunnels", "", &pools);
    check("pools that overlap", "", &["pool 10.64.1.0/24", "pool 10.64.2.0/24", "tunnels []", "in sync"]);
    check(
        "services",
        "",
        &[
            "tunnels []",
            "service api [10.96.0.1 fd00:96::1]",
            "service headless [None]",
            "service nameless [None]",
            "in sync",
        ],
    );
    check(
        "services that claim one address",
        "",
        &["tunnels []", "service b [10.96.0.1]", "service e [10.96.0.9]", "in sync"],
    );
    check("nodes", "", &["node node-a 192.0.2.1/24", "node node-b 192.0.2.2/24", "tunnels []", "in sync"]);
}

#[test]
fn members_of_selectors() {
    for (name, selector, members) in [
        ("one address of two pods", "app == 'db'", "10.0.0.2/32"),
        ("one address of two members", "has(app)", "10.0.0.1/32 10.0.0.2/32 10.0.0.7/32"),
        ("labels of the namespace", "pcns.team == 'blue'", "10.0.1.1/32"),
        ("an own label wins over the namespace's", "pcns.team == 'blue'", "10.0.1.2/32"),
        ("an earlier profile wins over a later one", "color == 'red'", "10.0.1.1/32"),
        ("a negative selector alone", "app == 'db'", "10.0.0.2/32"),
        ("a positive and a negative selector", "has(app) && !app == 'db'", "10.0.0.1/32"),
        ("network sets", "role == 'lan'", "172.16.0.1/32 192.168.0.0/16 fd00:1::/64"),
        ("a network set of everything", "role == 'all'", "0.0.0.0/1 128.0.0.0/1 ::/1 8000::/1"),
        ("a network set inherits from its namespace", "pcns.team == 'red'", "10.0.0.1/32 172.16.0.1/32"),
        ("nested prefixes", "has(role)", "10.0.0.0/8"),
        ("nested prefixes, all told", "has(role)", "10.0.0.0/8 10.1.0.0/16 10.1.2.0/24 10.1.2.3/32 10.2.0.0/16"),
        ("a prefix covers a pod", "has(role)", "10.8.0.1/32 10.9.0.0/16"),
        // The lengths go, and the host bits went when the prefixes were parsed.
        ("prefix lengths of pods", "app == 'net'", "10.3.3.0/32 fd00::/128"),
        ("an empty value is there", "has(empty)", "10.0.0.2/32"),
        ("one selector spelled twice", "app in {'db', 'web'}", "10.0.0.1/32"),
        ("service accounts", "pcsa.projectcalico.org/name == 'a.b'", "10.0.0.2/32"),
        ("a pod that may not spoof", "app == 'db'", ""),
        ("a pod that may spoof", "app == 'db'", "10.0.0.2/32 10.0.0.3/32"),
        ("a pod hides a workload endpoint", "has(app)", "10.0.0.1/32"),
        ("a workload endpoint in place of a pod", "has(app)", "10.7.7.7/32"),
        ("a policy that every node needs", "app == 'web'", "10.0.0.1/32"),
    ] {
        check_set(name, selector, members);
    }
}

#[test]
fn members_of_named_ports_and_services() {
    let named = |selector: &str, protocol, name: &str, members: &str| {
        let id = canonical_named_port_id(&set_of(selector), protocol, name);
        format!("set {id} = [{members}]")
    };
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    for (name, want) in [
        (
            "a named port",
            vec![named("has(app)", NamedPortProtocol::Tcp, "http", "10.0.0.2,tcp:8080 10.0.0.4,tcp:80 fd00::4,tcp:80")],
        ),
        (
            "a named port beside a number",
            vec![
                named("has(app)", NamedPortProtocol::Tcp, "http", "10.0.0.2,tcp:8080"),
                format!("set {} = [10.0.0.1/32 10.0.0.2/32]", set_of("has(app)")),
            ],
        ),
        (
            "a negated named port",
            vec![
                named("app == 'db'", NamedPortProtocol::Udp, "dns", "10.0.0.2,udp:53"),
                format!("set {} = [10.0.0.2/32]", set_of("app == 'db'")),
            ],
        ),
        (
            "a named port of any protocol",
            vec![named("all()", NamedPortProtocol::Any, "dns", "10.0.0.2,tcp:53 10.0.0.2,udp:53 10.0.0.5,sctp:99")],
        ),
        (
            "rules about services",
            vec![
                format!("set {} = []", set_id("svc", "shop/db")),
                format!("set {} = []", set_id("svcnoport", "shop/db")),
            ],
        ),
        (
            "a service of two slices",
            vec![
                format!(
                    "set {} = [10.7.0.1,tcp:80 10.7.0.1,udp:53 10.7.0.2,tcp:80 10.7.0.2,udp:53 fd00:7::1,tcp:80]",
                    set_id("svc", "shop/db")
                ),
                format!("set {} = [10.7.0.1/32 10.7.0.2/32 fd00:7::1/128]", set_id("svcnoport", "shop/db")),
            ],
        ),
    ] {
        assert_eq!(told(name, "set "), sorted(want), "{name}");
    }
}

#[test]
fn lists_of_policies() {
    for (name, list) in [
        ("tiers in order", "[sooner Deny in:q out:q; later Pass in:p out:p; default Deny in:r out:r]"),
        ("tiers the other way round", "[later Deny in:p out:p; sooner Pass in:q out:q; default Deny in:r out:r]"),
        ("a tier that does not exist", "[default Deny in:r out:r; last Pass in:q out:q; missing none in:p out:p]"),
        ("tiers of one order", "[apps Pass in:q out:q; default Deny in:r out:r; security Pass in:p out:p]"),
        // `/` sorts after `-`, and the empty namespace's second `/` before a letter.
        ("policies of one order", "[default Deny in:z,a-a,a,a,a,b,0 out:z,a-a,a,a,a,b,0]"),
        ("staged policies", "[default Deny in:s,s out:s,s]"),
        ("one direction each", "[t Pass in: out:out; default Deny in:in out:]"),
        ("an untracked policy on a pod", "[]"),
        ("an invalid policy selector", "[default Deny in:q out:q]"),
        ("an invalid rule selector", "[]"),
        ("selectors that match nothing", "[default Deny in:q out:q]"),
    ] {
        check(name, "pod shop/web ", &[&format!("pod shop/web {list}")]);
    }
    check(
        "the lists of a host endpoint",
        "host ",
        &["host eth [default Deny in:a-normal,b-forward out:a-normal,b-forward] \
           untracked [default Pass in:c-untracked out:c-untracked] \
           pre-dnat [default Pass in:d-prednat out:] \
           forward [default Deny in:b-forward out:b-forward]"],
    );
    check("an untracked policy on a pod", "policy ", &["policy u"]);
    check("a policy that every node needs", "policy ", &["policy p"]);
    check("a policy that every node needs", "pod ", &["pod shop/web []"]);
}

#[test]
fn problems_name_object_and_reason() {
    for (name, want) in [
        ("one policy", &[][..]),
        (
            "an invalid rule selector",
            &[(Kind::GlobalNetworkPolicy, "outbound_rules[0].destination.selector: invalid selector \"has(\"")],
        ),
        ("an invalid policy selector", &[(Kind::GlobalNetworkPolicy, "selector: invalid selector \"app = 'web'\"")]),
        ("an invalid profile", &[(Kind::Profile, "inbound_rules[0].source.selector: invalid selector \"a\"")]),
        (
            "a pod that may not spoof",
            &[(Kind::Pod, "allowed_source_prefixes: refused"), (Kind::Pod, "allowed_source_prefixes: refused")],
        ),
        ("a pod that may spoof", &[]),
        (
            "a pod without an interface",
            &[(Kind::Pod, "interface: must not be empty"), (Kind::Pod, "interface: must not be empty")],
        ),
        (
            "pools that overlap",
            &[
                (Kind::IpPool, "cidr: 10.64.0.0/16 overlaps 10.64.1.0/24 of the pool a"),
                (Kind::IpPool, "cidr: 10.64.1.0/24 overlaps 10.64.1.0/24 of the pool a"),
            ],
        ),
        (
            "services that claim one address",
            &[
                (Kind::Service, "clusterIPs: 10.96.0.1 belongs to the service shop/b"),
                (Kind::Service, "clusterIPs: fd00:96::1 belongs to the service shop/c"),
            ],
        ),
        ("a namespace hides a profile", &[(Kind::Profile, "hidden by an object of the same key of kind Namespace")]),
    ] {
        let named = state(name);
        let mut graph = CalcGraph::new(Locality::Node(HERE.into()), named.settings);
        for event in named.world.lists() {
            graph.on_event(event);
        }
        flush(&mut graph, &mut Receiver::default());
        let problems: Vec<(Kind, String)> =
            graph.problems().map(|(_, kind, problem)| (kind, problem.to_string())).collect();
        assert_eq!(problems.len(), want.len(), "{name}: {problems:?}");
        for ((kind, text), (want_kind, start)) in problems.iter().zip(want) {
            assert_eq!(kind, want_kind, "{name}");
            assert!(text.starts_with(start), "{name}: {text}");
        }
    }
}
