//! Objects as their authors wrote them: their names, and where their rules stand.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use caracal_datastore::Place;
use caracal_datastore::admit::{Admitted, admit};
use caracal_datastore::convert::{Converted, Settings, convert};
use caracal_datastore::manifest::{Document, FieldPath, ResourceKind, Step, read_documents};
use caracal_model::{NAMESPACE_PROFILE_PREFIX, Object, SERVICE_ACCOUNT_PROFILE_PREFIX};
use caracal_program::{Direction, PolicyId};
use serde::Serialize;
use serde_json::Value;
use smol_str::SmolStr;

/// An object's name, as its author wrote it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) kind: ResourceKind,
    /// Empty for objects of the cluster.
    pub(super) namespace: SmolStr,
    pub(super) name: SmolStr,
}

impl fmt::Display for Name {
    /// `KIND NAMESPACE/NAME`, or `KIND NAME` for an object of the cluster.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        if namespace.is_empty() {
            write!(f, "{} {name}", kind.kind())
        } else {
            write!(f, "{} {namespace}/{name}", kind.kind())
        }
    }
}

/// Kinds that share one kind on the wire carry their own in the name there.
const REPLACED: [(&str, ResourceKind); 2] = [
    ("AdminNetworkPolicy.", ResourceKind::AdminNetworkPolicy),
    ("BaselineAdminNetworkPolicy.", ResourceKind::BaselineAdminNetworkPolicy),
];

impl Name {
    /// What the author calls a policy; `None` for a kind that no manifest has.
    pub(super) fn of_policy(id: &PolicyId) -> Option<Self> {
        let PolicyId { kind, namespace, name } = id;
        let named = |kind| Some(Self { kind, namespace: namespace.clone(), name: name.clone() });
        match kind.as_str() {
            "NetworkPolicy" => named(ResourceKind::NetworkPolicy),
            "GlobalNetworkPolicy" => named(ResourceKind::GlobalNetworkPolicy),
            "StagedNetworkPolicy" => named(ResourceKind::StagedNetworkPolicy),
            "StagedGlobalNetworkPolicy" => named(ResourceKind::StagedGlobalNetworkPolicy),
            "StagedKubernetesNetworkPolicy" => named(ResourceKind::StagedKubernetesNetworkPolicy),
            "KubernetesNetworkPolicy" => named(ResourceKind::KubernetesNetworkPolicy),
            "KubernetesClusterNetworkPolicy" => {
                let replaced = REPLACED.iter().find_map(|(prefix, kind)| Some((*kind, name.strip_prefix(prefix)?)));
                let (kind, name) = replaced.unwrap_or((ResourceKind::ClusterNetworkPolicy, name));
                Some(Self { kind, namespace: SmolStr::default(), name: name.into() })
            }
            _ => None,
        }
    }

    /// What the author calls a host endpoint.
    pub(super) fn of_host(name: &str) -> Self {
        Self { kind: ResourceKind::HostEndpoint, namespace: SmolStr::default(), name: name.into() }
    }

    /// What the author of a profile wrote.
    fn of_profile(profile: &str) -> Self {
        let of = |kind, namespace: &str, name: &str| Self { kind, namespace: namespace.into(), name: name.into() };
        if let Some(namespace) = profile.strip_prefix(NAMESPACE_PROFILE_PREFIX) {
            return of(ResourceKind::Namespace, "", namespace);
        }
        let account = profile.strip_prefix(SERVICE_ACCOUNT_PROFILE_PREFIX).and_then(|account| account.split_once('.'));
        match account {
            Some((namespace, name)) => of(ResourceKind::ServiceAccount, namespace, name),
            None => of(ResourceKind::Profile, "", profile),
        }
    }
}

/// A rule, or what stands for it, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct WrittenRule {
    /// The rule's place in its manifest: `spec.ingress[0]`.
    pub(super) field: String,
    /// The rule as one line of JSON, as admitted.
    pub(super) text: String,
    pub(super) at: WrittenAt,
    /// The rule itself, where there is one.
    #[serde(skip)]
    pub(super) rule: Option<Value>,
}

/// Where something is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct WrittenAt {
    pub(super) file: String,
    /// Counted from 1.
    pub(super) line: usize,
}

impl fmt::Display for WrittenAt {
    /// `FILE:LINE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A manifest of an object that counts.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    document: Document,
    /// As admitted.
    pub(super) value: Value,
}

/// The manifests of everything that decides about packets: policies, tiers,
/// profiles, the namespaces and service accounts that are profiles, host endpoints.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    root: Option<std::path::PathBuf>,
    written: BTreeMap<Name, Manifest>,
    /// What objects are for the moment, whatever is written; `None` if they are not.
    supposed: BTreeMap<Name, Option<Value>>,
}

