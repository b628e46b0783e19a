//! The answer to a question, as people read it.

use std::fmt::Write as _;
use std::io::{self, Write};

use caracal_program::{Direction, ProgramKind, Verdict};

use super::answer::{Address, Answer, HostSide, Lack, Miss, PolicyTrail, Reason, Side, Stage, verdict_text};
use super::cluster::Cluster;
use super::edit::{How, Proposal};
use super::report::Report;
use super::staged::{Staged, StagedHost};
use super::written::WrittenRule;

/// Prints a report: what is in force otherwise, the answer, the verdict with staged
/// policies enforced, and what to change.
pub(super) fn print(cluster: &Cluster, report: &Report<'_>, mut output: impl Write) -> io::Result<()> {
    let Report { answer, standing, staged, to_allow } = report;
    write!(output, "{}", standing.notice())?;
    let Answer { verdict, from, to, port, source_port: _, egress, ingress, hosts } = answer;
    writeln!(output, "{}  {} -> {}  {port}", verdict_text(*verdict).to_uppercase(), address(from), address(to))?;
    for (direction, side, end) in [(Direction::Egress, egress, from), (Direction::Ingress, ingress, to)] {
        writeln!(output, "\n{direction} of {}: {}, {}", name(end), verdict_text(side.verdict), reason(side))?;
        print_side(cluster, direction, side, &mut output)?;
    }
    for host in hosts {
        let HostSide { node, endpoint, kind, direction, side, untracked, id: _ } = host;
        let verdict = verdict_text(side.verdict);
        writeln!(output, "\n{} of {endpoint} on {node}: {verdict}, {}", judgement(*kind, *direction), reason(side))?;
        if *untracked {
            writeln!(output, "  {:12}  the connection is not followed: answers need rules of their own", "untracked")?;
        }
        print_side(cluster, *direction, side, &mut output)?;
    }
    if let Some(Staged { verdict, egress, ingress, hosts }) = staged {
        writeln!(output, "\nif staged policies were enforced: {}", verdict_text(*verdict))?;
        for (direction, side) in [(Direction::Egress, egress), (Direction::Ingress, ingress)] {
            writeln!(output, "  {:12}  {}, {}", direction.to_string(), verdict_text(side.verdict), side.why)?;
        }
        for StagedHost { endpoint, program, direction, side } in hosts {
            let (verdict, what) = (verdict_text(side.verdict), judgement(*program, *direction));
            writeln!(output, "  {what} of {endpoint}: {verdict}, {}", side.why)?;
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

fn print_side(cluster: &Cluster, direction: Direction, side: &Side<'_>, mut output: impl Write) -> io::Result<()> {
    if let Some(WrittenRule { field, text, at, rule: _ }) = &side.written {
        let field = if field.is_empty() { String::new() } else { format!("{field} = ") };
        writeln!(output, "  {:12}  {field}{text}", "written")?;
        writeln!(output, "  {:12}  {at}", "")?;
    }
    // What exists without a manifest allows.
    if let (Reason::ProfileRule, Verdict::Deny, Some(profile)) = (side.reason, side.verdict, side.profile)
        && let Some(source) = cluster.missing_source(profile)
    {
        writeln!(output, "  {:12}  {source}: without it, what no policy allows is denied", "missing")?;
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

/// `shop/web (10.0.0.1)`, `node1 (192.0.2.1)`, or the address alone.
fn address(end: &Address<'_>) -> String {
    match end.workload.or(end.node) {
        Some(name) => format!("{name} ({})", end.address),
        None => end.address.to_string(),
    }
}

fn name(end: &Address<'_>) -> String {
    end.workload.or(end.node).map_or_else(|| end.address.to_string(), str::to_owned)
}

/// `pre-DNAT ingress`; what is normal is not said.
pub(super) fn judgement(kind: ProgramKind, direction: Direction) -> String {
    match kind {
        ProgramKind::Normal => direction.to_string(),
        ProgramKind::Translated | ProgramKind::Forward | ProgramKind::PreDnat | ProgramKind::Untracked => {
            format!("{kind} {direction}")
        }
    }
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
        Reason::Host => write!(text, "as it is a host: its host endpoints decide, if it has any on the way"),
        Reason::Undecided => write!(text, "as none of its rules decides, and what follows has to"),
        Reason::Failsafe => write!(text, "as it is a failsafe port, which no policy closes"),
        Reason::NoIpv6 => write!(text, "as Ipv6Support is off: workloads have no IPv6"),
        Reason::UnjudgedIpv6 => write!(text, "as Ipv6Support is off: no host endpoint judges IPv6"),
        Reason::SpoofedSource => write!(text, "as the source is not an address of the workload"),
        Reason::NoEndpoint => write!(text, "as no workload is known on the interface"),
        Reason::ConntrackInvalid => {
            write!(text, "as it is invalid to connection tracking: no connection begins with such a packet")
        }
        Reason::IpipFromWorkload => write!(text, "as a workload may not send IP in IP"),
        Reason::VxlanFromWorkload => write!(text, "as a workload may not send VXLAN"),
        Reason::Loopback => write!(text, "as a workload may not send to a loopback address of its host"),
        Reason::ForeignIpip => write!(text, "as IP in IP comes from no host of the cluster"),
        Reason::ForeignVxlan => write!(text, "as VXLAN comes from no host of the cluster"),
        Reason::ClusterTunnel => {
            write!(
                text,
                "as hosts of the cluster may send each other tunnelled packets, whatever their host endpoints say"
            )
        }
        Reason::ServiceLoop => write!(text, "as it is a service's address that no service proxy has translated"),
        Reason::NeighbourDiscovery => write!(text, "as it is neighbour discovery of a workload and its host"),
        Reason::HostToWorkload => write!(text, "as a host may speak to its own workloads, whatever policy says"),
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
