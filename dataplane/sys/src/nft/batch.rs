//! Batches: what the kernel does as one transaction.

use libc::{NLM_F_CREATE, NLM_F_REQUEST, c_int};

use super::chain::Chain;
use super::element::{Element, SetHeader};
use super::name::Name;
use super::object::Counter;
use super::rule::{Handle, Place, Rule};
use super::set::Set;
use super::table::{Table, TableId};
use super::uapi::{
    self, NFNL_BATCH_GENID, NFT_MSG_DESTROYSETELEM, NFTA_ANY_TABLE, NFTA_CHAIN_NAME, NFTA_OBJ_NAME, NFTA_OBJ_TYPE,
    NFTA_RULE_CHAIN, NFTA_RULE_HANDLE, NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET, NFTA_SET_NAME,
};
use crate::wire::{ATTR_MAX, Head, Open, Writer};

/// The sequence number of the message that opens a batch; the messages inside
/// count on from it.
pub(super) const FIRST_SEQ: u32 = 1;

/// No element is longer: two keys of 64 bytes, a chain's name, a comment, and headers.
const ELEMENT_MAX: usize = 1024;

/// One call of a method of [`Batch`], counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Op(pub u32);

impl Op {
    /// The count, to index a list with that has one entry per call.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// An object does not fit into a message: one attribute of it is over 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {0} does not fit into a netlink message; split it")]
pub struct TooLong(&'static str);

/// One message of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// Where it starts in the buffer.
    pub(super) offset: usize,
    /// The call that wrote it.
    pub(super) op: Op,
    /// For elements: how many of the same call are in earlier messages.
    pub(super) elements_before: usize,
}

/// Which generation of the ruleset a batch is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Any.
    Any,
    /// Only this one: the kernel refuses the batch if somebody has committed since.
    Generation(u32),
}

/// A transaction on one table under construction: messages in one buffer, which
/// [`super::NftSocket::commit`] sends as a whole. Keeps its memory over
/// [`Batch::restart`].
///
/// A method that fails has written nothing; the batch can be used on.
#[derive(Clone, Debug)]
pub struct Batch {
    family: u8,
    /// The table's name as an attribute, which starts every message.
    table: Box<[u8]>,
    writer: Writer,
    marks: Vec<Mark>,
    ops: u32,
}

impl Batch {
    /// An empty batch on a table.
    #[must_use]
    pub fn new(table: &TableId) -> Self {
        let mut name = Writer::default();
        name.text(NFTA_ANY_TABLE, &table.name);
        let mut batch = Self {
            family: table.family.number(),
            table: name.bytes().into(),
            writer: Writer::default(),
            marks: Vec::new(),
            ops: 0,
        };
        batch.restart(Guard::Any);
        batch
    }

    /// Empties the batch.
    pub fn restart(&mut self, guard: Guard) {
        self.writer.clear();
        self.marks.clear();
        self.ops = 0;
        put_begin(&mut self.writer, guard);
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// The messages so far, without those that open and close the batch.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.marks.len()
    }

