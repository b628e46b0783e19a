use caracal_proto::felix;

use super::*;

/// `shop/web` and `shop/db` with a namespace profile; db lets in what carries
/// `app=api` or comes from 192.0.2.0/24, on port 5432; `lab/probe` is IPv6 only.
const MESSAGES: &[&str] = &[
    r#"{"ipsetUpdate": {"id": "s:api", "type": "NET", "members": ["10.0.0.9/32"]}}"#,
    r#"{"activePolicyUpdate": {"id": {"kind": "KubernetesNetworkPolicy", "namespace": "shop", "name": "default-deny"}, "policy": {"tier": "default"}}}"#,
    r#"{"activePolicyUpdate": {"id": {"kind": "KubernetesNetworkPolicy", "namespace": "shop", "name": "db"}, "policy": {"tier": "default", "inboundRules": [
        {"action": "allow", "protocol": {"name": "tcp"}, "dstPorts": [{"first": 5432, "last": 5432}], "srcIpSetIds": ["s:api"], "originalSrcSelector": "app == 'api'"},
        {"action": "allow", "protocol": {"name": "udp"}, "dstPorts": [{"first": 5432, "last": 5433}], "srcNet": ["192.0.2.0/24"]}]}}}"#,
    r#"{"activePolicyUpdate": {"id": {"kind": "StagedNetworkPolicy", "namespace": "shop", "name": "trial"}, "policy": {"tier": "default", "inboundRules": [{"action": "deny"}]}}}"#,
    r#"{"activePolicyUpdate": {"id": {"kind": "GlobalNetworkPolicy", "name": "audit"}, "policy": {"tier": "platform", "outboundRules": [{"action": "log"}, {"action": "next-tier"}]}}}"#,
    r#"{"activeProfileUpdate": {"id": {"name": "kns.shop"}, "profile": {"inboundRules": [{"action": "allow"}], "outboundRules": [{"action": "allow"}]}}}"#,
    r#"{"workloadEndpointUpdate": {"id": {"orchestratorId": "k8s", "workloadId": "shop/web", "endpointId": "eth0"}, "endpoint": {
        "state": "active", "name": "cali1", "ipv4Nets": ["10.0.0.1/32"], "ipv6Nets": ["fd00::1/128"], "profileIds": ["kns.shop"],
        "tiers": [{"name": "platform", "defaultAction": "Deny", "egressPolicies": [{"kind": "GlobalNetworkPolicy", "name": "audit"}]}]}}}"#,
    r#"{"workloadEndpointUpdate": {"id": {"orchestratorId": "k8s", "workloadId": "shop/db", "endpointId": "eth0"}, "endpoint": {
        "state": "active", "name": "cali2", "ipv4Nets": ["10.0.0.2/32"], "profileIds": ["kns.shop"],
        "tiers": [{"name": "default", "defaultAction": "Deny", "ingressPolicies": [
            {"kind": "StagedNetworkPolicy", "namespace": "shop", "name": "trial"},
            {"kind": "KubernetesNetworkPolicy", "namespace": "shop", "name": "db"},
            {"kind": "KubernetesNetworkPolicy", "namespace": "shop", "name": "default-deny"}]}]}}}"#,
    r#"{"workloadEndpointUpdate": {"id": {"orchestratorId": "k8s", "workloadId": "lab/probe", "endpointId": "eth0"}, "endpoint": {
        "state": "active", "name": "cali3", "ipv6Nets": ["fd00::3/128"], "profileIds": ["kns.shop"]}}}"#,
    r#"{"workloadEndpointUpdate": {"id": {"orchestratorId": "k8s", "workloadId": "lab/new", "endpointId": "eth0"}, "endpoint": {"name": "cali4"}}}"#,
];

fn cluster() -> Cluster {
    let mut cluster = Cluster::new();
    for json in MESSAGES {
        let message: felix::ToDataplane = serde_json::from_str(json).expect("a message");
        cluster.apply(&message).expect("an understood message");
    }
    let labels = [("app", "web"), ("projectcalico.org/namespace", "shop")];
    cluster.set_labels("shop/web".into(), labels.into_iter().collect());
    cluster
}

