//! Packets that host endpoints judge.

use serde_json::Value;

use super::{check_text, line};
use crate::explain::tests::answers;

/// A gateway with an endpoint of one interface, and a worker with one of all. What the world may
/// reach: port 443 of the gateway; the gateway's lists of the untracked and of what is refused before DNAT; nothing of
/// the worker but ssh, a failsafe port; its forwarded packets go by policy.
pub(in crate::explain) const EDGE: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: gateway}
status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}
---
apiVersion: v1
kind: Node
metadata: {name: worker}
status: {addresses: [{type: InternalIP, address: 192.0.2.2}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: web, labels: {app: web}}
spec: {nodeName: worker, containers: [{name: main, image: web}]}
status: {phase: Running, podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: gateway-eth0, labels: {host: gateway}}
spec: {node: gateway, interfaceName: eth0, expectedIPs: [192.0.2.1]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: worker-all, labels: {host: worker}}
spec: {node: worker, interfaceName: "*"}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: world}
spec:
  selector: host == 'gateway'
  types: [Ingress]
  ingress:
  - {action: Allow, protocol: TCP, destination: {ports: [443]}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: banned}
spec:
  selector: host == 'gateway'
  doNotTrack: true
  applyOnForward: true
  types: [Ingress]
  ingress:
  - {action: Deny, source: {nets: [198.51.100.0/24]}}
  - {action: Allow, protocol: UDP, destination: {ports: [4433]}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: closed}
spec:
  selector: host == 'gateway'
  preDNAT: true
  applyOnForward: true
  types: [Ingress]
  ingress:
  - {action: Deny, protocol: TCP, destination: {ports: [8443]}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: through}
spec:
  selector: host == 'worker'
  applyOnForward: true
  types: [Egress]
  egress:
  - {action: Allow, protocol: TCP, destination: {ports: [80]}}
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: http}
spec:
  selector: host == 'gateway'
  types: [Ingress]
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]
"#;

/// Checks the verdict, and what programs of host endpoints say in order.
#[test]
fn verdicts_of_host_endpoints() {
    let normal = "gateway-eth0 normal ingress";
    for (from, to, port, verdict, want) in [
        (
            "203.0.113.9",
            "node:gateway",
            "443/tcp",
            "allow",
            vec![
                "gateway-eth0 untracked ingress allow undecided".to_owned(),
                "gateway-eth0 pre-DNAT ingress allow undecided".to_owned(),
                format!("{normal} allow policy-rule"),
            ],
        ),
        (
            "203.0.113.9",
            "192.0.2.1",
            "80/tcp",
            "deny",
            vec![
                "gateway-eth0 untracked ingress allow undecided".to_owned(),
                "gateway-eth0 pre-DNAT ingress allow undecided".to_owned(),
                format!("{normal} deny end-of-tier"),
            ],
        ),
        (
            "198.51.100.7",
            "node:gateway",
            "443/tcp",
            "deny",
            vec!["gateway-eth0 untracked ingress deny policy-rule".to_owned()],
        ),
        (
            "203.0.113.9",
            "node:gateway",
            "4433/udp",
            "allow",
            vec!["gateway-eth0 untracked ingress allow policy-rule".to_owned()],
        ),
        (
            "203.0.113.9",
            "node:gateway",
            "8443/tcp",
            "deny",
            vec![
                "gateway-eth0 untracked ingress allow undecided".to_owned(),
                "gateway-eth0 pre-DNAT ingress deny policy-rule".to_owned(),
            ],
        ),
        (
            "203.0.113.9",
            "node:gateway",
            "22/tcp",
            "allow",
            vec![
                "gateway-eth0 untracked ingress allow failsafe".to_owned(),
                "gateway-eth0 pre-DNAT ingress allow failsafe".to_owned(),
                format!("{normal} allow failsafe"),
            ],
        ),
        ("203.0.113.9", "node:worker", "80/tcp", "deny", vec!["worker-all normal ingress deny no-profile".to_owned()]),
        ("node:worker", "203.0.113.9", "53/udp", "allow", vec!["worker-all normal egress allow failsafe".to_owned()]),
        // What no policy of the direction selects, its profiles decide, and it has none.
        (
            "node:gateway",
            "203.0.113.9",
            "80/tcp",
            "deny",
            vec![
                "gateway-eth0 untracked egress allow undecided".to_owned(),
                "gateway-eth0 normal egress deny no-profile".to_owned(),
            ],
        ),
        // Forwarded.
        (
            "shop/web",
            "203.0.113.9",
            "80/tcp",
            "allow",
            vec![
                "worker-all forward ingress allow undecided".to_owned(),
                "worker-all forward egress allow policy-rule".to_owned(),
            ],
        ),
        (
            "shop/web",
            "203.0.113.9",
            "81/tcp",
            "deny",
            vec![
                "worker-all forward ingress allow undecided".to_owned(),
                "worker-all forward egress deny end-of-tier".to_owned(),
            ],
        ),
        // A host may speak to its own workloads, and they to nobody but through policy.
        ("node:worker", "shop/web", "80/tcp", "allow", vec![]),
        ("shop/web", "shop/web", "80/tcp", "allow", vec![]),
    ] {
        let answer = answers(EDGE, &[&line(from, to, port)]).remove(0);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let said = answer["hosts"].as_array().cloned().unwrap_or_default().into_iter().map(|host| {
            let name = text(&host["endpoint"]["name"]);
            [&host["program"], &host["direction"], &host["verdict"], &host["reason"]]
                .into_iter()
                .fold(name, |words, value| format!("{words} {}", text(value)))
        });
        assert_eq!(said.collect::<Vec<_>>(), want, "{from} {to} {port}");
        assert_eq!(answer["verdict"], verdict, "{from} {to} {port}: {answer}");
    }
}

