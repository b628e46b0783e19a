//! The reference evaluator's answers, by `caracal explain --batch -`.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::json;

use crate::agent::{datastore, program};
use crate::cluster::Cluster;
use crate::matrix::{Flow, Reference, Verdicts};

/// Judges by the program's own reference evaluator, from the cluster's manifests alone.
pub struct Evaluator;

#[derive(Deserialize)]
struct Answer {
    verdict: Option<String>,
    error: Option<String>,
}

impl Reference for Evaluator {
    fn judge(&self, cluster: &Cluster, flows: &[Flow]) -> anyhow::Result<Verdicts> {
        let questions: String = flows
            .iter()
            .map(|flow| {
                let (from, to) = (flow.from_addr.to_string(), flow.to_addr.to_string());
                format!("{}\n", json!({"from": from, "to": to, "port": flow.port.to_string()}))
            })
            .collect();
        let answers = explain(&datastore(cluster), &questions)?;
        if answers.len() != flows.len() {
            bail!("caracal explain gave {} answers to {} questions", answers.len(), flows.len());
        }
        flows.iter().zip(answers).map(|(flow, answer)| Ok((flow.clone(), answer.is_allow(flow)?))).collect()
    }
}

impl Answer {
    fn is_allow(&self, flow: &Flow) -> anyhow::Result<bool> {
        match (self.verdict.as_deref(), &self.error) {
            (Some("allow"), _) => Ok(true),
            (Some("deny"), _) => Ok(false),
            (other, error) => bail!("caracal explain answered {other:?} ({error:?}) to {flow:?}"),
        }
    }
}

fn explain(datastore: &str, questions: &str) -> anyhow::Result<Vec<Answer>> {
    let mut child = Command::new(program()?)
        .args(["explain", "--datastore", datastore, "--batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run caracal explain")?;
    let mut stdin = child.stdin.take().context("the child has a standard input")?;
    let questions = questions.to_owned();
    // Written beside reading: both pipes have a bound.
    let writer = std::thread::spawn(move || stdin.write_all(questions.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    if !output.status.success() {
        bail!("caracal explain ended with {}", output.status);
    }
    let lines = String::from_utf8(output.stdout)?;
    lines.lines().map(|line| serde_json::from_str(line).with_context(|| format!("not an answer: {line}"))).collect()
}
