//! The policy sync API: what applies to one pod, for the proxies in it.
//!
//! Each pod that asks for it gets a unix socket of its own, on which it reads
//! Felix's messages over gRPC: a snapshot of what its endpoint needs, and what
//! changes of it. Which socket a caller came by is who it is.
//!
//! [`Processor`] decides what each client is told, without I/O. It follows the
//! flushes that the data half is sent, so that both see the same revisions, and
//! exists only while there are clients: [`Hub`] fills it from a snapshot of the
//! graph when the first one joins. [`serve`] has the sockets.

mod authority;
pub mod credentials;
#[doc(hidden)]
pub mod fuzz;
mod hub;
mod known;
mod processor;
mod queue;
pub mod serve;
mod socket;

pub use hub::{Hub, Request};
pub use processor::{Ended, EndpointId, JoinId, Processor, Told};
pub use queue::{Outgoing, Queue, queue};
