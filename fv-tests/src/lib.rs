//! Functional verification: pods in network namespaces, the real program, real
//! packets, and the yardsticks that other programs' answers give.
//!
//! A test reads as [`cluster`] (what is there), [`agent`] (the program under
//! test), [`matrix`] (what packets show against what the reference evaluator
//! says).

pub mod agent;
pub mod cluster;
pub mod connections;
pub mod load;
pub mod matrix;
pub mod oracle;
pub mod pod;
pub mod policies;
pub mod probe;
pub mod reference;
pub mod scenario;
pub mod sight;
pub mod stream;
pub mod tap;
pub mod wiring;
