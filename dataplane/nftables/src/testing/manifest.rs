//! A random program as a person would have written it: a stream of documents
//! that a file source can be given. A set is a network set with a label of its
//! own, or a port by name; a set of services is a Service.

use caracal_proto::felix::{self, protocol::NumberOrName, rule as wire};
use serde_json::{Map, Value, json};

use super::random::Told;

/// The documents, in YAML's flow style, with `---` between them.
pub(crate) fn manifest(told: &[Told]) -> String {
    let documents: Vec<String> = told.iter().flat_map(documents).map(|document| document.to_string()).collect();
    documents.join("\n---\n")
}

fn documents(told: &Told) -> Vec<Value> {
    match told {
        Told::Set(id, members) if id.starts_with("n:") => {
            let endpoints = members.iter().filter_map(|member| {
                let (address, port) = member.split_once(',')?;
                let (protocol, port) = port.split_once(':')?;
                let port = json!({"name": name(id), "protocol": protocol, "port": port.parse::<u16>().ok()?});
                let spec = json!({"node": "other", "expectedIPs": [address], "ports": [port]});
                Some(document("HostEndpoint", &format!("{}-{address}-{protocol}", name(id)), spec))
            });
            endpoints.collect()
        }
        Told::Set(id, members) => {
            let mut set = document("GlobalNetworkSet", &name(id), json!({"nets": members}));
            set["metadata"]["labels"] = json!({name(id): ""});
            vec![set]
        }
        Told::Policy(id, inbound, outbound) => {
            let spec = json!({"selector": "all()", "ingress": rules(inbound), "egress": rules(outbound)});
            match (id.split_once('/'), id.strip_prefix("staged:")) {
                (_, Some(name)) => vec![document("StagedGlobalNetworkPolicy", name, spec)],
                (Some((namespace, name)), None) => {
                    let mut policy = document("NetworkPolicy", name, spec);
                    policy["metadata"]["namespace"] = json!(namespace);
                    vec![policy]
                }
                (None, None) => vec![document("GlobalNetworkPolicy", id, spec)],
            }
        }
        Told::Profile(name, inbound, outbound) => {
            vec![document("Profile", name, json!({"ingress": rules(inbound), "egress": rules(outbound)}))]
        }
        Told::Endpoint(state, pod, interface, tiers, profiles) => {
            let tiers: Vec<Value> = tiers
                .iter()
                .map(|(tier, end, ingress, egress)| {
                    json!({"name": tier, "defaultAction": end, "ingress": ingress, "egress": egress})
                })
                .collect();
            let mut endpoint = document(
                "WorkloadEndpoint",
                &pod.replace('/', "-"),
                json!({"interfaceName": interface, "profiles": profiles}),
            );
            // Which policies apply, and in which order, is what the selectors must come to.
            endpoint["metadata"]["annotations"] = json!({"state": state, "tiers": Value::from(tiers).to_string()});
            vec![endpoint]
        }
        Told::Host(id, interface, expected, lists, profiles) => {
            let spec =
                json!({"node": "this", "interfaceName": interface, "expectedIPs": expected, "profiles": profiles});
            let mut endpoint = document("HostEndpoint", id, spec);
            let kinds = ["normal", "forward", "preDNAT", "untracked"].into_iter().zip(lists);
            let annotations = kinds.map(|(kind, list)| (kind.to_owned(), json!(format!("{list:?}"))));
            // Which policies apply, and in which order, is what the selectors must come to.
            endpoint["metadata"]["annotations"] = Value::Object(annotations.collect());
            vec![endpoint]
        }
        Told::Tunnels => {
            let pool =
                |name: &str, cidr: &str, mode: &str| document("IPPool", name, json!({"cidr": cidr, mode: "Always"}));
            vec![pool("ipip", "10.0.0.0/8", "ipipMode"), pool("vxlan", "fd00::/8", "vxlanMode")]
        }
        Told::Sources(interface, prefixes) => {
            let mut endpoint = document("WorkloadEndpoint", interface, json!({"interfaceName": interface}));
            endpoint["metadata"]["annotations"] = json!({"sources": prefixes.join(",")});
            vec![endpoint]
        }
        Told::Members(..)
        | Told::RemoveSet(_)
        | Told::RemovePolicy(_)
        | Told::RemoveEndpoint(_)
        | Told::RemoveHost(_)
        | Told::Addresses(..) => Vec::new(),
    }
}

