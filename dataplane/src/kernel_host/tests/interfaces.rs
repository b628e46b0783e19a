//! Interfaces that vanish, come back and change their names while endpoints are told of.

use std::time::Instant;

use caracal_net::IfIndex;
use caracal_proto::sync::Ack;

use super::*;
use crate::data_half::DataHalf;
use crate::interfaces::LinkState;

/// The number that the kernel gave an interface.
fn index(name: &str) -> IfIndex {
    let shown = run(&format!("ip -o link show dev {name}"));
    let number = shown.split(':').next().and_then(|number| number.parse().ok());
    IfIndex(number.expect("the number comes first"))
}

fn plug(name: &str) {
    run(&format!("ip link add {name} type veth peer name p{name}"));
    run(&format!("ip link set {name} up"));
}

fn driver() -> NftablesDriver {
    NftablesDriver::new(nftables_settings(&Settings::default()).expect("the defaults can be used")).expect("nf_tables")
}

/// A data half with the kernel's rules and routes, to which only this test tells of interfaces.
struct Half {
    half: DataHalf<NftablesDriver, KernelHost>,
    revision: u64,
}

impl Half {
    fn start() -> Self {
        let host = KernelHost::open().expect("sockets");
        Self { half: DataHalf::start(Instant::now(), driver(), host, Settings::default()), revision: 0 }
    }

    fn link(&mut self, name: &str, state: LinkState) -> Vec<(String, Outcome, String)> {
        outcomes(self.half.link(Instant::now(), &name.into(), state).and_then(|frame| match frame.frame {
            Some(from_data::Frame::Ack(ack)) => Some(ack),
            _ => None,
        }))
    }

    fn send(&mut self, kind: Kind, messages: &[felix::ToDataplane]) -> Vec<(String, Outcome, String)> {
        let begin = to_data::Frame::Begin(Begin { epoch: 7, kind: kind.into(), from: self.revision });
        self.revision += 1;
        let commit = to_data::Frame::Commit(Commit { revision: self.revision, stamp: 0 });
        let messages = messages.iter().cloned().map(to_data::Frame::Felix);
        let mut ack = None;
        for frame in [begin].into_iter().chain(messages).chain([commit]) {
            let answer = self.half.frame(Instant::now(), ToData { frame: Some(frame) }).expect("frames in order");
            if let Some(from_data::Frame::Ack(answer)) = answer.and_then(|answer| answer.frame) {
                assert_eq!(answer.error, "", "the rules are in force");
                ack = Some(answer);
            }
        }
        outcomes(ack)
    }

    fn problems(&self) -> Vec<(String, String)> {
        self.half.report().problems.into_iter().map(|problem| (problem.subject, problem.reason)).collect()
    }

    /// How often an interface has had to be tried again.
    fn retries(&self) -> f64 {
        let of_interfaces = |m: &caracal_program::Measurement| {
            m.name == "caracal_dataplane_retries_total" && m.labels.iter().any(|(_, what)| what == "interface")
        };
        self.half.report().measurements.into_iter().find(of_interfaces).map_or(0.0, |m| m.value)
    }
}

fn outcomes(ack: Option<Ack>) -> Vec<(String, Outcome, String)> {
    let told = ack.into_iter().flat_map(|ack| ack.outcomes);
    told.map(|outcome| (outcome.id.clone().unwrap_or_default().workload_id, outcome.outcome(), outcome.reason))
        .collect()
}

fn routes_of(name: &str) -> String {
    run(&format!("ip -4 route show dev {name}"))
}

#[test]
fn an_interface_that_vanishes_in_the_middle_is_told_alone() {
    let inside = || {
        plug("cali1");
        plug("cali2");
        let mut half = Half::start();
        let (first, second) = (index("cali1"), index("cali2"));
        half.link("cali1", LinkState::Up(first));
        half.link("cali2", LinkState::Up(second));

        // It goes while its revision is on the way; nobody has said so yet.
        run("ip link del cali1");
        let endpoints = [endpoint("a", "cali1", &["10.0.0.1"]), endpoint("b", "cali2", &["10.0.0.2"]), in_sync()];
        let told = half.send(Kind::Snapshot, &endpoints);
        let [(a, Outcome::Programmed, why), (b, Outcome::Programmed, fine)] = &told[..] else {
            panic!("{told:?}");
        };
        assert_eq!((a.as_str(), b.as_str(), fine.as_str()), ("a", "b", ""));
        assert!(why.starts_with("interface cali1: cannot set sysctls: "), "{why}");
        assert_eq!(half.problems(), [("workload endpoint k8s/a/eth0".to_owned(), why.clone())]);
        assert!(half.retries() >= 1.0);
        // The other one has what it needs.
        assert!(routes_of("cali2").starts_with("10.0.0.2"));

        let told = half.link("cali1", LinkState::Gone);
        assert_eq!(told, [("a".to_owned(), Outcome::WaitingForInterface, String::new())]);
        assert_eq!(half.problems(), []);
        // It comes again under another number, and goes and comes once more before anybody looks.
        plug("cali1");
        let stale = index("cali1");
        run("ip link del cali1");
        plug("cali1");
        assert_ne!(stale, index("cali1"));
        let told = half.link("cali1", LinkState::Up(stale));
        let [(a, Outcome::Programmed, why)] = &told[..] else { panic!("{told:?}") };
        assert!(a == "a" && why.starts_with("interface cali1: cannot write the route to 10.0.0.1/32: "), "{told:?}");
        assert_eq!(routes_of("cali1"), "", "no packet finds its way there");
        let told = half.link("cali1", LinkState::Up(index("cali1")));
        assert_eq!(told, [("a".to_owned(), Outcome::Programmed, String::new())]);
        assert!(routes_of("cali1").starts_with("10.0.0.1"));
        assert_eq!(half.problems(), []);
    };
    NetNs::new().expect("a namespace; needs root").run(inside).expect("the namespace can be entered");
}

