//! The messages of the benchmarks' workloads, counted, as many as Felix sends.

use caracal_calc_graph::order::OrderChecker;
use caracal_calc_graph::{CalcGraph, Locality, Settings};

#[path = "../benches/control/workloads.rs"]
mod workloads;

use self::workloads::{CONFIGURATION, HERE, Step, Workload};

/// How many messages Felix sends in each workload (its own benchmarks, August 2026).
const FELIX: [(&str, usize); 7] = [
    ("snapshot-10k-1k-netset", 2_403),
    ("snapshot-10k-10k-netset", 20_403),
    ("snapshot-250k-10k-tag", 10_432),
    ("teardown-250k-10k-tag", 20_761),
    ("isolated-customers-1k", 1_403),
    ("isolated-customers-10k", 10_403),
    ("isolated-customers-100k", 100_403),
];

/// Does a workload; every message of the graph goes through the checker of the order.
fn messages(workload: Workload) -> usize {
    let mut graph = CalcGraph::new(Locality::Node(HERE.into()), Settings::default());
    let (mut checker, mut messages, mut measured) = (OrderChecker::new(), CONFIGURATION, false);
    workload.steps(&mut |step| match step {
        Step::Event(event) => graph.on_event(event),
        Step::Flush => {
            let flush = graph.flush(&mut |delta| checker.check(&delta).expect("messages come in order"));
            checker.end_flush().expect("a flush is whole");
            messages += if measured { flush.deltas } else { 0 };
        }
        Step::Measure => measured = true,
        Step::Sample(of) => assert!(!of.is_empty(), "a sample says what it is of"),
        Step::Skip => {}
    });
    messages
}

#[test]
fn as_many_messages_as_felix_sends() {
    let all = Workload::all();
    for (name, felix) in FELIX {
        let (_, workload) = all.iter().find(|(other, _)| other == name).expect("a workload has a name");
        assert!(workload.is_encoded(), "{name} is a workload of messages");
        assert_eq!(messages(*workload), felix, "{name}");
    }
}