fn document(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn name(set: &str) -> String {
    set.replace(':', "-")
}

fn rules(rules: &[felix::Rule]) -> Vec<Value> {
    rules.iter().map(rule).collect()
}

fn rule(rule: &felix::Rule) -> Value {
    let action = match rule.action.as_str() {
        "allow" => "Allow",
        "deny" => "Deny",
        "next-tier" => "Pass",
        "log" => "Log",
        other => other,
    };
    let mut out = Map::from_iter([("action".to_owned(), json!(action))]);
    let mut put = |key: &str, value: Option<Value>| out.extend(value.map(|value| (key.to_owned(), value)));
    put("ipVersion", (rule.ip_version != 0).then(|| json!(rule.ip_version)));
    put("protocol", rule.protocol.as_ref().and_then(protocol));
    put("notProtocol", rule.not_protocol.as_ref().and_then(protocol));
    put(
        "icmp",
        rule.icmp.map(|icmp| match icmp {
            wire::Icmp::IcmpType(icmp_type) => json!({"type": icmp_type}),
            wire::Icmp::IcmpTypeCode(icmp) => json!({"type": icmp.r#type, "code": icmp.code}),
        }),
    );
    put(
        "notICMP",
        rule.not_icmp.map(|icmp| match icmp {
            wire::NotIcmp::NotIcmpType(icmp_type) => json!({"type": icmp_type}),
            wire::NotIcmp::NotIcmpTypeCode(icmp) => json!({"type": icmp.r#type, "code": icmp.code}),
        }),
    );
    put(
        "source",
        side(Side {
            nets: [&rule.src_net, &rule.not_src_net],
            ports: [&rule.src_ports, &rule.not_src_ports],
            sets: [&rule.src_ip_set_ids, &rule.not_src_ip_set_ids],
            named: [&rule.src_named_port_ip_set_ids, &rule.not_src_named_port_ip_set_ids],
            services: &[],
        }),
    );
    put(
        "destination",
        side(Side {
            nets: [&rule.dst_net, &rule.not_dst_net],
            ports: [&rule.dst_ports, &rule.not_dst_ports],
            sets: [&rule.dst_ip_set_ids, &rule.not_dst_ip_set_ids],
            named: [&rule.dst_named_port_ip_set_ids, &rule.not_dst_named_port_ip_set_ids],
            services: &rule.dst_ip_port_set_ids,
        }),
    );
    Value::Object(out)
}

/// One side of a rule; of each pair, what is wanted and what is refused.
struct Side<'a> {
    nets: [&'a Vec<String>; 2],
    ports: [&'a Vec<felix::PortRange>; 2],
    sets: [&'a Vec<String>; 2],
    named: [&'a Vec<String>; 2],
    services: &'a [String],
}

fn side(side: Side<'_>) -> Option<Value> {
    let mut out = Map::new();
    let mut put = |key: &str, value: Option<Value>| out.extend(value.map(|value| (key.to_owned(), value)));
    for (key, nets) in ["nets", "notNets"].into_iter().zip(side.nets) {
        put(key, (!nets.is_empty()).then(|| json!(nets)));
    }
    for (key, (ports, named)) in ["ports", "notPorts"].into_iter().zip(side.ports.into_iter().zip(side.named)) {
        let numbers = ports.iter().map(|range| match range.first == range.last {
            true => json!(range.first),
            false => json!(format!("{}:{}", range.first, range.last)),
        });
        let all: Vec<Value> = numbers.chain(named.iter().map(|id| json!(name(id)))).collect();
        put(key, (!all.is_empty()).then(|| json!(all)));
    }
    for ((key, between), sets) in [("selector", " && "), ("notSelector", " || ")].into_iter().zip(side.sets) {
        let has: Vec<String> = sets.iter().map(|id| format!("has({})", name(id))).collect();
        put(key, (!has.is_empty()).then(|| json!(has.join(between))));
    }
    let services: Vec<String> = side.services.iter().map(|id| name(id)).collect();
    put("services", (!services.is_empty()).then(|| json!({"namespace": "sets", "name": services.join(" and ")})));
    (!out.is_empty()).then_some(Value::Object(out))
}

fn protocol(protocol: &felix::Protocol) -> Option<Value> {
    protocol.number_or_name.as_ref().map(|protocol| match protocol {
        NumberOrName::Number(number) => json!(number),
        NumberOrName::Name(name) => json!(name),
    })
}
