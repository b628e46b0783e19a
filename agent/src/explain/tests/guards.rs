//! What is asked of packets beside policy has a name in the answer.

use super::{SHOP, line, question, report, world};
use crate::explain::tests::answers;

/// Pools with tunnels, and a second node with its address.
const TUNNELS: &str = r"
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: pods}
spec: {cidr: 10.0.0.0/16, ipipMode: Always}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: more}
spec: {cidr: 10.9.0.0/16, vxlanMode: Always}
---
apiVersion: v1
kind: Node
metadata: {name: node2}
status: {addresses: [{type: InternalIP, address: 192.168.0.2}]}
";

fn configuration(spec: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: default}}\nspec: {{{spec}}}\n"
    )
}

/// Checks the verdict and the reasons of both sides.
#[test]
fn every_guard_is_named() {
    for (spec, from, to, port, want) in [
        ("", "shop/web@10.9.9.9", "shop/api", "80/tcp", ["deny", "spoofed-source", "profile-rule"]),
        ("", "shop/web@10.0.0.1", "shop/api", "80/tcp", ["allow", "profile-rule", "profile-rule"]),
        ("", "shop/web", "127.0.0.1", "80/tcp", ["allow", "same-workload", "same-workload"]),
        ("", "shop/web", "192.0.2.7", "0/icmp", ["deny", "conntrack-invalid", "outside"]),
        ("", "192.0.2.7", "shop/web", "3:1/icmp", ["deny", "outside", "conntrack-invalid"]),
        ("disableConntrackInvalidCheck: true", "shop/web", "192.0.2.7", "0/icmp", ["allow", "profile-rule", "outside"]),
        ("", "shop/web", "192.0.2.7", "/4", ["deny", "ipip-from-workload", "outside"]),
        ("allowIPIPPacketsFromWorkloads: true", "shop/web", "192.0.2.7", "/4", ["allow", "profile-rule", "outside"]),
        ("", "shop/web", "192.0.2.7", "4789/udp", ["deny", "vxlan-from-workload", "outside"]),
        ("vxlanPort: 8472", "shop/web", "192.0.2.7", "4789/udp", ["allow", "profile-rule", "outside"]),
        ("", "192.0.2.7", "node:node1", "/4", ["deny", "outside", "foreign-ipip"]),
        ("", "shop/web", "lab/probe", "80/tcp", ["allow", "profile-rule", "profile-rule"]),
        ("ipv6Support: false", "shop/web", "lab/probe", "80/tcp", ["deny", "no-ipv6", "no-ipv6"]),
        ("ipv6Support: false", "shop/web@fd00::9", "2001:db8::7", "80/tcp", ["deny", "no-ipv6", "outside"]),
        ("ipv6Support: false", "2001:db8::7", "lab/probe", "80/tcp", ["deny", "outside", "no-ipv6"]),
        ("ipv6Support: false", "shop/web", "shop/api", "80/tcp", ["allow", "profile-rule", "profile-rule"]),
        ("", "192.0.2.7", "node:node1", "4789/udp", ["deny", "outside", "foreign-vxlan"]),
        ("", "node:node2", "node:node1", "/4", ["allow", "cluster-tunnel", "cluster-tunnel"]),
        ("", "shop/web", "192.168.0.1", "80/tcp", ["deny", "profile-rule", "endpoint-to-host"]),
        (
            "defaultEndpointToHostAction: Accept",
            "shop/web",
            "192.168.0.1",
            "80/tcp",
            ["allow", "profile-rule", "endpoint-to-host"],
        ),
    ] {
        let configuration = if spec.is_empty() { String::new() } else { configuration(spec) };
        let answer = answers(&format!("{SHOP}{TUNNELS}{configuration}"), &[&line(from, to, port)]).remove(0);
        let got = [&answer["verdict"], &answer["egress"]["reason"], &answer["ingress"]["reason"]];
        assert_eq!(got.map(|value| value.as_str().unwrap_or_default()), want, "{spec} {from} {to} {port}: {answer}");
    }
}

