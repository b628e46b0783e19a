//! Selecting one endpoint by its labels.

use caracal_model::{LABEL_NAMESPACE, LABEL_ORCHESTRATOR, LABEL_SERVICE_ACCOUNT, Labels};
use serde_json::{Map, Value, json};

use super::facts::Facts;

/// Labels that a rollout gives other values: what selects by them is soon wrong.
const SHORT_LIVED: [&str; 3] = ["pod-template-hash", "controller-revision-hash", "pod-template-generation"];

/// What tells an endpoint from everything else that a policy may select.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pick {
    /// Empty for a host endpoint.
    pub(super) namespace: String,
    /// Labels that it has.
    equals: Vec<(String, String)>,
    /// Labels that others have and it has not.
    absent: Vec<String>,
    /// Whether nothing else is like that.
    pub(super) is_exact: bool,
}

impl Pick {
    /// Selects a workload, by as few labels as it takes. A label that it has
    /// stands before one that it lacks, and one at least stands there if it has
    /// any: what comes later should not be let in unasked.
    pub(super) fn of(workload: &str, facts: &Facts) -> Option<Self> {
        let own = facts.workload(workload)?;
        let namespace = own.namespace();
        let is_free = |key: &str| ![LABEL_NAMESPACE, LABEL_ORCHESTRATOR, LABEL_SERVICE_ACCOUNT].contains(&key);
        Some(Self::among(&own.labels, namespace, facts.others(namespace, workload).collect(), is_free))
    }

    /// Selects a host endpoint among everything that a policy of the whole cluster may select.
    pub(super) fn of_host(name: &str, facts: &Facts) -> Option<Self> {
        let own = facts.host(name)?;
        Some(Self::among(&own.labels, "", facts.other_endpoints(name).collect(), |_| true))
    }

    fn among(own: &Labels, namespace: &str, mut others: Vec<&Labels>, is_free: impl Fn(&str) -> bool) -> Self {
        let mut pick =
            Self { namespace: namespace.to_owned(), equals: Vec::new(), absent: Vec::new(), is_exact: false };
        let is_free = |key: &str| is_free(key) && !SHORT_LIVED.contains(&key);
        let mut candidates: Vec<(&str, &str)> = own.iter().filter(|(key, _)| is_free(key)).collect();
        while !candidates.is_empty() && (!others.is_empty() || pick.equals.is_empty()) {
            let kept =
                |(key, value): &(&str, &str)| others.iter().filter(|labels| labels.get(key) == Some(*value)).count();
            let (best, left) =
                candidates.iter().map(kept).enumerate().min_by_key(|(_, left)| *left).expect("there is a candidate");
            if left == others.len() && !pick.equals.is_empty() {
                break;
            }
            let (key, value) = candidates.remove(best);
            others.retain(|labels| labels.get(key) == Some(value));
            pick.equals.push((key.to_owned(), value.to_owned()));
        }
        while let Some(key) = others
            .iter()
            .flat_map(|labels| labels.iter())
            .map(|(key, _)| key)
            .find(|key| is_free(key) && own.get(key).is_none())
        {
            let key = key.to_owned();
            others.retain(|labels| labels.get(&key).is_none());
            pick.absent.push(key);
        }
        pick.is_exact = others.is_empty();
        pick.equals.sort();
        pick.absent.sort();
        pick
    }

    /// The selector in Calico's language.
    pub(super) fn calico(&self) -> String {
        let equals = self.equals.iter().map(|(key, value)| format!("{key} == '{value}'"));
        let terms: Vec<String> = equals.chain(self.absent.iter().map(|key| format!("!has({key})"))).collect();
        if terms.is_empty() { "all()".to_owned() } else { terms.join(" && ") }
    }

    /// The selector as Kubernetes writes it.
    pub(super) fn kubernetes(&self) -> Value {
        let mut selector = Map::new();
        if !self.equals.is_empty() {
            let labels: Map<String, Value> =
                self.equals.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
            selector.insert("matchLabels".to_owned(), labels.into());
        }
        if !self.absent.is_empty() {
            let absent: Vec<Value> =
                self.absent.iter().map(|key| json!({"key": key, "operator": "DoesNotExist"})).collect();
            selector.insert("matchExpressions".to_owned(), absent.into());
        }
        selector.into()
    }
}
