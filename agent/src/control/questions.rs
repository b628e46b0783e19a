//! Questions wait until what is due was told, and take little time at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Question;

/// How long one turn of the graph's thread answers questions: about what a change may
/// cost on its way to the kernel, so that nobody who asks without end makes changes wait.
/// A question that was begun is finished.
const SLICE: Duration = Duration::from_millis(1);

/// The questions that wait, oldest first.
#[derive(Default)]
pub(super) struct Questions(VecDeque<Question>);

impl Questions {
    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets a question wait for its turn.
    pub(super) fn push(&mut self, question: Question) {
        self.0.push_back(question);
    }

    /// Answers one question, and more while there is time.
    pub(super) fn answer(&mut self, mut answer: impl FnMut(Question)) {
        let begun = Instant::now();
        while let Some(question) = self.0.pop_front() {
            answer(question);
            if begun.elapsed() >= SLICE {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_with_the_question_that_took_its_time() {
        let mut questions = Questions::default();
        for _ in 0..100 {
            questions.push(Question::Look(Box::new(|_| {})));
        }
        for left in (0..100).rev() {
            questions.answer(|_| std::thread::sleep(SLICE));
            assert_eq!(questions.0.len(), left, "each takes a whole turn");
        }
        questions.answer(|_| panic!("none waits"));
        assert!(questions.is_empty());
    }
}