    /// The bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writer.len()
    }

    /// Adds the table, or takes over one that has lost its owner.
    ///
    /// # Errors
    /// None in practice: a table is short.
    pub fn add_table(&mut self, table: &Table) -> Result<Op, TooLong> {
        self.message(libc::NFT_MSG_NEWTABLE, NLM_F_CREATE, "table", |out| table.encode(out))
    }

    /// Deletes the table with all that is in it.
    ///
    /// # Errors
    /// None in practice: a name is short.
    pub fn delete_table(&mut self) -> Result<Op, TooLong> {
        self.message(libc::NFT_MSG_DELTABLE, 0, "table", |_| {})
    }

    /// Adds a chain, or changes the policy of one that is there.
    ///
    /// # Errors
    /// None in practice: a chain is short.
    pub fn add_chain(&mut self, chain: &Chain) -> Result<Op, TooLong> {
        self.message(libc::NFT_MSG_NEWCHAIN, NLM_F_CREATE, "chain", |out| chain.encode(out))
    }

    /// Deletes a chain. It must be without rules and without jumps to it (EBUSY).
    ///
    /// # Errors
    /// None in practice: a name is short.
    pub fn delete_chain(&mut self, chain: &Name) -> Result<Op, TooLong> {
        self.message(libc::NFT_MSG_DELCHAIN, 0, "chain", |out| out.text(NFTA_CHAIN_NAME, chain))
    }

    /// Deletes a chain's rules.
    ///
    /// # Errors
    /// None in practice: a name is short.
    pub fn flush_chain(&mut self, chain: &Name) -> Result<Op, TooLong> {
        self.message(libc::NFT_MSG_DELRULE, 0, "chain", |out| out.text(NFTA_RULE_CHAIN, chain))
    }

    /// Adds a rule to a chain.
    ///
    /// # Errors
    /// When the rule's expressions are over 64 KiB together.
    pub fn add_rule(&mut self, chain: &Name, place: Place, rule: &Rule) -> Result<Op, TooLong> {
        self.message(libc::NFT_MSG_NEWRULE, place.flags(), "rule", |out| {
            out.text(NFTA_RULE_CHAIN, chain);
            place.encode(out);
            rule.encode(out);
        })
    }

    /// Deletes one rule.
    ///
    /// # Errors
    /// None in practice: a name is short.
    pub fn delete_rule(&mut self, chain: &Name, Handle(handle): Handle) -> Result<Op, TooLong> {
        self.message(libc::NFT_MSG_DELRULE, 0, "rule", |out| {
            out.text(NFTA_RULE_CHAIN, chain);
            out.be64(NFTA_RULE_HANDLE, handle);
        })
    }

    /// Adds a set or map.
    ///
    /// # Errors
    /// None in practice: a set is short.
    pub fn add_set(&mut self, set: &Set) -> Result<Op, TooLong> {
        let id = self.next_seq();
        self.message(libc::NFT_MSG_NEWSET, NLM_F_CREATE, "set", |out| set.encode(out, id))
    }

    /// Deletes a set or map with its elements. No rule may use it (EBUSY).
    ///
    /// # Errors
    /// None in practice: a name is short.
    pub fn delete_set(&mut self, set: &Name) -> Result<Op, TooLong> {
        self.message(libc::NFT_MSG_DELSET, 0, "set", |out| out.text(NFTA_SET_NAME, set))
    }

    /// Deletes a set's elements.
    ///
    /// # Errors
    /// None in practice: a name is short.
    pub fn flush_set(&mut self, set: &Name) -> Result<Op, TooLong> {
        self.message(libc::NFT_MSG_DELSETELEM, 0, "set", |out| out.text(NFTA_SET_ELEM_LIST_SET, set))
    }

    /// Adds elements. One that is there and alike is no error; one that is there
    /// with other data, or a range that overlaps one that is there, is EEXIST.
    ///
    /// # Errors
    /// When one element does not fit into a message.
    pub fn add_elements(
        &mut self,
        set: &SetHeader,
        elements: impl IntoIterator<Item = Element>,
    ) -> Result<Op, TooLong> {
        self.elements(libc::NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, elements)
    }

    /// Deletes elements. One that is not there refuses the batch with ENOENT.
    ///
    /// # Errors
    /// When one element does not fit into a message.
    pub fn delete_elements(
        &mut self,
        set: &SetHeader,
        elements: impl IntoIterator<Item = Element>,
    ) -> Result<Op, TooLong> {
        self.elements(libc::NFT_MSG_DELSETELEM, 0, set, elements)
    }

    /// Deletes those elements that are there. Only where the kernel has
    /// [`super::Features::destroy`].
    ///
    /// # Errors
    /// When one element does not fit into a message.
    pub fn destroy_elements(
        &mut self,
        set: &SetHeader,
        elements: impl IntoIterator<Item = Element>,
    ) -> Result<Op, TooLong> {
        self.elements(NFT_MSG_DESTROYSETELEM, 0, set, elements)
    }

    /// Adds a named counter. One that is there keeps its values.
    ///
    /// # Errors
    /// None in practice: a counter is short.
    pub fn add_counter(&mut self, counter: &Counter) -> Result<Op, TooLong> {
        self.message(libc::NFT_MSG_NEWOBJ, NLM_F_CREATE, "counter", |out| counter.encode(out))
    }

    /// Deletes a named counter. No rule may use it (EBUSY).
    ///
    /// # Errors
    /// None in practice: a name is short.
    pub fn delete_counter(&mut self, counter: &Name) -> Result<Op, TooLong> {
        self.message(libc::NFT_MSG_DELOBJ, 0, "counter", |out| {
            out.text(NFTA_OBJ_NAME, counter);
            out.be32(NFTA_OBJ_TYPE, uapi::NFT_OBJECT_COUNTER);
        })
    }

    /// The whole batch, closed.
    pub(super) fn close(&mut self) -> &[u8] {
        let seq = self.next_seq();
        put_end(&mut self.writer, seq);
        self.writer.bytes()
    }

    /// Takes back the end that [`Batch::close`] wrote.
    pub(super) fn reopen(&mut self) {
        let end = crate::wire::HEADER + crate::wire::NFGEN;
        self.writer.truncate(self.writer.len() - end);
    }

    /// The batch without an end: the kernel tries everything and keeps nothing.
    pub(super) fn unclosed(&self) -> &[u8] {
        self.writer.bytes()
    }

    /// The message with a sequence number; `None` for those that open and close the batch.
    pub(super) fn mark(&self, seq: u32) -> Option<(Mark, &[u8])> {
        let index = usize::try_from(seq.checked_sub(FIRST_SEQ + 1)?).ok()?;
        let mark = self.marks.get(index)?;
        Some((*mark, &self.writer.bytes()[mark.offset..]))
    }

    fn next_seq(&self) -> u32 {
        FIRST_SEQ + 1 + u32::try_from(self.marks.len()).expect("a batch has less than 4 G messages")
    }

    fn begin(&mut self, kind: c_int, flags: c_int, family: u8) -> Open {
        let head = head(uapi::message(kind), NLM_F_REQUEST | flags, self.next_seq());
        self.writer.begin(head, family, 0)
    }

    fn end(&mut self, open: Open, elements_before: usize, what: &'static str) -> Result<(), TooLong> {
        let mark = Mark { offset: open.at(), op: Op(self.ops), elements_before };
        self.writer.end(open).map_err(|_| TooLong(what))?;
        self.marks.push(mark);
        Ok(())
    }

    fn next_op(&mut self) -> Op {
        let op = Op(self.ops);
        self.ops += 1;
        op
    }

    fn message(
        &mut self,
        kind: c_int,
        flags: c_int,
        what: &'static str,
        fill: impl FnOnce(&mut Writer),
    ) -> Result<Op, TooLong> {
        let open = self.begin(kind, flags, self.family);
        self.writer.raw(&self.table);
        fill(&mut self.writer);
        self.end(open, 0, what)?;
        Ok(self.next_op())
    }

    /// Writes as many messages as the elements need. Without elements there is
    /// no message: a deletion that names none would delete all.
    fn elements(
        &mut self,
        kind: c_int,
        flags: c_int,
        set: &SetHeader,
        elements: impl IntoIterator<Item = Element>,
    ) -> Result<Op, TooLong> {
        let (start, marks) = (self.writer.len(), self.marks.len());
        let mut elements = elements.into_iter().peekable();
        let mut done = 0;
        while elements.peek().is_some() {
            let before = done;
            let open = self.begin(kind, flags, set.family);
            self.writer.raw(&set.attrs);
            let list = self.writer.open(NFTA_SET_ELEM_LIST_ELEMENTS);
            let full = self.writer.len() + ATTR_MAX - ELEMENT_MAX;
            while self.writer.len() < full
                && let Some(element) = elements.next()
            {
                element.encode(&mut self.writer);
                done += 1;
            }
            self.writer.close(list);
            if let Err(error) = self.end(open, before, "element") {
                self.writer.truncate(start);
                self.marks.truncate(marks);
                return Err(error);
            }
        }
        Ok(self.next_op())
    }
}

/// A batch that does nothing.
pub(super) fn put_empty(out: &mut Writer) {
    put_begin(out, Guard::Any);
    put_end(out, FIRST_SEQ + 1);
}

fn put_begin(out: &mut Writer, guard: Guard) {
    let head = head(libc::NFNL_MSG_BATCH_BEGIN as u16, NLM_F_REQUEST, FIRST_SEQ);
    let open = out.begin(head, libc::AF_UNSPEC as u8, libc::NFNL_SUBSYS_NFTABLES as u16);
    if let Guard::Generation(generation) = guard {
        out.be32(NFNL_BATCH_GENID, generation);
    }
    out.end(open).expect("the start of a batch is short");
}

fn put_end(out: &mut Writer, seq: u32) {
    let head = head(libc::NFNL_MSG_BATCH_END as u16, NLM_F_REQUEST, seq);
    let open = out.begin(head, libc::AF_UNSPEC as u8, libc::NFNL_SUBSYS_NFTABLES as u16);
    out.end(open).expect("the end of a batch is short");
}

fn head(kind: u16, flags: c_int, seq: u32) -> Head {
    Head { kind, flags: u16::try_from(flags).expect("netlink flags have 16 bits"), seq }
}
