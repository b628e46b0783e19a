//! What a change costs, beside the least that it could cost.
//!
//! Two namespaces hold equal rulesets. A change is applied by the driver in the
//! one, and as a batch written by hand for it in the other: the floor. Both take
//! turns in one run. Time runs from a revision that is there until the kernel has
//! taken it; beside it stands what `nft -f` takes for the same change. One JSON
//! line per workload and spec on standard output.
//!
//! Needs root. `cargo bench -p caracal-nftables --bench nftables -- S` runs one
//! spec only.

mod changes;
mod dump;
mod floor;
mod sides;
mod times;
mod whole;
mod workload;

use std::alloc::System;

use cap::Cap;

use crate::sides::Sides;
use crate::workload::{SPECS, Spec};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if let [whole::MEMORY, of] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return whole::memory_of(&named(of));
    }
    for spec in SPECS.iter().filter(|spec| arguments.is_empty() || arguments.iter().any(|name| name == spec.name)) {
        whole::memory(spec);
        whole::program(spec);
        let mut sides = Sides::new(spec);
        changes::delta(&mut sides, spec);
        changes::chain_update(&mut sides, spec);
        changes::pod(&mut sides, spec);
        changes::resync(&mut sides, spec);
        drop(sides);
        growth(spec);
    }
}

/// Pods that come and go on nodes with more and more of them, at the largest size: the
/// floor grows, as the kernel looks through what leads where; what the driver adds does not.
fn growth(spec: &Spec) {
    for pods in MORE_PODS.iter().filter(|_| spec.name == "L") {
        let spec = Spec { pods: *pods, ..*spec };
        changes::pod(&mut Sides::new(&spec), &spec);
    }
}

/// Numbers of pods on a node, beside that of the specs.
const MORE_PODS: [u32; 2] = [1_000, 4_000];

/// The spec of a name; `L-doubled` has twice the members of `L`.
fn named(text: &str) -> Spec {
    let name = text.trim_end_matches("-doubled");
    let spec = *SPECS.iter().find(|spec| spec.name == name).expect("the name of a spec");
    let times = if text == name { 1 } else { 2 };
    Spec { members: spec.members * times, ..spec }
}
