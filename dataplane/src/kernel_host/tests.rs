//! The data half with the real host, in a network namespace of its own. Needs
//! root and the `ip`, `nft` and `conntrack` programs.

mod healing;
mod interfaces;

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use caracal_config::Settings;
use caracal_nftables::NftablesDriver;
use caracal_proto::felix;
use caracal_proto::sync::begin::Kind;
use caracal_proto::sync::endpoint_outcome::Outcome;
use caracal_proto::sync::{Begin, Commit, Position, ToData, from_data, to_data};
use caracal_sys::netns::NetNs;

use super::*;
use crate::fakes::{FakeDriver, World, config, endpoint, in_sync, no_endpoint};
use crate::{ConfiguredDriver, Handle, Reply, nftables_settings, spawn};

const LONG: Duration = Duration::from_secs(20);

/// Runs a program with arguments that are parted by spaces, and gives its output.
fn run(command: &str) -> String {
    let mut words = command.split(' ');
    let program = words.next().expect("a program");
    let output = Command::new(program).args(words).output().expect("the program is installed");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// A running data half.
struct Rig {
    handle: Handle,
    replies: Receiver<Reply>,
    revision: u64,
}

impl Rig {
    /// With rules that are not the kernel's.
    fn start() -> Self {
        Self::with(FakeDriver::new(World::default()))
    }

    fn with(driver: impl ConfiguredDriver + 'static) -> Self {
        let (sender, replies) = channel();
        let host = KernelHost::open().expect("sockets");
        let reply = move |reply| sender.send(reply).expect("the test listens");
        let handle = spawn(driver, host, Settings::default(), reply);
        Self { handle: handle.expect("a thread"), replies, revision: 0 }
    }

    fn send(&mut self, kind: Kind, messages: &[felix::ToDataplane]) {
        let begin = to_data::Frame::Begin(Begin { epoch: 7, kind: kind.into(), from: self.revision });
        self.revision += 1;
        let commit = to_data::Frame::Commit(Commit { revision: self.revision, stamp: 0 });
        let messages = messages.iter().cloned().map(to_data::Frame::Felix);
        for frame in [begin].into_iter().chain(messages).chain([commit]) {
            self.handle.frames().send(ToData { frame: Some(frame) }).expect("the data half runs");
        }
    }

    /// Waits for the acknowledgement of the last revision.
    fn acknowledged(&self) {
        loop {
            let Ok(Reply::Frame(frame)) = self.replies.recv_timeout(LONG) else {
                panic!("revision {} was never acknowledged", self.revision);
            };
            if let Some(from_data::Frame::Ack(ack)) = frame.frame
                && ack.revision == self.revision
            {
                assert_eq!(ack.error, "");
                return;
            }
        }
    }

    /// Waits for word of an endpoint.
    fn told(&self, workload: &str, expected: Outcome) {
        loop {
            let Ok(Reply::Frame(frame)) = self.replies.recv_timeout(LONG) else {
                panic!("never told that {workload} is {expected:?}");
            };
            let Some(from_data::Frame::Ack(ack)) = frame.frame else { continue };
            let told = ack.outcomes.into_iter().any(|outcome| {
                let kind = outcome.outcome();
                outcome.id.is_some_and(|id| id.workload_id == workload) && kind == expected
            });
            if told {
                return;
            }
        }
    }
}

fn routes() -> BTreeSet<String> {
    let listed = run("ip -4 route show dev cali1") + &run("ip -6 route show dev cali1 proto boot");
    listed.lines().map(|line| line.split(' ').next().expect("a destination").to_owned()).collect()
}

#[test]
fn routes_sysctls_and_connections_follow_an_endpoint() {
    let inside = || {
        run("ip link set lo up");
        run("ip addr add 10.0.0.1/32 dev lo");
        run("nft add table inet t");
        run("nft add chain inet t input { type filter hook input priority 0; }");
        run("nft add rule inet t input ct state new accept");
        let socket = UdpSocket::bind("10.0.0.1:0").expect("an address of this host");
        socket.send_to(b"x", "127.0.0.1:53").expect("sent");
        assert_eq!(run("conntrack -L -s 10.0.0.1").lines().count(), 1);

        let mut rig = Rig::start();
        rig.send(Kind::Snapshot, &[endpoint("a", "cali1", &["10.0.0.1", "10.0.0.2", "fd00::1"]), in_sync()]);
        rig.told("a", Outcome::WaitingForInterface);
        run("ip link add cali1 type veth peer name peer1");
        run("ip link set cali1 up");
        rig.told("a", Outcome::Programmed);
        let sysctls = ["ipv4/ip_forward", "ipv4/conf/cali1/proxy_arp", "ipv6/conf/cali1/proxy_ndp"];
        for sysctl in sysctls {
            let value = std::fs::read_to_string(format!("/proc/sys/net/{sysctl}")).expect(sysctl);
            assert_eq!(value, "1\n", "{sysctl}");
        }
        let every = BTreeSet::from(["10.0.0.1", "10.0.0.2", "fd00::1"].map(str::to_owned));
        assert_eq!(routes(), every);

        run("ip link set cali1 down");
        rig.told("a", Outcome::WaitingForInterface);
        run("ip link set cali1 up");
        rig.told("a", Outcome::Programmed);
        assert_eq!(routes(), every, "they went down with the interface");

        rig.send(Kind::Delta, &[no_endpoint("a"), endpoint("b", "cali1", &["10.0.0.2"])]);
        rig.told("b", Outcome::Programmed);
        assert_eq!(routes(), BTreeSet::from(["10.0.0.2".to_owned()]));
        assert_eq!(run("conntrack -L -s 10.0.0.1"), "");
        assert_eq!(rig.handle.frames().held(), Some(Position { epoch: 7, revision: 2 }));

        rig.handle.stop();
        assert_eq!(routes(), BTreeSet::from(["10.0.0.2".to_owned()]), "what the kernel holds stays");
    };
    NetNs::new().expect("a namespace; needs root").run(inside).expect("the namespace can be entered");
}

#[test]
fn a_control_half_that_breaks_the_order_is_given_up() {
    let inside = || {
        let rig = Rig::start();
        let frames = rig.handle.frames();
        frames.send(ToData { frame: Some(to_data::Frame::Felix(in_sync())) }).expect("the data half runs");
        let reply = rig.replies.recv_timeout(LONG);
        assert_eq!(reply, Ok(Reply::GiveUp("a message outside a revision".to_owned())));
        assert_eq!(frames.held(), None);
        rig.handle.stop();
        frames.send(ToData { frame: None }).expect_err("the data half has ended");
    };
    NetNs::new().expect("a namespace; needs root").run(inside).expect("the namespace can be entered");
}

#[test]
fn rules_follow_endpoints_and_settings_and_stay_behind() {
    let inside = || {
        // Without the first lines, which tell of the table, and the reset of what is revoked.
        let listed = || run("nft list table inet caracal").replace("reject with tcp reset", "");
        let rules = || listed().lines().skip(4).collect::<Vec<_>>().join("\n");
        let start = || {
            let settings = nftables_settings(&Settings::default()).expect("the defaults can be used");
            Rig::with(NftablesDriver::new(settings).expect("nf_tables"))
        };
        run("ip link add cali1 type veth peer name peer1");
        run("ip link set cali1 up");
        let mut rig = start();
        rig.send(Kind::Snapshot, &[endpoint("a", "cali1", &["10.0.0.1"]), in_sync()]);
        rig.told("a", Outcome::Programmed);
        assert!(rules().contains("cali1") && !rules().contains("reject"), "{}", rules());

        rig.send(Kind::Delta, &[config(&[("NftablesFilterDenyAction", "Reject")])]);
        rig.acknowledged();
        let before = rules();
        assert!(before.contains("reject"), "{before}");

        rig.handle.stop();
        assert_eq!(rules(), before, "a stop leaves the rules");
        let mut rig = start();
        rig.send(Kind::Snapshot, &[in_sync()]);
        rig.acknowledged();
        let judged = run("nft list map inet caracal from-workload");
        assert!(!judged.contains("cali1"), "after the in-sync what nobody wants goes: {judged}");
        rig.handle.stop();
    };
    NetNs::new().expect("a namespace; needs root").run(inside).expect("the namespace can be entered");
}
