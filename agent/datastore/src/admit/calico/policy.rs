//! NetworkPolicy and GlobalNetworkPolicy.

use serde_json::json;

use super::rule::RULES;
use super::{API_VERSION, KIND, METADATA, REFERENCE, SELECTOR, STATUS, no_global};
use crate::admit::fields::{self, Fields};
use crate::admit::schema::{Field, List, Object, Type, defaulted, one_of, optional, required};
use crate::admit::syntax::{self, Fault};
use crate::admit::violation::Violation;
use crate::admit::{Admission, Gate};

/// projectcalico.org/v3 NetworkPolicy.
pub(in crate::admit) static NAMESPACED: Admission = Admission {
    gate: Gate::Calico,
    schema: &Object::of(&[API_VERSION, KIND, METADATA, required("spec", Type::Object(&NAMESPACED_SPEC)), STATUS]),
    name: namespaced_name,
    fill_in,
};

/// projectcalico.org/v3 GlobalNetworkPolicy.
pub(in crate::admit) static GLOBAL: Admission = Admission {
    gate: Gate::Calico,
    schema: &Object::of(&[API_VERSION, KIND, METADATA, required("spec", Type::Object(&GLOBAL_SPEC)), STATUS]),
    name: global_name,
    fill_in,
};

pub(super) const TIER: Field = defaulted("tier", REFERENCE, "default");
pub(super) const ORDER: Field = optional("order", Type::Number);
pub(super) const POLICY_SELECTOR: Field = optional("selector", SELECTOR);
pub(super) const SERVICE_ACCOUNT_SELECTOR: Field = optional("serviceAccountSelector", SELECTOR);
pub(super) const INGRESS: Field = optional("ingress", RULES);
pub(super) const EGRESS: Field = optional("egress", RULES);
pub(super) const TYPES: Field =
    optional("types", Type::List(&List::set_of(one_of(&["Ingress", "Egress"])).min(1).max(2)));
pub(super) const PERFORMANCE_HINTS: Field =
    optional("performanceHints", Type::List(&List::set_of(one_of(&["AssumeNeededOnEveryNode"]))));

static NAMESPACED_SPEC: Object =
    Object::of(&[TIER, ORDER, POLICY_SELECTOR, SERVICE_ACCOUNT_SELECTOR, INGRESS, EGRESS, TYPES, PERFORMANCE_HINTS])
        .rules(&[selectors_are_not_global, sides_of_services, no_http_in_egress]);

static GLOBAL_SPEC: Object = Object::of(&[
    TIER,
    ORDER,
    POLICY_SELECTOR,
    SERVICE_ACCOUNT_SELECTOR,
    optional("namespaceSelector", SELECTOR),
    INGRESS,
    EGRESS,
    TYPES,
    PERFORMANCE_HINTS,
    optional("doNotTrack", Type::Boolean),
    optional("preDNAT", Type::Boolean),
    optional("applyOnForward", Type::Boolean),
])
.rules(&[host_policy, selectors_are_not_global, sides_of_services, no_http_in_egress, services_name_their_namespace]);

/// A DNS label, two of them with a dot between, or a name that a converted
/// Kubernetes policy has.
pub(super) fn namespaced_name(name: &str) -> Result<(), Fault> {
    let converted = ["knp.default.", "ossg.default."];
    if converted.iter().any(|prefix| name.starts_with(prefix)) {
        return syntax::dns_subdomain(name);
    }
    global_name(name)
}

/// A DNS label, or two of them with a dot between.
pub(super) fn global_name(name: &str) -> Result<(), Fault> {
    syntax::dns_subdomain(name)?;
    if name.split('.').count() > 2 {
        return Err("has more than one '.'");
    }
    Ok(())
}

pub(super) fn fill_in(object: &mut Fields) {
    let Some(spec) = fields::mapping_mut(object, "spec") else {
        return;
    };
    if fields::list(spec, "types").is_empty() {
        let has = |direction: &str| !fields::list(spec, direction).is_empty();
        let types = match (has("ingress"), has("egress")) {
            (_, false) => json!(["Ingress"]),
            (false, true) => json!(["Egress"]),
            (true, true) => json!(["Ingress", "Egress"]),
        };
        spec.insert("types".to_owned(), types);
    }
}

/// Policies before DNAT and before connection tracking.
pub(super) fn host_policy(spec: &Fields) -> Result<(), Violation> {
    let (do_not_track, pre_dnat) = (fields::is_set(spec, "doNotTrack"), fields::is_set(spec, "preDNAT"));
    if do_not_track && pre_dnat {
        return Err(Violation::crd("excludes doNotTrack").at("preDNAT"));
    }
    if pre_dnat && !fields::list(spec, "egress").is_empty() {
        return Err(Violation::crd("cannot be in a policy with preDNAT").at("egress"));
    }
    if pre_dnat && fields::texts(spec, "types").any(|direction| direction == "Egress") {
        return Err(Violation::crd("cannot have Egress with preDNAT").at("types"));
    }
    if (do_not_track || pre_dnat) && !fields::is_set(spec, "applyOnForward") {
        return Err(Violation::crd("must be true with preDNAT or doNotTrack").at("applyOnForward"));
    }
    Ok(())
}

pub(super) fn selectors_are_not_global(spec: &Fields) -> Result<(), Violation> {
    ["selector", "serviceAccountSelector", "namespaceSelector"]
        .into_iter()
        .try_for_each(|selector| no_global(spec, selector))
}

/// Services are the far side of a rule: the source of what comes in, the
/// destination of what goes out.
pub(super) fn sides_of_services(spec: &Fields) -> Result<(), Violation> {
    for (direction, near) in [("ingress", "destination"), ("egress", "source")] {
        for (i, rule) in fields::mappings(spec, direction) {
            if fields::mapping(rule, near).is_some_and(|entity| entity.contains_key("services")) {
                return Err(Violation::client(format!("cannot be the {near} of an {direction} rule"))
                    .at("services")
                    .at(near)
                    .at_item(i)
                    .at(direction));
            }
        }
    }
    Ok(())
}

pub(super) fn no_http_in_egress(spec: &Fields) -> Result<(), Violation> {
    match fields::mappings(spec, "egress").find(|(_, rule)| rule.contains_key("http")) {
        Some((i, _)) => Err(Violation::client("is for ingress rules only").at("http").at_item(i).at("egress")),
        None => Ok(()),
    }
}

/// A policy of the cluster has no namespace that a service could be in.
pub(super) fn services_name_their_namespace(spec: &Fields) -> Result<(), Violation> {
    for (direction, far) in [("ingress", "source"), ("egress", "destination")] {
        for (i, rule) in fields::mappings(spec, direction) {
            let services = fields::mapping(rule, far).and_then(|entity| fields::mapping(entity, "services"));
            if services.is_some_and(|services| fields::text(services, "namespace").is_empty()) {
                return Err(Violation::client("is missing")
                    .at("namespace")
                    .at("services")
                    .at(far)
                    .at_item(i)
                    .at(direction));
            }
        }
    }
    Ok(())
}
