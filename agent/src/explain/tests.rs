use super::*;

mod edits;
mod guards;
mod hosts;
mod near_misses;
mod random;
mod transcripts;

pub(super) use hosts::EDGE;

/// `shop/web` and `shop/db` on two nodes; db lets in what carries `app=api` or
/// comes from 192.0.2.0/24, on port 5432; `lab/probe` has an IPv6 address only.
pub(super) const SHOP: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: node1}
status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: lab}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: web, labels: {app: web}}
spec: {nodeName: node1, containers: [{name: main, image: web}]}
status: {phase: Running, podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: api, labels: {app: api}}
spec: {nodeName: node1, containers: [{name: main, image: api}]}
status: {phase: Running, podIPs: [{ip: 10.0.0.9}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: db, labels: {app: db}}
spec: {nodeName: node2, containers: [{name: main, image: db, ports: [{name: sql, containerPort: 5432}]}]}
status: {phase: Running, podIPs: [{ip: 10.0.0.2}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: lab, name: probe}
spec: {nodeName: node2, containers: [{name: main, image: probe}]}
status: {phase: Running, podIPs: [{ip: "fd00::3"}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: default-deny}
spec: {podSelector: {matchLabels: {app: db}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: db}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from:
    - namespaceSelector: {}
      podSelector: {matchLabels: {app: api}}
    ports: [{port: 5432}]
  - from: [{ipBlock: {cidr: 192.0.2.0/24}}]
    ports: [{port: 5432, endPort: 5433, protocol: UDP}]
---
apiVersion: projectcalico.org/v3
kind: StagedNetworkPolicy
metadata: {namespace: shop, name: trial}
spec:
  order: 10
  selector: app == 'db'
  ingress: [{action: Allow, source: {selector: app == 'web'}}]
---
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: platform}
spec: {order: 100}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: audit}
spec:
  tier: platform
  selector: app == 'web'
  types: [Egress]
  egress:
  - {action: Log}
  - {action: Deny, protocol: TCP, destination: {nets: [203.0.113.0/24]}}
  - {action: Pass}
"#;

/// The world of some manifests in a file `shop.yaml`.
fn world(manifests: &str) -> World {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("shop.yaml"), manifests).expect("a file");
    World::read(dir.path(), None).expect("manifests")
}

fn answers(manifests: &str, lines: &[&str]) -> Vec<serde_json::Value> {
    let mut output = Vec::new();
    answer_lines(&mut world(manifests), lines.join("\n").as_bytes(), &mut output).expect("the lines are read");
    let text = String::from_utf8(output).expect("JSON is text");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn line(from: &str, to: &str, port: &str) -> String {
    format!(r#"{{"from": "{from}", "to": "{to}", "port": "{port}"}}"#)
}

fn question(from: &str, to: &str, port: &str) -> Question {
    Question::from_line(&line(from, to, port)).expect("a question")
}

/// A line of a batch that nobody can read costs no other line its answer.
#[test]
fn a_line_that_is_not_text_has_an_answer_too() {
    let good = line("shop/api", "shop/db", "5432/tcp");
    let batch = [good.as_bytes(), b"\xff\xfe", b"", good.as_bytes()].join(&b'\n');
    let mut output = Vec::new();
    answer_lines(&mut world(SHOP), batch.as_slice(), &mut output).expect("the lines are read");
    let text = String::from_utf8(output).expect("JSON is text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[1]), (3, lines[2], r#"{"error":"the line is not UTF-8"}"#));
}

/// Checks the verdict, the reasons of both sides, and both addresses.
#[test]
fn verdicts_and_reasons() {
    for (from, to, port, want) in [
        ("shop/web", "shop/db", "5432/tcp", ["deny", "profile-rule", "end-of-tier", "10.0.0.1", "10.0.0.2"]),
        ("10.0.0.9", "shop/db", "5432/tcp", ["allow", "profile-rule", "policy-rule", "10.0.0.9", "10.0.0.2"]),
        ("10.0.0.8", "10.0.0.2", "5433/tcp", ["deny", "outside", "end-of-tier", "10.0.0.8", "10.0.0.2"]),
        ("192.0.2.7", "shop/db", "5433/udp", ["allow", "outside", "policy-rule", "192.0.2.7", "10.0.0.2"]),
        ("10.0.0.2", "10.0.0.1", "80/tcp", ["allow", "profile-rule", "profile-rule", "10.0.0.2", "10.0.0.1"]),
        ("shop/db", "192.0.2.7", "icmp", ["allow", "profile-rule", "outside", "10.0.0.2", "192.0.2.7"]),
        ("shop/web", "203.0.113.1", "80/tcp", ["deny", "policy-rule", "outside", "10.0.0.1", "203.0.113.1"]),
        ("shop/db", "shop/db", "5432/tcp", ["allow", "same-workload", "same-workload", "10.0.0.2", "10.0.0.2"]),
        // The family that both have.
        ("shop/web", "lab/probe", "80/tcp", ["allow", "profile-rule", "profile-rule", "fd00::1", "fd00::3"]),
        ("shop/web", "fd00::3", "80/tcp", ["allow", "profile-rule", "profile-rule", "fd00::1", "fd00::3"]),
        // The own host, and another workload's.
        ("shop/api", "192.168.0.1", "80/tcp", ["deny", "profile-rule", "endpoint-to-host", "10.0.0.9", "192.168.0.1"]),
        ("shop/db", "192.168.0.1", "80/tcp", ["allow", "profile-rule", "host", "10.0.0.2", "192.168.0.1"]),
        ("node:node1", "shop/api", "80/tcp", ["allow", "host", "host-to-workload", "192.168.0.1", "10.0.0.9"]),
        ("192.168.0.1", "shop/db", "80/tcp", ["deny", "host", "end-of-tier", "192.168.0.1", "10.0.0.2"]),
    ] {
        let answer = answers(SHOP, &[&line(from, to, port)]).remove(0);
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

/// The action is that of the workload's own node.
#[test]
fn what_a_workload_sends_to_its_host_is_as_its_node_is_configured() {
    for (name, want) in [("default", "allow"), ("node.node1", "allow"), ("node.node2", "deny")] {
        let config = format!(
            "---\napiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: {name}}}\n\
             spec: {{defaultEndpointToHostAction: Return}}\n"
        );
        let answer = answers(&format!("{SHOP}{config}"), &[&line("shop/web", "192.168.0.1", "80/tcp")]).remove(0);
        assert_eq!(answer["verdict"], want, "{name}");
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
        assert_eq!(answers(SHOP, &[&line(from, to, port)]), [serde_json::json!({ "error": want })]);
    }
}

#[test]
fn a_line_without_an_answer_does_not_end_the_batch() {
    let good = line("shop/web", "10.0.0.2", "5432/tcp");
    let answers = answers(SHOP, &["nonsense", &good, "", &good]);
    let verdicts: Vec<_> = answers.iter().map(|answer| answer["verdict"].as_str()).collect();
    assert_eq!(verdicts, [None, Some("deny"), Some("deny")]);
}

#[test]
fn the_answer_for_programs() {
    let answer = report::report(&mut world(SHOP), &question("shop/web", "shop/db", "5432/tcp"), None);
    let value: serde_json::Value = serde_json::from_str(&answer.expect("an answer").json).expect("JSON");
    insta::assert_snapshot!("the-answer-for-programs", serde_json::to_string_pretty(&value).expect("text"));
}

/// Checks what people read, by the name of the snapshot.
fn check_text(manifests: &str, asked: &[(&str, &str, &str, &str)]) {
    for (name, from, to, port) in asked {
        let answer = report::report(&mut world(manifests), &question(from, to, port), None);
        insta::assert_snapshot!(*name, answer.expect("an answer").text);
    }
}

#[test]
fn the_answer_for_people() {
    check_text(
        SHOP,
        &[
            ("denied-at-the-end-of-a-tier", "shop/web", "shop/db", "5432/tcp"),
            ("allowed-from-outside", "192.0.2.7", "shop/db", "5432/udp"),
            ("two-fields-wrong", "10.0.0.8", "shop/db", "53/udp"),
            ("denied-by-a-rule", "shop/web", "203.0.113.1", "80/tcp"),
            ("to-itself", "shop/db", "shop/db", "53/udp"),
            ("to-the-own-host", "shop/web", "192.168.0.1", "53/udp"),
        ],
    );
}

/// Who writes pods and no namespace is told why nothing passes.
#[test]
fn a_namespace_that_is_not_there_is_named() {
    let namespace = "kind: Namespace\nmetadata: {name: shop}\n";
    assert!(SHOP.contains(namespace));
    let missing = "  missing       Namespace shop: without it, what no policy allows is denied\n";
    for (manifests, is_missing) in
        [(SHOP.to_owned(), false), (SHOP.replace(namespace, "kind: Namespace\nmetadata: {name: store}\n"), true)]
    {
        let answer = report::report(&mut world(&manifests), &question("192.0.2.9", "shop/web", "80/tcp"), None);
        let text = answer.expect("an answer").text;
        assert_eq!(text.contains(missing), is_missing, "{text}");
    }
}

/// Checks the staged verdict and what would decide.
#[test]
fn staged_policies() {
    let staged = |manifests: &str, from: &str, to: &str| {
        let answer = report::report(&mut world(manifests), &question(from, to, "5432/tcp"), None);
        let value: serde_json::Value = serde_json::from_str(&answer.expect("an answer").json).expect("JSON");
        let side = &value["staged"]["ingress"];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        [&value["verdict"], &value["staged"]["verdict"], &side["policy"]["kind"], &side["policy"]["name"]].map(text)
    };
    let delete = |name: &str| {
        format!(
            "---\napiVersion: projectcalico.org/v3\nkind: StagedKubernetesNetworkPolicy\n\
             metadata: {{namespace: shop, name: {name}}}\nspec: {{stagedAction: Delete}}\n"
        )
    };
    let set = "---\napiVersion: projectcalico.org/v3\nkind: StagedKubernetesNetworkPolicy\nmetadata: {namespace: shop, name: db}\n\
               spec: {podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: none}}}]}]}\n";
    let plain = SHOP.replace("StagedNetworkPolicy", "NotRead");
    for (manifests, from, want) in [
        (SHOP.to_owned(), "shop/web", ["deny", "allow", "StagedNetworkPolicy", "trial"]),
        (SHOP.to_owned(), "shop/api", ["allow", "allow", "NetworkPolicy", "db"]),
        (plain.clone(), "shop/web", ["deny", "", "", ""]),
        // A deletion takes what it names away, and nothing else.
        (plain.clone() + &delete("db"), "shop/api", ["allow", "deny", "", ""]),
        (plain.clone() + &delete("db") + &delete("default-deny"), "shop/web", ["deny", "allow", "", ""]),
        (plain.clone() + &delete("none"), "shop/web", ["deny", "deny", "", ""]),
        // What is set takes the place of what has its name.
        (plain + set, "shop/api", ["allow", "deny", "", ""]),
    ] {
        assert_eq!(staged(&manifests, from, "shop/db"), want, "{manifests}");
    }
}

/// Objects are called what their authors call them.
#[test]
fn policies_of_kinds_that_share_one_on_the_wire() {
    let policy = r"
---
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: no-web}
spec:
  priority: 7
  subject: {namespaces: {matchLabels: {kubernetes.io/metadata.name: shop}}}
  ingress: [{action: Deny, from: [{namespaces: {}}]}]
";
    let asked = question("shop/web", "shop/api", "80/tcp");
    let answer = report::report(&mut world(&format!("{SHOP}{policy}")), &asked, None).expect("an answer").json;
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    let decided = &answer["ingress"]["policy"];
    let want = serde_json::json!({
        "kind": "AdminNetworkPolicy", "apiVersion": "policy.networking.k8s.io/v1alpha1", "name": "no-web",
        "at": {"file": "shop.yaml", "line": SHOP.lines().count() + 3},
    });
    assert_eq!(*decided, want);
}
