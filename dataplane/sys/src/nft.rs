//! nf_tables over netlink: a typed encoder and decoder, and the socket.
//!
//! A [`Batch`] collects operations on one table; [`NftSocket::commit`] hands it
//! to the kernel as one transaction. [`NftSocket`] also lists what the kernel
//! has, in the same types, so that a caller can compare it with what it wants.
//!
//! Interface of the kernel: `linux/netfilter/nf_tables.h`.

mod batch;
mod chain;
mod element;
mod error;
mod expr;
mod glance;
mod list;
mod monitor;
mod name;
mod object;
#[cfg(test)]
mod oracle;
mod rule;
mod set;
mod socket;
mod survey;
mod table;
mod uapi;
mod userdata;
mod value;
mod watch;

pub use batch::{Batch, Guard, Op, TooLong};
pub use chain::{Base, Chain, ChainType, Hook, ListedChain, Policy};
pub use element::{Data, Element, Key, SetHeader};
pub use error::{CommitError, QueryError, Refused};
pub use expr::{
    CmpOp, CtDirection, CtKey, CtState, CtStatus, Expr, FibInput, FibResult, IcmpxCode, LimitUnit, LimitWhen,
    LogTarget, Lookup, MetaKey, NatFlags, ObjectKind, PayloadBase, RangeOp, Reject,
};
pub use glance::Glance;
pub use monitor::{Culprit, Monitor, Touched};
pub use name::{Comment, LogPrefix, Name, TextError};
pub use object::Counter;
pub use rule::{CountedRule, Handle, ListedRule, Place, Rule};
pub use set::{Change, Field, Fields, ListedSet, Set, SetData, SetKind};
pub use socket::{Commit, Features, NftSocket};
pub use survey::{SurveyedBase, SurveyedChain, mark_bits, sets_labels};
pub use table::{ListedTable, Ownership, Table, TableFamily, TableId};
pub use value::{Reg, VALUE_MAX, Value, Verdict};

pub use crate::netlink::Transport;
pub use crate::wire::Malformed;