/// A host endpoint that allows nothing does not cut the tunnels of the cluster.
#[test]
fn tunnels_of_the_cluster_pass_host_endpoints() {
    let closed = "---\napiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: closed}\n\
                  spec: {node: node1, interfaceName: '*'}\n";
    for (spec, from, to, port, verdict, reason) in [
        ("", "node:node2", "node:node1", "/4", "allow", "cluster-tunnel"),
        ("", "node:node1", "node:node2", "4789/udp", "allow", "cluster-tunnel"),
        ("", "node:node2", "node:node1", "4789/udp", "allow", "cluster-tunnel"),
        ("", "node:node2", "node:node1", "4790/udp", "deny", "host"),
        ("vxlanPort: 8472", "node:node1", "node:node2", "4789/udp", "deny", "host"),
    ] {
        let configuration = if spec.is_empty() { String::new() } else { configuration(spec) };
        let answer = answers(&format!("{SHOP}{TUNNELS}{closed}{configuration}"), &[&line(from, to, port)]).remove(0);
        let got = [&answer["verdict"], &answer["egress"]["reason"], &answer["ingress"]["reason"]];
        let got = got.map(|value| value.as_str().unwrap_or_default());
        assert_eq!(got, [verdict, reason, reason], "{spec} {from} {to} {port}: {answer}");
    }
}

/// Without IPv6 a host endpoint that allows nothing judges IPv4 only.
#[test]
fn ipv6_of_hosts_is_not_judged_while_it_is_not_programmed() {
    let closed = "---\napiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: closed}\n\
                  spec: {node: node1, interfaceName: '*', expectedIPs: [192.168.0.1, '2001:db8::1']}\n";
    let host = |verdict| [verdict, "outside", "host"];
    for (spec, from, to, want) in [
        ("ipv6Support: true", "2001:db8::7", "2001:db8::1", host("deny")),
        ("ipv6Support: false", "2001:db8::7", "2001:db8::1", ["allow", "outside", "unjudged-ipv6"]),
        ("ipv6Support: false", "2001:db8::1", "2001:db8::7", ["allow", "unjudged-ipv6", "outside"]),
        ("ipv6Support: false", "192.0.2.7", "192.168.0.1", host("deny")),
    ] {
        let manifests = format!("{SHOP}{closed}{}", configuration(spec));
        let answer = answers(&manifests, &[&line(from, to, "80/tcp")]).remove(0);
        let got = [&answer["verdict"], &answer["egress"]["reason"], &answer["ingress"]["reason"]];
        assert_eq!(got.map(|value| value.as_str().unwrap_or_default()), want, "{spec} {from} {to}: {answer}");
    }
}

/// Only a sender may pretend.
#[test]
fn nobody_receives_at_an_address_of_others() {
    let answer = answers(SHOP, &[&line("shop/web", "shop/api@10.9.9.9", "80/tcp")]).remove(0);
    let want = "shop/api has no address 10.9.9.9; only a sender may pretend";
    assert_eq!(answer, serde_json::json!({ "error": want }));
}

/// No edit of a policy opens what a guard refuses, and the answer says what would.
#[test]
fn what_a_guard_refuses_no_policy_opens() {
    for (spec, from, to, port, means) in [
        ("", "shop/web@10.9.9.9", "shop/api", "80/tcp", "allowedSourcePrefixes"),
        ("", "shop/web", "192.0.2.7", "0/icmp", "DisableConntrackInvalidCheck"),
        ("", "shop/web", "192.0.2.7", "/4", "AllowIPIPPacketsFromWorkloads"),
        ("", "shop/web", "192.0.2.7", "4789/udp", "AllowVXLANPacketsFromWorkloads"),
        ("", "shop/web", "192.168.0.1", "80/tcp", "DefaultEndpointToHostAction"),
        ("ipv6Support: false", "shop/web", "lab/probe", "80/tcp", "Ipv6Support"),
    ] {
        let configuration = if spec.is_empty() { String::new() } else { configuration(spec) };
        let mut world = world(&format!("{SHOP}{configuration}"));
        let answer = report::report(&mut world, &question(from, to, port), None).expect("an answer");
        assert!(answer.text.contains("to allow it: no edit of a policy does"), "{}", answer.text);
        assert!(answer.text.contains(means), "{}", answer.text);
    }
}
