//! Programs and endpoints as chains.

use caracal_program::{Action, AdminState, Decider, Direction, EndOfTier, PolicyId, Program, ProgramKind, ProgramTier};

use super::{Stage, deny_all, deny_told};
use crate::flow_log::told;
use crate::ir::{Chain, IfName, Match, Name, Rule, Statement, Verdict};
use crate::names;
use crate::settings::Settings;

/// Lowers a program: tiers in order, then profiles, then a denial if the kind
/// of the program says so, as far as a packet can come. Its own chain comes
/// first, then those of tiers.
///
/// `passes` says whether a policy has a rule that leaves its tier. A tier with
/// such a policy is a chain of its own: the policy sets the scratch bit and
/// returns, and the rule after the jump, seeing the bit, clears it and leaves
/// the chain.
pub(crate) fn lower_program(program: &Program, passes: impl Fn(&PolicyId) -> bool, settings: &Settings) -> Vec<Chain> {
    let direction = program.direction();
    let stage = Stage::of(program.kind(), settings);
    let name = names::program(direction, program.key());
    let mut rules = Vec::new();
    let mut tiers = Vec::new();
    let mut falls_through = true;
    for (index, tier) in program.tiers().iter().enumerate() {
        if tier.enforced().next().is_none() {
            rules.extend(passed(program, tier, settings));
            continue;
        }
        if tier.enforced().any(&passes) {
            let chain = names::tier(&name, index);
            rules.push(jump(&chain, &tier.name));
            let mut inside = vec![Rule::new().then(Statement::ClearMark(settings.pass_mark()))];
            walk_tier(&mut inside, program, tier, &passes, settings);
            tiers.push(Chain { name: chain, base: None, rules: inside });
        } else {
            walk_tier(&mut rules, program, tier, |_| false, settings);
            if tier.end == EndOfTier::Deny {
                falls_through = false;
                break;
            }
        }
    }
    if falls_through {
        for profile in program.profiles() {
            rules.push(jump(&names::profile(stage, direction, profile), &format!("profile {profile}")));
        }
        match program.kind() {
            ProgramKind::Normal | ProgramKind::Translated => {
                let told = told(settings, stage, direction, || Decider::NoMatch, Action::Deny);
                rules.push(deny_told(stage, settings, &names::no_match(direction), told));
            }
            ProgramKind::Forward | ProgramKind::PreDnat | ProgramKind::Untracked => {}
        }
    }
    let mut chains = vec![Chain { name, base: None, rules }];
    chains.append(&mut tiers);
    chains
}

fn walk_tier(
    rules: &mut Vec<Rule>,
    program: &Program,
    tier: &ProgramTier,
    passes: impl Fn(&PolicyId) -> bool,
    settings: &Settings,
) {
    let (stage, direction) = (Stage::of(program.kind(), settings), program.direction());
    for policy in tier.enforced() {
        rules.push(jump(&names::policy_at(stage, direction, policy), &format!("tier {}", tier.name)));
        if passes(policy) {
            let pass = settings.pass_mark();
            rules
                .push(Rule::new().when(Match::MarkBit(pass)).then(Statement::ClearMark(pass)).verdict(Verdict::Return));
        }
    }
    match tier.end {
        EndOfTier::Deny => {
            let told = told(settings, stage, direction, || Decider::EndOfTier(tier.name.clone()), Action::Deny);
            rules.push(deny_told(stage, settings, &names::end_of_tier(&tier.name), told));
        }
        EndOfTier::Pass => rules.extend(passed(program, tier, settings)),
    }
}

/// The rule that tells that no policy of a tier decided, if somebody wants to
/// know. Early programs leave every tier to later ones; of these it is not told.
fn passed(program: &Program, tier: &ProgramTier, settings: &Settings) -> Option<Rule> {
    let stage = Stage::of(program.kind(), settings);
    match program.kind() {
        ProgramKind::Normal | ProgramKind::Translated | ProgramKind::Forward => {}
        ProgramKind::PreDnat | ProgramKind::Untracked => return None,
    }
    let end = || Decider::EndOfTier(tier.name.clone());
    let told = told(settings, stage, program.direction(), end, Action::Pass)?;
    Some(Rule::new().then(told).comment(names::comment(&format!("tier {} leaves it to the next", tier.name))))
}

fn jump(chain: &Name, comment: &str) -> Rule {
    Rule::new().verdict(Verdict::Jump(chain.clone())).comment(names::comment(comment))
}

/// The chain that leads from an interface to its program: one rule, so that
/// another program means another rule and nothing else.
pub(crate) fn lower_stub(
    direction: Direction,
    interface: &IfName,
    state: AdminState,
    program: &Program,
    settings: &Settings,
) -> Chain {
    let rule = match state {
        AdminState::Active => Rule::new().verdict(Verdict::Goto(names::program(direction, program.key()))),
        AdminState::Down => deny_all(Stage::Filter, settings, "the endpoint is down"),
    };
    Chain { name: names::stub(direction, interface), base: None, rules: vec![rule] }
}
