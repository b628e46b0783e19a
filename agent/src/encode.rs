//! From the graph's deltas to Felix's messages.
//!
//! This is the only place where members, rules and endpoints become text. One
//! delta is one message, except that the members of a large IP set are spread
//! over several so that none comes near gRPC's limit of 4 MB.

mod address;
mod endpoint;
mod ip_set;
mod rule;
mod rule_id;

use std::collections::BTreeMap;

use caracal_calc_graph::{ActivePolicy, ActiveProfile, Delta};
use caracal_datastore::BgpConfiguration;
use caracal_model::{Labels, Node, PolicyKey};
use caracal_proto::felix::{self, to_dataplane::Payload};

/// Felix's own limit of members in one message (`felix/policysync/processor.go`):
/// the longest member is 51 bytes with its frame, and 82,200 of them stay below 4 MB.
pub const MAX_MEMBERS: usize = 82_200;

/// Gives the messages of one delta to `out`, in order.
///
/// Sequence numbers are left at 0: they count the messages of a connection.
pub fn encode(delta: &Delta<'_>, out: &mut dyn FnMut(felix::ToDataplane)) {
    encode_with(delta, MAX_MEMBERS, &mut |payload| {
        out(felix::ToDataplane { sequence_number: 0, payload: Some(payload) });
    });
}

/// What the cluster tells its routers, as a message.
#[must_use]
pub fn encode_bgp(configuration: &BgpConfiguration) -> felix::ToDataplane {
    let payload = Payload::GlobalBgpConfigUpdate(address::bgp(configuration));
    felix::ToDataplane { sequence_number: 0, payload: Some(payload) }
}

fn encode_with(delta: &Delta<'_>, max_members: usize, out: &mut dyn FnMut(Payload)) {
    match *delta {
        Delta::IpSetUpdate { id, kind, members } => ip_set::update(id, kind, members, max_members, out),
        Delta::IpSetDelta { id, added, removed } => ip_set::delta(id, added, removed, max_members, out),
        Delta::IpSetRemove { id } => out(Payload::IpsetRemove(felix::IpSetRemove { id: id.to_string() })),
        Delta::PolicyUpdate { key, policy } => out(Payload::ActivePolicyUpdate(felix::ActivePolicyUpdate {
            id: Some(policy_id(key)),
            policy: Some(encode_policy(key, policy)),
        })),
        Delta::PolicyRemove { key } => {
            out(Payload::ActivePolicyRemove(felix::ActivePolicyRemove { id: Some(policy_id(key)) }))
        }
        Delta::ProfileUpdate { name, profile } => out(Payload::ActiveProfileUpdate(felix::ActiveProfileUpdate {
            id: Some(profile_id(name)),
            profile: Some(encode_profile(name, profile)),
        })),
        Delta::ProfileRemove { name } => {
            out(Payload::ActiveProfileRemove(felix::ActiveProfileRemove { id: Some(profile_id(name)) }))
        }
        Delta::WorkloadUpdate { key, endpoint, tiers } => {
            out(Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate {
                id: Some(endpoint::workload_id(key)),
                endpoint: Some(endpoint::workload(endpoint, tiers)),
            }));
        }
        Delta::WorkloadRemove { key } => {
            out(Payload::WorkloadEndpointRemove(felix::WorkloadEndpointRemove { id: Some(endpoint::workload_id(key)) }))
        }
        Delta::HostUpdate { key, endpoint, tiers } => out(Payload::HostEndpointUpdate(felix::HostEndpointUpdate {
            id: Some(endpoint::host_id(key)),
            endpoint: Some(endpoint::host(endpoint, tiers)),
        })),
        Delta::HostRemove { key } => {
            out(Payload::HostEndpointRemove(felix::HostEndpointRemove { id: Some(endpoint::host_id(key)) }))
        }
        Delta::ServiceAccountUpdate { namespace, name, labels } => {
            out(Payload::ServiceAccountUpdate(felix::ServiceAccountUpdate {
                id: Some(service_account_id(namespace, name)),
                labels: encode_labels(labels),
            }))
        }
        Delta::ServiceAccountRemove { namespace, name } => {
            out(Payload::ServiceAccountRemove(felix::ServiceAccountRemove {
                id: Some(service_account_id(namespace, name)),
            }));
        }
        Delta::NamespaceUpdate { name, labels } => out(Payload::NamespaceUpdate(felix::NamespaceUpdate {
            id: Some(felix::NamespaceId { name: name.to_owned() }),
            labels: encode_labels(labels),
        })),
        Delta::NamespaceRemove { name } => out(Payload::NamespaceRemove(felix::NamespaceRemove {
            id: Some(felix::NamespaceId { name: name.to_owned() }),
        })),
        Delta::HostMetadataUpdate { hostname, node } => {
            out(Payload::HostMetadataUpdate(encode_node(hostname, node)));
        }
        Delta::HostMetadataRemove { hostname } => out(Payload::HostMetadataRemove(felix::HostMetadataRemove {
            hostname: hostname.to_string(),
            ipv4_addr: String::new(),
        })),
        Delta::IpPoolUpdate { pool } => out(Payload::IpamPoolUpdate(address::pool(pool))),
        Delta::IpPoolRemove { cidr } => {
            out(Payload::IpamPoolRemove(felix::IpamPoolRemove { id: address::pool_id(cidr) }));
        }
        Delta::Encapsulation { encapsulation } => out(Payload::Encapsulation(address::encapsulation(encapsulation))),
        Delta::ServiceUpdate { key, service } => out(Payload::ServiceUpdate(address::service(key, service))),
        Delta::ServiceRemove { key } => out(Payload::ServiceRemove(felix::ServiceRemove {
            name: key.name.to_string(),
            namespace: key.namespace.to_string(),
        })),
        Delta::InSync => out(Payload::InSync(felix::InSync {})),
    }
}

