//! An agent goes on with what it has when its manifests say something else.

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use caracal_calc_graph::Locality;
use caracal_datastore::{ConfigEvent, FileSource, Report, Sink, Source as _};
use caracal_model::Event;
use serde_json::Value;

use super::*;
use crate::configuration::Configuration;
use crate::control::Calculator;
use crate::explain::tests::{EDGE, SHOP};
use crate::explain::{Explained, World, report};

struct Node(Calculator);

impl Sink for Node {
    fn event(&mut self, event: Event) {
        self.0.on_event(event);
    }
    fn config(&mut self, event: ConfigEvent) {
        self.0.on_config(event);
    }
    fn report(&mut self, _: Report) {}
    fn settled(&mut self) {}
    fn synced(&mut self, _: &str) {}
}

/// An agent of a node that has read the manifests, and told nobody yet.
fn agent(node: &str, directory: &Path) -> Calculator {
    let configuration = Configuration::load(None, Some(node)).expect("it can be used");
    let settings = configuration.convert_settings();
    let mut node = Node(Calculator::new(Locality::Node(node.into()), configuration));
    let mut source = FileSource::open(directory, settings).expect("the directory can be read");
    source.list(&mut node).expect("the directory can be read");
    node.0
}

fn write(directory: &Path, manifests: &str) {
    fs::write(directory.join("shop.yaml"), manifests).expect("a file");
}

/// What an agent answers that goes on with what it has.
fn ask(agent: &RefCell<Calculator>, directory: &Path, question: &Question) -> Explained {
    let mut world = World::read(directory, None).expect("manifests");
    let look = |concern: Concern| Ok(agent.borrow_mut().in_force(&concern));
    report::report(&mut world, question, Some(&look)).expect("an answer")
}

fn question(line: &str) -> Question {
    Question::from_line(line).expect("a question")
}

