//! What the flushes so far amount to.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use caracal_proto::felix::{self, ToDataplane, to_dataplane::Payload};
use smol_str::SmolStr;

use super::EndpointId;

/// A message that many may send.
pub(super) type Message = Arc<ToDataplane>;

/// The messages that a client who starts from nothing may need.
///
/// Policies and endpoints stand here as they were told; only IP sets, which
/// change member by member, are folded.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) sets: BTreeMap<SmolStr, IpSet>,
    pub(super) policies: HashMap<felix::PolicyId, Message>,
    pub(super) profiles: BTreeMap<String, Message>,
    pub(super) endpoints: BTreeMap<EndpointId, Message>,
    /// By namespace and name.
    pub(super) service_accounts: BTreeMap<(String, String), Message>,
    pub(super) namespaces: BTreeMap<String, Message>,
    pub(super) in_sync: bool,
}

/// What an endpoint names, each once.
#[derive(Debug, Default)]
pub(super) struct References<'a> {
    /// In the order of the endpoint's tiers.
    pub(super) policies: Vec<&'a felix::PolicyId>,
    /// The same to look one up: there may be thousands.
    pub(super) named: HashSet<&'a felix::PolicyId>,
    /// In the order of the endpoint's list.
    pub(super) profiles: Vec<&'a str>,
}

impl Known {
    /// What an endpoint names; nothing if it is not known itself.
    pub(super) fn references(&self, endpoint: &EndpointId) -> References<'_> {
        let mut references = References::default();
        let Some(Payload::WorkloadEndpointUpdate(update)) = self.endpoints.get(endpoint).and_then(payload) else {
            return references;
        };
        let Some(endpoint) = &update.endpoint else {
            return references;
        };
        references.policies.extend(policies(endpoint).filter(|id| references.named.insert(*id)));
        for profile in &endpoint.profile_ids {
            if !references.profiles.contains(&profile.as_str()) {
                references.profiles.push(profile);
            }
        }
        references
    }

    /// Whether an endpoint names a policy.
    pub(super) fn has_policy(&self, endpoint: &EndpointId, id: &felix::PolicyId) -> bool {
        match self.endpoints.get(endpoint).and_then(payload) {
            Some(Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate {
                endpoint: Some(endpoint), ..
            })) => policies(endpoint).any(|named| named == id),
            _ => false,
        }
    }

    /// The IP sets that rules of policies and profiles name.
    pub(super) fn ip_sets(&self, references: &References<'_>) -> BTreeSet<&str> {
        let policies = references.policies.iter().filter_map(|id| self.policies.get(*id));
        let profiles = references.profiles.iter().filter_map(|name| self.profiles.get(*name));
        policies.chain(profiles).flat_map(rules).flat_map(ip_sets).collect()
    }
}

/// The policies of an endpoint, some of them twice.
fn policies(endpoint: &felix::WorkloadEndpoint) -> impl Iterator<Item = &felix::PolicyId> {
    endpoint.tiers.iter().flat_map(|tier| tier.ingress_policies.iter().chain(&tier.egress_policies))
}

/// The IP sets that the rules of a policy name.
pub(super) fn ip_sets_of(policy: &Message) -> BTreeSet<&str> {
    rules(policy).flat_map(ip_sets).collect()
}

fn payload(message: &Message) -> Option<&Payload> {
    message.payload.as_ref()
}

fn rules(message: &Message) -> impl Iterator<Item = &felix::Rule> {
    let (inbound, outbound): (&[_], &[_]) = match payload(message) {
        Some(Payload::ActivePolicyUpdate(felix::ActivePolicyUpdate { policy: Some(policy), .. })) => {
            (&policy.inbound_rules, &policy.outbound_rules)
        }
        Some(Payload::ActiveProfileUpdate(felix::ActiveProfileUpdate { profile: Some(profile), .. })) => {
            (&profile.inbound_rules, &profile.outbound_rules)
        }
        _ => (&[], &[]),
    };
    inbound.iter().chain(outbound)
}

fn ip_sets(rule: &felix::Rule) -> impl Iterator<Item = &str> {
    [
        &rule.src_ip_set_ids,
        &rule.dst_ip_set_ids,
        &rule.src_named_port_ip_set_ids,
        &rule.dst_named_port_ip_set_ids,
        &rule.dst_ip_port_set_ids,
        &rule.not_src_ip_set_ids,
        &rule.not_dst_ip_set_ids,
        &rule.not_src_named_port_ip_set_ids,
        &rule.not_dst_named_port_ip_set_ids,
    ]
    .into_iter()
    .flatten()
    .map(String::as_str)
}

/// An IP set with its members.
#[derive(Debug)]
pub(super) struct IpSet {
    kind: i32,
    members: BTreeSet<SmolStr>,
}

impl IpSet {
    pub(super) fn new(update: &felix::IpSetUpdate) -> Self {
        Self { kind: update.r#type, members: update.members.iter().map(SmolStr::new).collect() }
    }

    pub(super) fn apply(&mut self, delta: &felix::IpSetDeltaUpdate) {
        for member in &delta.removed_members {
            self.members.remove(member.as_str());
        }
        self.members.extend(delta.added_members.iter().map(SmolStr::new));
    }

    /// The whole set: one message, and deltas for the members that it has no room for.
    pub(super) fn messages(&self, id: &str, max_members: usize) -> Vec<Message> {
        let mut members = self.members.iter().map(ToString::to_string);
        let mut next = || members.by_ref().take(max_members).collect::<Vec<_>>();
        let update = felix::IpSetUpdate { id: id.to_owned(), members: next(), r#type: self.kind };
        let mut messages = vec![message(Payload::IpsetUpdate(update))];
        loop {
            let added_members = next();
            if added_members.is_empty() {
                return messages;
            }
            let id = id.to_owned();
            let delta = felix::IpSetDeltaUpdate { id, added_members, removed_members: Vec::new() };
            messages.push(message(Payload::IpsetDeltaUpdate(delta)));
        }
    }
}

/// A payload in its envelope. Messages are not numbered on this transport.
pub(super) fn message(payload: Payload) -> Message {
    Arc::new(ToDataplane { sequence_number: 0, payload: Some(payload) })
}
