//! Steps to messages, and refusals back to objects.

use std::io;

use caracal_program::{DriverError, Receipt};
use caracal_sys::nft::{self, Batch, CommitError, Guard, Place, Refused, SetHeader, TooLong};
use nix::errno::Errno;

use super::counters::{self, Edited};
use super::{NftablesDriver, RefusedObjects, Standing};
use crate::encode;
use crate::held::Print;
use crate::ir::Element;
use crate::layout;
use crate::model::{Model, Object};
use crate::plan::{Edit, Step};

/// The memory of a batch up to this many bytes is kept for the next one.
pub(super) const MOST_KEPT: usize = 1 << 20;

/// A transaction that was not carried out.
#[derive(Debug)]
pub(super) struct Failure {
    /// What the kernel refused, and why; empty if it named nothing of the model.
    pub(super) objects: RefusedObjects,
    /// Whether the ruleset changed between reading and writing.
    pub(super) stale: bool,
    pub(super) error: DriverError,
}

impl NftablesDriver {
    /// Sends steps as one transaction, whatever the generation.
    pub(super) fn send(&mut self, steps: &[Step]) -> Result<Receipt, Failure> {
        self.send_guarded(steps, Guard::Any)
    }

    /// Sends steps as one transaction.
    pub(super) fn send_guarded(&mut self, steps: &[Step], guard: Guard) -> Result<Receipt, Failure> {
        let edited = self.keep_counts(steps);
        let steps = edited.as_ref().map_or(steps, |edited| &edited.steps);
        self.batch.restart(guard);
        self.counters.clear_sending();
        let mut prints = std::mem::take(&mut self.prints);
        prints.clear();
        for step in steps {
            self.encode(step, &mut prints).map_err(|error| Failure {
                objects: RefusedObjects::default(),
                stale: false,
                error: DriverError::Refused { what: step.to_string(), source: io::Error::other(error) },
            })?;
        }
        self.prints = prints;
        if self.batch.is_empty() {
            return Ok(Receipt::default());
        }
        match self.socket.commit(&mut self.batch) {
            Ok(commit) => {
                self.transactions += 1;
                self.kernel += commit.kernel;
                self.known.generation = self.known.generation.wrapping_add(1);
                for (step, print) in steps.iter().zip(&self.prints) {
                    self.held.record(step, *print);
                }
                self.counters.record(steps);
                if let Some(Edited { steps: _, chains, carried }) = edited {
                    carried.into_iter().for_each(|handle| self.counters.carried(handle));
                    for (chain, print, deeds) in chains {
                        self.held.rules(&chain, print);
                        self.counters.edited(chain, deeds);
                    }
                }
                self.retry = None;
                let bytes = self.batch.len();
                if bytes > MOST_KEPT {
                    self.batch = Batch::new(&self.table);
                    self.prints = Vec::new();
                }
                Ok(Receipt {
                    outcomes: Vec::new(),
                    hosts: Vec::new(),
                    messages: commit.messages,
                    bytes,
                    transactions: 1,
                })
            }
            Err(error) => {
                self.standing = Standing::Unknown;
                self.refusals += 1;
                Err(self.failure(steps, error))
            }
        }
    }

