//! Resources whose edits tell something else than one object changed; lists,
//! tokens, and a directory that nobody watches.

use std::fs;
use std::time::Duration;

use caracal_model::{Event, Kind, Stamp};

use super::{Followed, Lines, PATIENCE, directory_with, open, put, set};
use crate::convert::Settings;
use crate::file::clock;
use crate::file::watch::WatchError;
use crate::source::{ConfigEvent, Report, Request, Sink, Source as _};

fn pod(node: &str, status: &str, annotations: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web, namespace: shop, annotations: {{{annotations}}}}}\n\
         spec: {{nodeName: {node}, containers: [{{name: c, image: i}}]}}\nstatus: {{{status}}}\n"
    )
}

#[test]
fn a_pod_is_told_while_it_has_addresses() {
    let followed = Followed::start_patient(&[]);
    let told = |text: &str| followed.after(|dir| put(&dir.join("pod.yaml"), text));

    let running = "phase: Running, podIP: 10.65.0.1";
    let endpoint = "endpoint k8s/shop/web/eth0";
    assert!(told(&pod("n1", "phase: Pending", "")).is_empty());
    assert_eq!(told(&pod("n1", running, "")), [format!("apply {endpoint} on n1 [10.65.0.1/32]")]);
    let moved = [format!("delete {endpoint}"), format!("apply {endpoint} on n2 [10.65.0.1/32]")];
    assert_eq!(told(&pod("n2", running, "")), moved, "its key is another one");
    assert_eq!(told(&pod("n2", "phase: Succeeded, podIP: 10.65.0.1", "")), [format!("delete {endpoint}")]);
    assert_eq!(told(&pod("n2", running, "")), [format!("apply {endpoint} on n2 [10.65.0.1/32]")]);

    let bad = r#"cni.projectcalico.org/floatingIPs: "[""#;
    let lines = told(&pod("n2", running, bad));
    let [deleted, raised] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(*deleted, format!("delete {endpoint}"));
    assert!(raised.starts_with("raised pod.yaml:1: Pod shop/web is as if it did not exist: annotation "), "{raised}");
    let lines = told(&pod("n2", running, ""));
    assert_eq!(lines, [format!("apply {endpoint} on n2 [10.65.0.1/32]"), raised.replace("raised", "cleared")]);
}

#[test]
fn what_always_exists_can_be_overridden_and_comes_back() {
    let followed = Followed::start_patient(&[]);
    let profile = "apiVersion: projectcalico.org/v3\nkind: Profile\n\
                   metadata: {name: projectcalico-default-allow}\nspec: {ingress: [{action: Deny}]}\n";
    for _ in 0..2 {
        let told = followed.after(|dir| put(&dir.join("p.yaml"), profile));
        assert_eq!(told, ["apply profile projectcalico-default-allow"], "overridden");
        let told = followed.after(|dir| put(&dir.join("p.yaml"), ""));
        assert_eq!(told, ["apply profile projectcalico-default-allow"], "back");
    }
}

#[test]
fn configuration_is_told_with_its_fields() {
    let followed = Followed::start_patient(&[]);
    let told = |text: &str| followed.after(|dir| put(&dir.join("felix.yaml"), text));
    let felix = "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\n\
                 metadata: {name: node.n1}\nspec: {logPrefix: p}\n";
    let applied = told(felix);
    let [applied] = applied.as_slice() else { panic!("{applied:?}") };
    assert!(applied.starts_with("apply config node.n1 {"), "{applied}");
    assert!(applied.contains(r#""logPrefix": String("p")"#), "{applied}");
    assert_eq!(told(""), ["delete config node.n1"]);
}

#[test]
fn facts_of_the_cluster_come_and_go() {
    let followed = Followed::start_patient(&[]);
    let told = |text: &str| followed.after(|dir| put(&dir.join("facts.yaml"), text));
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: db, namespace: shop}\n\
                   spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n";
    let pool = "apiVersion: crd.projectcalico.org/v1\nkind: IPPool\nmetadata: {name: p}\nspec: {cidr: 10.64.0.0/16}\n";
    let cluster = |guid: &str| {
        let spec = format!("spec: {{clusterGUID: {guid}, datastoreReady: true}}\n");
        format!("apiVersion: projectcalico.org/v3\nkind: ClusterInformation\nmetadata: {{name: default}}\n{spec}")
    };
    assert_eq!(told(service), ["apply service shop/db"]);
    assert_eq!(told(&format!("{service}---\n{pool}")), ["apply pool p"]);
    assert_eq!(told(&cluster("one")), ["cluster one", "delete service shop/db", "delete pool p"]);
    assert_eq!(told(&cluster("two")), ["cluster two"]);
    assert_eq!(told(""), ["cluster says nothing"]);
    let bgp = |name: &str, prefixes: &str| {
        let spec = format!("spec: {{serviceClusterIPs: [{prefixes}]}}\n");
        format!("apiVersion: projectcalico.org/v3\nkind: BGPConfiguration\nmetadata: {{name: {name}}}\n{spec}")
    };
    assert_eq!(
        told(&bgp("default", "{cidr: 10.97.0.0/16}, {cidr: 10.96.0.0/16}")),
        ["bgp [10.96.0.0/16, 10.97.0.0/16]"]
    );
    assert_eq!(told(&bgp("node.n1", "{cidr: 10.98.0.0/16}")), ["bgp says nothing"]);
}

/// The names of pods' interfaces depend on a parameter, and nothing else does.
#[test]
fn other_settings_tell_anew_what_depends_on_them() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\n\
               spec: {nodeName: n1, containers: [{name: c, image: i}]}\n\
               status: {phase: Running, podIPs: [{ip: 10.65.0.1}]}\n";
    let followed = Followed::start_patient(&[
        ("pod.yaml", pod),
        ("set.yaml", &set("a", "10.0.0.0/8")),
        ("both.yaml", &format!("{}---\n{}", set("b", "10.0.0.0/8"), pod.replace("web", "till"))),
    ]);
    let tune = |prefix: &str| {
        followed.remote.ask(Request::Tune(Settings { interface_prefix: prefix.into() }));
        followed.until("settled")
    };
    let again = |prefix: &str| {
        let endpoint = |name: &str| format!("apply endpoint k8s/shop/{name}/eth0 on n1 [10.65.0.1/32]");
        [format!("converts {prefix}"), endpoint("till"), endpoint("web")]
    };
    assert_eq!(tune("tap"), again("tap"));
    assert_eq!(tune("tap"), ["converts tap"], "as before");
    assert_eq!(tune("cali"), again("cali"));
    assert_eq!(
        followed.after(|dir| fs::remove_file(dir.join("pod.yaml")).expect("it is there")),
        ["delete endpoint k8s/shop/web/eth0"]
    );
}

