//! `caracal endpoints`.

use std::io::Write;

use caracal_proto::admin::{Endpoint, EndpointsRequest, EndpointsResponse};

use super::{Verdict, finished, table};
use crate::admin::call;
use crate::cli::{AskArgs, Output};

pub(super) fn run(args: &AskArgs, output: impl Write) -> anyhow::Result<Verdict> {
    let answer = call(&args.admin.admin_socket, |mut agent| async move { agent.endpoints(EndpointsRequest {}).await })?;
    let is_programmed = |endpoint: &Endpoint| endpoint.outcome == "programmed" && endpoint.reason.is_empty();
    let verdict = if answer.endpoints.iter().all(is_programmed) { Verdict::Fine } else { Verdict::Wrong };
    finished(print(args.output, &answer, output))?;
    Ok(verdict)
}

fn print(format: Output, answer: &EndpointsResponse, mut output: impl Write) -> anyhow::Result<()> {
    match format {
        Output::Text if answer.endpoints.is_empty() => writeln!(output, "no endpoints on this node")?,
        Output::Text => {
            let head = ["KIND", "ENDPOINT", "INTERFACE", "ADDRESSES", "OUTCOME", "REVISION", "SINCE", "REASON"];
            table::write(&mut output, head, answer.endpoints.iter().map(row).collect())?;
        }
        Output::Json => {
            serde_json::to_writer(&mut output, answer)?;
            writeln!(output)?;
        }
    }
    Ok(())
}

fn row(endpoint: &Endpoint) -> [String; 8] {
    let Endpoint { kind, id, interface, addresses, outcome, reason, revision, since, .. } = endpoint;
    let revision = if *revision == 0 { "-".to_owned() } else { revision.to_string() };
    let addresses = table::or_dash(&addresses.join(","));
    let (interface, reason) = (table::or_dash(interface), table::or_dash(reason));
    [kind.clone(), id.clone(), interface, addresses, outcome.clone(), revision, table::age(*since), reason]
}
