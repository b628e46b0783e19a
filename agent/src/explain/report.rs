//! The whole answer: the verdict, what would be if staged policies were
//! enforced, and what to change.

use serde::Serialize;

use super::answer::Answer;
use super::edit::{self, Proposal};
use super::staged::{self, Staged};
use super::{Explained, Question, World, in_force, text};

/// What `caracal explain` answers to one question, as programs read it.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    answer: Answer<'a>,
    /// Absent if nothing is staged.
    #[serde(skip_serializing_if = "Option::is_none")]
    staged: Option<Staged>,
    /// Absent if the packet passes.
    #[serde(rename = "toAllow", skip_serializing_if = "Option::is_none")]
    to_allow: Option<Proposal>,
}

/// Answers a question.
///
/// # Errors
/// If the packet cannot exist, or the datastore cannot be calculated.
pub(super) fn report(world: &mut World, question: &Question) -> anyhow::Result<Explained> {
    world.prepare(question)?;
    // What cannot be judged is said before anything is calculated for it.
    world.cluster().verdict(question)?;
    let staged = staged::judge(world, question)?;
    let to_allow = edit::propose(world, question)?;
    let cluster = world.cluster();
    let answer = cluster.explain(question)?;
    let (from, to, _) = cluster.resolve(question)?;
    let workloads = [from, to].into_iter().filter_map(|end| Some(end.workload?.id.to_string()));
    let mut text = Vec::new();
    text::print(cluster, &answer, staged.as_ref(), to_allow.as_ref(), &mut text)?;
    Ok(Explained {
        text: String::from_utf8(text)?,
        workloads: workloads.collect(),
        judged: in_force::judge(cluster, question)?,
        json: serde_json::to_string(&Report { answer, staged, to_allow })? + "\n",
    })
}
