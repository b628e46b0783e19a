//! `caracal explain` on many packets.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::agent::program;

/// One packet to judge, in the command's own words.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Question {
    /// `NAMESPACE/POD` or an address.
    pub from: String,
    /// `NAMESPACE/POD` or an address.
    pub to: String,
    /// `PORT/PROTOCOL`.
    pub port: String,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    verdict: String,
    #[serde(default)]
    error: String,
}

impl Answer {
    /// `allow`, `deny`, or why there is no verdict.
    fn into_word(self) -> String {
        if self.error.is_empty() { self.verdict } else { format!("error: {}", self.error) }
    }
}

/// Asks all questions at once; an answer is `allow`, `deny`, or a reason why there is none.
pub fn batch(manifests: &Path, questions: &[Question]) -> anyhow::Result<Vec<String>> {
    let mut text = Vec::new();
    for question in questions {
        serde_json::to_writer(&mut text, question)?;
        text.push(b'\n');
    }
    let mut child = Command::new(program()?)
        .args(["explain", "--datastore", &format!("file:{}", manifests.display()), "--batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run caracal explain")?;
    let mut stdin = child.stdin.take().context("the child has a standard input")?;
    // Written beside reading: a pipe has a bound.
    let writer = std::thread::spawn(move || stdin.write_all(&text));
    let output = child.wait_with_output()?;
    let written = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?;
    if !output.status.success() {
        bail!("caracal explain: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    written.context("caracal explain did not read its questions")?;
    let answers: Vec<_> = String::from_utf8(output.stdout)?
        .lines()
        .map(|line| {
            serde_json::from_str::<Answer>(line)
                .map(Answer::into_word)
                .with_context(|| format!("not an answer: {line}"))
        })
        .collect::<anyhow::Result<_>>()?;
    if answers.len() != questions.len() {
        bail!("{} answers to {} questions", answers.len(), questions.len());
    }
    Ok(answers)
}

/// Asks one question in the long form.
pub fn single(manifests: &Path, question: &Question) -> anyhow::Result<String> {
    let output = Command::new(program()?)
        .args(["explain", "--datastore", &format!("file:{}", manifests.display()), "--output", "json"])
        .args(["--from", &question.from, "--to", &question.to, "--port", &question.port])
        .output()?;
    if !output.status.success() {
        bail!("caracal explain: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice::<Answer>(&output.stdout)?.into_word())
}
