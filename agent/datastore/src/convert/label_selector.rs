//! meta/v1 LabelSelector to selector texts.

use caracal_model::LABEL_ORCHESTRATOR;

use crate::resource::{LabelSelector, SelectorOperator, SelectorRequirement};

/// Pods only: host endpoints and other workloads are none of a Kubernetes policy's business.
pub(super) fn pod_selector(selector: Option<&LabelSelector>) -> String {
    let mut terms = vec![format!("{} == 'k8s'", LABEL_ORCHESTRATOR)];
    terms.extend(selector.into_iter().flat_map(label_terms));
    terms.join(" && ")
}

/// A namespace selector without terms selects all namespaces; none at all, the policy's own.
pub(super) fn namespace_selector(selector: &LabelSelector) -> String {
    let terms: Vec<_> = label_terms(selector).collect();
    if terms.is_empty() { "all()".to_owned() } else { terms.join(" && ") }
}

fn label_terms(selector: &LabelSelector) -> impl Iterator<Item = String> {
    let labels = selector.match_labels.iter().map(|(key, value)| format!("{key} == '{value}'"));
    labels.chain(selector.match_expressions.iter().map(requirement))
}

fn requirement(requirement: &SelectorRequirement) -> String {
    let SelectorRequirement { key, operator, values } = requirement;
    let values = values.join("', '");
    match operator {
        SelectorOperator::In => format!("{key} in {{ '{values}' }}"),
        SelectorOperator::NotIn => format!("{key} not in {{ '{values}' }}"),
        SelectorOperator::Exists => format!("has({key})"),
        SelectorOperator::DoesNotExist => format!("! has({key})"),
    }
}
