//! `caracal config`.

use std::io::Write;

use caracal_config::{Effective, Param};
use serde::Serialize;

use super::source::Prepared;
use super::{finished, table};
use crate::cli::{ConfigArgs, Global, Output};
use crate::configuration::Configuration;
use crate::logging::{self, Reader};

pub(super) fn run(global: &Global, args: &ConfigArgs, output: impl Write) -> anyhow::Result<()> {
    logging::start(global.log_level.as_deref(), Reader::Person)?;
    let prepared = Prepared::new(global, &args.source)?;
    let locality = prepared.locality();
    let calculator = prepared.calculate(locality)?;
    finished(print(args.output, calculator.configuration(), output))
}

/// A parameter, as it is printed.
#[derive(Serialize)]
struct Row<'a> {
    name: &'static str,
    value: &'a str,
    source: String,
    /// "acted on", "ignored" or "refused".
    disposition: &'static str,
    /// Why it is not acted on.
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
}

impl<'a> Row<'a> {
    fn new((parameter, effective): (&'static Param, &'a Effective)) -> Self {
        Self {
            name: parameter.name,
            value: &effective.text,
            source: effective.source.to_string(),
            disposition: parameter.disposition.word(),
            reason: parameter.disposition.reason(),
        }
    }
}

/// The answer for programs.
#[derive(Serialize)]
struct Answer<'a> {
    node: &'a str,
    parameters: Vec<Row<'a>>,
    warnings: Vec<String>,
}

fn print(format: Output, configuration: &Configuration, mut output: impl Write) -> anyhow::Result<()> {
    let parameters: Vec<Row<'_>> = configuration.parameters().map(Row::new).collect();
    let warnings: Vec<String> = configuration.warnings().iter().map(ToString::to_string).collect();
    match format {
        Output::Text => {
            let cells = |row: Row<'_>| {
                let Row { name, value, source, disposition, reason } = row;
                [name.to_owned(), table::or_dash(value), source, disposition.to_owned(), table::or_dash(reason)]
            };
            let head = ["PARAMETER", "VALUE", "SOURCE", "THIS BUILD", "WHY NOT"];
            table::write(&mut output, head, parameters.into_iter().map(cells).collect())?;
            for warning in warnings {
                writeln!(output, "warning: {warning}")?;
            }
        }
        Output::Json => {
            let answer = Answer { node: configuration.node(), parameters, warnings };
            serde_json::to_writer(&mut output, &answer)?;
            writeln!(output)?;
        }
    }
    Ok(())
}
