use std::process::Command;

use caracal_sys::netns::NetNs;

use super::*;

fn sh(command: &str) {
    let out = Command::new("sh").args(["-ec", command]).output().expect("there is a shell");
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
}

/// What is said in a namespace that was prepared, but for sysctls, which are the host's.
fn told(prepare: &str) -> Vec<String> {
    let run = || {
        sh(prepare);
        all(&Settings::default(), &caracal_nftables::Settings::default()).expect("the kernel answers")
    };
    let findings =
        NetNs::new().expect("a network namespace; needs root").run(run).expect("the namespace can be entered");
    let findings = findings.into_iter().filter(|finding| !finding.subject.starts_with("sysctl"));
    findings.map(|Finding { severity, subject, reason }| format!("{severity}: {subject}: {reason}")).collect()
}

#[test]
fn an_empty_node_lacks_our_table() {
    assert_eq!(told("true"), ["error: table inet caracal: it is not there: no policy is in force; start the agent"]);
}

#[test]
fn what_shadows_us_is_named() {
    let told = told(
        "nft add table inet caracal
         nft add table ip filter
         nft add chain ip filter FORWARD '{ type filter hook forward priority 0; policy drop; }'
         nft add table ip nat && nft add chain ip nat KUBE-SERVICES
         nft add table ip kube-proxy && nft add chain ip kube-proxy services
         nft add chain ip filter MARK && nft add rule ip filter MARK meta mark set mark or 0x10000",
    );
    let beginnings = [
        "warning: chain ip filter FORWARD: its policy is drop",
        "warning: chain ip filter MARK: a rule there uses bits 0x10000",
        "warning: kube-proxy: the kernel has rules of several of its modes (iptables, nftables)",
        "note: table inet caracal: in force; nobody owns it",
    ];
    assert_eq!(told.len(), beginnings.len(), "{told:#?}");
    for (told, beginning) in told.iter().zip(beginnings) {
        assert!(told.starts_with(beginning), "{told}");
    }
}

/// What the agent was told to use by its datastore is in its rules.
#[test]
fn the_bits_of_the_mark_are_those_that_our_rules_use() {
    let told = told(
        "nft add table inet caracal && nft add chain inet caracal c
         nft add rule inet caracal c meta mark set mark or 0x200000 && nft add rule inet caracal c mark and 0x200000 == 0x200000 return
         nft add table ip other && nft add chain ip other old && nft add rule ip other old meta mark set mark or 0x10000
         nft add chain ip other new && nft add rule ip other new meta mark set mark or 0x200000",
    );
    assert!(told[0].starts_with("warning: chain ip other new: a rule there uses bits 0x200000"), "{told:#?}");
    assert!(told[1].starts_with("note: "), "{told:#?}");
}

/// Files below a directory, and what is said of them.
fn of_files(files: &[(&str, &str)], check: impl Fn(&Path, &mut Vec<Finding>)) -> Vec<(Severity, String)> {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, content) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("below the directory")).expect("a directory");
        fs::write(path, content).expect("a file");
    }
    let mut findings = Vec::new();
    check(dir.path(), &mut findings);
    findings.into_iter().map(|finding| (finding.severity, finding.subject)).collect()
}

#[test]
fn what_the_kernel_says_in_files() {
    let sysctls = |dir: &Path, findings: &mut Vec<Finding>| sysctls(dir, &Settings::default(), findings);
    assert_eq!(of_files(&[], sysctls), []);
    assert_eq!(
        of_files(&[("net/ipv4/ip_forward", "0\n"), ("net/ipv4/conf/all/rp_filter", "0\n")], sysctls),
        [(Severity::Warning, "sysctl net.ipv4.ip_forward=0".to_owned())]
    );
    assert_eq!(of_files(&[("ip_tables_names", "")], iptables_legacy), []);
    assert_eq!(
        of_files(&[("ip_tables_names", "nat\nfilter\n")], iptables_legacy),
        [(Severity::Warning, "iptables-legacy".to_owned())]
    );
    let full = |count| of_files(&[("nf_conntrack_count", count), ("nf_conntrack_max", "1000\n")], conntrack);
    assert_eq!(full("799"), []);
    assert_eq!(full("800"), [(Severity::Warning, "connection tracking".to_owned())]);
}
