//! Folds a stream of `ToDataplane` JSON lines into one state, and checks the
//! stream on the way: nothing may refer to what was not sent, or be removed
//! while something sent still names it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value, json};

/// Fields of a rule that name IP sets.
const SET_FIELDS: [&str; 9] = [
    "srcIpSetIds",
    "dstIpSetIds",
    "notSrcIpSetIds",
    "notDstIpSetIds",
    "srcNamedPortIpSetIds",
    "dstNamedPortIpSetIds",
    "notSrcNamedPortIpSetIds",
    "notDstNamedPortIpSetIds",
    "dstIpPortSetIds",
];

/// Fields whose zero is a value: they are members of a `oneof`.
const KEEP_ZERO: [&str; 3] = ["icmpType", "notIcmpType", "number"];

/// Fields whose empty message is a value, for the same reason.
const KEEP_EMPTY: [&str; 2] = ["icmpTypeCode", "notIcmpTypeCode"];

/// Lists of policies that an endpoint may have.
const TIER_LISTS: [&str; 4] = ["tiers", "untrackedTiers", "preDnatTiers", "forwardTiers"];

/// The sections of a folded state that are compared.
pub const SECTIONS: [&str; 9] = [
    "ipSets",
    "policies",
    "profiles",
    "workloadEndpoints",
    "hostEndpoints",
    "namespaces",
    "serviceAccounts",
    "hosts",
    "services",
];

struct IpSet {
    kind: String,
    members: BTreeSet<String>,
}

/// The state that a stream of messages adds up to.
#[derive(Default)]
pub struct Fold {
    ip_sets: BTreeMap<String, IpSet>,
    objects: BTreeMap<&'static str, BTreeMap<String, Value>>,
    messages: usize,
    in_sync: bool,
    synced: Option<String>,
}

impl Fold {
    /// Whether `inSync` has come.
    #[must_use]
    pub fn in_sync(&self) -> bool {
        self.in_sync
    }

    /// The token of the last `{"caracal":{"synced":…}}` line.
    #[must_use]
    pub fn synced(&self) -> Option<&str> {
        self.synced.as_deref()
    }

    /// Takes one line.
    ///
    /// # Errors
    /// When it is not a message, or breaks the order of the stream.
    pub fn line(&mut self, line: &str) -> anyhow::Result<()> {
        let message: Map<String, Value> =
            serde_json::from_str(line).with_context(|| format!("not a JSON object: {line:.120}"))?;
        if let Some(own) = message.get("caracal") {
            self.synced = own["synced"].as_str().map(str::to_owned);
            return Ok(());
        }
        self.messages += 1;
        for (kind, payload) in message.iter().filter(|(kind, _)| *kind != "sequenceNumber") {
            self.apply(kind, payload).with_context(|| format!("message {}: {kind}", self.messages))?;
        }
        Ok(())
    }