    /// Writes a step, and adds its print.
    fn encode(&mut self, step: &Step, prints: &mut Vec<Print>) -> Result<nft::Op, TooLong> {
        let batch = &mut self.batch;
        let mut print = Print::default();
        let written = match step {
            Step::AddTable => {
                let ownership = match self.known.owned {
                    true => nft::Ownership::OwnedPersistent,
                    false => nft::Ownership::Shared,
                };
                batch.add_table(&nft::Table { ownership, comment: Some(layout::comment()) })
            }
            Step::DeleteTable => batch.delete_table(),
            Step::AddSet(spec) => batch.add_set(&encode::set(spec)),
            Step::AddChain(chain) => batch.add_chain(&encode::chain(chain)),
            Step::AddElements(spec, elements) => {
                print = Print::of_elements(elements);
                let header = SetHeader::new(&self.table, &spec.name);
                batch.add_elements(&header, elements.iter().flat_map(|e| encode::element(e, spec.kind)))
            }
            Step::DeleteElements(spec, elements) => {
                print = Print::of_elements(elements);
                let header = SetHeader::new(&self.table, &spec.name);
                batch.delete_elements(&header, elements.iter().flat_map(|e| encode::element(e, spec.kind)))
            }
            Step::FlushChain(name) => batch.flush_chain(name),
            Step::AddRule(chain, rule) => {
                let rule = encode::rule(rule);
                print = Print::of_rule(&rule);
                self.counters.send(&rule);
                batch.add_rule(chain, Place::Last, &rule)
            }
            Step::EditRule(chain, Edit::Delete(handle)) => batch.delete_rule(chain, *handle),
            Step::EditRule(chain, Edit::Insert { rule, before, counted }) => {
                let place = before.map_or(Place::Last, Place::Before);
                batch.add_rule(chain, place, &counters::encode_counted(rule, *counted))
            }
            Step::EditRule(chain, Edit::Replace { rule, instead_of, counted }) => {
                batch.add_rule(chain, Place::Instead(*instead_of), &counters::encode_counted(rule, *counted))
            }
            Step::DeleteChain(name) => batch.delete_chain(name),
            Step::DeleteSet(name) => batch.delete_set(name),
        };
        prints.push(print);
        written
    }

    fn failure(&self, steps: &[Step], error: CommitError) -> Failure {
        let stale = matches!(error, CommitError::Stale);
        let objects = match (&error, &self.model) {
            (CommitError::Refused(refused), Some(model)) => {
                causes(refused).flat_map(|refused| blamed(model, steps, refused)).collect()
            }
            _ => RefusedObjects::default(),
        };
        let what = format!("a transaction of {} steps", steps.len());
        let error = match error {
            CommitError::Refused(refused) if refused.iter().any(|r| r.errno == Errno::EPERM) => {
                let source = io::Error::from(io::ErrorKind::PermissionDenied);
                DriverError::Unavailable {
                    what: "write access to the table inet caracal, which another agent may own,".into(),
                    source,
                }
            }
            error => DriverError::Refused { what, source: io::Error::other(error) },
        };
        Failure { objects, stale, error }
    }
}

/// What was refused for a reason of its own. The kernel goes on after a refusal, and
/// does not find what a message before should have made.
fn causes(refused: &[Refused]) -> impl Iterator<Item = &Refused> {
    let is_consequence = |refused: &Refused| refused.errno == Errno::ENOENT;
    let all = refused.iter().all(is_consequence);
    refused.iter().filter(move |refused| all || !is_consequence(refused))
}

/// The objects of the model that a refused message is about, each with the reason.
pub(super) fn blamed(model: &Model, steps: &[Step], refused: &Refused) -> Vec<(Object, String)> {
    let reason = format!("the kernel refused to {refused}");
    let Some(step) = refused.op.and_then(|op| steps.get(op.index())) else { return Vec::new() };
    let objects = match (step, refused.element) {
        // A deletion that fails says that the kernel is not as we think: it is read back.
        (
            Step::DeleteChain(_)
            | Step::DeleteSet(_)
            | Step::DeleteElements(..)
            | Step::DeleteTable
            | Step::EditRule(_, Edit::Delete(_)),
            _,
        ) => Vec::new(),
        (Step::AddElements(spec, elements), Some(element)) if Model::is_of_workloads(spec) => {
            let interface = elements.get(element).and_then(Element::interface);
            interface.map(|name| Object::Interface(name.as_str().into())).into_iter().collect()
        }
        (step, _) => step.object().map(|name| model.objects_of(name)).unwrap_or_default(),
    };
    objects.into_iter().map(|object| (object, reason.clone())).collect()
}
