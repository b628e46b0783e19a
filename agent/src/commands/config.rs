//! `caracal config`.

use std::io::Write;

use caracal_proto::admin::{ConfigRequest, ConfigResponse, Parameter};

use super::source::Prepared;
use super::{Verdict, finished, status, table};
use crate::admin::call;
use crate::cli::{ConfigArgs, Datastore, Global, Output, SourceArgs};
use crate::configuration::answer::answer;
use crate::logging::{self, Reader};

#[cfg(test)]
mod tests;

/// What is wrong with the configuration stands in the answer, and need not be logged beside it.
const LOG: &str = "warn,caracal_agent::configuration=off";

pub(super) fn run(global: &Global, args: &ConfigArgs, output: impl Write) -> anyhow::Result<Verdict> {
    let ConfigArgs { datastore, node, admin, output: format } = args;
    let answer = match datastore {
        Some(datastore) => read(global, datastore, node.as_deref())?,
        None => call(&admin.admin_socket, |mut agent| async move { agent.config(ConfigRequest {}).await })?,
    };
    let verdict = if answer.problems.is_empty() { Verdict::Fine } else { Verdict::Wrong };
    finished(print(*format, &answer, output))?;
    Ok(verdict)
}

/// The answer without an agent.
fn read(global: &Global, datastore: &Datastore, node: Option<&str>) -> anyhow::Result<ConfigResponse> {
    logging::start(global.log_level.as_deref().or(Some(LOG)), Reader::Person)?;
    let source = SourceArgs { datastore: datastore.clone(), node: node.map(str::to_owned) };
    let prepared = Prepared::new(global, &source)?;
    let locality = prepared.locality();
    Ok(answer(prepared.calculate(locality)?.configuration()))
}

fn print(format: Output, answer: &ConfigResponse, mut output: impl Write) -> anyhow::Result<()> {
    match format {
        Output::Text => write_text(answer, &mut output)?,
        Output::Json => {
            serde_json::to_writer(&mut output, answer)?;
            writeln!(output)?;
        }
    }
    Ok(())
}

fn write_text(answer: &ConfigResponse, output: &mut impl Write) -> anyhow::Result<()> {
    let ConfigResponse { node: _, parameters, problems } = answer;
    let head = ["PARAMETER", "VALUE", "SOURCE", "THIS BUILD", "REMARK"];
    table::write(output, head, parameters.iter().map(row).collect())?;
    if !problems.is_empty() {
        writeln!(output, "\nproblems: {}", problems.len())?;
    }
    for problem in problems {
        status::write_problem(problem, output)?;
    }
    Ok(())
}

fn row(parameter: &Parameter) -> [String; 5] {
    let Parameter { name, value, source, disposition, reason } = parameter;
    [name.clone(), table::or_dash(value), source.clone(), disposition.clone(), table::or_dash(reason)]
}
