//! `caracal policies`.

use std::io::Write;

use caracal_proto::admin::{EndCount, PoliciesRequest, PoliciesResponse, Policy, RuleCount};

use super::{finished, table};
use crate::admin::call;
use crate::cli::{AskArgs, Output};

pub(super) fn run(args: &AskArgs, output: impl Write) -> anyhow::Result<()> {
    let answer = call(&args.admin.admin_socket, |mut agent| async move { agent.policies(PoliciesRequest {}).await })?;
    finished(print(args.output, &answer, output))
}

fn print(format: Output, answer: &PoliciesResponse, mut output: impl Write) -> anyhow::Result<()> {
    match format {
        Output::Text => {
            let head = ["TIER", "ORDER", "KIND", "POLICY", "ENDPOINTS", "RULES IN", "RULES OUT", "PACKETS"];
            if answer.policies.is_empty() {
                writeln!(output, "no policies that select an endpoint of this node")?;
            }
            table::write(&mut output, head, answer.policies.iter().map(row).collect())?;
            let counts: Vec<_> = answer.policies.iter().flat_map(counts).collect();
            if !counts.is_empty() {
                writeln!(output)?;
                table::write(&mut output, ["POLICY", "DIRECTION", "RULE", "PACKETS", "BYTES"], counts)?;
            }
            if !answer.ends.is_empty() {
                writeln!(output)?;
                let ends = answer.ends.iter().map(end).collect();
                table::write(&mut output, ["DENIED AT", "DIRECTION", "PACKETS", "BYTES"], ends)?;
            }
        }
        Output::Json => {
            serde_json::to_writer(&mut output, answer)?;
            writeln!(output)?;
        }
    }
    Ok(())
}

fn row(policy: &Policy) -> [String; 8] {
    let Policy { kind, tier, order, endpoints, inbound_rules, outbound_rules, counts, .. } = policy;
    let packets: u64 = counts.iter().map(|count| count.packets).sum();
    [
        tier.clone(),
        order.map_or_else(|| "-".to_owned(), |order| order.to_string()),
        kind.clone(),
        name(policy),
        endpoints.to_string(),
        inbound_rules.to_string(),
        outbound_rules.to_string(),
        if counts.is_empty() { "-".to_owned() } else { packets.to_string() },
    ]
}

fn counts(policy: &Policy) -> impl Iterator<Item = [String; 5]> {
    policy.counts.iter().map(|RuleCount { direction, rule, packets, bytes }| {
        [name(policy), direction.clone(), rule.to_string(), packets.to_string(), bytes.to_string()]
    })
}

fn end(end: &EndCount) -> [String; 4] {
    let EndCount { tier, direction, packets, bytes } = end;
    let place = if tier.is_empty() { "no policy or profile".to_owned() } else { format!("end of tier {tier}") };
    [place, direction.clone(), packets.to_string(), bytes.to_string()]
}

fn name(policy: &Policy) -> String {
    let Policy { namespace, name, .. } = policy;
    if namespace.is_empty() { name.clone() } else { format!("{namespace}/{name}") }
}
