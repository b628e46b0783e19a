//! Edits that could let a packet pass a side, the most wanted first.

use caracal_datastore::manifest::ResourceKind;
use caracal_model::DEFAULT_TIER;
use caracal_program::{Direction, PolicyId, ProgramKind};
use serde_json::{Value, json};
use smol_str::SmolStr;

use super::rule::{self, Near, Style};
use super::{Denial, Denied, Judge};
use crate::explain::Service;
use crate::explain::cluster::Cluster;
use crate::explain::pick::Pick;
use crate::explain::written::{Name, list_of};

/// The tier that comes before all others, and only ever lets pass.
const FIRST_TIER: &str = "caracal-allow";

/// One object as it is to be.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) name: Name,
    pub(super) value: Value,
    /// What leads there, if the object exists.
    pub(super) patch: Option<Value>,
}

/// Each draft is some objects that together let the packet pass.
pub(super) fn drafts(denial: &Denial, cluster: &Cluster) -> Vec<Vec<Draft>> {
    let (name, pick, scope) = match &denial.judge {
        Judge::Workload(_) => {
            let Some((workload, pick)) = &denial.near.workload else { return Vec::new() };
            (workload.clone(), pick.clone(), Scope::Namespace)
        }
        Judge::Host(id, kind) => {
            let Some(pick) = Pick::of_host(&id.0, &cluster.facts) else { return Vec::new() };
            (id.0.clone(), pick, Scope::Hosts(*kind))
        }
    };
    let desk = Desk { denial, cluster, name, pick, scope };
    let mut drafts: Vec<Vec<Draft>> = match &denial.reason {
        Denied::Rule(policy, index) => {
            let patches = desk.each_style(|style| desk.patch(policy, *index, style));
            patches.into_iter().chain(desk.before_cluster_policy(policy)).map(|draft| vec![draft]).collect()
        }
        Denied::EndOfTier(tier) => desk.in_tier(tier),
        Denied::Profile => desk.before_profiles(),
        Denied::Incomplete => Vec::new(),
    };
    drafts.extend([Style::Labels, Style::Addresses].into_iter().map(|style| desk.overrule(style)));
    drafts
}

/// What drafts are made from.
struct Desk<'a> {
    denial: &'a Denial,
    cluster: &'a Cluster,
    /// What has the policy that denies: `NAMESPACE/NAME` of a workload, or a host endpoint's name.
    name: SmolStr,
    pick: Pick,
    scope: Scope,
}

/// What a new policy of Calico is about.
#[derive(Clone, Copy)]
enum Scope {
    /// A workload, from within its namespace.
    Namespace,
    /// A host endpoint, when packets are judged so.
    Hosts(ProgramKind),
}

