//! `caracal doctor`: what on this node keeps policy from being in force, or may.
//!
//! It asks the kernel, not an agent, and changes nothing.

mod checks;

use std::fmt;
use std::io::Write;

use anyhow::Context as _;
use caracal_dataplane::nftables_settings;
use serde::Serialize;

use super::{Verdict, finished};
use crate::cli::{DoctorArgs, Global, Output};
use crate::configuration::Configuration;
use crate::logging::{self, Reader};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// Policy cannot be in force.
    Error,
    /// Packets may meet another verdict than policy gives them.
    Warning,
    /// Good to know.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Finding {
    severity: Severity,
    /// What it is about, kind first.
    subject: String,
    /// What is the matter, and what may be done about it.
    reason: String,
}

#[derive(Debug, Serialize)]
struct Answer {
    findings: Vec<Finding>,
}

pub(super) fn run(global: &Global, args: &DoctorArgs, output: impl Write) -> anyhow::Result<Verdict> {
    logging::start(global.log_level.as_deref(), Reader::Person)?;
    let settings = Configuration::load(global.config_file.as_deref(), None)?.settings();
    let rules = nftables_settings(&settings).context("cannot use the configuration")?;
    let findings = checks::all(&settings, &rules)?;
    let wrong = findings.iter().any(|finding| finding.severity < Severity::Note);
    finished(print(args.output, &Answer { findings }, output))?;
    Ok(if wrong { Verdict::Wrong } else { Verdict::Fine })
}

fn print(format: Output, answer: &Answer, mut output: impl Write) -> anyhow::Result<()> {
    match format {
        Output::Json => {
            serde_json::to_writer(&mut output, answer)?;
            writeln!(output)?;
        }
        Output::Text => {
            for Finding { severity, subject, reason } in &answer.findings {
                writeln!(output, "{severity}: {subject}: {reason}")?;
            }
            if answer.findings.iter().all(|finding| finding.severity == Severity::Note) {
                writeln!(output, "nothing is wrong")?;
            }
        }
    }
    Ok(())
}
