//! Single changes of a ruleset that stands.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Instant;

use caracal_nftables::ir::IfName;
use caracal_nftables::names;
use caracal_program::{Direction, Driver, Sweep};

use crate::ALLOCATOR;
use crate::floor::{Joins, policy_chain, set_name, sources};
use crate::sides::Sides;
use crate::times::{Times, median};
use crate::workload::{NewPod, Spec, allow, members, policy_update};

/// Rounds of the driver and of the floor.
const ROUNDS: u32 = 100;

/// Rounds of the `nft` program, which needs milliseconds where they need microseconds.
const NFT_ROUNDS: u32 = 9;

/// One member joins a set.
pub(crate) fn delta(sides: &mut Sides, spec: &Spec) {
    let mut times = Times::default();
    for round in 0..ROUNDS * 4 {
        let (set, addr) = (round % spec.sets, Ipv4Addr::new(11, 0, (round >> 8) as u8, round as u8));
        let joins = |sides: &mut Sides| sides.apply([members(set, &[addr], &[])]);
        times.take_turns(round, sides, joins, |sides| sides.floor.member(set, addr, Joins::Yes));
        sides.apply([members(set, &[], &[addr])]);
        sides.floor.member(set, addr, Joins::No);
    }
    for round in 0..NFT_ROUNDS {
        let addr = Ipv4Addr::new(11, 1, 0, round as u8);
        let text = format!("add element inet caracal {} {{ {addr} }}\n", set_name(round));
        times.nft.push(sides.floor.nft(&text));
        sides.floor.member(round, addr, Joins::No);
    }
    times.report("delta", spec);
}

/// A policy's rules become one rule with another port.
pub(crate) fn chain_update(sides: &mut Sides, spec: &Spec) {
    let mut times = Times::default();
    let of = |round: u32| {
        let policy = round % spec.chains;
        (policy, u16::try_from(20_000 + round).expect("a port"), spec.ports_and_sets(policy).next().expect("a rule").1)
    };
    for round in 0..ROUNDS {
        let (policy, port, set) = of(round);
        times.take_turns(
            round,
            sides,
            |sides| sides.apply([policy_update(policy, &[allow(port, set)])]),
            |sides| sides.floor.rewrite(policy, [(port, set)].into_iter()),
        );
        sides.apply([policy_update(policy, &spec.rules_of(policy))]);
        sides.floor.rewrite(policy, spec.ports_and_sets(policy));
    }
    for round in 0..NFT_ROUNDS {
        let (policy, port, set) = of(round);
        let (chain, set) = (policy_chain(policy), set_name(set));
        times.nft.push(sides.floor.nft(&format!(
            "flush chain inet caracal {chain}\n\
             add rule inet caracal {chain} tcp dport {port} ip saddr @{set} counter accept\n"
        )));
        sides.floor.rewrite(policy, spec.ports_and_sets(policy));
    }
    times.report("chain-update", spec);
}

/// An endpoint like one that is there already comes and joins its sets, and goes again.
pub(crate) fn pod(sides: &mut Sides, spec: &Spec) {
    let (mut add, mut remove) = (Times::default(), Times::default());
    let like = sides.store.workloads().next().expect("a pod").clone();
    let to = Direction::ALL.map(|direction| (direction, names::program(direction, like.program(direction).key())));
    for round in 0..ROUNDS {
        let pod = NewPod::new(round as u8, spec);
        add.take_turns(round, sides, |sides| sides.apply(pod.comes(spec)), |sides| sides.floor.pod_comes(&pod, &to));
        remove.take_turns(
            round,
            sides,
            |sides| sides.apply(pod.goes()) + sides.settle(),
            |sides| sides.floor.pod_goes(&pod),
        );
    }
    let more = |times: &Times| [("pods", spec.pods.into()), ("own_seconds", times.own().into())];
    let (more_of_add, more_of_remove) = (more(&add), more(&remove));
    for round in 0..NFT_ROUNDS {
        let pod = NewPod::new(round as u8, spec);
        add.nft.push(sides.floor.nft(&text_of_coming(&pod, &to)));
        remove.nft.push(sides.floor.nft(&text_of_going(&pod)));
    }
    add.report_with("pod-add", spec, more_of_add);
    remove.report_with("pod-remove", spec, more_of_remove);
}

fn text_of_coming(pod: &NewPod, to: &[(Direction, caracal_nftables::ir::Name)]) -> String {
    let interface = IfName::new(&pod.interface).expect("a name");
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "add {line}").expect("a string takes any text");
    for (direction, program) in to {
        let (stub, map) = (names::stub(*direction, &interface), names::dispatch(*direction));
        line(format!("chain inet caracal {stub}"));
        line(format!("rule inet caracal {stub} goto {program}"));
        line(format!("element inet caracal {map} {{ \"{interface}\" : jump {stub} }}"));
    }
    for set in &pod.sets {
        line(format!("element inet caracal {} {{ {} }}", set_name(*set), pod.member()));
    }
    for addr in pod.addrs {
        line(format!("element inet caracal {} {{ \"{interface}\" . {addr} }}", sources(addr)));
    }
    text
}

fn text_of_going(pod: &NewPod) -> String {
    let interface = IfName::new(&pod.interface).expect("a name");
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").expect("a string takes any text");
    for set in &pod.sets {
        line(format!("delete element inet caracal {} {{ {} }}", set_name(*set), pod.member()));
    }
    for addr in pod.addrs {
        line(format!("delete element inet caracal {} {{ \"{interface}\" . {addr} }}", sources(addr)));
    }
    for direction in Direction::ALL {
        let (stub, map) = (names::stub(direction, &interface), names::dispatch(direction));
        line(format!("delete element inet caracal {map} {{ \"{interface}\" }}"));
        line(format!("flush chain inet caracal {stub}"));
        line(format!("delete chain inet caracal {stub}"));
    }
    text
}

/// Everything is read back and compared, and nothing is to be done. The floor has the
/// kernel list the same and throws it away; with it stands what it takes to decode it
/// all. The `nft` program reads and prints.
pub(crate) fn resync(sides: &mut Sides, spec: &Spec) {
    let mut times = Times::default();
    let mut dump = sides.floor.dump();
    let mut allocated = Vec::new();
    let mut decoded = Vec::new();
    for round in 0..5 {
        times.take_turns(
            round,
            sides,
            |sides| {
                let before = ALLOCATOR.total_allocated();
                let start = Instant::now();
                let receipt = sides.driver.resync(&sides.store, Sweep::Remove).expect("the kernel answers");
                let took = start.elapsed();
                allocated.push(ALLOCATOR.total_allocated() - before);
                assert_eq!(receipt.messages, 0);
                took
            },
            |_| dump.read(),
        );
        decoded.push(sides.floor.read());
    }
    times.nft.push(sides.floor.nft("list table inet caracal\n"));
    times.report_with(
        "resync",
        spec,
        [("allocated_bytes", allocated.into_iter().max().into()), ("decoding_seconds", median(decoded).into())],
    );
}
