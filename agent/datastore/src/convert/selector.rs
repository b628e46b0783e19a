//! Selector texts of policies and rules, combined into selectors over endpoints.
//!
//! What a resource says of namespaces and service accounts becomes terms over
//! the labels that endpoints inherit from them. The rewriting of `all()` works
//! on the text, as Felix's does: the resulting set ids depend on it.

use caracal_model::{LABEL_NAMESPACE, LABEL_SERVICE_ACCOUNT, NAMESPACE_LABEL_PREFIX, SERVICE_ACCOUNT_LABEL_PREFIX};
use caracal_selector::Selector;
use smol_str::SmolStr;

use super::ConvertError;
use crate::resource::ServiceAccountMatch;

/// The term that holds endpoints to one namespace.
fn in_namespace(namespace: &str) -> String {
    format!("{LABEL_NAMESPACE} == '{namespace}'")
}

fn has(label: &str) -> String {
    format!("has({label})")
}

/// `(all) && term`, or the term alone.
fn and(all: &str, term: &str) -> String {
    if all.is_empty() { term.to_owned() } else { format!("({all}) && {term}") }
}

fn parse(text: &str, field: &str) -> Result<Selector, ConvertError> {
    Selector::parse(text).map_err(|e| ConvertError::new(field, e.to_string()))
}

/// The canonical text of a selector over labels that begin with `prefix`.
fn prefixed(text: &str, prefix: &str, field: &str) -> Result<String, ConvertError> {
    Ok(parse(text, field)?.prefixed(prefix).canonical().to_owned())
}

/// The combined selector must be in the language as well: combining nests it
/// deeper than its parts.
fn checked(text: String) -> Result<SmolStr, ConvertError> {
    parse(&text, "selector")?;
    Ok(text.into())
}

/// The selector of a policy of one namespace.
pub(super) fn of_namespaced_policy(
    namespace: &str,
    selector: &str,
    service_account_selector: &str,
) -> Result<SmolStr, ConvertError> {
    let mut all = and(selector, &in_namespace(namespace));
    if !service_account_selector.is_empty() {
        let field = "serviceAccountSelector";
        all = and(&all, &prefixed(service_account_selector, SERVICE_ACCOUNT_LABEL_PREFIX, field)?);
    }
    checked(all)
}

/// The selector of a policy of the whole cluster. A namespace selector leaves
/// out what has no namespace, so every `all()` then means "has a namespace",
/// the author's own included; a service account selector does so likewise.
pub(super) fn of_global_policy(
    selector: &str,
    namespace_selector: &str,
    service_account_selector: &str,
) -> Result<SmolStr, ConvertError> {
    let mut all = selector.to_owned();
    if !namespace_selector.is_empty() {
        let field = "namespaceSelector";
        all = and(&all, &prefixed(namespace_selector, NAMESPACE_LABEL_PREFIX, field)?);
        all = all.replace("all()", &has(LABEL_NAMESPACE));
    }
    if !service_account_selector.is_empty() {
        let field = "serviceAccountSelector";
        all = and(&all, &prefixed(service_account_selector, SERVICE_ACCOUNT_LABEL_PREFIX, field)?);
        all = all.replace("all()", &has(LABEL_SERVICE_ACCOUNT));
    }
    checked(all)
}

/// What one side of a rule says of the endpoints it means.
pub(super) struct Scope<'a> {
    /// The policy's namespace; empty if it has none.
    pub(super) namespace: &'a str,
    pub(super) selector: &'a str,
    pub(super) not_selector: &'a str,
    pub(super) namespace_selector: &'a str,
    pub(super) service_accounts: Option<&'a ServiceAccountMatch>,
}

/// The combined selector of one side of a rule, empty if the side names no
/// endpoints. A policy's own namespace scopes a side only if the side names
/// endpoints in some way; nets and ports alone do not.
pub(super) fn rule_side(scope: &Scope<'_>) -> Result<SmolStr, ConvertError> {
    let inner = match (of_service_accounts(scope.service_accounts)?, scope.selector) {
        (accounts, "") => accounts,
        (accounts, selector) if accounts.is_empty() => selector.to_owned(),
        (accounts, selector) => format!("({accounts}) && ({selector})"),
    };
    let namespaces = if !scope.namespace_selector.is_empty() {
        prefixed(scope.namespace_selector, NAMESPACE_LABEL_PREFIX, "namespaceSelector")?
            .replace("all()", &has(LABEL_NAMESPACE))
            .replace("global()", &format!("!{}", has(LABEL_NAMESPACE)))
    } else if !scope.namespace.is_empty() {
        in_namespace(scope.namespace)
    } else {
        String::new()
    };
    let names_endpoints = !inner.is_empty() || !scope.not_selector.is_empty() || !scope.namespace_selector.is_empty();
    if !scope.not_selector.is_empty() {
        parse(scope.not_selector, "notSelector")?;
    }
    if namespaces.is_empty() || !names_endpoints {
        return checked_side(inner);
    }
    checked_side(if inner.is_empty() { namespaces } else { format!("({namespaces}) && ({inner})") })
}

/// An empty text is no selector here, not `all()`.
fn checked_side(text: String) -> Result<SmolStr, ConvertError> {
    if text.is_empty() {
        return Ok(SmolStr::default());
    }
    checked(text)
}

fn of_service_accounts(accounts: Option<&ServiceAccountMatch>) -> Result<String, ConvertError> {
    let Some(ServiceAccountMatch { names, selector }) = accounts else {
        return Ok(String::new());
    };
    let by_name = if names.is_empty() {
        String::new()
    } else {
        let text = format!("{LABEL_SERVICE_ACCOUNT} in {{'{}'}}", names.join("', '"));
        parse(&text, "serviceAccounts.names")?.canonical().to_owned()
    };
    if selector.is_empty() {
        return Ok(by_name);
    }
    let by_label = prefixed(selector, SERVICE_ACCOUNT_LABEL_PREFIX, "serviceAccounts.selector")?;
    Ok(if by_name.is_empty() { by_label } else { format!("({by_label}) && ({by_name})") })
}
