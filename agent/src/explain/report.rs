//! The whole answer: the verdict, what is in force otherwise, what would be if
//! staged policies were enforced, and what to change.

use serde::Serialize;

use super::answer::Answer;
use super::edit::{self, Proposal};
use super::in_force::{self, Difference, Look, Standing};
use super::staged::{self, Staged};
use super::{Explained, Question, World, text};

/// What `caracal explain` answers to one question.
pub(super) struct Report<'a> {
    pub(super) answer: Answer<'a>,
    pub(super) standing: Standing,
    /// `None` if nothing is staged.
    pub(super) staged: Option<Staged>,
    /// `None` if the packet passes.
    pub(super) to_allow: Option<Proposal>,
}

/// A report, as programs read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    #[serde(flatten)]
    answer: &'a Answer<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    changes_wait: bool,
    /// What is in force otherwise.
    #[serde(skip_serializing_if = "<[Difference]>::is_empty")]
    in_force: &'a [Difference],
    #[serde(skip_serializing_if = "Option::is_none")]
    staged: Option<&'a Staged>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_allow: Option<&'a Proposal>,
}

impl Report<'_> {
    fn json(&self) -> Json<'_> {
        let Self { answer, standing, staged, to_allow } = self;
        let (changes_wait, in_force) = match standing {
            Standing::AsWritten => (false, &[][..]),
            Standing::Waiting => (true, &[][..]),
            Standing::Otherwise(differences) => (false, differences.as_slice()),
        };
        Json { answer, changes_wait, in_force, staged: staged.as_ref(), to_allow: to_allow.as_ref() }
    }
}

/// Answers a question; with `look` also what is in force otherwise.
///
/// # Errors
/// If the packet cannot exist, the datastore cannot be calculated, or the agent
/// that is looked at does not answer.
pub(super) fn report(world: &mut World, question: &Question, look: Option<Look<'_>>) -> anyhow::Result<Explained> {
    world.prepare(question)?;
    // What cannot be judged is said before anything is calculated for it.
    world.cluster().verdict(question)?;
    let staged = staged::judge(world, question)?;
    let to_allow = edit::propose(world, question)?;
    let cluster = world.cluster();
    let standing = look.map_or(Ok(Standing::AsWritten), |look| in_force::compare(cluster, question, look))?;
    let report = Report { answer: cluster.explain(question)?, standing, staged, to_allow };
    let mut text = Vec::new();
    text::print(cluster, &report, &mut text)?;
    let (from, to, _) = cluster.resolve(question)?;
    let workloads = [from, to].into_iter().filter_map(|end| Some(end.workload?.id.clone()));
    Ok(Explained {
        text: String::from_utf8(text)?,
        json: serde_json::to_string(&report.json())? + "\n",
        workloads: workloads.collect(),
    })
}
