//! What is wrong with a file, the first of it told one by one.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::reading::ObjectId;
use super::{Catalogue, FileRecord, Verdict, Winner, winner};
use crate::manifest::limits::MAX_PROBLEMS;
use crate::source::{InForce, Place, Problem};

impl Catalogue {
    /// What is in force of what cannot be read at a path or below it.
    pub(in crate::file) fn in_force_below(&self, path: &Path) -> InForce {
        in_force_of(self.files_below(path).filter_map(|file| self.files.get(file)))
    }

    /// What is wrong with a file.
    pub(super) fn problems_of(&self, path: &Arc<Path>) -> Vec<Problem> {
        let Some(record) = self.files.get(path) else {
            return Vec::new();
        };
        let mut tally = Tally::default();
        if let Some(reason) = &record.unreadable {
            let (path, reason) = (path.to_path_buf(), reason.clone());
            let in_force = in_force_of([record]);
            tally.add(in_force, || Problem::Unreadable { path, reason, in_force });
        }
        for refusal in &record.nameless {
            let refused = || Problem::Refused { refusal: refusal.clone(), in_force: InForce::Nothing };
            tally.add(InForce::Nothing, refused);
        }
        tally.more += record.more_nameless;
        tally.absent += record.more_nameless;
        // An object may have very many claims.
        let mut winners: HashMap<&ObjectId, Option<Winner>> = HashMap::new();
        for (position, at) in record.objects.iter().enumerate() {
            let Some(object) = self.objects.get(&at.id) else { continue };
            let place = || Place { file: Arc::clone(path), line: at.line };
            let broken = match &at.verdict {
                Verdict::Refused(refusal) => {
                    let in_force = if object.in_force.is_some() { InForce::OtherVersion } else { InForce::Nothing };
                    let refusal = || refusal.clone().expect("of the first of a file it is kept");
                    tally.add(in_force, || Problem::Refused { refusal: refusal(), in_force });
                    continue;
                }
                Verdict::Admitted { broken, .. } => broken,
            };
            let winner = winners.entry(&at.id).or_insert_with(|| winner(&self.files, object));
            match winner {
                Some(winner) if (&winner.file, winner.position) != (path, position) => {
                    let used = || Place { file: Arc::clone(&winner.file), line: winner.line };
                    let duplicate = || Problem::Duplicate { object: at.id.to_ref(), used: used(), ignored: place() };
                    tally.add(InForce::OtherVersion, duplicate);
                }
                Some(_) | None => {
                    if let Some(reason) = broken {
                        let broken =
                            || Problem::Broken { object: at.id.to_ref(), place: place(), reason: reason.clone() };
                        tally.add(InForce::Nothing, broken);
                    }
                }
            }
        }
        tally.into_problems(path)
    }
}

/// Whether files that cannot be read said something before.
fn in_force_of<'a>(files: impl IntoIterator<Item = &'a FileRecord>) -> InForce {
    let said_something = files.into_iter().any(|record| record.claims().next().is_some());
    if said_something { InForce::OtherVersion } else { InForce::Nothing }
}

/// What is wrong with a file, the first of it one by one.
#[derive(Default)]
struct Tally {
    told: Vec<Problem>,
    more: usize,
    /// With how many of those more nothing is in force.
    absent: usize,
}

impl Tally {
    fn add(&mut self, in_force: InForce, problem: impl FnOnce() -> Problem) {
        if self.told.len() < MAX_PROBLEMS {
            self.told.push(problem());
        } else {
            self.more += 1;
            self.absent += usize::from(in_force == InForce::Nothing);
        }
    }

    fn into_problems(mut self, file: &Arc<Path>) -> Vec<Problem> {
        if self.more > 0 {
            let (documents, absent) = (self.more, self.absent);
            self.told.push(Problem::More { file: Arc::clone(file), documents, absent });
        }
        self.told
    }
}
