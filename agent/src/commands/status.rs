//! `caracal status`.

use std::io::Write;

use caracal_datastore::one_line;
use caracal_proto::admin::{Component, Half, Problem, Revisions, StatusRequest, StatusResponse};

use super::{Verdict, finished, table};
use crate::admin::call;
use crate::cli::{AskArgs, Output};

pub(super) fn run(args: &AskArgs, output: impl Write) -> anyhow::Result<Verdict> {
    let answer = call(&args.admin.admin_socket, |mut agent| async move { agent.status(StatusRequest {}).await })?;
    let verdict = if answer.state == "ok" { Verdict::Fine } else { Verdict::Wrong };
    finished(print(args.output, &answer, output))?;
    Ok(verdict)
}

fn print(format: Output, answer: &StatusResponse, mut output: impl Write) -> anyhow::Result<()> {
    match format {
        Output::Text => write_text(answer, &mut output)?,
        Output::Json => {
            serde_json::to_writer(&mut output, answer)?;
            writeln!(output)?;
        }
    }
    Ok(())
}

fn write_text(answer: &StatusResponse, output: &mut impl Write) -> anyhow::Result<()> {
    let StatusResponse { node, state, halves, datastore, revisions, endpoints, other_endpoints, problems, health } =
        answer;
    writeln!(output, "node {node}: {state}")?;
    for Half { name, build, state, since } in halves {
        let build = if build.is_empty() { String::new() } else { format!(", {build}") };
        writeln!(output, "  {name} half   {state} for {}{build}", table::age(*since))?;
    }
    if let Some(datastore) = datastore {
        writeln!(output, "  datastore   {}, {}", datastore.state, datastore.url)?;
    }
    if let Some(revisions) = revisions {
        writeln!(output, "  revisions   {}", revisions_text(revisions))?;
    }
    let counts: Vec<_> = endpoints.iter().map(|count| format!("{} {}", count.count, count.outcome)).collect();
    let counts = match (counts.as_slice(), other_endpoints) {
        ([], 0) => "none".to_owned(),
        ([], others) => format!("none of this node, {others} of others"),
        (counts, _) => counts.join(", "),
    };
    writeln!(output, "  endpoints   {counts}")?;
    if !health.is_empty() {
        writeln!(output)?;
        table::write(output, ["COMPONENT", "LIVENESS", "READINESS", "DETAIL"], health.iter().map(component).collect())?;
    }
    if !problems.is_empty() {
        writeln!(output, "\nproblems: {}", problems.len())?;
    }
    for problem in problems {
        write_problem(problem, output)?;
    }
    Ok(())
}

fn revisions_text(revisions: &Revisions) -> String {
    let Revisions { sent, sent_at, acknowledged, acknowledged_at, latency_seconds } = revisions;
    if *sent == 0 {
        return "none sent".to_owned();
    }
    let sent = format!("sent {sent} ({} ago)", table::age(*sent_at));
    if *acknowledged == 0 {
        return format!("{sent}, none in the kernel");
    }
    let latency = latency_seconds.map(|seconds| format!(", {:.1} ms after the change", seconds * 1000.0));
    let latency = latency.unwrap_or_default();
    format!("{sent}, in the kernel {acknowledged} ({} ago{latency})", table::age(*acknowledged_at))
}

fn component(component: &Component) -> [String; 4] {
    let Component { name, timeout_seconds: _, liveness, readiness, detail } = component;
    [name.clone(), liveness.clone(), readiness.clone(), table::or_dash(detail)]
}

pub(super) fn write_problem(problem: &Problem, output: &mut impl Write) -> anyhow::Result<()> {
    let Problem { source, subject, place, field, reason, in_force, value } = problem;
    let about: Vec<&str> =
        [place, subject, field].into_iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    let about = if about.is_empty() { String::new() } else { format!("{}: ", about.join(": ")) };
    let reason = if value.is_empty() { reason.clone() } else { format!("{value:?}: {reason}") };
    let in_force = if in_force.is_empty() { String::new() } else { format!("; {in_force} is in force") };
    writeln!(output, "  {}", one_line(&format!("[{source}] {about}{reason}{in_force}")))?;
    Ok(())
}
