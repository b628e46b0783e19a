//! What this crate relies on in the kernel's nf_tables, each as a test in a
//! network namespace of its own. Needs root and the `nft` program.

#[path = "nft/commit.rs"]
mod commit;
#[path = "nft/events.rs"]
mod events;
#[path = "nft/listing.rs"]
mod listing;
#[path = "nft/order.rs"]
mod order;
#[path = "nft/ownership.rs"]
mod ownership;
#[path = "nft/packets.rs"]
mod packets;
#[path = "nft/round_trip.rs"]
mod round_trip;
#[path = "nft/sandbox.rs"]
mod sandbox;