#[test]
fn a_list_is_whole_and_in_order() {
    let files = [("b.yaml", set("b", "11.0.0.0/8")), ("a.yaml", set("a", "10.0.0.0/8")), (".sync", " token\n".into())];
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let directory = directory_with(&files);
    let mut source = open(directory.path());
    for round in ["first", "again"] {
        let (tell, lines) = std::sync::mpsc::channel();
        source.list(&mut Lines(tell)).expect("it is listed");
        let lines: Vec<String> = lines.try_iter().collect();
        let told = |kind: Kind| match kind {
            Kind::Tier => &["apply tier default", "apply tier kube-admin", "apply tier kube-baseline"][..],
            Kind::Profile => &["apply profile projectcalico-default-allow"],
            Kind::GlobalNetworkSet => &["apply set a [10.0.0.0/8]", "apply set b [11.0.0.0/8]"],
            _ => &[],
        };
        let mut want = vec!["converts cali".to_owned(), "begin config".to_owned(), "end config".to_owned()];
        for kind in Kind::ALL {
            want.push(format!("begin {kind:?}"));
            want.extend(told(kind).iter().map(|line| (*line).to_owned()));
            want.push(format!("end {kind:?}"));
        }
        want.extend(["settled".to_owned(), "synced token".to_owned()]);
        assert_eq!(lines, want, "{round}");
    }
}

#[test]
fn a_token_is_told_when_its_content_changes() {
    let followed = Followed::start(&[]);
    put(&followed.path(".sync"), "one\n");
    assert_eq!(followed.until("synced one"), ["settled"]);
    put(&followed.path(".sync"), "one");
    std::fs::write(followed.path(".sync"), "two").expect("written");
    assert_eq!(followed.until("synced two"), ["settled"]);
}

#[test]
fn without_announcements_the_directory_is_looked_at() {
    let directory = directory_with(&[("x.yaml", &set("a", "10.0.0.0/8"))]);
    let mut source = open(directory.path());
    source.directory.fall_silent(WatchError::Watches);
    let followed = Followed::run(directory, source, |source, sink| source.follow(sink));
    put(&followed.path("x.yaml"), &set("a", "10.0.0.0/16"));
    assert_eq!(followed.until("settled"), ["apply set a [10.0.0.0/16]"]);
    put(&followed.path("sub/y.yaml"), &set("b", "11.0.0.0/8"));
    put(&followed.path(".sync"), "token");
    assert_eq!(followed.until("synced token"), ["apply set b [11.0.0.0/8]", "settled"]);
}

#[test]
fn changes_are_announced_again_once_they_can_be() {
    let directory = directory_with(&[("x.yaml", &set("a", "10.0.0.0/8"))]);
    let mut source = open(directory.path());
    source.directory.fall_silent(WatchError::Watches);
    source.watch_pause = Duration::from_millis(10);
    let followed = Followed::run(directory, source, |source, sink| source.follow(sink));
    let reason = WatchError::Watches;
    followed.until(&format!("cleared changes are noticed late, by looking for them: {reason}"));
    put(&followed.path("sub/x.yaml"), &set("b", "11.0.0.0/8"));
    assert!(followed.until("apply set b [11.0.0.0/8]").iter().all(|line| line == "settled"));
}

/// Takes the stamps of events.
struct Stamps(std::sync::mpsc::Sender<Stamp>);

impl Sink for Stamps {
    fn event(&mut self, event: Event) {
        if let Event::Apply(.., stamp) | Event::Delete(.., stamp) = event {
            self.0.send(stamp).expect("the test listens");
        }
    }

    fn config(&mut self, _: ConfigEvent) {}
    fn report(&mut self, _: Report) {}
    fn settled(&mut self) {}
    fn synced(&mut self, _: &str) {}
}

#[test]
fn a_stamp_says_when_the_change_was_noticed() {
    let directory = directory_with(&[]);
    let mut source = open(directory.path());
    let remote = source.remote();
    let (tell, stamps) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || source.run(&mut Stamps(tell)).expect("it is listed"));
    let built_in = 4;
    let listed: Vec<_> = stamps.iter().take(built_in).collect();
    std::thread::sleep(Duration::from_millis(1));
    let before = clock::now();
    put(&directory.path().join("x.yaml"), &set("a", "10.0.0.0/8"));
    let stamp = stamps.recv_timeout(PATIENCE).expect("it is told");
    let after = clock::now();
    assert!(listed.iter().all(|listed| *listed < before));
    assert!(before < stamp && stamp < after, "{before:?} {stamp:?} {after:?}");
    remote.ask(Request::Stop);
    thread.join().expect("it ends");
}