    fn apply(&mut self, kind: &str, payload: &Value) -> anyhow::Result<()> {
        let id = &payload["id"];
        match kind {
            "inSync" => {
                ensure!(!self.in_sync, "a second inSync");
                self.in_sync = true;
            }
            "ipsetUpdate" => {
                let members = texts(&payload["members"]);
                let set: BTreeSet<_> = members.iter().cloned().collect();
                ensure!(set.len() == members.len(), "set {id} has a member twice");
                let kind = payload["type"].as_str().unwrap_or("IP").to_owned();
                self.ip_sets.insert(text(id), IpSet { kind, members: set });
            }
            "ipsetDeltaUpdate" => {
                let set = self.ip_sets.get_mut(&text(id)).with_context(|| format!("delta for unknown set {id}"))?;
                for member in texts(&payload["removedMembers"]) {
                    ensure!(set.members.remove(&member), "set {id}: {member} removed but not a member");
                }
                for member in texts(&payload["addedMembers"]) {
                    ensure!(set.members.insert(member.clone()), "set {id}: {member} added but already a member");
                }
            }
            "ipsetRemove" => {
                ensure!(self.ip_sets.remove(&text(id)).is_some(), "removal of unknown set {id}");
                let user = ["policies", "profiles"].iter().flat_map(|section| self.section(section).values());
                ensure!(!user.flat_map(set_ids).any(|used| used == text(id)), "removal of set {id} that a rule names");
            }
            "activePolicyUpdate" => self.rules("policies", policy_key(id), &payload["policy"])?,
            "activeProfileUpdate" => self.rules("profiles", text(&id["name"]), &payload["profile"])?,
            "activePolicyRemove" => {
                let key = policy_key(id);
                ensure!(!self.endpoints().any(|ep| policies_of(ep).contains(&key)), "removal of {key}, still in use");
                self.remove("policies", &key)?;
            }
            "activeProfileRemove" => {
                let key = text(&id["name"]);
                ensure!(!self.endpoints().any(|ep| profiles_of(ep).contains(&key)), "removal of {key}, still in use");
                self.remove("profiles", &key)?;
            }
            "workloadEndpointUpdate" => self.endpoint("workloadEndpoints", workload_key(id), &payload["endpoint"])?,
            "workloadEndpointRemove" => self.remove("workloadEndpoints", &workload_key(id))?,
            "hostEndpointUpdate" => self.endpoint("hostEndpoints", text(&id["endpointId"]), &payload["endpoint"])?,
            "hostEndpointRemove" => self.remove("hostEndpoints", &text(&id["endpointId"]))?,
            "namespaceUpdate" => self.insert("namespaces", text(&id["name"]), labels(payload)),
            "namespaceRemove" => self.remove("namespaces", &text(&id["name"]))?,
            "serviceAccountUpdate" => self.insert("serviceAccounts", namespaced(id), labels(payload)),
            "serviceAccountRemove" => self.remove("serviceAccounts", &namespaced(id))?,
            "hostMetadataUpdate" => {
                let mut node = clean(payload);
                node.as_object_mut().context("a node is an object")?.remove("hostname");
                self.insert("hosts", text(&payload["hostname"]), node);
            }
            "hostMetadataRemove" => self.remove("hosts", &text(&payload["hostname"]))?,
            "serviceUpdate" => {
                let mut service = clean(payload);
                let fields = service.as_object_mut().context("a service is an object")?;
                fields.remove("name");
                fields.remove("namespace");
                self.insert("services", namespaced(payload), service);
            }
            "serviceRemove" => self.remove("services", &namespaced(payload))?,
            // Configuration, routes and the like are no part of the folded state.
            "configUpdate" | "encapsulation" | "ipamPoolUpdate" | "ipamPoolRemove" | "globalBgpConfigUpdate" => {}
            other => bail!("unexpected message {other}"),
        }
        Ok(())
    }

    fn rules(&mut self, section: &'static str, key: String, object: &Value) -> anyhow::Result<()> {
        let object = clean(object);
        for id in set_ids(&object) {
            ensure!(self.ip_sets.contains_key(&id), "{key} names unknown set {id}");
        }
        self.insert(section, key, object);
        Ok(())
    }

    fn endpoint(&mut self, section: &'static str, key: String, endpoint: &Value) -> anyhow::Result<()> {
        let endpoint = clean(endpoint);
        for policy in policies_of(&endpoint) {
            ensure!(self.section("policies").contains_key(&policy), "{key} names unknown policy {policy}");
        }
        for profile in profiles_of(&endpoint) {
            ensure!(self.section("profiles").contains_key(&profile), "{key} names unknown profile {profile}");
        }
        self.insert(section, key, endpoint);
        Ok(())
    }

    fn insert(&mut self, section: &'static str, key: String, object: Value) {
        self.objects.entry(section).or_default().insert(key, object);
    }

    fn remove(&mut self, section: &'static str, key: &str) -> anyhow::Result<()> {
        let removed = self.objects.entry(section).or_default().remove(key);
        ensure!(removed.is_some(), "removal of unknown {key}");
        Ok(())
    }

    fn section(&self, section: &str) -> &BTreeMap<String, Value> {
        static EMPTY: BTreeMap<String, Value> = BTreeMap::new();
        self.objects.get(section).unwrap_or(&EMPTY)
    }

    fn endpoints(&self) -> impl Iterator<Item = &Value> {
        ["workloadEndpoints", "hostEndpoints"].into_iter().flat_map(|section| self.section(section).values())
    }

    /// The folded state, one object a section.
    #[must_use]
    pub fn state(&self) -> Value {
        let mut state = Map::new();
        for section in SECTIONS {
            state.insert(section.to_owned(), json!(self.section(section)));
        }
        let sets: BTreeMap<_, _> =
            self.ip_sets.iter().map(|(id, set)| (id, json!({"type": set.kind, "members": set.members}))).collect();
        state.insert("ipSets".to_owned(), json!(sets));
        Value::Object(state)
    }
}

