//! Selectors of a class space by their canonical text, and parsed texts.
//!
//! Memory: the canonical text and about 50 bytes per selector in use; a bounded
//! number of parsed texts besides, so that equal selectors are not parsed again.

use caracal_selector::{Selector, SelectorError};
use smol_str::SmolStr;

use crate::class_space::ClassSpace;
use crate::ids::{Place, SelectorIx};
use crate::interner::{Interner, hash_of};
use crate::label_store::LabelStore;

#[derive(Debug, Default)]
pub(crate) struct SelectorTable {
    texts: Interner<Box<str>>,
    /// By the id of the text.
    selectors: Vec<SelectorIx>,
    /// By selector: the id of its text.
    text_of: Vec<u32>,
}

impl SelectorTable {
    /// Takes a reference to a selector of the space.
    pub(crate) fn acquire(
        &mut self,
        space: &mut ClassSpace,
        labels: &mut LabelStore,
        selector: &Selector,
    ) -> SelectorIx {
        let (text, new) = self.texts.acquire(selector.canonical(), || selector.canonical().into());
        if !new {
            return self.selectors[text as usize];
        }
        let at = space.add_selector(labels, selector);
        put(&mut self.selectors, text, at, SelectorIx(0));
        put(&mut self.text_of, at.0, text, 0);
        at
    }

    /// Gives a reference back; tells whether the selector left the space.
    pub(crate) fn release(&mut self, space: &mut ClassSpace, selector: SelectorIx) -> bool {
        let last = self.texts.release(self.text_of[selector.ix()]).is_some();
        if last {
            space.remove_selector(selector);
        }
        last
    }

    /// The selector of a canonical text, if it is in use.
    pub(crate) fn find(&self, selector: &Selector) -> Option<SelectorIx> {
        let text = self.texts.find(selector.canonical())?;
        Some(self.selectors[text as usize])
    }

    /// The canonical text of a selector.
    pub(crate) fn text(&self, selector: SelectorIx) -> &str {
        &self.texts[self.text_of[selector.ix()]]
    }
}

fn put<T: Copy>(table: &mut Vec<T>, at: u32, value: T, filler: T) {
    let at = at as usize;
    if table.len() <= at {
        table.resize(at + 1, filler);
    }
    table[at] = value;
}

/// Parses selectors and remembers some of them: of those that share a place, the last one.
#[derive(Debug, Default)]
pub(crate) struct SelectorParser {
    /// None until the first selector, then [`REMEMBERED`].
    parsed: Box<[Option<(SmolStr, Selector)>]>,
}

/// Enough for what a flush asks for again, little beside what a cluster's policies take.
const REMEMBERED: usize = 256;

impl SelectorParser {
    /// As [`Selector::parse`].
    pub(crate) fn parse(&mut self, text: &SmolStr) -> Result<&Selector, SelectorError> {
        if self.parsed.is_empty() {
            self.parsed = vec![None; REMEMBERED].into();
        }
        // The upper bits of the hash are the better ones.
        let at = (hash_of(text.as_bytes()) >> 32) as usize % REMEMBERED;
        let place = &mut self.parsed[at];
        if place.as_ref().is_none_or(|(known, _)| known != text) {
            *place = Some((text.clone(), Selector::parse(text)?));
        }
        let (_, selector) = place.as_ref().expect("it was there, or just parsed");
        Ok(selector)
    }
}