impl Manifests {
    /// Reads the files that a source has read; of several manifests of an object
    /// the first that is admitted counts. `root` is left out of files' names.
    pub(super) fn read<'a>(root: &Path, files: impl Iterator<Item = &'a Path>) -> Self {
        let mut manifests = Self { root: std::path::absolute(root).ok(), ..Self::default() };
        for file in files {
            // What cannot be read was reported by the source.
            let Ok(text) = fs::read(file) else { continue };
            for document in read_documents(file, text).into_iter().flatten() {
                manifests.add(document);
            }
        }
        manifests
    }

    fn add(&mut self, document: Document) {
        let Ok(Admitted::Object { kind, object, value }) = admit(document.clone()) else { return };
        if !decides(kind) {
            return;
        }
        let name = Name { kind, namespace: object.namespace.unwrap_or_default().into(), name: object.name.into() };
        self.written.entry(name).or_insert(Manifest { document, value });
    }

    /// The manifest of an object.
    pub(super) fn get(&self, name: &Name) -> Option<&Manifest> {
        self.written.get(name)
    }

    /// An object as admitted, or as supposed for the moment.
    pub(super) fn value(&self, name: &Name) -> Option<Value> {
        match self.supposed.get(name) {
            Some(value) => value.clone(),
            None => self.get(name).map(|manifest| manifest.value.clone()),
        }
    }

    /// Supposes that an object is as given.
    pub(super) fn suppose(&mut self, name: Name, value: Option<Value>) {
        self.supposed.insert(name, value);
    }

    /// What a profile should come of, if nobody wrote that: such a profile denies everything.
    pub(super) fn missing_source(&self, profile: &str) -> Option<Name> {
        let source = Name::of_profile(profile);
        let of_its_own = Name { kind: ResourceKind::Profile, namespace: SmolStr::default(), name: profile.into() };
        let is_written = [&source, &of_its_own].into_iter().any(|name| self.get(name).is_some());
        (!is_written).then_some(source)
    }

    /// All objects of a kind, by name.
    pub(super) fn of_kind(&self, kind: ResourceKind) -> impl Iterator<Item = (&Name, &Manifest)> {
        self.written.iter().filter(move |(name, _)| name.kind == kind)
    }

    /// Where an object begins.
    pub(super) fn at(&self, name: &Name) -> Option<WrittenAt> {
        let manifest = self.get(name)?;
        Some(self.place(&Place { file: manifest.document.file.clone(), line: manifest.document.line }))
    }

    /// Where a policy begins.
    pub(super) fn policy_at(&self, id: &PolicyId) -> Option<WrittenAt> {
        self.at(&Name::of_policy(id)?)
    }

    /// The rule of a policy that its manifest has for a rule that is enforced.
    pub(super) fn policy_rule(&self, id: &PolicyId, direction: Direction, index: usize) -> Option<WrittenRule> {
        self.rule(&Name::of_policy(id)?, direction, index)
    }

    /// The same for a profile; of a namespace, which has no rules, where it begins.
    pub(super) fn profile_rule(&self, profile: &str, direction: Direction, index: usize) -> Option<WrittenRule> {
        let name = Name::of_profile(profile);
        match name.kind {
            ResourceKind::Profile => self.rule(&name, direction, index),
            _ => Some(WrittenRule {
                field: String::new(),
                text: "the namespace itself: pods may do what no policy forbids".to_owned(),
                at: self.at(&name)?,
                rule: None,
            }),
        }
    }

    fn rule(&self, name: &Name, direction: Direction, index: usize) -> Option<WrittenRule> {
        let manifest = self.get(name)?;
        let position = manifest.position(name.kind, direction, index)?;
        let list = list_of(direction);
        let rule = manifest.value.get("spec")?.get(list)?.get(position)?;
        let path: FieldPath =
            [Step::Field("spec".into()), Step::Field(list.into()), Step::Item(position)].into_iter().collect();
        let line = manifest.document.line_of(&path);
        let at = self.place(&Place { file: manifest.document.file.clone(), line });
        Some(WrittenRule { field: path.to_string(), text: rule.to_string(), at, rule: Some(rule.clone()) })
    }

    fn place(&self, Place { file, line }: &Place) -> WrittenAt {
        let short = self.root.as_deref().and_then(|root| file.strip_prefix(root).ok()).unwrap_or(file);
        WrittenAt { file: short.display().to_string(), line: *line }
    }
}

impl Manifest {
    /// The position of the manifest's rule that became the rule of this index: a
    /// rule of Kubernetes becomes one for each peer and protocol.
    fn position(&self, kind: ResourceKind, direction: Direction, index: usize) -> Option<usize> {
        let rules = self.value.get("spec")?.get(list_of(direction))?.as_array()?.len();
        (0..rules).find(|position| self.count(kind, direction, position + 1).is_some_and(|count| count > index))
    }

    /// How many rules the first rules of the manifest become.
    fn count(&self, kind: ResourceKind, direction: Direction, first: usize) -> Option<usize> {
        let mut value = self.value.clone();
        value.get_mut("spec")?.get_mut(list_of(direction))?.as_array_mut()?.truncate(first);
        let Ok(Converted::Object(_, object)) = convert(kind, value, &Settings::default()) else { return None };
        let (inbound, outbound) = match *object {
            Object::Policy(_, policy) => (policy.inbound_rules, policy.outbound_rules),
            Object::Profile(_, profile) => (profile.inbound_rules, profile.outbound_rules),
            _ => return None,
        };
        Some(match direction {
            Direction::Ingress => inbound.len(),
            Direction::Egress => outbound.len(),
        })
    }
}

/// The list of a manifest's rules of one direction.
pub(super) const fn list_of(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

fn decides(kind: ResourceKind) -> bool {
    matches!(
        kind,
        ResourceKind::KubernetesNetworkPolicy
            | ResourceKind::NetworkPolicy
            | ResourceKind::GlobalNetworkPolicy
            | ResourceKind::StagedNetworkPolicy
            | ResourceKind::StagedGlobalNetworkPolicy
            | ResourceKind::StagedKubernetesNetworkPolicy
            | ResourceKind::ClusterNetworkPolicy
            | ResourceKind::AdminNetworkPolicy
            | ResourceKind::BaselineAdminNetworkPolicy
            | ResourceKind::Tier
            | ResourceKind::Profile
            | ResourceKind::Namespace
            | ResourceKind::ServiceAccount
            | ResourceKind::HostEndpoint
    )
}