#[test]
fn what_is_in_force_otherwise_is_said_first() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    write(directory, SHOP);
    let agent = RefCell::new(agent("node2", directory));
    let asked = question(r#"{"from": "shop/api", "to": "shop/db", "port": "5432/tcp"}"#);

    let waiting = ask(&agent, directory, &asked);
    assert!(waiting.text.starts_with("changes wait to be put in force: "), "{}", waiting.text);
    assert!(waiting.json.contains(r#""changesWait":true"#), "{}", waiting.json);

    agent.borrow_mut().flush(&mut |_| {});
    let same = ask(&agent, directory, &asked);
    assert!(same.text.starts_with("ALLOW  shop/api"), "{}", same.text);
    assert!(!same.json.contains("inForce") && !same.json.contains("changesWait"), "{}", same.json);

    // As after a refusal: the manifests lack what the agent goes on with.
    write(directory, &SHOP.replace("matchLabels: {app: api}", "matchLabels: {app: nothing}"));
    let otherwise = ask(&agent, directory, &asked);
    let start = "in force is not what the manifests say; `caracal status` names what is not taken:\n  \
                 ingress of shop/db: allow, by rule 0 of ";
    assert!(otherwise.text.starts_with(start), "{}", otherwise.text);
    let json: Value = serde_json::from_str(&otherwise.json).expect("JSON");
    assert_eq!(
        (&json["inForce"][0]["workload"], &json["inForce"][0]["direction"]),
        (&"shop/db".into(), &"ingress".into())
    );
    assert_eq!((&json["verdict"], &json["inForce"][0]["verdict"]), (&"deny".into(), &"allow".into()));
}

/// Checks what an agent of a node says to a question when manifests are changed as said:
/// one line for each difference.
fn check(node: &str, [before, after]: [&str; 2], (from, to, port): (&str, &str, &str), want: &[&str]) {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    write(directory, before);
    let agent = RefCell::new(agent(node, directory));
    agent.borrow_mut().flush(&mut |_| {});
    write(directory, after);
    let asked = question(&format!(r#"{{"from": "{from}", "to": "{to}", "port": "{port}"}}"#));
    let Explained { text, json, .. } = ask(&agent, directory, &asked);
    let notice = text.split_once("\n\n").map_or("", |(notice, _)| notice);
    let lines: Vec<&str> = notice.lines().skip(1).map(str::trim).collect();
    let got = if text.starts_with("in force is not") { lines } else { Vec::new() };
    assert_eq!(got, want, "{node}: {from} {to} {port}\n{text}");
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["inForce"].as_array().map_or(0, Vec::len), want.len(), "{json}");
}

const FELIX: &str =
    "---\napiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {name: default}\nspec: ";

#[test]
fn host_endpoints_and_guards_that_are_in_force_otherwise_are_named() {
    let closed = EDGE.replace("ports: [8443]", "ports: [9443]");
    let banned = EDGE.replace("198.51.100.0/24", "198.18.0.0/15");
    let world = EDGE.replace("ports: [443]", "ports: [444]");
    let through = EDGE.replace(
        "ports: [80]}}\n---\napiVersion: projectcalico.org/v3\nkind: Staged",
        "ports: [81]}}\n---\napiVersion: projectcalico.org/v3\nkind: Staged",
    );
    let unnamed = EDGE.replace(
        "metadata: {name: gateway-eth0, labels: {host: gateway}}",
        "metadata: {name: gateway-eth0, labels: {host: none}}",
    );
    let absent = EDGE.replace(
        "spec: {node: gateway, interfaceName: eth0, expectedIPs: [192.0.2.1]}",
        "spec: {node: other, interfaceName: eth0, expectedIPs: [192.0.2.1]}",
    );
    let failsafe = format!("{EDGE}{FELIX}{{failsafeInboundHostPorts: [{{protocol: TCP, port: 2222}}]}}\n");
    let host_action = format!("{EDGE}{FELIX}{{defaultEndpointToHostAction: Accept}}\n");
    let from_world = |port| ("203.0.113.9", "node:gateway", port);
    let ban = ("198.51.100.7", "node:gateway", "443/tcp");
    for (node, manifests, asked, want) in [
        // The agent is one of another node, or both say the same.
        ("worker", [EDGE, &closed], from_world("8443/tcp"), vec![]),
        ("gateway", [EDGE, EDGE], from_world("8443/tcp"), vec![]),
        ("gateway", [EDGE, &closed], from_world("443/tcp"), vec![]),
        (
            "gateway",
            [EDGE, &closed],
            from_world("8443/tcp"),
            vec![
                "pre-DNAT ingress of HostEndpoint gateway-eth0: deny, by rule 0 of GlobalNetworkPolicy closed in tier default",
            ],
        ),
        // What later programs say in force is no difference that the packet comes to.
        (
            "gateway",
            [EDGE, &banned],
            ban,
            vec![
                "untracked ingress of HostEndpoint gateway-eth0: deny, by rule 0 of GlobalNetworkPolicy banned in tier default",
            ],
        ),
        (
            "gateway",
            [&banned, EDGE],
            ban,
            vec![
                "untracked ingress of HostEndpoint gateway-eth0: allow, as none of its rules decides, and what follows has to",
            ],
        ),
        (
            "gateway",
            [EDGE, &world],
            from_world("443/tcp"),
            vec!["ingress of HostEndpoint gateway-eth0: allow, by rule 0 of GlobalNetworkPolicy world in tier default"],
        ),
        (
            "worker",
            [EDGE, &through],
            ("shop/web", "203.0.113.9", "80/tcp"),
            vec![
                "forward egress of HostEndpoint worker-all: allow, by rule 0 of GlobalNetworkPolicy through in tier default",
            ],
        ),
        (
            "gateway",
            [EDGE, &unnamed],
            from_world("443/tcp"),
            vec!["ingress of HostEndpoint gateway-eth0: allow, by rule 0 of GlobalNetworkPolicy world in tier default"],
        ),
        // A host endpoint of which only one side knows.
        (
            "gateway",
            [EDGE, &absent],
            from_world("80/tcp"),
            vec![
                "ingress of HostEndpoint gateway-eth0: deny, at the end of tier default: no rule of its policies matches",
            ],
        ),
        ("gateway", [&absent, EDGE], from_world("443/tcp"), vec![]),
        (
            "gateway",
            [&absent, EDGE],
            from_world("80/tcp"),
            vec!["ingress of HostEndpoint gateway-eth0: allow, as nothing there refuses it"],
        ),
        // The configuration of the node.
        (
            "gateway",
            [EDGE, &failsafe],
            from_world("22/tcp"),
            vec!["ingress of HostEndpoint gateway-eth0: allow, as it is a failsafe port, which no policy closes"],
        ),
        (
            "gateway",
            [&failsafe, EDGE],
            from_world("22/tcp"),
            vec![
                "ingress of HostEndpoint gateway-eth0: deny, at the end of tier default: no rule of its policies matches",
            ],
        ),
        (
            "worker",
            [EDGE, &host_action],
            ("shop/web", "node:worker", "80/tcp"),
            vec!["node worker: deny, by DefaultEndpointToHostAction, as it is the workload's own host"],
        ),
    ] {
        check(node, manifests, asked, &want);
    }
}

/// A pod that the agent does not have is closed, whatever its manifest says.
#[test]
fn a_workload_that_is_not_in_force_is_named() {
    let pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: late}\nspec: {nodeName: worker, containers: [{name: c, image: i}]}\nstatus: {phase: Running, podIPs: [{ip: 10.0.0.7}]}\n";
    let after = format!("{EDGE}{pod}");
    let want = ["node worker: deny, as no workload is known on the interface"];
    check("worker", [EDGE, &after], ("shop/late", "shop/web", "80/tcp"), &want);
}
