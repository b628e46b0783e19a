//! Links, routes, sysctls and connection tracking on the real kernel, each test
//! in a network namespace of its own. Needs root and the `ip`, `nft` and
//! `conntrack` programs.

#[path = "host/connections.rs"]
mod connections;
#[path = "host/gateway.rs"]
mod gateway;
#[path = "host/links.rs"]
mod links;
#[path = "host/nflog.rs"]
mod nflog;
#[path = "host/review.rs"]
mod review;
#[path = "host/routes.rs"]
mod routes;
#[path = "host/sysctls.rs"]
mod sysctls;

use std::process::Command;

use caracal_net::IfIndex;
use caracal_sys::netns::NetNs;

/// Runs `work` in a fresh namespace.
fn in_namespace(work: impl FnOnce() + Send) {
    NetNs::new().expect("a namespace; needs root").run(work).expect("the namespace can be entered");
}

/// Runs a program with arguments that are parted by spaces, and gives its output.
fn run(command: &str) -> String {
    let mut words = command.split(' ');
    let program = words.next().expect("a program");
    let output = Command::new(program).args(words).output().expect("the program is installed");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Makes an interface with a peer in the same namespace; both are down.
fn add_link(name: &str) -> IfIndex {
    run(&format!("ip link add {name} type veth peer name {name}p"));
    index_of(name)
}

fn index_of(name: &str) -> IfIndex {
    IfIndex(nix::net::if_::if_nametoindex(name).expect("the interface is there"))
}
