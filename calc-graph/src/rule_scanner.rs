//! Rules in, rules over IP sets out.
//!
//! Input: a rule as converted. Output: the rule with the ids of the sets that
//! its selectors, named ports and services stand for, and a request for each
//! set. Memory: none.
//!
//! The simplification is Felix's, because equal requests must give equal ids:
//! a positive and a negative selector of one side make one set; named ports are
//! sets of their own, narrowed by the positive selector, which is then left out
//! unless numeric ports need it.
//! Invariant: scanning a rule twice makes the same requests in the same order.

use caracal_model::{Entity, Rule, RulePort, RuleProtocol, ServiceRef};
use caracal_net::Protocol;
use caracal_selector::{NamedPortProtocol, Selector, SelectorError};
use smol_str::{SmolStr, format_smolstr};

use crate::selector_table::SelectorParser;
use crate::{Problem, ScannedRule};

/// Which form of a service's endpoints a set has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ServicePorts {
    /// Address, protocol and port: what a destination is compared with.
    With,
    /// The address alone: what a source is compared with.
    Without,
}

/// A set that a rule needs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SetRequest<'a> {
    Selector(&'a Selector),
    NamedPort { selector: &'a Selector, protocol: NamedPortProtocol, name: &'a SmolStr },
    Service(&'a ServiceRef, ServicePorts),
}

/// The selectors of one side: at most one of them if both are given.
struct Sides {
    positive: Option<Selector>,
    negative: Option<Selector>,
}

/// Checks the selectors of rules.
///
/// # Errors
/// [`Problem::Selector`] for the first one that does not parse; `list` is the
/// name of the rules' field.
pub(crate) fn check(list: &str, rules: &[Rule], parser: &mut SelectorParser) -> Result<(), Problem> {
    for (i, rule) in rules.iter().enumerate() {
        for (side, entity) in [("source", &rule.source), ("destination", &rule.destination)] {
            for (field, text) in [("selector", &entity.selector), ("not_selector", &entity.not_selector)] {
                if !text.is_empty() {
                    check_text(text, parser, || format!("{list}[{i}].{side}.{field}"))?;
                }
            }
        }
    }
    Ok(())
}

/// Checks one selector.
///
/// # Errors
/// [`Problem::Selector`] if it does not parse.
pub(crate) fn check_text(
    text: &SmolStr,
    parser: &mut SelectorParser,
    field: impl FnOnce() -> String,
) -> Result<(), Problem> {
    match parser.parse(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Problem::Selector { field: field(), text: text.clone(), error }),
    }
}

/// Scans a rule whose selectors were checked. `set` answers a request with the
/// set's id.
pub(crate) fn scan(
    rule: Rule,
    parser: &mut SelectorParser,
    set: &mut dyn FnMut(SetRequest<'_>) -> SmolStr,
) -> ScannedRule {
    if !needs_sets(&rule.source) && !needs_sets(&rule.destination) {
        return ScannedRule::without_sets(rule);
    }
    let source = sides(&rule.source, parser).expect("selectors are checked when a rule is taken in");
    let destination = sides(&rule.destination, parser).expect("selectors are checked when a rule is taken in");
    let protocol = named_port_protocol(rule.protocol);
    let mut named = |sides: &Sides, ports: &[RulePort]| -> Vec<SmolStr> {
        let names = ports.iter().filter_map(|port| match port {
            RulePort::Named(name) => Some(name),
            RulePort::Numeric(_) => None,
        });
        let mut named = |name| {
            let selector = match &sides.positive {
                Some(selector) => selector,
                None => parser.parse(&SmolStr::default()).expect("the empty selector is valid"),
            };
            set(SetRequest::NamedPort { selector, protocol, name })
        };
        names.map(&mut named).collect()
    };
    let src_named_port_sets = named(&source, &rule.source.ports);
    let dst_named_port_sets = named(&destination, &rule.destination.ports);
    let not_src_named_port_sets = named(&source, &rule.source.not_ports);
    let not_dst_named_port_sets = named(&destination, &rule.destination.not_ports);

    let mut selected = |selector: Option<&Selector>| -> Vec<SmolStr> {
        selector.map(|selector| set(SetRequest::Selector(selector))).into_iter().collect()
    };
    // A named-port set is narrowed by the selector already; numeric ports are not.
    let needs_set = |ports: &[RulePort]| {
        let numeric = ports.iter().any(|port| matches!(port, RulePort::Numeric(_)));
        numeric || ports.is_empty()
    };
    let mut src_ip_sets = selected(source.positive.as_ref().filter(|_| needs_set(&rule.source.ports)));
    let dst_ip_sets = selected(destination.positive.as_ref().filter(|_| needs_set(&rule.destination.ports)));
    let not_src_ip_sets = selected(source.negative.as_ref());
    let not_dst_ip_sets = selected(destination.negative.as_ref());

    let service = rule.source.service.as_deref();
    src_ip_sets.extend(service.map(|service| set(SetRequest::Service(service, ServicePorts::Without))));
    let service = rule.destination.service.as_deref();
    let dst_ip_port_sets =
        service.map(|service| set(SetRequest::Service(service, ServicePorts::With))).into_iter().collect();
    ScannedRule {
        src_ip_sets,
        dst_ip_sets,
        not_src_ip_sets,
        not_dst_ip_sets,
        src_named_port_sets,
        dst_named_port_sets,
        not_src_named_port_sets,
        not_dst_named_port_sets,
        dst_ip_port_sets,
        rule,
    }
}

/// Whether any set stands for something on this side of a rule.
fn needs_sets(entity: &Entity) -> bool {
    let Entity { selector, not_selector, ports, not_ports, service, .. } = entity;
    let is_named = |port: &RulePort| matches!(port, RulePort::Named(_));
    let selects = !selector.is_empty() || !not_selector.is_empty() || service.is_some();
    selects || ports.iter().chain(not_ports).any(is_named)
}

fn sides(entity: &Entity, parser: &mut SelectorParser) -> Result<Sides, SelectorError> {
    let Entity { selector, not_selector, .. } = entity;
    let (positive, negative) = match (selector.is_empty(), not_selector.is_empty()) {
        (true, true) => (None, None),
        (false, true) => (Some(parser.parse(selector)?.clone()), None),
        (true, false) => (None, Some(parser.parse(not_selector)?.clone())),
        (false, false) => {
            // Blank text is a selector, but not an operand.
            let operand = |text: &SmolStr| if text.trim().is_empty() { "all()".into() } else { text.clone() };
            let both = format_smolstr!("({}) && (!({}))", operand(selector), operand(not_selector));
            (Some(parser.parse(&both)?.clone()), None)
        }
    };
    Ok(Sides { positive, negative })
}

/// The protocol that a named port must have: Felix takes every protocol
/// without named ports of its own for TCP.
fn named_port_protocol(protocol: Option<RuleProtocol>) -> NamedPortProtocol {
    match protocol.map(RuleProtocol::protocol) {
        None => NamedPortProtocol::Any,
        Some(Protocol::UDP) => NamedPortProtocol::Udp,
        Some(Protocol::SCTP) => NamedPortProtocol::Sctp,
        Some(_) => NamedPortProtocol::Tcp,
    }
}

#[cfg(test)]
mod tests;
