//! The datastore as the last question found it, for the next one.
//!
//! Reading and calculating a whole cluster costs seconds, and questions come
//! several at a time. What was read is kept for a while, and serves as long as no
//! file has another name, size, inode or time than when it was read.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use caracal_datastore::Prints;

use super::{Explained, JudgeError, Look, Question, World, report};
use crate::control::Unanswered;

/// How long a reading is kept after the last question.
pub const KEPT_FOR: Duration = Duration::from_secs(60);

/// A reading of a datastore that serves several questions.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<Option<Reading>>>);

struct Reading {
    world: World,
    prints: Prints,
    used: Instant,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl Kept {
    /// Answers a question from the manifests below a directory, which are read if
    /// they are not what was read last; `look` asks the agent what it has in force.
    ///
    /// # Errors
    /// If the datastore cannot be read, the question has no answer, or the agent
    /// does not tell.
    pub fn explain(
        &self,
        directory: &Path,
        config_file: Option<&Path>,
        question: &Question,
        look: Look<'_>,
    ) -> anyhow::Result<Explained> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Before anything is read: what changes meanwhile is read again next time.
        let prints = config_file.into_iter().fold(Prints::below(directory), Prints::with);
        let mut reading = match held.take() {
            Some(reading) if reading.prints == prints => reading,
            _ => Reading { world: World::read(directory, config_file)?, prints, used: Instant::now() },
        };
        let explained = report::report(&mut reading.world, question, Some(look));
        // What failed within a calculation may have left half of it behind.
        if explained.as_ref().err().is_none_or(|error| error.is::<JudgeError>() || error.is::<Unanswered>()) {
            reading.used = Instant::now();
            *held = Some(reading);
        }
        explained
    }

    /// Lets go of what no question has used for [`KEPT_FOR`]. It does not wait: what a
    /// question is about to use is used.
    pub fn forget_unused(&self) {
        let mut held = match self.0.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(held)) => held.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if held.as_ref().is_some_and(|reading| reading.used.elapsed() >= KEPT_FOR) {
            *held = None;
        }
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn pod(name: &str, address: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{namespace: shop, name: {name}}}\n\
             spec: {{nodeName: node1, containers: [{{name: c, image: i}}]}}\n\
             status: {{phase: Running, podIPs: [{{ip: {address}}}]}}\n"
        )
    }

    /// The addresses that the answer names, or the error.
    fn ask(kept: &Kept, directory: &Path) -> String {
        let question = r#"{"from": "shop/a", "to": "shop/b", "port": "80/tcp"}"#;
        let question = Question::from_line(question).expect("a question");
        let text = kept
            .explain(directory, None, &question, &|_| Ok(None))
            .map_or_else(|error| error.to_string(), |answer| answer.text);
        let text = text.trim_start_matches("changes wait to be put in force: what follows may not be in force yet");
        text.trim_start().lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn an_answer_is_of_the_datastore_as_it_is() {
        let kept = Kept::default();
        let directory = tempfile::tempdir().expect("a directory");
        let write = |file: &str, text: &str| fs::write(directory.path().join(file), text).expect("a file");
        write("a.yaml", &pod("a", "10.0.0.1"));
        let none = ask(&kept, directory.path());
        assert!(none.contains("there is no workload shop/b"), "{none}");
        fs::create_dir(directory.path().join("sub")).expect("a folder");
        write("sub/b.yaml", &pod("b", "10.0.0.2"));
        assert_eq!(ask(&kept, directory.path()), "DENY  shop/a (10.0.0.1) -> shop/b (10.0.0.2)  80/tcp");
        assert_eq!(ask(&kept, directory.path()), "DENY  shop/a (10.0.0.1) -> shop/b (10.0.0.2)  80/tcp");
        write("a.yaml", &pod("a", "10.0.0.3"));
        assert_eq!(ask(&kept, directory.path()), "DENY  shop/a (10.0.0.3) -> shop/b (10.0.0.2)  80/tcp");
        assert!(!kept.is_empty());
        kept.forget_unused();
        assert!(!kept.is_empty(), "it was just used");
    }

    /// Three links to where they stand are 3^40 ways, before the kernel refuses longer ones.
    #[test]
    fn links_that_lead_back_are_followed_once() {
        let (kept, directory) = (Kept::default(), tempfile::tempdir().expect("a directory"));
        for name in ["x", "y", "z"] {
            std::os::unix::fs::symlink(".", directory.path().join(name)).expect("a link");
        }
        for (name, address) in [("a", "10.0.0.1"), ("b", "10.0.0.2")] {
            fs::write(directory.path().join(format!("{name}.yaml")), pod(name, address)).expect("a file");
        }
        assert_eq!(ask(&kept, directory.path()), "DENY  shop/a (10.0.0.1) -> shop/b (10.0.0.2)  80/tcp");
    }

    /// Questions leave nothing behind for the next one.
    #[test]
    fn a_reading_that_is_kept_answers_as_a_fresh_one() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("shop.yaml"), super::super::tests::SHOP).expect("a file");
        let kept = Kept::default();
        for _ in 0..3 {
            for (from, to) in [("shop/web", "shop/db"), ("shop/api", "shop/db"), ("shop/web", "203.0.113.1")] {
                let line = format!(r#"{{"from": "{from}", "to": "{to}", "port": "5432/tcp"}}"#);
                let question = Question::from_line(&line).expect("a question");
                let fresh = super::super::explain(directory.path(), None, &question).expect("an answer");
                let again = kept.explain(directory.path(), None, &question, &|_| Ok(None)).expect("an answer");
                assert_eq!(again.json.replace(r#""changesWait":true,"#, ""), fresh.json);
            }
        }
    }
}
