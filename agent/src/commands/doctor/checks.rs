//! The checks of `caracal doctor`.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use caracal_config::Settings;
use caracal_net::Mark;
use caracal_nftables::ir::TABLE;
use caracal_nftables::{Matter, survey};
use caracal_sys::nft::{Name, NftSocket, TableFamily, TableId, mark_bits};

use super::{Finding, Severity};

/// Sysctls that matter, the value that is in the way, and why.
const SYSCTLS: &[(&str, &str, Severity, &str)] = &[
    (
        "net/ipv4/ip_forward",
        "0",
        Severity::Warning,
        "IPv4 packets of workloads are not forwarded; the agent switches it on when it has an endpoint",
    ),
    (
        "net/ipv6/conf/all/forwarding",
        "0",
        Severity::Note,
        "IPv6 packets of workloads are not forwarded; the agent switches it on if Ipv6Support is set and it has an endpoint",
    ),
    (
        "net/ipv4/conf/all/rp_filter",
        "1",
        Severity::Note,
        "packets are dropped before policy if the way back to their source leads through another interface; 2 or 0 lets them pass",
    ),
    (
        "net/ipv4/conf/all/rp_filter",
        "2",
        Severity::Note,
        "loose source checking: a workload may send with the address of another; 1 keeps it from that",
    ),
    (
        "net/bridge/bridge-nf-call-iptables",
        "1",
        Severity::Note,
        "packets between ports of a bridge meet our forward chains too, with the bridge as their interface",
    ),
];

/// Everything that was found, the worst first.
///
/// # Errors
/// If the kernel cannot be asked at all.
pub(super) fn all(settings: &Settings, rules: &caracal_nftables::Settings) -> anyhow::Result<Vec<Finding>> {
    let mut nft = NftSocket::open().context("cannot ask nf_tables")?;
    let features = nft.features().context("cannot ask nf_tables; this needs CAP_NET_ADMIN and a kernel with it")?;
    let mut findings = Vec::new();
    if !features.owned_persistent {
        findings.push(note(
            "kernel",
            "tables cannot be owned and outlive their owner (Linux 6.9 and newer can): others may change our rules, which are then looked through and healed",
        ));
    }
    table(&mut nft, &mut findings)?;
    let ours = marks(&mut nft, rules)?;
    for neighbour in survey(&mut nft, ours).context("cannot list the rules of others")? {
        let severity = match neighbour.matter {
            Matter::DropsByDefault(_) | Matter::DropsByRule(_) | Matter::NamesMark(_) | Matter::SetsLabel => {
                Severity::Warning
            }
        };
        findings.push(Finding { severity, subject: neighbour.to_string(), reason: neighbour.matter.to_string() });
    }
    kube_proxy(&mut nft, &mut findings)?;
    // Of the namespace that the thread is in, as all that netlink tells.
    iptables_legacy(Path::new("/proc/thread-self/net"), &mut findings);
    sysctls(Path::new("/proc/sys"), settings, &mut findings);
    conntrack(Path::new("/proc/sys/net/netfilter"), &mut findings);
    findings.sort();
    Ok(findings)
}

fn note(subject: &str, reason: impl Into<String>) -> Finding {
    Finding { severity: Severity::Note, subject: subject.to_owned(), reason: reason.into() }
}

fn our_table() -> TableId {
    TableId::inet(Name::new(TABLE).expect("the table's name is short"))
}

/// The bits of the packet mark that our rules use, or would. The agent may have its
/// configuration from a datastore, which is not asked here.
fn marks(nft: &mut NftSocket, rules: &caracal_nftables::Settings) -> anyhow::Result<Mark> {
    let held = nft.rules(&our_table()).context("cannot list our rules")?;
    let used = held.iter().fold(0, |bits, listed| bits | mark_bits(&listed.rule));
    Ok(if used == 0 { rules.pass_mark() } else { Mark(used) })
}