#[test]
fn an_interface_under_another_name_is_nobodys() {
    let inside = || {
        plug("cali1");
        let mut rig = Rig::with(driver());
        rig.send(Kind::Snapshot, &[endpoint("a", "cali1", &["10.0.0.1"]), in_sync()]);
        rig.told("a", Outcome::Programmed);
        assert!(routes_of("cali1").starts_with("10.0.0.1"));
        let rename = |from: &str, to: &str| {
            run(&format!("ip link set {from} down"));
            run(&format!("ip link set {from} name {to}"));
            run(&format!("ip link set {to} up"));
        };
        rename("cali1", "cali9");
        rig.told("a", Outcome::WaitingForInterface);
        assert_eq!(routes_of("cali9"), "");
        let judged = run("nft list map inet caracal to-workload");
        assert!(judged.contains("cali1") && !judged.contains("cali9"), "{judged}");
        rename("cali9", "cali1");
        rig.told("a", Outcome::Programmed);
        assert!(routes_of("cali1").starts_with("10.0.0.1"));
        rig.handle.stop();
    };
    NetNs::new().expect("a namespace; needs root").run(inside).expect("the namespace can be entered");
}

#[test]
fn an_address_that_two_claim_leads_to_the_other_when_one_leaves() {
    let inside = || {
        plug("cali1");
        plug("cali2");
        let mut half = Half::start();
        half.link("cali1", LinkState::Up(index("cali1")));
        half.link("cali2", LinkState::Up(index("cali2")));
        let claimed = ["10.0.0.1", "fd00::1"];
        let leads_to = |name: &str| {
            for (family, addr) in ["-4", "-6"].into_iter().zip(claimed) {
                let routes = run(&format!("ip {family} route show {addr}"));
                assert!(routes.lines().count() == 1 && routes.contains(&format!("dev {name} ")), "{name}: {routes}");
            }
        };
        half.send(Kind::Snapshot, &[endpoint("a", "cali1", &claimed), in_sync()]);
        half.send(Kind::Delta, &[endpoint("b", "cali2", &claimed)]);
        leads_to("cali2");
        half.send(Kind::Delta, &[endpoint("b", "cali2", &["10.0.0.2", "fd00::2"])]);
        leads_to("cali1");
        half.send(Kind::Delta, &[endpoint("b", "cali2", &claimed)]);
        leads_to("cali2");
        run("ip link del cali2");
        half.link("cali2", LinkState::Gone);
        leads_to("cali1");
    };
    NetNs::new().expect("a namespace; needs root").run(inside).expect("the namespace can be entered");
}

#[test]
fn an_interface_without_ipv6_carries_ipv4_and_says_why_no_more() {
    let inside = || {
        plug("cali1");
        let sysctl = "/proc/sys/net/ipv6/conf/cali1/disable_ipv6";
        std::fs::write(sysctl, "1").expect("it can be turned off");
        let mut half = Half::start();
        half.link("cali1", LinkState::Up(index("cali1")));
        let told = half.send(Kind::Snapshot, &[endpoint("a", "cali1", &["10.0.0.1", "fd00::1"]), in_sync()]);
        let why = "interface cali1: cannot write the route to fd00::1/128: IPv6 is turned off on the interface \
                   (sysctl disable_ipv6)";
        assert_eq!(told, [("a".to_owned(), Outcome::Programmed, why.to_owned())]);
        assert!(routes_of("cali1").starts_with("10.0.0.1"));
        std::fs::write(sysctl, "0").expect("it can be turned on");
        let mended = half.half.tick(Instant::now() + LONG);
        assert!(mended.is_some(), "it is tried again");
        assert_eq!(half.problems(), []);
    };
    NetNs::new().expect("a namespace; needs root").run(inside).expect("the namespace can be entered");
}