/// Where two states differ, one line each: `/section/key/field: should be …, is …`.
pub fn differences(expected: &Value, found: &Value, path: &str, out: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(want), Value::Object(got)) => {
            let keys: BTreeSet<_> = want.keys().chain(got.keys()).collect();
            for key in keys {
                match (want.get(key), got.get(key)) {
                    (Some(want), Some(got)) => differences(want, got, &format!("{path}/{key}"), out),
                    (Some(want), None) => out.push(format!("{path}/{key}: missing, should be {want}")),
                    (None, Some(got)) => out.push(format!("{path}/{key}: should not be there: {got}")),
                    (None, None) => {}
                }
            }
        }
        _ if expected == found => {}
        _ => out.push(format!("{path}: should be {expected}, is {found}")),
    }
}

/// Drops rule ids and what proto3 JSON may leave out; keeps the order of lists.
fn clean(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(name, _)| *name != "ruleId")
                .map(|(name, value)| (name.clone(), clean(value)))
                .filter(|(name, value)| !is_default(name, value))
                .collect(),
        ),
        Value::Array(items) => items.iter().map(clean).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn is_default(name: &str, value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0) && !KEEP_ZERO.contains(&name),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty() && !KEEP_EMPTY.contains(&name),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn items<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    value[field].as_array().into_iter().flatten()
}

fn labels(payload: &Value) -> Value {
    match &payload["labels"] {
        Value::Null => json!({}),
        labels => labels.clone(),
    }
}

fn namespaced(id: &Value) -> String {
    format!("{}/{}", text(&id["namespace"]), text(&id["name"]))
}

fn policy_key(id: &Value) -> String {
    format!("{}/{}/{}", text(&id["kind"]), text(&id["namespace"]), text(&id["name"]))
}

fn workload_key(id: &Value) -> String {
    format!("{}/{}/{}", text(&id["orchestratorId"]), text(&id["workloadId"]), text(&id["endpointId"]))
}

fn set_ids(object: &Value) -> Vec<String> {
    let rules = ["inboundRules", "outboundRules"].into_iter().flat_map(|direction| items(object, direction));
    rules.flat_map(|rule| SET_FIELDS.into_iter().flat_map(|field| texts(&rule[field]))).collect()
}

fn policies_of(endpoint: &Value) -> BTreeSet<String> {
    let tiers = TIER_LISTS.into_iter().flat_map(|list| items(endpoint, list));
    tiers.flat_map(|tier| items(tier, "ingressPolicies").chain(items(tier, "egressPolicies"))).map(policy_key).collect()
}

fn profiles_of(endpoint: &Value) -> Vec<String> {
    texts(&endpoint["profileIds"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(lines: &[&str]) -> anyhow::Result<Fold> {
        let mut fold = Fold::default();
        lines.iter().try_for_each(|line| fold.line(line)).map(|()| fold)
    }

    const SET: &str = r#"{"ipsetUpdate":{"id":"s:a","type":"NET","members":["10.0.0.1/32"]}}"#;
    const POLICY: &str = r#"{"activePolicyUpdate":{"id":{"kind":"NetworkPolicy","name":"p"},"policy":{"inboundRules":[{"action":"allow","srcIpSetIds":["s:a"],"ruleId":"x"}]}}}"#;

    #[test]
    fn a_stream_adds_up() {
        let fold = fold(&[SET, POLICY, r#"{"inSync":{}}"#]).expect("a good stream");
        assert!(fold.in_sync());
        let rule = &fold.state()["policies"]["NetworkPolicy//p"]["inboundRules"][0];
        assert_eq!(*rule, json!({"action": "allow", "srcIpSetIds": ["s:a"]}));
    }

    #[test]
    fn a_bad_stream_is_refused() {
        let remove = r#"{"ipsetRemove":{"id":"s:a"}}"#;
        let again = r#"{"ipsetDeltaUpdate":{"id":"s:a","addedMembers":["10.0.0.1/32"]}}"#;
        for lines in [
            &[POLICY][..],
            &[SET, POLICY, remove],
            &[SET, again],
            &[remove],
            &[r#"{"inSync":{}}"#, r#"{"inSync":{}}"#],
            &["[]"],
        ] {
            assert!(fold(lines).is_err(), "{lines:?}");
        }
    }
}
