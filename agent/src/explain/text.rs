//! The answer to a question, as people read it.

use std::fmt::Write as _;
use std::io::{self, Write};

use caracal_program::{Action, Direction, PolicyId, Verdict};

use super::answer::{Address, Answer, Compared, PolicyTrail, Reason, Side, Stage, verdict_text};
use super::cluster::Cluster;
use super::wants;

/// Prints an answer.
pub(super) fn print(cluster: &Cluster, answer: &Answer<'_>, mut output: impl Write) -> io::Result<()> {
    let Answer { verdict, from, to, port, source_port: _, egress, ingress } = answer;
    writeln!(output, "{}  {} -> {}  {port}", verdict_text(*verdict).to_uppercase(), address(from), address(to))?;
    for (direction, side, end) in [(Direction::Egress, egress, from), (Direction::Ingress, ingress, to)] {
        writeln!(output)?;
        print_side(cluster, answer, direction, side, end, &mut output)?;
    }
    Ok(())
}

fn print_side(
    cluster: &Cluster,
    answer: &Answer<'_>,
    direction: Direction,
    side: &Side<'_>,
    end: &Address<'_>,
    mut output: impl Write,
) -> io::Result<()> {
    let verdict = verdict_text(side.verdict);
    writeln!(output, "{direction} of {}: {verdict}, {}", name(end), reason(side))?;
    let mut label = "looked at";
    for stage in &side.trail {
        let Stage::Tier { tier, policies, end: _ } = stage else { continue };
        for policy in policies {
            writeln!(output, "  {label:12}  {}", looked_at(cluster, direction, tier, policy))?;
            label = "";
        }
    }
    if side.verdict == Verdict::Allow {
        return Ok(());
    }
    let Some((policy, miss)) = nearest_miss(side) else { return Ok(()) };
    writeln!(output, "  nearest miss  rule {} of {policy} would allow it, but", miss.index)?;
    let Some(rule) = cluster.text(policy, direction, miss.index) else { return Ok(()) };
    for field in &miss.mismatches {
        writeln!(output, "    it wants    {}", wants::wanted(*field, rule))?;
        writeln!(output, "    packet has  {}", wants::found(*field, cluster, answer))?;
    }
    Ok(())
}

/// `shop/web (10.0.0.1)`, or the address alone.
fn address(end: &Address<'_>) -> String {
    match end.workload {
        Some(workload) => format!("{workload} ({})", end.address),
        None => end.address.to_string(),
    }
}

fn name(end: &Address<'_>) -> String {
    end.workload.map_or_else(|| end.address.to_string(), str::to_owned)
}

fn reason(side: &Side<'_>) -> String {
    let mut text = String::new();
    let result = match side.reason {
        Reason::PolicyRule => match (side.policy, side.rule, side.tier) {
            (Some(policy), Some(rule), Some(tier)) => {
                write!(text, "by rule {rule} of {} in tier {tier}", policy.id)
            }
            _ => unreachable!("a rule that decides has a policy and a tier"),
        },
        Reason::EndOfTier => {
            let tier = side.tier.unwrap_or_default();
            write!(text, "at the end of tier {tier}: no rule of its policies matches")
        }
        Reason::ProfileRule => {
            let (profile, rule) = (side.profile.unwrap_or_default(), side.rule.unwrap_or_default());
            let why = if side.trail.iter().any(|stage| matches!(stage, Stage::Tier { .. })) {
                "every tier passed it on"
            } else {
                "no policy selects it in this direction"
            };
            write!(text, "by rule {rule} of profile {profile}: {why}")
        }
        Reason::NoProfile => write!(text, "as no policy and no profile decides"),
        Reason::EndpointDown => write!(text, "as it is administratively down"),
        Reason::Outside => write!(text, "as it is no workload: no policy applies to it"),
        Reason::SameWorkload => write!(text, "as the packet never leaves the workload"),
        Reason::Incomplete => match (side.policy, side.profile, side.set) {
            (Some(policy), _, _) => write!(text, "as {} is missing", policy.id),
            (_, Some(profile), _) => write!(text, "as profile {profile} is missing"),
            (_, _, set) => write!(text, "as IP set {} is missing", set.unwrap_or_default()),
        },
    };
    result.expect("a text takes everything");
    text
}

/// `tier default: NetworkPolicy shop/db, 2 rules`.
fn looked_at(cluster: &Cluster, direction: Direction, tier: &str, trail: &PolicyTrail<'_>) -> String {
    let id = trail.policy.id;
    let rules = match cluster.rule_count(id, direction) {
        0 => "no rules".to_owned(),
        1 => "1 rule".to_owned(),
        n => format!("{n} rules"),
    };
    let staged = if trail.staged { ", staged: not enforced" } else { "" };
    format!("tier {tier}: {id}, {rules}{staged}")
}

/// The allowing rule that lacks the fewest fields; of several the first.
fn nearest_miss<'a>(side: &'a Side<'_>) -> Option<(&'a PolicyId, &'a Compared)> {
    let policies = side.trail.iter().flat_map(|stage| match stage {
        Stage::Tier { policies, .. } => policies.as_slice(),
        Stage::Profile { .. } => &[],
    });
    let rules = policies.flat_map(|policy| policy.rules.iter().map(move |rule| (policy.policy.id, rule)));
    rules.filter(|(_, rule)| rule.action == Action::Allow).min_by_key(|(_, rule)| rule.mismatches.len())
}