fn table(nft: &mut NftSocket, findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    let table = our_table();
    let subject = format!("table {table}");
    match nft.table(&table).context("cannot list tables")? {
        None => findings.push(Finding {
            severity: Severity::Error,
            subject,
            reason: "it is not there: no policy is in force; start the agent".to_owned(),
        }),
        Some(found) => match found.owner {
            Some(owner) => findings.push(note(&subject, format!("owned by a running agent (netlink port {owner})"))),
            None => findings
                .push(note(&subject, "in force; nobody owns it, so it may be left over from an agent that ended")),
        },
    }
    Ok(())
}

/// What kube-proxy leaves in the kernel, by mode.
fn kube_proxy(nft: &mut NftSocket, findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    let mut modes = Vec::new();
    for family in [TableFamily::Ip, TableFamily::Ip6] {
        for chain in nft.survey_chains(family).context("cannot list chains")? {
            match (chain.table.name.as_str(), chain.name.as_str()) {
                ("kube-proxy", _) => modes.push("nftables"),
                ("nat", "KUBE-SERVICES") => modes.push("iptables"),
                _ => {}
            }
        }
    }
    let names = nix::net::if_::if_nameindex().context("cannot list interfaces")?;
    if names.iter().any(|interface| interface.name().to_bytes() == b"kube-ipvs0") {
        modes.push("ipvs");
    }
    modes.sort_unstable();
    modes.dedup();
    if !modes.is_empty() {
        let reason = match modes.len() {
            1 => format!("its {} mode is or was at work here", modes[0]),
            _ => format!("the kernel has rules of several of its modes ({}): some are left over", modes.join(", ")),
        };
        let severity = if modes.len() == 1 { Severity::Note } else { Severity::Warning };
        findings.push(Finding { severity, subject: "kube-proxy".to_owned(), reason });
    }
    Ok(())
}

/// Tables of iptables-legacy, which nf_tables does not list.
fn iptables_legacy(proc_net: &Path, findings: &mut Vec<Finding>) {
    for (file, command) in [("ip_tables_names", "iptables-legacy"), ("ip6_tables_names", "ip6tables-legacy")] {
        let tables = fs::read_to_string(proc_net.join(file)).unwrap_or_default();
        let tables: Vec<&str> = tables.split_whitespace().collect();
        if !tables.is_empty() {
            let reason = format!(
                "tables {} are in use beside nf_tables and cannot be looked at here; a drop there is final; look with {command}-save",
                tables.join(", ")
            );
            findings.push(Finding { severity: Severity::Warning, subject: command.to_owned(), reason });
        }
    }
}

fn sysctls(proc_sys: &Path, settings: &Settings, findings: &mut Vec<Finding>) {
    for (name, bad, severity, reason) in SYSCTLS {
        if name.contains("ipv6") && !settings.ipv6 {
            continue;
        }
        let value = fs::read_to_string(proc_sys.join(name)).unwrap_or_default();
        if value.trim() == *bad {
            let subject = format!("sysctl {}={bad}", name.replace('/', "."));
            findings.push(Finding { severity: *severity, subject, reason: (*reason).to_owned() });
        }
    }
}

/// A full table of connections drops new ones, whatever policy says.
fn conntrack(netfilter: &Path, findings: &mut Vec<Finding>) {
    let read = |name: &str| fs::read_to_string(netfilter.join(name)).ok()?.trim().parse::<u64>().ok();
    let (Some(count), Some(max)) = (read("nf_conntrack_count"), read("nf_conntrack_max")) else { return };
    if max > 0 && count.saturating_mul(5) >= max.saturating_mul(4) {
        let reason =
            format!("{count} of {max} connections: new ones are dropped when it is full; raise nf_conntrack_max");
        findings.push(Finding { severity: Severity::Warning, subject: "connection tracking".to_owned(), reason });
    }
}

#[cfg(test)]
mod tests;