#[test]
fn the_answer_for_people_shows_host_endpoints() {
    check_text(
        EDGE,
        &[
            ("host-denied-at-the-end-of-a-tier", "203.0.113.9", "node:gateway", "80/tcp"),
            ("host-untracked", "203.0.113.9", "node:gateway", "4433/udp"),
            ("host-forwarded", "shop/web", "203.0.113.9", "81/tcp"),
            ("host-closed-without-policy", "203.0.113.9", "node:worker", "80/tcp"),
        ],
    );
}

/// Of several interfaces the one that is meant must be known.
#[test]
fn a_host_with_endpoints_of_several_interfaces() {
    let second = "---\napiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: gateway-eth1}\n\
                  spec: {node: gateway, interfaceName: eth1}\n";
    let manifests = format!(
        "{EDGE}{second}---\napiVersion: v1\nkind: Pod\nmetadata: {{namespace: shop, name: proxy}}\nspec: {{nodeName: gateway, containers: [{{name: main, image: web}}]}}\nstatus: {{phase: Running, podIPs: [{{ip: 10.0.0.2}}]}}\n"
    );
    let asked = line("203.0.113.9", "shop/proxy", "80/tcp");
    let on = |interface: &str| asked.replace('}', &format!(r#", "interface": "{interface}"}}"#));
    // The host's own address is on the interface that expects it.
    let own = line("203.0.113.9", "node:gateway", "443/tcp");
    let answers = answers(&manifests, &[&asked, &on("eth0"), &on("eth1"), &own]);
    let want =
        "node gateway has host endpoints of several interfaces (eth0, eth1); name the one that is meant, --interface";
    assert_eq!(answers[0], serde_json::json!({ "error": want }));
    assert_eq!(answers[1]["hosts"][0]["endpoint"]["name"], "gateway-eth0");
    assert_eq!(answers[2]["hosts"][0]["endpoint"]["name"], "gateway-eth1");
    assert_eq!(
        (&answers[3]["verdict"], &answers[3]["hosts"][2]["endpoint"]["name"]),
        (&"allow".into(), &"gateway-eth0".into())
    );
}

/// Packets between nodes' workloads go through a tunnel if the pool says so.
#[test]
fn tunnels_have_interfaces_of_their_own() {
    let pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: proxy}\nspec: {nodeName: gateway, containers: [{name: main, image: web}]}\nstatus: {phase: Running, podIPs: [{ip: 10.0.0.2}]}\n";
    let pool = |mode: &str| {
        format!(
            "---\napiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: p}}\nspec: {{cidr: 10.0.0.0/16, vxlanMode: {mode}}}\n"
        )
    };
    let asked = line("shop/web", "shop/proxy", "80/tcp");
    for (mode, judged_at_eth0) in [("Never", true), ("Always", false)] {
        let answer = answers(&format!("{EDGE}{pod}{}", pool(mode)), &[&asked]).remove(0);
        let hosts = answer["hosts"].as_array().cloned().unwrap_or_default();
        let is_eth0 = |host: &Value| host["endpoint"]["name"] == "gateway-eth0";
        assert_eq!(hosts.iter().any(is_eth0), judged_at_eth0, "{mode}: {answer}");
    }
}