impl Desk<'_> {
    fn each_style(&self, draft: impl Fn(Style) -> Option<Draft>) -> Vec<Draft> {
        [Style::Labels, Style::Addresses].into_iter().filter_map(draft).collect()
    }

    /// A rule before the one of an index, in one of Calico's policies.
    fn patch(&self, policy: &PolicyId, index: usize, style: Style) -> Option<Draft> {
        let name = Name::of_policy(policy)?;
        let namespace = match name.kind {
            ResourceKind::NetworkPolicy => Some(name.namespace.as_str()),
            ResourceKind::GlobalNetworkPolicy => None,
            _ => return None,
        };
        let rule = rule::calico(self.denial, style, Near::Named, namespace);
        let list = list_of(self.denial.direction);
        let mut value = self.cluster.manifests.value(&name)?;
        let spec = value.get_mut("spec")?.as_object_mut()?;
        let operation = match spec.get_mut(list).and_then(Value::as_array_mut) {
            Some(rules) => {
                let index = index.min(rules.len());
                rules.insert(index, rule.clone());
                json!({"op": "add", "path": format!("/spec/{list}/{index}"), "value": rule})
            }
            None => {
                spec.insert(list.to_owned(), json!([rule.clone()]));
                json!({"op": "add", "path": format!("/spec/{list}"), "value": [rule]})
            }
        };
        Some(Draft { name, value, patch: Some(json!([operation])) })
    }

    /// What lets the packet pass in a tier whose policies all leave it alone.
    fn in_tier(&self, tier: &str) -> Vec<Vec<Draft>> {
        let enforced = self.denial.tiers.iter().find(|(name, _)| name == tier).map_or(&[][..], |(_, ids)| ids);
        let is_of_kubernetes = |id: &&PolicyId| id.kind == "KubernetesNetworkPolicy";
        let mut drafts = Vec::new();
        if enforced.iter().any(|id| is_of_kubernetes(&id)) {
            drafts.extend(self.each_style(|style| self.kubernetes_policy(style)));
        }
        for policy in enforced.iter().rev().filter(|id| !is_of_kubernetes(id)) {
            drafts.extend(self.each_style(|style| self.patch(policy, usize::MAX, style)));
        }
        drafts.extend(self.each_style(|style| Some(self.policy(tier, style, Rest::Unsaid))));
        drafts.into_iter().map(|draft| vec![draft]).collect()
    }

    /// What lets the packet pass where no tier decides: a policy that leaves
    /// everything else to the profiles, as it was.
    fn before_profiles(&self) -> Vec<Vec<Draft>> {
        if self.denial.tiers.iter().any(|(name, enforced)| name == DEFAULT_TIER && !enforced.is_empty()) {
            return Vec::new();
        }
        self.each_style(|style| Some(self.policy(DEFAULT_TIER, style, Rest::Passes)))
            .into_iter()
            .map(|draft| vec![draft])
            .collect()
    }

    /// A policy of networking.k8s.io. It cannot name the end that it is for
    /// beside selecting it.
    fn kubernetes_policy(&self, style: Style) -> Option<Draft> {
        if !self.pick.is_exact {
            return None;
        }
        let rule = rule::kubernetes(self.denial, style, &self.pick.namespace)?;
        let (list, direction) = (list_of(self.denial.direction), self.direction());
        let spec = json!({"podSelector": self.pick.kubernetes(), "policyTypes": [direction], list: [rule]});
        Some(self.new_object(ResourceKind::KubernetesNetworkPolicy, &self.pick.namespace, spec))
    }

    /// One of Calico's policies.
    fn policy(&self, tier: &str, style: Style, rest: Rest) -> Draft {
        let namespace = &self.pick.namespace;
        let rule = match self.scope {
            Scope::Namespace => rule::calico(self.denial, style, Near::OfPolicy, Some(namespace)),
            Scope::Hosts(_) => rule::calico(self.denial, style, Near::Named, None),
        };
        let mut rules = vec![rule];
        match rest {
            Rest::Unsaid => {}
            Rest::Passes => rules.push(json!({"action": "Pass"})),
        }
        let (list, direction) = (list_of(self.denial.direction), self.direction());
        let mut spec = json!({"tier": tier, "selector": self.pick.calico(), "types": [direction], list: rules});
        match self.scope {
            Scope::Namespace => self.new_object(ResourceKind::NetworkPolicy, namespace, spec),
            Scope::Hosts(kind) => {
                let flags = match kind {
                    ProgramKind::Normal | ProgramKind::Translated => &[][..],
                    ProgramKind::Forward => &["applyOnForward"],
                    ProgramKind::PreDnat => &["applyOnForward", "preDNAT"],
                    ProgramKind::Untracked => &["applyOnForward", "doNotTrack"],
                };
                for flag in flags {
                    spec[flag] = true.into();
                }
                self.new_object(ResourceKind::GlobalNetworkPolicy, "", spec)
            }
        }
    }

    /// A ClusterNetworkPolicy right before one that denies, or before one of the
    /// kinds that it replaced.
    fn before_cluster_policy(&self, policy: &PolicyId) -> Option<Draft> {
        let name = Name::of_policy(policy)?;
        let value = self.cluster.manifests.value(&name)?;
        let (tier, priority) = match name.kind {
            ResourceKind::ClusterNetworkPolicy => {
                (value.pointer("/spec/tier")?.as_str()?.to_owned(), value.pointer("/spec/priority")?.as_u64()?)
            }
            ResourceKind::AdminNetworkPolicy => ("Admin".to_owned(), value.pointer("/spec/priority")?.as_u64()?),
            // The one baseline comes after every priority.
            ResourceKind::BaselineAdminNetworkPolicy => ("Baseline".to_owned(), 1001),
            _ => return None,
        };
        if !self.pick.is_exact {
            return None;
        }
        let rule = rule::cluster(self.denial)?;
        let subject = json!({"pods": {
            "namespaceSelector": rule::namespace_selector(&self.pick),
            "podSelector": self.pick.kubernetes(),
        }});
        let list = list_of(self.denial.direction);
        let spec = json!({"tier": tier, "priority": priority.checked_sub(1)?, "subject": subject, list: [rule]});
        Some(self.new_object(ResourceKind::ClusterNetworkPolicy, "", spec))
    }

    /// A policy in a tier before all others, and that tier if it is not there yet.
    fn overrule(&self, style: Style) -> Vec<Draft> {
        let policy = self.policy(FIRST_TIER, style, Rest::Unsaid);
        if self.cluster.facts.tier_names().contains(FIRST_TIER) {
            return vec![policy];
        }
        let name =
            Name { kind: ResourceKind::Tier, namespace: SmolStr::default(), name: SmolStr::new_static(FIRST_TIER) };
        let spec = json!({"order": self.cluster.facts.first_order() - 1.0, "defaultAction": "Pass"});
        let value = manifest(&name, spec);
        vec![Draft { name, value, patch: None }, policy]
    }

    fn direction(&self) -> &'static str {
        match self.denial.direction {
            Direction::Ingress => "Ingress",
            Direction::Egress => "Egress",
        }
    }

    /// A new object under a name that says what it is for and nothing else has.
    fn new_object(&self, kind: ResourceKind, namespace: &str, spec: Value) -> Draft {
        let base = self.name();
        let named = |name: &str| Name { kind, namespace: namespace.into(), name: name.into() };
        let names = (2..).map(|n| named(&format!("{base}-{n}")));
        let name = [named(&base)]
            .into_iter()
            .chain(names)
            .find(|name| self.cluster.manifests.value(name).is_none())
            .expect("not every number is taken");
        Draft { value: manifest(&name, spec), name, patch: None }
    }

    /// `allow-web-to-db-5432-tcp`, at most 60 bytes: a name of an object has 63, and a
    /// number may follow.
    fn name(&self) -> String {
        let far = match &self.denial.far.workload {
            Some((workload, _)) => short(workload).to_owned(),
            None => self.denial.far.address.to_string(),
        };
        let near = short(&self.name);
        let ends = match self.denial.direction {
            Direction::Egress => format!("{near}-to-{far}"),
            Direction::Ingress => format!("{near}-from-{far}"),
        };
        let service = match self.denial.service {
            Service::Port(protocol, port) => format!("{port}-{protocol}"),
            Service::Icmp(protocol, _) | Service::Other(protocol) => protocol.to_string(),
        };
        let text = format!("allow-{ends}-{service}").to_ascii_lowercase();
        let mut name: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        name.truncate(60);
        name.trim_end_matches('-').to_owned()
    }
}

/// What a new policy says of everything else.
#[derive(Clone, Copy)]
enum Rest {
    /// Nothing: its tier goes on as it did.
    Unsaid,
    /// That the next tier or the profiles decide.
    Passes,
}

fn short(workload: &str) -> &str {
    workload.rsplit_once('/').map_or(workload, |(_, name)| name)
}

fn manifest(Name { kind, namespace, name }: &Name, spec: Value) -> Value {
    let mut metadata = json!({"name": name});
    if !namespace.is_empty() {
        metadata["namespace"] = namespace.as_str().into();
    }
    json!({"apiVersion": kind.api_version(), "kind": kind.kind(), "metadata": metadata, "spec": spec})
}
