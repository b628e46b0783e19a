//! Whether a table under our name is one that can be edited.
//!
//! A release may lay the table out anew: other base chains, other ways between
//! chains, another meaning of a mark, another type under the name of a set. To
//! edit such a table piece by piece would let new chains lead into old ones. So a
//! table bears the number of its layout as its comment, which the kernel takes
//! when the table is made and does not let change, and a table of another layout,
//! whatever is in it, is not edited: it stays until everything has been told, and
//! is then replaced in one transaction.

use caracal_sys::nft::{Comment, ListedTable, NftSocket, QueryError, TableId};

/// The layout of the tables that are made. It is raised by whoever changes what
/// an older table cannot be edited into.
const NUMBER: u32 = 1;

/// `NFT_TABLE_F_DORMANT` of `linux/netfilter/nf_tables.h`: no packet meets the
/// table's base chains.
const DORMANT: u32 = 1;

/// The comment of a table of our layout.
pub(crate) fn comment() -> Comment {
    Comment::new(format!("caracal, layout {NUMBER}")).expect("it is short")
}

/// Whether a table has our layout.
pub(crate) fn is_ours(table: &ListedTable) -> bool {
    table.comment == Some(comment())
}

/// Whether a table is asleep.
pub(crate) const fn is_dormant(table: &ListedTable) -> bool {
    table.flags & DORMANT != 0
}

/// The table under our name, of whatever layout, if packets meet chains of it.
pub(crate) fn judging(socket: &mut NftSocket, id: &TableId) -> Result<Option<ListedTable>, QueryError> {
    let Some(table) = socket.table(id)? else { return Ok(None) };
    let has_base = socket.chains(id)?.iter().any(|listed| listed.chain.base.is_some());
    Ok((has_base && !is_dormant(&table)).then_some(table))
}
