//! Looking at much of the ruleset at once, and keeping little of it.

use libc::NLM_F_DUMP;

use super::element::Element;
use super::error::QueryError;
use super::list::{each_element, is_in};
use super::name::Name;
use super::rule::{ListedRule, Rule};
use super::socket::{NftSocket, Request};
use super::table::TableId;
use super::uapi::{NFTA_ANY_TABLE, NFTA_SET_ELEM_LIST_SET};
use crate::netlink::Whole;

/// A look at the ruleset that hands over what it sees piece by piece.
///
/// Single listings of [`NftSocket`] are each of one moment, for which the kernel is
/// asked three times more. Here one question before and one after go for all that
/// is seen between them.
#[derive(Debug)]
pub struct Glance<'s> {
    socket: &'s mut NftSocket,
    whole: Whole,
}

impl NftSocket {
    /// Looks at the ruleset; `None` if somebody committed meanwhile, so that what was
    /// seen is of no one moment.
    ///
    /// A hash set that is growing may show an element twice and another not at all:
    /// who sees a set that is not as it should be looks again by [`NftSocket::elements`].
    ///
    /// # Errors
    /// See [`QueryError`], and those of `look`.
    pub fn glance<T>(
        &mut self,
        look: impl FnOnce(&mut Glance<'_>) -> Result<T, QueryError>,
    ) -> Result<Option<T>, QueryError> {
        self.wait_for_commit()?;
        let before = self.generation()?;
        let mut glance = Glance { socket: self, whole: Whole::Yes };
        let seen = look(&mut glance)?;
        let whole = glance.whole;
        Ok((whole == Whole::Yes && self.generation()? == before).then_some(seen))
    }
}

impl Glance<'_> {
    /// The rules of a table with the names of their chains: chain by chain, in their
    /// order. Counters have the values of the moment.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn rules(&mut self, table: &TableId, mut visit: impl FnMut(&str, &Rule)) -> Result<(), QueryError> {
        let mut rule = Rule::default();
        let request =
            Request { what: "rules", number: libc::NFT_MSG_GETRULE, flags: NLM_F_DUMP, family: table.family.number() };
        let whole = self.socket.ask(
            request,
            |out| out.text(NFTA_ANY_TABLE, &table.name),
            |attrs| {
                if is_in(table, attrs)? {
                    let (chain, _) = ListedRule::decode_into(attrs, &mut rule)?;
                    visit(chain, &rule);
                }
                Ok(())
            },
        )?;
        self.note(whole);
        Ok(())
    }

    /// The elements of a set or map, in no order.
    ///
    /// # Errors
    /// See [`QueryError`]; ENOENT if there is no such set.
    pub fn elements(&mut self, table: &TableId, set: &Name, mut visit: impl FnMut(Element)) -> Result<(), QueryError> {
        let request = Request {
            what: "elements",
            number: libc::NFT_MSG_GETSETELEM,
            flags: NLM_F_DUMP,
            family: table.family.number(),
        };
        let whole = self.socket.ask(
            request,
            |out| {
                out.text(NFTA_ANY_TABLE, &table.name);
                out.text(NFTA_SET_ELEM_LIST_SET, set);
            },
            |attrs| each_element(attrs, &mut visit),
        )?;
        self.note(whole);
        Ok(())
    }

    const fn note(&mut self, whole: Whole) {
        if matches!(whole, Whole::No) {
            self.whole = Whole::No;
        }
    }
}
