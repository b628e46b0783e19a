//! The calculation graph as its users see it: events in, deltas out.

mod expectations;
mod journeys;
mod messages;
mod model;
mod random;
mod receiver;
mod states;
mod world;
