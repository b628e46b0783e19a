//! Reading back what the kernel has.

use libc::NLM_F_DUMP;
use nix::errno::Errno;

use super::chain::ListedChain;
use super::element::Element;
use super::error::QueryError;
use super::name::Name;
use super::object::Counter;
use super::rule::{CountedRule, ListedRule};
use super::set::ListedSet;
use super::socket::{NftSocket, Request};
use super::table::{ListedTable, TableFamily, TableId};
use super::uapi::{
    NFT_OBJECT_COUNTER, NFTA_ANY_TABLE, NFTA_LIST_ELEM, NFTA_OBJ_TYPE, NFTA_RULE_CHAIN, NFTA_SET_ELEM_LIST_ELEMENTS,
    NFTA_SET_ELEM_LIST_SET,
};
use crate::netlink::Whole;
use crate::wire::{Attrs, Malformed, Writer};

/// Whether the attributes of a chain, rule, set or object say that it is in a table.
pub(super) fn is_in(table: &TableId, attrs: Attrs<'_>) -> Result<bool, Malformed> {
    for attr in attrs {
        let attr = attr?;
        if attr.kind == NFTA_ANY_TABLE {
            return Ok(attr.text()? == table.name.as_str());
        }
    }
    Err(Malformed("an object without its table"))
}

/// Hands over the elements in a message of a listing.
pub(super) fn each_element(attrs: Attrs<'_>, visit: &mut impl FnMut(Element)) -> Result<(), Malformed> {
    for list in attrs {
        let list = list?;
        if list.kind != NFTA_SET_ELEM_LIST_ELEMENTS {
            continue;
        }
        for element in list.nested() {
            let element = element?;
            if element.kind == NFTA_LIST_ELEM {
                visit(Element::decode(element.nested())?);
            }
        }
    }
    Ok(())
}

impl NftSocket {
    /// The tables of a family, in the order of their making.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn tables(&mut self, family: TableFamily) -> Result<Vec<ListedTable>, QueryError> {
        let request =
            Request { what: "tables", number: libc::NFT_MSG_GETTABLE, flags: NLM_F_DUMP, family: family.number() };
        self.until_whole(request.what, |socket| {
            let mut tables = Vec::new();
            let whole = socket.ask(
                request,
                |_| {},
                |attrs| {
                    tables.push(ListedTable::decode(attrs)?);
                    Ok(())
                },
            )?;
            Ok((tables, whole))
        })
    }

    /// One table, if it is there. The cheapest question about a table.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn table(&mut self, table: &TableId) -> Result<Option<ListedTable>, QueryError> {
        let request =
            Request { what: "a table", number: libc::NFT_MSG_GETTABLE, flags: 0, family: table.family.number() };
        let mut found = None;
        let answer = self.ask(
            request,
            |out| out.text(NFTA_ANY_TABLE, &table.name),
            |attrs| {
                found = Some(ListedTable::decode(attrs)?);
                Ok(())
            },
        );
        match answer {
            Err(QueryError::Refused { errno: Errno::ENOENT, .. }) => Ok(None),
            answer => answer.map(|_| found),
        }
    }

    /// The chains of a table, in the order of their making. Base chains of hooks
    /// that this crate does not use are left out.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn chains(&mut self, table: &TableId) -> Result<Vec<ListedChain>, QueryError> {
        self.list("chains", libc::NFT_MSG_GETCHAIN, table, |_| {}, ListedChain::decode)
    }

    /// The rules of a table: chain by chain, in their order.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn rules(&mut self, table: &TableId) -> Result<Vec<ListedRule>, QueryError> {
        self.list("rules", libc::NFT_MSG_GETRULE, table, |_| {}, |attrs| ListedRule::decode(attrs).map(Some))
    }

    /// The rules of a chain in their order; none if there is no such chain.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn rules_of(&mut self, table: &TableId, chain: &Name) -> Result<Vec<ListedRule>, QueryError> {
        let fill = |out: &mut Writer| out.text(NFTA_RULE_CHAIN, chain);
        let mut rules =
            self.list("rules", libc::NFT_MSG_GETRULE, table, fill, |attrs| ListedRule::decode(attrs).map(Some))?;
        rules.retain(|rule| rule.chain == *chain);
        Ok(rules)
    }

    /// The rules of a chain that have counted something: what that is, without what they
    /// do. None if there is no such chain.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn counted_rules_of(&mut self, table: &TableId, chain: &Name) -> Result<Vec<CountedRule>, QueryError> {
        let fill = |out: &mut Writer| out.text(NFTA_RULE_CHAIN, chain);
        let mut rules = self.list("rules", libc::NFT_MSG_GETRULE, table, fill, CountedRule::decode)?;
        rules.retain(|rule| rule.chain == *chain);
        Ok(rules)
    }

    /// The sets and maps of a table, without their elements, in the order of their making.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn sets(&mut self, table: &TableId) -> Result<Vec<ListedSet>, QueryError> {
        self.list("sets", libc::NFT_MSG_GETSET, table, |_| {}, |attrs| ListedSet::decode(attrs).map(Some))
    }

    /// The named counters of a table and their values.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn counters(&mut self, table: &TableId) -> Result<Vec<Counter>, QueryError> {
        let fill = |out: &mut Writer| out.be32(NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER);
        self.list("counters", libc::NFT_MSG_GETOBJ, table, fill, Counter::decode)
    }

    /// The elements of a set or map, sorted by key.
    ///
    /// # Errors
    /// See [`QueryError`]; ENOENT if there is no such set.
    pub fn elements(&mut self, table: &TableId, set: &Name) -> Result<Vec<Element>, QueryError> {
        let request = Request {
            what: "elements",
            number: libc::NFT_MSG_GETSETELEM,
            flags: NLM_F_DUMP,
            family: table.family.number(),
        };
        self.until_whole(request.what, |socket| {
            let mut elements = Vec::new();
            let fill = |out: &mut Writer| {
                out.text(NFTA_ANY_TABLE, &table.name);
                out.text(NFTA_SET_ELEM_LIST_SET, set);
            };
            let whole =
                socket.ask(request, fill, |attrs| each_element(attrs, &mut |element| elements.push(element)))?;
            // A hash set that grows moves its elements in the background. A page of
            // the listing then skips others than the earlier pages had, and for
            // each element that is left out another one comes twice.
            elements.sort_unstable_by(|one, other| one.key.cmp(&other.key));
            let twice = elements.windows(2).any(|pair| pair[0].key == pair[1].key);
            let whole = if twice { Whole::No } else { whole };
            Ok((elements, whole))
        })
    }

    /// Lists things of one table. Elder kernels list those of other tables too.
    fn list<T>(
        &mut self,
        what: &'static str,
        number: i32,
        table: &TableId,
        fill: impl Fn(&mut Writer),
        decode: impl Fn(Attrs<'_>) -> Result<Option<T>, Malformed>,
    ) -> Result<Vec<T>, QueryError> {
        let request = Request { what, number, flags: NLM_F_DUMP, family: table.family.number() };
        self.until_whole(what, |socket| {
            let mut listed = Vec::new();
            let fill = |out: &mut Writer| {
                out.text(NFTA_ANY_TABLE, &table.name);
                fill(out);
            };
            let whole = socket.ask(request, fill, |attrs| {
                if is_in(table, attrs)? {
                    listed.extend(decode(attrs)?);
                }
                Ok(())
            })?;
            Ok((listed, whole))
        })
    }
}
