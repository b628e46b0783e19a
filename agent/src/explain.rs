//! `caracal explain`: what happens to a packet, and why.
//!
//! The cluster is calculated as if every workload were local, so that both ends
//! of a packet have their rule programs, whichever nodes they are on; the
//! reference evaluator does the rest.

mod answer;
mod cluster;
mod edit;
mod facts;
mod in_force;
mod journey;
mod kept;
mod live;
mod node;
mod pick;
mod question;
mod report;
mod staged;
mod text;
mod wants;
mod world;
mod written;
mod yaml;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use caracal_net::Port;
use caracal_program::WorkloadId;
use clap::Args;
use serde::Serialize;
use smol_str::SmolStr;

pub use answer::Answer;
pub use cluster::{Cluster, JudgeError};
pub use in_force::Look;
pub use kept::{KEPT_FOR, Kept};
pub use question::{LineError, Party, Question, QuestionError, SOURCE_PORT, Service};
pub use world::World;

use crate::admin::call;
use crate::cli::{AdminArgs, Datastore, Global, Output};

/// `caracal explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Where policy and endpoints come from: `file:DIR`, a directory of manifests (YAML or JSON,
    /// subfolders too). Without it, the running agent is asked
    #[arg(long, value_name = "URL")]
    pub datastore: Option<Datastore>,

    /// The agent to ask if no datastore is named.
    #[command(flatten)]
    pub admin: AdminArgs,

    /// Who sends: a pod, a node, or an address; an address that a pod or a node has means that one.
    /// NAMESPACE/POD@IP is a pod that sends from that address
    #[arg(long, value_name = "NAMESPACE/POD|node:NAME|IP", required_unless_present = "batch")]
    pub from: Option<Party>,

    /// Who is to receive
    #[arg(long, value_name = "NAMESPACE/POD|node:NAME|IP", required_unless_present = "batch")]
    pub to: Option<Party>,

    /// The destination's port with the protocol: 80/tcp, 53/udp, 5060/sctp. For other protocols:
    /// icmp (a ping), TYPE/icmp, TYPE:CODE/icmpv6, /47
    #[arg(long, value_name = "PORT/PROTOCOL", required_unless_present = "batch")]
    pub port: Option<Service>,

    /// The source's port
    #[arg(long, value_name = "PORT", default_value_t = SOURCE_PORT)]
    pub source_port: Port,

    /// The interface of the node by which the packet comes or goes, if the node has host endpoints of several
    #[arg(long, value_name = "NAME")]
    pub interface: Option<SmolStr>,

    /// Answer the questions in a file, or on standard input (-): JSON lines in, JSON lines out
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "to", "port", "source_port", "interface"])]
    pub batch: Option<PathBuf>,

    /// How to print the answer; a batch is always answered in JSON
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
}

/// What `caracal explain --help` ends with.
pub const EXPLAIN_HELP: &str = "\
Examples:
  caracal explain --datastore file:./manifests --from shop/web --to shop/db --port 5432/tcp
  caracal explain --from shop/web --to shop/db --port 5432/tcp
  caracal explain --datastore file:./manifests --from 192.0.2.7 --to shop/web --port 80/tcp --output json
  echo '{\"from\": \"shop/web\", \"to\": \"10.0.0.3\", \"port\": \"53/udp\"}' | caracal explain --datastore file:./manifests --batch -

The packet is the first one of a connection. The verdict is that of the source's egress policy, of the \
destination's ingress policy, and of the host endpoints between them, whichever nodes they are on; an address that no pod \
and no node has is outside of the cluster and has no policy. Rules are counted from 0, in the order in which they are enforced.

Each line of a batch is {\"from\": TEXT, \"to\": TEXT, \"port\": TEXT}, with \"sourcePort\": N and \"interface\": TEXT if they matter. Its \
answer is one line, {\"verdict\": \"allow\"|\"deny\", ...} or {\"error\": TEXT}, in the same order.

Exit status: 0 if there is an answer, whatever the verdict, 1 if there is none.";

/// Answers one question, or a batch of them from `input` or a file.
///
/// # Errors
/// If the datastore cannot be read, or the single question has no answer. A line
/// of a batch without an answer is no failure.
pub fn run(global: &Global, args: &ExplainArgs, input: impl BufRead, mut output: impl Write) -> anyhow::Result<()> {
    let ExplainArgs { datastore, admin, from, to, port, source_port, interface, batch, output: format } = args;
    if let Some(file) = batch {
        let Some(Datastore::File(directory)) = datastore else {
            anyhow::bail!("a batch is answered from manifests; name them with --datastore");
        };
        let mut world = World::read(directory, global.config_file.as_deref())?;
        return if file.as_os_str() == "-" {
            answer_lines(&mut world, input, output)
        } else {
            let file = File::open(file).with_context(|| format!("cannot read the questions in {}", file.display()))?;
            answer_lines(&mut world, BufReader::new(file), output)
        };
    }
    let (Some(from), Some(to), Some(service)) = (from, to, port) else {
        anyhow::bail!("give --from, --to and --port, or --batch");
    };
    let question = Question {
        from: from.clone(),
        to: to.clone(),
        service: *service,
        source_port: *source_port,
        interface: interface.clone(),
    };
    match datastore {
        Some(Datastore::File(directory)) => {
            let Explained { text, json, .. } = explain(directory, global.config_file.as_deref(), &question)?;
            let answer = match format {
                Output::Text => text,
                Output::Json => json,
            };
            output.write_all(answer.as_bytes())?;
        }
        None => {
            let request = question.request();
            let answer = call(&admin.admin_socket, |mut agent| async move { agent.explain(request).await })?;
            live::print(*format, &answer, &mut output)?;
        }
    }
    Ok(output.flush()?)
}

/// The answer to one question in both forms.
#[derive(Clone, Debug)]
pub struct Explained {
    /// For people.
    pub text: String,
    /// For programs: one line of JSON.
    pub json: String,
    /// The ends that are workloads.
    pub workloads: Vec<WorkloadId>,
}

/// Reads the manifests below a directory, and answers one question from them.
///
/// # Errors
/// If the datastore cannot be read, or the question has no answer.
pub fn explain(directory: &Path, config_file: Option<&Path>, question: &Question) -> anyhow::Result<Explained> {
    report::report(&mut World::read(directory, config_file)?, question, None)
}

fn answer_lines(world: &mut World, input: impl BufRead, mut output: impl Write) -> anyhow::Result<()> {
    for line in input.split(b'\n') {
        let line = line?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        // One write a line, so that whoever waits for the answer gets all of it.
        let mut text = answer_line(world, &line)?;
        text.push(b'\n');
        output.write_all(&text)?;
        output.flush()?;
    }
    Ok(())
}

#[derive(Serialize)]
struct NoAnswer {
    error: String,
}

fn answer_line(world: &mut World, line: &[u8]) -> anyhow::Result<Vec<u8>> {
    let no_answer = |error: String| serde_json::to_vec(&NoAnswer { error });
    let Ok(line) = std::str::from_utf8(line) else { return Ok(no_answer("the line is not UTF-8".to_owned())?) };
    let line = match Question::from_line(line) {
        Ok(question) => {
            world.prepare(&question)?;
            match world.cluster().judge(&question) {
                Ok(answer) => serde_json::to_vec(&answer),
                Err(error) => no_answer(error.to_string()),
            }
        }
        Err(error) => no_answer(error.to_string()),
    };
    Ok(line?)
}

#[cfg(test)]
mod tests;
