use std::os::unix::net::UnixListener;
use std::process::Command;

use caracal_sys::netns::NetNs;

use super::*;

/// Runs a command in the calling thread's namespace; what it prints.
fn sh(command: &str) -> String {
    let out = Command::new("sh").args(["-ec", command]).output().expect("there is a shell");
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("text")
}

/// What somebody else has, and what it must be like afterwards.
const OTHERS: &str = "
    ip link set lo up
    ip link add cali1 type veth peer name eth0 && ip link set cali1 up && ip link set eth0 up
    sysctl -qw net.ipv6.conf.all.disable_ipv6=0 && ip -6 addr flush dev cali1 && ip -6 addr flush dev eth0
    ip route add 10.9.0.1/32 dev eth0 proto 80
    ip route add 10.9.1.0/24 dev cali1 proto 80
    ip route add 10.9.2.1/32 dev cali1 proto 99
    nft add table inet caracal2
    nft add table ip caracal
    nft add chain ip caracal c '{ type filter hook forward priority 0; policy drop; }'";

const OURS: &str = "
    ip route add 10.65.0.1/32 dev cali1 proto 80
    ip -6 route add fd00::1/128 dev cali1 proto 80
    nft add table inet caracal
    nft add chain inet caracal forward '{ type filter hook forward priority 0; }'
    nft add set inet caracal s '{ type ipv4_addr; elements = { 10.0.0.1 }; }'";

fn everything() -> String {
    sh("nft list ruleset; ip route show table all | sort; ip -6 route show table all | sort")
}

#[test]
fn all_of_ours_goes_and_only_ours() {
    let dir = tempfile::tempdir().expect("a directory");
    let status = dir.path().join("endpoint-status");
    let pod = dir.path().join("mount/uid-1");
    for made in [&status, &pod, &dir.path().join("creds")] {
        fs::create_dir_all(made).expect("a directory");
    }
    fs::write(dir.path().join("creds/uid-1.json"), "{}").expect("a file");
    let settings = Settings {
        endpoint_status_path_prefix: Some(dir.path().to_owned()),
        policy_sync_path_prefix: Some(dir.path().to_owned()),
        device_route_protocol: 80,
        ..Settings::default()
    };
    let run = || {
        sh(OTHERS);
        let before = everything();
        sh(OURS);
        fs::write(status.join("k8s ns%2Fpod eth0"), "up").expect("a file");
        drop(UnixListener::bind(pod.join("socket")).expect("a socket"));
        let with_ours = everything();

        let mut kernel = Kernel::open().expect("sockets");
        let found = find(&mut kernel, &settings).expect("the kernel answers");
        let listed: Vec<String> =
            found.iter().map(|thing| thing.to_string().replace(dir.path().to_str().expect("text"), "")).collect();
        assert_eq!(
            listed,
            [
                "route 10.65.0.1/32 dev cali1",
                "route fd00::1/128 dev cali1",
                "file /endpoint-status/k8s ns%2Fpod eth0",
                "file /mount/uid-1/socket",
                "table inet caracal",
            ]
        );
        assert_eq!(everything(), with_ours, "listing changes nothing");

        for thing in &found {
            remove(&mut kernel, thing).expect("it can be removed");
        }
        assert_eq!(everything(), before);
        assert!(dir.path().join("creds/uid-1.json").exists());
        assert!(find(&mut kernel, &settings).expect("the kernel answers").is_empty());
    };
    NetNs::new().expect("a network namespace; needs root").run(run).expect("the namespace can be entered");
}

#[test]
fn the_table_of_a_running_agent_is_refused() {
    let run = || {
        let settings = caracal_nftables::Settings::default();
        let mut driver = caracal_nftables::NftablesDriver::new(settings).expect("nf_tables");
        let store = caracal_program::PolicyStore::new();
        caracal_program::Driver::resync(&mut driver, &store, caracal_program::Sweep::Remove)
            .expect("the kernel takes it");
        let mut kernel = Kernel::open().expect("sockets");
        let found = kernel.find(&Settings::default()).expect("the kernel answers");
        let [table @ ours::Thing::Table(_)] = &found[..] else { panic!("{found:?}") };
        let error = kernel.remove(table).expect_err("it is owned");
        assert!(error.to_string().contains("stop the agent first"), "{error}");
        drop(driver);
        kernel.remove(table).expect("nobody owns it any more");
    };
    NetNs::new().expect("a network namespace; needs root").run(run).expect("the namespace can be entered");
}
