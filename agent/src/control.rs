//! The control half: datastore, calculation graph and the sync API's server side.
//!
//! Sources and peers write to one bounded [`Inbox`]; one thread reads it, and
//! owns the graph.

mod calculator;
mod half;
mod inbox;

pub use calculator::Calculator;
pub use half::{ControlError, ControlHalf};
pub use inbox::{Inbox, Input, Outlet, PeerId, Receiver, inbox};
