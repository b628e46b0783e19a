//! How long a table that somebody deleted is missed, with the polls that the driver
//! asks for and those that the kernel's events lead to: `seconds` is the median,
//! `longest_seconds` the longest of the rounds. `blind_seconds` is the driver's own figure.
//!
//! Needs root. `cargo bench -p caracal-nftables --bench heal -- S` runs one size only.

mod specs;

use std::io::{self, Write as _};
use std::thread::sleep;
use std::time::{Duration, Instant};

use caracal_nftables::Ownership;
use caracal_program::{Driver as _, Finding};
use caracal_sys::nft::{Batch, Name, TableId};

/// Times that the table is deleted.
const ROUNDS: u32 = 11;

fn main() {
    for spec in specs::wanted() {
        let mut loaded = specs::load(spec, Ownership::Shared);
        let table = TableId::inet(Name::new("caracal").expect("a name"));
        let mut times: Vec<f64> = (0..ROUNDS).map(|round| heal(&mut loaded, &table, round).as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        let blind = loaded.driver.report().measurements.into_iter().find(|m| m.name.ends_with("longest_blind_seconds"));
        let line = serde_json::json!({
            "workload": "heal",
            "spec": spec.name,
            "seconds": times[times.len() / 2],
            "longest_seconds": times[times.len() - 1],
            "blind_seconds": blind.expect("the driver reports it").value,
        });
        writeln!(io::stdout(), "{line}").expect("standard output is open");
    }
}

/// The time from the end of the table until it is whole again.
fn heal(loaded: &mut specs::Loaded, table: &TableId, round: u32) -> Duration {
    let pause = loaded.driver.poll_interval();
    loaded.driver.poll(&loaded.store).expect("the kernel answers");
    // The loss falls on every part of the pause in turn.
    let before = pause * round / ROUNDS;
    sleep(before);
    let mut batch = Batch::new(table);
    batch.delete_table().expect("a name fits");
    loaded.other.commit(&mut batch).expect("the table is shared");
    let lost = Instant::now();
    loaded.bell.wait(pause - before);
    while loaded.driver.poll(&loaded.store).expect("the kernel answers") == Finding::Unchanged {
        loaded.bell.wait(loaded.driver.poll_interval());
    }
    lost.elapsed()
}
