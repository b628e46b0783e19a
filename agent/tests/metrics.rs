//! The page `docs/metrics.md` says of every name of Felix's what became of it.

use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../docs/metrics.md");

/// Felix's names, by the part of Felix that serves them and what they begin with. Those of
/// summaries and labels are left out.
const FELIX: [(&str, &[&str]); 11] = [
    ("", &["host", "resync_state", "resyncs_started", "exec_time_micros", "logs_dropped", "log_errors"]),
    ("calc_graph_", &["updates_processed", "output_events", "update_time_seconds"]),
    ("active_local_", &["endpoints", "policies", "selectors"]),
    ("cluster_num_", &["hosts", "host_endpoints", "workload_endpoints", "tiers", "policies", "profiles"]),
    ("label_index_", &["num_endpoints", "num_active_selectors", "selector_evals", "strategy_evals"]),
    (
        "int_dataplane_",
        &[
            "failures",
            "messages",
            "apply_time_seconds",
            "msg_batch_size",
            "iface_msg_batch_size",
            "addr_msg_batch_size",
            "initial_resync_time_seconds",
        ],
    ),
    ("ipset", &["_calls", "_errors", "_lines_executed", "s_calico", "s_total"]),
    (
        "iptables_",
        &["save_calls", "save_errors", "restore_calls", "restore_errors", "chains", "rules", "lines_executed"],
    ),
    (
        "nft_",
        &[
            "calls",
            "errors",
            "list_calls",
            "list_errors",
            "chains",
            "rules",
            "sets",
            "maps",
            "set_calls",
            "set_errors",
            "flowtable_devices",
            "flowtable_missing_devices",
        ],
    ),
    (
        "route_table_",
        &["resync_seconds", "partial_resync_seconds", "conntrack_wait_seconds", "num_routes", "num_ifaces"],
    ),
    (
        "bpf_",
        &[
            "dataplane_endpoints",
            "dirty_dataplane_endpoints",
            "happy_dataplane_endpoints",
            "num_ip_sets",
            "events",
            "events_collector_blocks",
            "conntrack_expired",
            "conntrack_expired_total",
            "conntrack_stale_nat",
            "conntrack_stale_nat_total",
            "conntrack_sweeps",
            "conntrack_used",
            "conntrack_cleaned",
            "conntrack_cleaned_total",
            "conntrack_sweep_duration",
            "conntrack_maglev_entries_total",
            "conntrack_inforeader_blocks",
            "conntrack_cleaner_seconds",
        ],
    ),
];

/// The names that the page's tables list, and what they say of each.
fn rows() -> Vec<(&'static str, &'static str)> {
    let row = |line: &'static str| {
        let (name, rest) = line.strip_prefix("| `")?.split_once('`')?;
        Some((name.split('{').next()?, rest.trim_matches([' ', '|'])))
    };
    PAGE.lines().filter_map(row).collect()
}

#[test]
fn the_page_says_of_every_name_of_felix_what_became_of_it() {
    let listed: BTreeSet<&str> = rows().into_iter().map(|(name, _)| name).collect();
    for (begin, ends) in FELIX {
        for end in ends {
            let name = format!("felix_{begin}{end}");
            assert!(listed.contains(name.as_str()), "{name} is neither served nor said to be absent");
        }
    }
}

#[test]
fn the_page_lists_a_name_once_and_says_something_of_it() {
    let rows = rows();
    let names: BTreeSet<&str> = rows.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), rows.len(), "a name is listed twice");
    for (name, what) in rows {
        assert!(!what.is_empty(), "nothing is said of {name}");
    }
}
