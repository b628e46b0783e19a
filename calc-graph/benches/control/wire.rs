//! Deltas as bytes: texts with their lengths, as a receiver would get them.

use std::io::Write as _;

use caracal_calc_graph::{Delta, Member, ScannedRule, TierPolicies};
use caracal_model::{Labels, PolicyKey};
use smol_str::SmolStr;

/// A message in the making. It is written over by the next one.
#[derive(Default)]
pub(crate) struct Wire {
    bytes: Vec<u8>,
}

impl Wire {
    /// Encodes a delta; gives out how long it is.
    pub(crate) fn encode(&mut self, delta: &Delta<'_>) -> usize {
        self.bytes.clear();
        match delta {
            Delta::IpSetUpdate { id, kind: _, members } => {
                self.text(id);
                self.members(members);
            }
            Delta::IpSetDelta { id, added, removed } => {
                self.text(id);
                self.members(added);
                self.members(removed);
            }
            Delta::IpSetRemove { id } => self.text(id),
            Delta::PolicyUpdate { key, policy } => {
                self.policy_key(key);
                self.text(&policy.tier);
                self.text(&policy.selector);
                self.rules(&policy.inbound_rules);
                self.rules(&policy.outbound_rules);
            }
            Delta::PolicyRemove { key } => self.policy_key(key),
            Delta::ProfileUpdate { name, profile } => {
                self.text(name);
                self.rules(&profile.inbound_rules);
                self.rules(&profile.outbound_rules);
            }
            Delta::ProfileRemove { name } => self.text(name),
            Delta::WorkloadUpdate { key, endpoint, tiers } => {
                self.texts([&key.host, &key.orchestrator, &key.workload, &key.endpoint]);
                self.texts([&endpoint.interface, &endpoint.state]);
                self.texts(&endpoint.profiles);
                for net in endpoint.ipv4_nets.iter().chain(&endpoint.ipv6_nets) {
                    self.shown(net);
                }
                self.tiers(tiers);
            }
            Delta::WorkloadRemove { key } => {
                self.texts([&key.host, &key.orchestrator, &key.workload, &key.endpoint]);
            }
            Delta::HostUpdate { key, endpoint, tiers } => {
                self.texts([&key.host, &key.name, &endpoint.interface]);
                self.texts(&endpoint.profiles);
                for list in [&tiers.normal, &tiers.untracked, &tiers.pre_dnat, &tiers.forward] {
                    self.tiers(list);
                }
            }
            Delta::HostRemove { key } => self.texts([&key.host, &key.name]),
            Delta::ServiceAccountUpdate { namespace, name, labels } => {
                self.text(namespace);
                self.text(name);
                self.labels(labels);
            }
            Delta::ServiceAccountRemove { namespace, name } => {
                self.text(namespace);
                self.text(name);
            }
            Delta::NamespaceUpdate { name, labels } => {
                self.text(name);
                self.labels(labels);
            }
            Delta::NamespaceRemove { name } => self.text(name),
            other => self.shown(&format_args!("{other:?}")),
        }
        self.bytes.len()
    }

    fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn texts<'a>(&mut self, texts: impl IntoIterator<Item = &'a SmolStr>) {
        for text in texts {
            self.text(text);
        }
    }

    fn shown(&mut self, value: &impl std::fmt::Display) {
        write!(self.bytes, "{value}").expect("bytes take everything");
        self.bytes.push(0);
    }

    fn members(&mut self, members: &[Member]) {
        for member in members {
            match member {
                Member::Net(net) => self.shown(net),
                Member::IpPort(addr, protocol, port) => self.shown(&format_args!("{addr},{protocol}:{port}")),
            }
        }
    }

    fn policy_key(&mut self, key: &PolicyKey) {
        self.text(key.kind.as_str());
        self.texts([&key.namespace, &key.name]);
    }

    fn rules(&mut self, rules: &[ScannedRule]) {
        for scanned in rules {
            self.bytes.push(scanned.rule.action as u8);
            self.texts(scanned.ip_sets());
            for entity in [&scanned.rule.source, &scanned.rule.destination] {
                self.text(&entity.original_selector);
                for net in entity.nets.iter().chain(&entity.not_nets) {
                    self.shown(net);
                }
            }
        }
    }

    fn labels(&mut self, labels: &Labels) {
        for (key, value) in labels.iter() {
            self.text(key);
            self.text(value);
        }
    }

    fn tiers(&mut self, tiers: &[TierPolicies]) {
        for tier in tiers {
            self.text(&tier.name);
            for key in tier.ingress.iter().chain(&tier.egress) {
                self.policy_key(key);
            }
        }
    }
}
