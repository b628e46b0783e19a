//! The answer to a question, as people read it.

use std::fmt::Write as _;
use std::io::{self, Write};

use caracal_program::Direction;

use super::answer::{Address, Answer, Lack, Miss, PolicyTrail, Reason, Side, Stage, verdict_text};
use super::cluster::Cluster;
use super::edit::{How, Proposal};
use super::staged::Staged;
use super::written::WrittenRule;

/// Prints an answer, the verdict with staged policies enforced, and what to change.
pub(super) fn print(
    cluster: &Cluster,
    answer: &Answer<'_>,
    staged: Option<&Staged>,
    to_allow: Option<&Proposal>,
    mut output: impl Write,
) -> io::Result<()> {
    let Answer { verdict, from, to, port, source_port: _, egress, ingress } = answer;
    writeln!(output, "{}  {} -> {}  {port}", verdict_text(*verdict).to_uppercase(), address(from), address(to))?;
    for (direction, side, end) in [(Direction::Egress, egress, from), (Direction::Ingress, ingress, to)] {
        writeln!(output)?;
        print_side(cluster, direction, side, end, &mut output)?;
    }
    if let Some(Staged { verdict, egress, ingress }) = staged {
        writeln!(output, "\nif staged policies were enforced: {}", verdict_text(*verdict))?;
        for (direction, side) in [(Direction::Egress, egress), (Direction::Ingress, ingress)] {
            writeln!(output, "  {:12}  {}, {}", direction.to_string(), verdict_text(side.verdict), side.why)?;
        }
    }
    match to_allow {
        None => {}
        Some(Proposal::None(reason)) => writeln!(output, "\nto allow it: no edit of a policy does, as {reason}")?,
        Some(Proposal::Edits(edits)) => {
            writeln!(output, "\nto allow it, and nothing else:")?;
            for edit in edits {
                let how = match &edit.how {
                    How::Patch(_) => "JSON patch of",
                    How::Manifest(_) => "new",
                };
                writeln!(output, "---\n# {how} {}", edit.object)?;
                output.write_all(edit.document().as_bytes())?;
            }
        }
    }
    Ok(())
}

fn print_side(
    cluster: &Cluster,
    direction: Direction,
    side: &Side<'_>,
    end: &Address<'_>,
    mut output: impl Write,
) -> io::Result<()> {
    let verdict = verdict_text(side.verdict);
    writeln!(output, "{direction} of {}: {verdict}, {}", name(end), reason(side))?;
    if let Some(WrittenRule { field, text, at }) = &side.written {
        let field = if field.is_empty() { String::new() } else { format!("{field} = ") };
        writeln!(output, "  {:12}  {field}{text}", "written")?;
        writeln!(output, "  {:12}  {at}", "")?;
    }
    let mut label = "looked at";
    for stage in &side.trail {
        let Stage::Tier { tier, policies, end: _ } = stage else { continue };
        for policy in policies {
            writeln!(output, "  {label:12}  {}", looked_at(cluster, direction, tier, policy))?;
            label = "";
        }
    }
    let mut misses: Vec<&Miss<'_>> = side.near_misses.iter().collect();
    // What lacks least first; of those that lack as much, in the order of evaluation.
    misses.sort_by_key(|miss| miss.lacks.len());
    let mut label = if misses.len() == 1 { "near miss" } else { "near misses" };
    for Miss { tier: _, policy, rule, written, lacks } in misses {
        let field = written.as_ref().map(|written| format!(", {}", written.field)).unwrap_or_default();
        writeln!(output, "  {label:12}  rule {rule} of {}{field}", policy.named)?;
        label = "";
        if lacks.is_empty() {
            writeln!(output, "  {label:14}  matches, but what stands before it decides")?;
        }
        for Lack { field: _, why } in lacks {
            writeln!(output, "  {label:14}  {why}")?;
        }
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

pub(super) fn reason(side: &Side<'_>) -> String {
    let mut text = String::new();
    let result = match side.reason {
        Reason::PolicyRule => match (&side.policy, side.rule, side.tier) {
            (Some(policy), Some(rule), Some(tier)) => {
                write!(text, "by rule {rule} of {} in tier {tier}", policy.named)
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
        Reason::EndpointToHost => write!(text, "by DefaultEndpointToHostAction, as it is the workload's own host"),
        Reason::SameWorkload => write!(text, "as the packet never leaves the workload"),
        Reason::Incomplete => match (&side.policy, side.profile, side.set) {
            (Some(policy), _, _) => write!(text, "as {} is missing", policy.named),
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
    format!("tier {tier}: {}, {rules}{staged}", trail.policy.named)
}
