//! Rule programs: the typed form of a policy decision.

mod rule;

pub use rule::{Action, IcmpMatch, Member, Rule, SetId, SideMatch};
