//! Atoms, and selectors made of them.

use std::ops::{Index, IndexMut};

use caracal_selector::Expr;
use smallvec::SmallVec;

use super::ClassSpace;
use super::values::KeyState;
use crate::id_set::IdSet;
use crate::id_table::IdTable;
use crate::ids::{AtomIx, KeyIx};
use crate::interner::hash_of;
use crate::label_store::LabelStore;
use crate::slots::Slots;

/// What an atom asks of a label that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Test {
    Has,
    Eq,
    Contains,
    StartsWith,
    EndsWith,
}

impl Test {
    /// Whether a value other than the one asked for may pass.
    pub(super) const fn is_pattern(self) -> bool {
        match self {
            Self::Contains | Self::StartsWith | Self::EndsWith => true,
            Self::Has | Self::Eq => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Atom {
    pub(super) key: KeyIx,
    pub(super) test: Test,
    /// What the value is compared with; empty for `Has`.
    pub(super) text: Box<str>,
    /// How many times selectors name it. An atom that none names is kept until
    /// many are not named: a selector that comes back finds it settled.
    refs: u32,
    /// The classes of which it is true.
    pub(super) classes: IdSet,
    /// The settled selectors that are looked for where it is true.
    pub(super) selectors: IdSet,
}

impl Atom {
    /// What the atom is found by.
    fn hash(&self) -> u64 {
        hash_of(&(self.key, self.test, self.text.as_bytes()))
    }

    /// Whether a value passes; `None` stands for any value at all.
    pub(super) fn admits(&self, value: Option<&str>) -> bool {
        match (self.test, value) {
            (Test::Has, _) => true,
            (_, None) => false,
            (Test::Eq, Some(value)) => *value == *self.text,
            (Test::Contains, Some(value)) => value.contains(&*self.text),
            (Test::StartsWith, Some(value)) => value.starts_with(&*self.text),
            (Test::EndsWith, Some(value)) => value.ends_with(&*self.text),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Atoms {
    slots: Slots<Atom>,
    table: IdTable,
    idle: usize,
}

impl Index<AtomIx> for Atoms {
    type Output = Atom;

    fn index(&self, at: AtomIx) -> &Atom {
        &self.slots[at.0]
    }
}

impl IndexMut<AtomIx> for Atoms {
    fn index_mut(&mut self, at: AtomIx) -> &mut Atom {
        &mut self.slots[at.0]
    }
}

impl Atoms {
    pub(super) fn find(&self, key: KeyIx, test: Test, text: &[u8]) -> Option<AtomIx> {
        let same = |at| {
            let atom = &self.slots[at];
            (atom.key, atom.test, atom.text.as_bytes()) == (key, test, text)
        };
        self.table.find(hash_of(&(key, test, text)), same).map(AtomIx)
    }

    /// Takes a reference; tells whether the atom is new.
    fn acquire(&mut self, key: KeyIx, test: Test, text: &str) -> (AtomIx, bool) {
        if let Some(at) = self.find(key, test, text.as_bytes()) {
            let atom = &mut self.slots[at.0];
            self.idle -= usize::from(atom.refs == 0);
            atom.refs += 1;
            return (at, false);
        }
        let at = self.slots.insert(Atom {
            key,
            test,
            text: text.into(),
            refs: 1,
            classes: IdSet::default(),
            selectors: IdSet::default(),
        });
        let slots = &self.slots;
        self.table.insert(slots[at].hash(), at, || slots.iter().map(|(at, atom)| (at, atom.hash())));
        (AtomIx(at), true)
    }

    /// Gives back the references of a selector.
    pub(super) fn release_all(&mut self, compiled: &Compiled) {
        match compiled {
            Compiled::Always | Compiled::Never => {}
            Compiled::Atom(at) => {
                let atom = &mut self.slots[at.0];
                atom.refs -= 1;
                self.idle += usize::from(atom.refs == 0);
            }
            Compiled::Not(operand) => self.release_all(operand),
            Compiled::All(operands) | Compiled::Any(operands) => {
                for operand in operands {
                    self.release_all(operand);
                }
            }
        }
    }

    /// The atoms that no selector names, if they are the most.
    pub(super) fn idle_if_many(&self) -> Option<Vec<AtomIx>> {
        const FEW: usize = 64;
        if self.idle < FEW || self.idle * 2 < self.slots.len() {
            return None;
        }
        let idle = self.slots.iter().filter(|(_, atom)| atom.refs == 0);
        Some(idle.map(|(at, _)| AtomIx(at)).collect())
    }

    /// Forgets an idle atom that no class has any more.
    pub(super) fn forget(&mut self, at: AtomIx) {
        let atom = self.slots.remove(at.0);
        self.table.remove(atom.hash(), at.0);
        self.idle -= 1;
    }
}

/// A selector over atoms.
#[derive(Debug)]
pub(super) enum Compiled {
    Always,
    Never,
    Atom(AtomIx),
    Not(Box<Compiled>),
    All(Box<[Compiled]>),
    Any(Box<[Compiled]>),
}

impl Compiled {
    /// Whether the selector is true where exactly these atoms are. `atoms` is sorted.
    pub(super) fn eval(&self, atoms: &[AtomIx]) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Atom(atom) => atoms.binary_search(atom).is_ok(),
            Self::Not(operand) => !operand.eval(atoms),
            Self::All(operands) => operands.iter().all(|operand| operand.eval(atoms)),
            Self::Any(operands) => operands.iter().any(|operand| operand.eval(atoms)),
        }
    }

    /// Atoms of which at least one is true where the selector is: of all such
    /// lists the one that leads to the fewest classes and selectors.
    pub(super) fn cover(&self, atoms: &Atoms) -> Option<SmallVec<[AtomIx; 2]>> {
        match self {
            Self::Always | Self::Not(_) => None,
            Self::Never => Some(SmallVec::new()),
            Self::Atom(atom) => Some(SmallVec::from_slice(&[*atom])),
            Self::All(operands) => {
                let covers = operands.iter().filter_map(|operand| operand.cover(atoms));
                covers.min_by_key(|cover| weight(cover, atoms))
            }
            Self::Any(operands) => {
                let mut all = SmallVec::new();
                for operand in operands {
                    all.extend(operand.cover(atoms)?);
                }
                all.sort_unstable();
                all.dedup();
                Some(all)
            }
        }
    }
}

/// How common the atoms are; of equally common ones a value is rarer than a presence.
fn weight(cover: &[AtomIx], atoms: &Atoms) -> u64 {
    let of = |atom: &AtomIx| {
        let atom = &atoms[*atom];
        let broad = u64::from(atom.test != Test::Eq);
        2 * (atom.classes.len() + atom.selectors.len()) + broad
    };
    cover.iter().map(of).sum()
}

impl ClassSpace {
    pub(super) fn compile(&mut self, labels: &mut LabelStore, expr: &Expr) -> Compiled {
        let mut any = |this: &mut Self, key: &str, values: &[Box<str>]| {
            if values.is_empty() {
                return Compiled::Never;
            }
            let atoms = values.iter().map(|value| this.atom(labels, key, Test::Eq, value));
            Compiled::Any(atoms.collect())
        };
        match expr {
            Expr::All | Expr::Global => Compiled::Always,
            Expr::In(key, values) => any(self, key, values),
            Expr::NotIn(key, values) => Compiled::Not(any(self, key, values).into()),
            Expr::Has(key) => self.atom(labels, key, Test::Has, ""),
            Expr::Eq(key, value) => self.atom(labels, key, Test::Eq, value),
            Expr::Ne(key, value) => Compiled::Not(self.atom(labels, key, Test::Eq, value).into()),
            Expr::Contains(key, part) => self.atom(labels, key, Test::Contains, part),
            Expr::StartsWith(key, part) => self.atom(labels, key, Test::StartsWith, part),
            Expr::EndsWith(key, part) => self.atom(labels, key, Test::EndsWith, part),
            Expr::Not(operand) => Compiled::Not(self.compile(labels, operand).into()),
            Expr::And(operands) => Compiled::All(self.compile_list(labels, operands)),
            Expr::Or(operands) => Compiled::Any(self.compile_list(labels, operands)),
        }
    }

    fn compile_list(&mut self, labels: &mut LabelStore, operands: &[Expr]) -> Box<[Compiled]> {
        operands.iter().map(|operand| self.compile(labels, operand)).collect()
    }

    fn atom(&mut self, labels: &mut LabelStore, key: &str, test: Test, text: &str) -> Compiled {
        let key = labels.acquire_key(key);
        let (atom, new) = self.atoms.acquire(key, test, text);
        if new {
            let state = self.keys.entry(key).or_insert_with(|| {
                labels.retain_key(key);
                KeyState::default()
            });
            state.add_atom(atom, test);
            self.new_atoms.push(atom);
        }
        labels.release_key(key);
        Compiled::Atom(atom)
    }
}
