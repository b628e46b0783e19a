//! The external driver: another program puts policy into force.
//!
//! A child process reads Felix's messages from file descriptor 3 and writes
//! statuses to file descriptor 4, in Felix's framing ([`framing`]). That is how
//! VPP and others attach. [`spawn`] starts a thread that takes revisions as the
//! data half does, and supervises the child: one that ends is started again, and
//! told everything.
//!
//! A revision is acknowledged when the child's pipe has taken all of it. A child
//! that does not read so holds the acknowledgements back, and the control half
//! coalesces: nothing queues up for a slow child but the two revisions that the
//! window lets in. One that talks without end is read no faster than the control half
//! can listen.

mod backoff;
mod child;
pub mod framing;
#[doc(hidden)]
pub mod fuzz;
mod pace;
mod revision;
mod shared;
mod statuses;
mod supervisor;

pub use supervisor::{Frames, Handle, Reply, spawn};
