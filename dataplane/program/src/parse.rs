//! From Felix's messages to typed state.

mod endpoint;
mod member;
mod pool;
mod rule;

use std::sync::Arc;

use caracal_proto::felix;

pub(crate) use endpoint::{WorkloadFields, host, host_id, workload, workload_id};
pub(crate) use member::{members, set_kind};
pub(crate) use pool::{pool, pool_id};
pub use rule::parse_rule;

use crate::{Direction, Fault, PolicyId, PolicyProgram, ProfileName, ProfileProgram, ProgramError, Rule, RulePlace};

/// A fault with the name of its field.
pub(crate) type FieldResult<T> = Result<T, (&'static str, Fault)>;

/// Names the message and the object of a fault.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) message: &'static str,
    pub(crate) object: &'a dyn std::fmt::Display,
}

impl Subject<'_> {
    pub(crate) fn error(self, rule: Option<RulePlace>, (field, fault): (&'static str, Fault)) -> ProgramError {
        ProgramError { message: self.message, object: self.object.to_string(), rule, field, fault }
    }

    /// Names the subject in what went wrong outside of rules.
    pub(crate) fn check<T>(self, result: FieldResult<T>) -> Result<T, ProgramError> {
        result.map_err(|fault| self.error(None, fault))
    }
}

pub(crate) fn policy_id(message: &'static str, id: Option<&felix::PolicyId>) -> Result<PolicyId, ProgramError> {
    let subject = Subject { message, object: &"a policy without a name" };
    let felix::PolicyId { name, namespace, kind } = subject.check(required("id", id))?;
    if name.is_empty() {
        return Err(subject.error(None, ("id.name", Fault::Missing)));
    }
    Ok(PolicyId { kind: kind.into(), namespace: namespace.into(), name: name.into() })
}

pub(crate) fn profile_name(message: &'static str, id: Option<&felix::ProfileId>) -> Result<ProfileName, ProgramError> {
    let subject = Subject { message, object: &"a profile without a name" };
    let felix::ProfileId { name } = subject.check(required("id", id))?;
    if name.is_empty() {
        return Err(subject.error(None, ("id.name", Fault::Missing)));
    }
    Ok(name.into())
}

pub(crate) fn policy(update: &felix::ActivePolicyUpdate) -> Result<PolicyProgram, ProgramError> {
    const MESSAGE: &str = "ActivePolicyUpdate";
    let id = policy_id(MESSAGE, update.id.as_ref())?;
    let subject = Subject { message: MESSAGE, object: &id };
    // Of the other fields, the namespace repeats the id's, and the selector and
    // the hints are for people and for the choice of a lowering.
    let felix::Policy {
        inbound_rules,
        outbound_rules,
        untracked,
        pre_dnat,
        tier,
        namespace: _,
        original_selector: _,
        perf_hints: _,
    } = subject.check(required("policy", update.policy.as_ref()))?;
    Ok(PolicyProgram {
        tier: tier.into(),
        staged: id.is_staged(),
        untracked: *untracked,
        pre_dnat: *pre_dnat,
        inbound: rules(subject, Direction::Ingress, inbound_rules)?,
        outbound: rules(subject, Direction::Egress, outbound_rules)?,
        id,
    })
}

pub(crate) fn profile(update: &felix::ActiveProfileUpdate) -> Result<ProfileProgram, ProgramError> {
    const MESSAGE: &str = "ActiveProfileUpdate";
    let name = profile_name(MESSAGE, update.id.as_ref())?;
    let subject = Subject { message: MESSAGE, object: &format_args!("profile {name}") };
    let felix::Profile { inbound_rules, outbound_rules } =
        subject.check(required("profile", update.profile.as_ref()))?;
    Ok(ProfileProgram {
        inbound: rules(subject, Direction::Ingress, inbound_rules)?,
        outbound: rules(subject, Direction::Egress, outbound_rules)?,
        name: name.clone(),
    })
}

fn rules(subject: Subject<'_>, direction: Direction, rules: &[felix::Rule]) -> Result<Arc<[Rule]>, ProgramError> {
    let parsed: Result<Vec<Rule>, _> = rules
        .iter()
        .enumerate()
        .map(|(index, rule)| {
            parse_rule(rule).map_err(|fault| subject.error(Some(RulePlace { direction, index }), fault))
        })
        .collect();
    parsed.map(Arc::from)
}

pub(crate) fn required<'a, T>(field: &'static str, value: Option<&'a T>) -> FieldResult<&'a T> {
    value.ok_or((field, Fault::Missing))
}

#[cfg(test)]
mod tests;