fn answers(lines: &[&str]) -> Vec<serde_json::Value> {
    let mut output = Vec::new();
    answer_lines(&cluster(), lines.join("\n").as_bytes(), &mut output).expect("the lines are read");
    let text = String::from_utf8(output).expect("JSON is text");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn ask(from: &str, to: &str, port: &str) -> serde_json::Value {
    let line = format!(r#"{{"from": "{from}", "to": "{to}", "port": "{port}"}}"#);
    answers(&[&line]).remove(0)
}

/// Checks the verdict, the reasons of both sides, and both addresses.
#[test]
fn verdicts_and_reasons() {
    for (from, to, port, want) in [
        ("shop/web", "shop/db", "5432/tcp", ["deny", "profile-rule", "end-of-tier", "10.0.0.1", "10.0.0.2"]),
        ("10.0.0.9", "shop/db", "5432/tcp", ["allow", "outside", "policy-rule", "10.0.0.9", "10.0.0.2"]),
        ("10.0.0.9", "10.0.0.2", "5433/tcp", ["deny", "outside", "end-of-tier", "10.0.0.9", "10.0.0.2"]),
        ("192.0.2.7", "shop/db", "5433/udp", ["allow", "outside", "policy-rule", "192.0.2.7", "10.0.0.2"]),
        ("10.0.0.2", "10.0.0.1", "80/tcp", ["allow", "profile-rule", "profile-rule", "10.0.0.2", "10.0.0.1"]),
        ("shop/db", "192.0.2.7", "icmp", ["allow", "profile-rule", "outside", "10.0.0.2", "192.0.2.7"]),
        ("shop/db", "shop/db", "5432/tcp", ["allow", "same-workload", "same-workload", "10.0.0.2", "10.0.0.2"]),
        // The family that both have.
        ("shop/web", "lab/probe", "80/tcp", ["allow", "profile-rule", "profile-rule", "fd00::1", "fd00::3"]),
        ("shop/web", "fd00::3", "80/tcp", ["allow", "profile-rule", "profile-rule", "fd00::1", "fd00::3"]),
    ] {
        let answer = ask(from, to, port);
        let got = [
            &answer["verdict"],
            &answer["egress"]["reason"],
            &answer["ingress"]["reason"],
            &answer["from"]["address"],
            &answer["to"]["address"],
        ];
        assert_eq!(got.map(|value| value.as_str().unwrap_or_default()), want, "{from} {to} {port}");
    }
}

#[test]
fn what_has_no_answer() {
    for (from, to, port, want) in [
        (
            "shop/gone",
            "shop/db",
            "80/tcp",
            "there is no workload shop/gone: no such pod, or it has no address or no node, is finished, or is on the host's network",
        ),
        ("lab/new", "shop/db", "80/tcp", "workload lab/new has no address"),
        ("shop/db", "lab/probe", "80/tcp", "shop/db and lab/probe have no address of the same family"),
        (
            "10.0.0.1",
            "fd00::1",
            "80/tcp",
            "source 10.0.0.1 and destination fd00::1 are of different address families; give addresses of one family",
        ),
        ("shop/db", "10.0.0.1", "80", "port: \"80\" is not PORT/PROTOCOL, for example 80/tcp, 53/udp, 8/icmp or /47"),
        ("db", "10.0.0.1", "80/tcp", "from: \"db\" is neither NAMESPACE/POD nor an IP address"),
    ] {
        assert_eq!(ask(from, to, port), serde_json::json!({ "error": want }));
    }
}

#[test]
fn a_line_without_an_answer_does_not_end_the_batch() {
    let good = r#"{"from": "shop/web", "to": "10.0.0.2", "port": "5432/tcp"}"#;
    let answers = answers(&["nonsense", good, "", good]);
    let verdicts: Vec<_> = answers.iter().map(|answer| answer["verdict"].as_str()).collect();
    assert_eq!(verdicts, [None, Some("deny"), Some("deny")]);
}

#[test]
fn the_answer_for_programs() {
    let answer = ask("shop/web", "shop/db", "5432/tcp");
    let audit = serde_json::json!({"kind": "GlobalNetworkPolicy", "name": "audit", "rules": [
        {"rule": 0, "action": "log"},
        {"rule": 1, "action": "pass"},
    ]});
    let policy = |kind: &str, name: &str, rules: serde_json::Value| serde_json::json!({"kind": kind, "namespace": "shop", "name": name, "rules": rules});
    let mut staged = policy("StagedNetworkPolicy", "trial", serde_json::json!([]));
    staged["staged"] = true.into();
    let db = policy(
        "KubernetesNetworkPolicy",
        "db",
        serde_json::json!([
            {"rule": 0, "action": "allow", "mismatches": ["source-selector"]},
            {"rule": 1, "action": "allow", "mismatches": ["protocol", "source-nets"]},
        ]),
    );
    let default_deny = policy("KubernetesNetworkPolicy", "default-deny", serde_json::json!([]));
    let want = serde_json::json!({
        "verdict": "deny",
        "from": {"address": "10.0.0.1", "workload": "shop/web"},
        "to": {"address": "10.0.0.2", "workload": "shop/db"},
        "port": "5432/tcp",
        "egress": {"verdict": "allow", "reason": "profile-rule", "profile": "kns.shop", "rule": 0, "trail": [
            {"tier": "platform", "policies": [audit]},
            {"profile": "kns.shop", "rules": [{"rule": 0, "action": "allow"}]},
        ]},
        "ingress": {"verdict": "deny", "reason": "end-of-tier", "tier": "default", "trail": [
            {"tier": "default", "policies": [staged, db, default_deny], "endOfTier": "deny"},
        ]},
    });
    assert_eq!(answer, want);
    let ingress = &ask("10.0.0.9", "shop/db", "5432/tcp")["ingress"];
    let policy = serde_json::json!({"kind": "KubernetesNetworkPolicy", "namespace": "shop", "name": "db"});
    assert_eq!(
        [&ingress["tier"], &ingress["policy"], &ingress["rule"]],
        [&serde_json::json!("default"), &policy, &serde_json::json!(0)]
    );
}

fn text(from: &str, to: &str, port: &str) -> String {
    let question = Question {
        from: from.parse().expect("a party"),
        to: to.parse().expect("a party"),
        service: port.parse().expect("a service"),
        source_port: SOURCE_PORT,
    };
    let cluster = cluster();
    let answer = cluster.judge(&question).expect("an answer");
    let mut output = Vec::new();
    text::print(&cluster, &answer, &mut output).expect("a vector takes everything");
    String::from_utf8(output).expect("text")
}

#[test]
fn the_answer_for_people() {
    for (name, from, to, port) in [
        ("denied-at-the-end-of-a-tier", "shop/web", "shop/db", "5432/tcp"),
        ("allowed-from-outside", "192.0.2.7", "shop/db", "5432/udp"),
        ("two-fields-wrong", "10.0.0.9", "shop/db", "53/udp"),
        ("to-itself", "shop/db", "shop/db", "53/udp"),
    ] {
        insta::assert_snapshot!(name, text(from, to, port));
    }
}

/// Two pods on two nodes, and a policy for one of them.
const MANIFESTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: web, labels: {app: web}}
spec: {nodeName: node1, containers: [{name: main, image: web}]}
status: {phase: Running, podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: db, labels: {app: db}}
spec: {nodeName: node2, containers: [{name: main, image: db, ports: [{name: sql, containerPort: 5432}]}]}
status: {phase: Running, podIPs: [{ip: 10.0.1.1}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: db}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: sql}]}]
"#;

#[test]
fn manifests_of_several_nodes() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("all.yaml"), MANIFESTS).expect("a file");
    let explain = |format| {
        let args = ExplainArgs {
            datastore: Datastore::File(dir.path().to_owned()),
            from: Some("shop/web".parse().expect("a party")),
            to: Some("10.0.1.1".parse().expect("a party")),
            port: Some("5432/tcp".parse().expect("a service")),
            source_port: SOURCE_PORT,
            batch: None,
            output: format,
        };
        let mut output = Vec::new();
        run(&Global { log_level: None, config_file: None }, &args, std::io::empty(), &mut output).expect("an answer");
        String::from_utf8(output).expect("text")
    };
    insta::assert_snapshot!("manifests-of-several-nodes", explain(Output::Text));
    let answer: serde_json::Value = serde_json::from_str(&explain(Output::Json)).expect("JSON");
    assert_eq!(answer["verdict"], "deny");
    assert_eq!(answer["ingress"]["trail"][0]["policies"][0]["name"], "db");
}
