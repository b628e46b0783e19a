//! What a denied packet lacks is said in the words of the rule's author, and what is
//! proposed lets it pass.

use super::edits::applied;
use super::{question, report, world};
use crate::explain::Question;
use crate::explain::edit::propose;
use caracal_program::Verdict;

const CLUSTER: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: red}}
---
apiVersion: v1
kind: Namespace
metadata: {name: lab, labels: {team: blue}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: web, labels: {app: web}}
spec: {nodeName: n1, containers: [{name: main, image: web}]}
status: {phase: Running, podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: db, labels: {app: db}}
spec: {nodeName: n2, containers: [{name: main, image: db, ports: [{name: sql, containerPort: 5432}, {name: dns, containerPort: 53, protocol: UDP}]}]}
status: {phase: Running, podIPs: [{ip: 10.0.0.2}, {ip: "fd00::2"}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: lab, name: probe, labels: {app: probe}}
spec: {nodeName: n2, containers: [{name: main, image: probe}]}
status: {phase: Running, podIPs: [{ip: 10.0.0.3}, {ip: "fd00::3"}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: shop, name: db-1, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: "", port: 5432, protocol: TCP}]
endpoints: [{addresses: [10.0.0.2], conditions: {ready: true}}]
---
"#;

/// Of Calico, about `shop/db`, with these ingress rules.
fn calico(rules: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {{namespace: shop, name: np}}\n\
         spec: {{selector: app == 'db', types: [Ingress], ingress: [{rules}]}}\n"
    )
}

/// Checks what a denied packet lacks, miss by miss in the order of evaluation, and that
/// the proposed edit lets it pass.
fn check(policies: &str, (from, to, port): (&str, &str, &str), want: &[&[&str]]) {
    let mut world = world(&format!("{CLUSTER}{policies}"));
    let asked: Question = question(from, to, port);
    let answer = report::report(&mut world, &asked, None).expect("an answer");
    let json: serde_json::Value = serde_json::from_str(&answer.json).expect("JSON");
    assert_eq!(json["verdict"], "deny", "{policies}{from} {to} {port}");
    let sides = [&json["egress"], &json["ingress"]];
    let misses = sides.into_iter().filter_map(|side| side["nearMisses"].as_array()).flatten();
    let lacks = misses.map(|miss| {
        let lacks = miss["lacks"].as_array().expect("a list").iter();
        lacks.map(|lack| lack["why"].as_str().expect("a text").to_owned()).collect::<Vec<_>>()
    });
    assert_eq!(lacks.collect::<Vec<_>>(), want, "{policies}{from} {to} {port}");
    for why in want.iter().copied().flatten() {
        assert!(answer.text.contains(why), "{}", answer.text);
    }
    let proposal = propose(&mut world, &asked).expect("a calculation").expect("the packet is denied");
    let changes = applied(&world, &proposal);
    let verdict = world.with(&changes, |world| world.cluster().verdict(&asked)).expect("a calculation");
    assert_eq!(verdict, Some(Ok(Verdict::Allow)), "{policies}{from} {to} {port}: {proposal:?}");
}

#[test]
fn ports() {
    let named = calico("{action: Allow, protocol: TCP, destination: {ports: [80, sql, http]}}");
    check(
        &named,
        ("shop/web", "shop/db", "81/tcp"),
        &[&["port 81, rule allows 80 or sql (5432/tcp) or http (no port of it)"]],
    );
    let refused = calico("{action: Allow, protocol: UDP, destination: {notPorts: [100:200, dns]}}");
    check(&refused, ("shop/web", "shop/db", "53/udp"), &[&["port 53 is dns (53/udp), which rule excepts"]]);
    check(&refused, ("shop/web", "shop/db", "150/udp"), &[&["port 150, rule allows any but 100-200"]]);
    let kubernetes = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {namespace: shop, name: np}\n\
                      spec: {podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: sql}]}]}\n";
    check(kubernetes, ("shop/web", "shop/db", "80/tcp"), &[&["port 80, rule allows sql (5432/tcp)"]]);
    let service = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {namespace: shop, name: np}\n\
                   spec: {selector: app == 'web', types: [Egress], egress: [{action: Allow, destination: {services: {name: db, namespace: shop}}}]}\n";
    let want = "destination 10.0.0.2 (pod shop/db) with port 5433 is not of Service shop/db";
    check(service, ("shop/web", "shop/db", "5433/tcp"), &[&[want]]);
}

#[test]
fn protocols() {
    let ping = calico("{action: Allow, protocol: ICMP, icmp: {type: 3, code: 1}}");
    check(&ping, ("192.0.2.9", "shop/db", "icmp"), &[&["icmp type 8 code 0, rule allows ICMP type 3 code 1"]]);
    // Of another protocol it is not said that it has no type, or no port.
    check(&ping, ("192.0.2.9", "shop/db", "80/tcp"), &[&["protocol tcp, rule allows icmp"]]);
    let web = calico("{action: Allow, protocol: TCP, destination: {ports: [80]}}, {action: Allow, notProtocol: ICMP}");
    let want: [&[&str]; 2] = [&["protocol icmp, rule allows tcp"], &["protocol icmp, rule allows any other"]];
    check(&web, ("shop/web", "shop/db", "icmp"), &want);
}

#[test]
fn ends() {
    let not = calico("{action: Allow, source: {notSelector: app == 'web'}}");
    let web = "source 10.0.0.1 (pod shop/web, app=web) is in selector app == 'web', which rule excepts";
    check(&not, ("shop/web", "shop/db", "80/tcp"), &[&[web]]);
    let nets = calico("{action: Allow, source: {notNets: [10.0.0.0/24]}}");
    let inside = "source 10.0.0.3 (pod lab/probe) is in 10.0.0.0/24, which rule excepts";
    check(&nets, ("lab/probe", "shop/db", "80/tcp"), &[&[inside]]);
    let other = "source fd00::3 (pod lab/probe) is not IPv4, and a rule that excepts 10.0.0.0/24 is for IPv4 only";
    check(&nets, ("fd00::3", "shop/db", "80/tcp"), &[&[other]]);
    let team = calico("{action: Allow, source: {namespaceSelector: team == 'blue'}}");
    let outside = "source 203.0.113.9 (no workload) is not in namespace selector team == 'blue'";
    check(&team, ("203.0.113.9", "shop/db", "80/tcp"), &[&[outside]]);
    let account = calico("{action: Allow, source: {serviceAccounts: {names: [teller]}}}");
    let stranger = "source 10.0.0.3 (pod lab/probe, app=probe) is not in service accounts teller";
    check(&account, ("lab/probe", "shop/db", "80/tcp"), &[&[stranger]]);
}

#[test]
fn cluster_policies() {
    let closed = |protocols: &str| {
        format!(
            "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: closed}}\n\
             spec:\n  tier: Admin\n  priority: 10\n  subject: {{namespaces: {{matchLabels: {{team: red}}}}}}\n  ingress:\n  \
             - {{action: Accept, from: [{{namespaces: {{}}}}], protocols: [{protocols}]}}\n  \
             - {{action: Deny, from: [{{namespaces: {{}}}}]}}\n"
        )
    };
    let number = closed("{tcp: {destinationPort: {number: 80}}}");
    check(&number, ("lab/probe", "shop/db", "81/tcp"), &[&["port 81, rule allows 80"]]);
    let named = closed("{destinationNamedPort: sql}");
    check(&named, ("lab/probe", "shop/db", "81/tcp"), &[&["port 81, rule allows sql (5432/tcp)"]]);
}
