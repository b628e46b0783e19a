//! The calculation graph as its users see it: events in, deltas out.

mod excerpts;
mod expectations;
mod flushes;
mod histories;
mod journeys;
mod messages;
mod model;
mod random;
mod receiver;
mod states;
mod world;