fn policy_id(key: &PolicyKey) -> felix::PolicyId {
    let PolicyKey { kind, namespace, name } = key;
    felix::PolicyId { name: name.to_string(), namespace: namespace.to_string(), kind: kind.as_str().to_owned() }
}

fn profile_id(name: &str) -> felix::ProfileId {
    felix::ProfileId { name: name.to_owned() }
}

fn service_account_id(namespace: &str, name: &str) -> felix::ServiceAccountId {
    felix::ServiceAccountId { namespace: namespace.to_owned(), name: name.to_owned() }
}

fn encode_policy(key: &PolicyKey, policy: &ActivePolicy) -> felix::Policy {
    let ActivePolicy { tier, selector, inbound_rules, outbound_rules, untracked, pre_dnat, perf_hints } = policy;
    felix::Policy {
        // Felix's seeds say `default` whatever the namespace.
        inbound_rules: rule::encode_list(inbound_rules, &format!("pol-in-default/{}", key.name)),
        outbound_rules: rule::encode_list(outbound_rules, &format!("pol-out-default/{}", key.name)),
        untracked: *untracked,
        pre_dnat: *pre_dnat,
        namespace: key.namespace.to_string(),
        original_selector: selector.to_string(),
        perf_hints: texts(perf_hints),
        tier: tier.to_string(),
    }
}

fn encode_profile(name: &str, profile: &ActiveProfile) -> felix::Profile {
    let ActiveProfile { inbound_rules, outbound_rules } = profile;
    felix::Profile {
        inbound_rules: rule::encode_list(inbound_rules, &format!("prof-in-{name}")),
        outbound_rules: rule::encode_list(outbound_rules, &format!("prof-out-{name}")),
    }
}

fn encode_node(hostname: &str, node: &Node) -> felix::HostMetadataUpdate {
    let Node { ipv4, ipv6, as_number, labels } = node;
    felix::HostMetadataUpdate {
        hostname: hostname.to_owned(),
        ipv4_addr: ipv4.to_string(),
        ipv6_addr: ipv6.to_string(),
        asnumber: as_number.to_string(),
        labels: encode_labels(labels),
    }
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn encode_labels(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

#[cfg(test)]
mod tests;
