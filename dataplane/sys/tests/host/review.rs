use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use caracal_sys::conntrack::{Flow, FlowKey, Judgement, Progress, Review, Tally};

use super::connections::{addr, flow, tracking};
use super::*;

const LONG: Duration = Duration::from_secs(10);

/// From here on entries can be labelled.
fn label_entries() {
    run("nft add chain inet t labels");
    run("nft add rule inet t labels ct label set 127");
}

/// Reviews everything in steps of this length, at least.
fn review(budget: Duration, mut judge: impl FnMut(&Flow) -> Judgement) -> (Tally, usize) {
    go_through(&mut Review::open().expect("a socket"), budget, &mut judge)
}

fn go_through(review: &mut Review, budget: Duration, judge: &mut dyn FnMut(&Flow) -> Judgement) -> (Tally, usize) {
    let mut steps = 1;
    loop {
        match review.step(budget, judge).expect("the table can be read") {
            Progress::Ahead => steps += 1,
            Progress::Waiting => std::thread::sleep(Duration::from_millis(1)),
            Progress::Done(tally) => {
                assert!(tally.listing > Duration::ZERO);
                return (Tally { listing: Duration::ZERO, ..tally }, steps);
            }
        }
    }
}

/// The last bytes of the sources of entries with our label.
fn labelled() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    review(LONG, |flow| {
        if flow.revoked {
            found.insert(flow.source.to_string());
        }
        Judgement::Leave
    });
    found
}

fn texts(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn cut(sources: &'static [&'static str]) -> impl FnMut(&Flow) -> Judgement {
    move |flow| match sources.contains(&flow.source.to_string().as_str()) {
        true => Judgement::Cut,
        false => Judgement::Restore,
    }
}

#[test]
fn connections_are_labelled_and_lose_the_label_and_others_are_left_alone() {
    tracking(|| {
        label_entries();
        for (from, to) in [("10.0.0.1", "10.0.0.2"), ("10.0.0.3", "10.0.0.4"), ("fd00::1", "fd00::2")] {
            flow(from, to);
        }
        let (tally, _) = review(LONG, cut(&["10.0.0.1", "fd00::1"]));
        assert_eq!(tally, Tally { seen: 3, cut: 2, labelled: 2, ..Tally::default() });
        assert_eq!(labelled(), texts(&["10.0.0.1", "fd00::1"]));
        let (tally, _) = review(LONG, cut(&["10.0.0.3", "fd00::1"]));
        assert_eq!(tally, Tally { seen: 3, cut: 1, restored: 1, labelled: 2, ..Tally::default() });
        assert_eq!(labelled(), texts(&["10.0.0.3", "fd00::1"]));
    });
}

#[test]
fn labels_of_others_stay() {
    tracking(|| {
        label_entries();
        run("nft add counter inet t theirs");
        run("nft insert rule inet t input ip saddr 10.0.0.1 ct label set 3");
        run("nft add chain inet t leaving { type filter hook output priority 0; }");
        run("nft add rule inet t leaving udp dport 53 ct label 3 counter name theirs");
        let socket = UdpSocket::bind(SocketAddr::new(addr("10.0.0.1"), 5000)).expect("an address of this host");
        let send = || socket.send_to(b"x", SocketAddr::new(addr("10.0.0.2"), 53)).expect("sent");
        send();
        review(LONG, cut(&["10.0.0.1"]));
        assert_eq!(labelled(), texts(&["10.0.0.1"]));
        run("nft flush chain inet t input");
        send();
        review(LONG, cut(&[]));
        assert_eq!(labelled(), texts(&[]));
        send();
        let counted = run("nft list counter inet t theirs");
        assert!(counted.contains("packets 2"), "{counted}");
    });
}

#[test]
fn an_entry_that_cannot_be_labelled_is_deleted() {
    tracking(|| {
        flow("10.0.0.1", "10.0.0.2");
        label_entries();
        flow("10.0.0.3", "10.0.0.2");
        let (tally, _) = review(LONG, cut(&["10.0.0.1", "10.0.0.3"]));
        assert_eq!(tally, Tally { seen: 2, cut: 1, unlabelled: 1, labelled: 1, ..Tally::default() });
        assert_eq!(run("conntrack -L -s 10.0.0.1"), "");
        assert_eq!(labelled(), texts(&["10.0.0.3"]));
    });
}

#[test]
fn a_review_in_many_steps_reaches_every_connection_once() {
    tracking(|| {
        label_entries();
        let socket = UdpSocket::bind(SocketAddr::new(addr("10.0.0.1"), 5000)).expect("an address of this host");
        for port in 1..=4000 {
            socket.send_to(b"x", SocketAddr::new(addr("10.0.0.2"), port)).expect("sent");
        }
        let mut ports = BTreeSet::new();
        let (tally, steps) = review(Duration::ZERO, |flow| {
            let FlowKey::Ports { source: 5000, destination } = flow.key else { return Judgement::Leave };
            assert!(ports.insert(destination), "{destination} was seen twice");
            match destination % 100 {
                0 => Judgement::Cut,
                1 => Judgement::Forget,
                _ => Judgement::Leave,
            }
        });
        assert!(steps > 10, "{steps} steps");
        assert_eq!(ports, (1..=4000).collect());
        assert_eq!(tally, Tally { seen: 4000, cut: 40, forgotten: 40, labelled: 40, ..Tally::default() });
    });
}

#[test]
fn a_connection_is_told_as_policy_saw_it() {
    tracking(|| {
        run("nft add chain inet t output { type nat hook output priority -100; }");
        run("nft add rule inet t output ip daddr 10.0.0.9 udp dport 53 dnat ip to 10.0.0.2:5353");
        run("nft add chain inet t leaving { type nat hook postrouting priority 100; }");
        run("nft add rule inet t leaving ip daddr 10.0.0.2 udp dport 5353 snat ip to 10.0.0.5");
        run("ip addr add 10.0.0.9/32 dev lo");
        flow("10.0.0.1", "10.0.0.9");
        let mut seen = Vec::new();
        review(LONG, |flow| {
            seen.push(*flow);
            Judgement::Leave
        });
        let [flow] = seen.as_slice() else { panic!("{seen:?}") };
        assert_eq!((flow.source, flow.destination), (addr("10.0.0.1"), addr("10.0.0.2")));
        assert!(matches!(flow.key, FlowKey::Ports { destination: 5353, .. }), "{flow:?}");
        assert_eq!(flow.called, Some(SocketAddr::new(addr("10.0.0.9"), 53)));
    });
}

#[test]
fn what_was_cut_is_found_again_without_a_review() {
    tracking(|| {
        label_entries();
        for (from, to) in [("10.0.0.1", "10.0.0.2"), ("10.0.0.3", "10.0.0.2"), ("fd00::1", "fd00::2")] {
            flow(from, to);
        }
        let mut review = Review::open().expect("a socket");
        let mut step = |judge: &mut dyn FnMut(&Flow) -> Judgement| {
            go_through(&mut review, LONG, judge);
            review.known_cut()
        };
        assert_eq!(step(&mut |_| Judgement::Cut), Some(3));
        assert_eq!(step(&mut |_| Judgement::Leave), Some(3), "those of before");
        // One of them ends meanwhile, and begins anew.
        run("conntrack -D -s 10.0.0.3");
        flow("10.0.0.3", "10.0.0.2");
        let mut asked = Vec::new();
        let outcome = review.reconsider(LONG, &mut |flow| {
            asked.push(flow.source.to_string());
            if flow.source == addr("10.0.0.1") { Judgement::Leave } else { Judgement::Restore }
        });
        let Ok(Progress::Done(tally)) = outcome else { panic!("{outcome:?}") };
        assert_eq!((tally.seen, tally.restored, tally.labelled), (3, 1, 1));
        assert_eq!(asked, ["10.0.0.1", "10.0.0.3", "fd00::1"]);
        assert_eq!(labelled(), texts(&["10.0.0.1"]));
        assert_eq!(review.known_cut(), Some(1));
    });
}

#[test]
fn many_that_were_cut_are_looked_through_in_many_steps() {
    tracking(|| {
        label_entries();
        let socket = UdpSocket::bind(SocketAddr::new(addr("10.0.0.1"), 5000)).expect("an address of this host");
        for port in 1..=1000 {
            socket.send_to(b"x", SocketAddr::new(addr("10.0.0.2"), port)).expect("sent");
        }
        let mut review = Review::open().expect("a socket");
        go_through(&mut review, LONG, &mut |_| Judgement::Cut);
        let mut steps = 1;
        while review.reconsider(Duration::ZERO, &mut |_| Judgement::Restore).expect("labels can be written")
            == Progress::Ahead
        {
            steps += 1;
        }
        assert!(steps > 3, "{steps} steps");
        assert_eq!((labelled(), review.known_cut()), (texts(&[]), Some(0)));
    });
}

#[test]
fn what_a_connection_called_for_is_cut_and_restored_with_it() {
    tracking(|| {
        label_entries();
        run("nft add ct helper inet t tftp { type \"tftp\" protocol udp; }");
        run("nft add chain inet t output { type filter hook output priority 0; }");
        run("nft add rule inet t output udp dport 69 ct helper set tftp");
        let bind = |at: &str, port| UdpSocket::bind(SocketAddr::new(addr(at), port)).expect("an address of this host");
        let (client, data) = (bind("10.0.0.1", 5000), bind("10.0.0.2", 7000));
        client.send_to(b"\0\x01file\0octet\0", SocketAddr::new(addr("10.0.0.2"), 69)).expect("a request to read");
        data.send_to(b"data", SocketAddr::new(addr("10.0.0.1"), 5000)).expect("sent");
        flow("10.0.0.3", "10.0.0.4");

        let mut review = Review::open().expect("a socket");
        let mut step = |judgement: Judgement| {
            let mut judge = |flow: &Flow| match flow.source == addr("10.0.0.1") {
                true => judgement,
                false => Judgement::Leave,
            };
            let (Tally { cut, restored, .. }, _) = go_through(&mut review, LONG, &mut judge);
            ((cut, restored), labelled())
        };
        let both = texts(&["10.0.0.1", "10.0.0.2"]);
        assert_eq!(step(Judgement::Cut), ((2, 0), both.clone()));
        assert_eq!(step(Judgement::Leave), ((0, 0), both.clone()));
        assert_eq!(step(Judgement::Restore), ((0, 2), texts(&[])));
        assert_eq!(step(Judgement::Cut), ((2, 0), both));
        let outcome = review.reconsider(LONG, &mut |flow| match flow.source == addr("10.0.0.1") {
            true => Judgement::Restore,
            false => Judgement::Leave,
        });
        let Ok(Progress::Done(tally)) = outcome else { panic!("{outcome:?}") };
        assert_eq!((tally.restored, tally.labelled, labelled()), (2, 0, texts(&[])));
    });
}

#[test]
fn what_a_connection_has_called_for_is_not_expected_once_it_is_cut() {
    tracking(|| {
        label_entries();
        run("nft add ct helper inet t tftp { type \"tftp\" protocol udp; }");
        run("nft add chain inet t output { type filter hook output priority 0; }");
        run("nft add rule inet t output udp dport 69 ct helper set tftp");
        for port in [5000, 5001] {
            let at = SocketAddr::new(addr("10.0.0.1"), port);
            let client = UdpSocket::bind(at).expect("an address of this host");
            client.send_to(b"\0\x01file\0octet\0", SocketAddr::new(addr("10.0.0.2"), 69)).expect("a request to read");
        }
        let expected = || run("conntrack -L expect").matches("helper=tftp").count();
        assert_eq!(expected(), 2);
        let (tally, _) = review(LONG, |flow| match flow.key {
            FlowKey::Ports { source: 5000, .. } => Judgement::Cut,
            _ => Judgement::Leave,
        });
        assert_eq!((tally.cut, expected()), (1, 1));
        assert!(run("conntrack -L expect").contains("dport=5001"));
    });
}

#[test]
fn equals_are_those_that_either_end_could_have_opened_as_they_are() {
    tracking(|| {
        run("nft add table ip n");
        run("nft add chain ip n output { type nat hook output priority -100; }");
        run("nft add rule ip n output udp dport 4001 dnat to 10.0.0.2:4001");
        run("nft add chain ip n post { type nat hook postrouting priority 100; }");
        run("nft add rule ip n post udp dport 4002 snat to 10.0.0.3");
        run("nft add ct helper inet t tftp { type \"tftp\" protocol udp; }");
        run("nft add chain inet t output { type filter hook output priority 0; }");
        run("nft add rule inet t output udp dport 4003 ct helper set tftp");
        let send = |source, to: &str, destination| {
            let socket = UdpSocket::bind(SocketAddr::new(addr("10.0.0.1"), source)).expect("an address of this host");
            socket.send_to(b"x", SocketAddr::new(addr(to), destination)).expect("sent");
        };
        send(4000, "10.0.0.2", 4000);
        send(4001, "10.0.0.4", 4001);
        send(4002, "10.0.0.2", 4002);
        send(4003, "10.0.0.2", 4003);
        send(4004, "10.0.0.2", 4005);
        let mut equals = BTreeSet::new();
        let (tally, _) = review(LONG, |flow| {
            if flow.mutual {
                equals.insert(format!("{:?}", flow.key));
            }
            Judgement::Leave
        });
        assert_eq!(tally.seen, 5);
        assert_eq!(equals, texts(&["Ports { source: 4000, destination: 4000 }"]));
    });
}

#[test]
fn what_was_cut_may_be_forgotten_without_a_review() {
    tracking(|| {
        label_entries();
        for (from, to) in [("10.0.0.1", "10.0.0.2"), ("10.0.0.3", "10.0.0.2"), ("fd00::1", "fd00::2")] {
            flow(from, to);
        }
        let mut review = Review::open().expect("a socket");
        go_through(&mut review, LONG, &mut |_| Judgement::Cut);
        // One of them ended meanwhile, and a younger one is none of those that were cut.
        run("conntrack -D -s 10.0.0.3");
        flow("10.0.0.3", "10.0.0.2");
        let outcome = review.reconsider(LONG, &mut |flow| match flow.source == addr("fd00::1") {
            true => Judgement::Leave,
            false => Judgement::Forget,
        });
        let Ok(Progress::Done(tally)) = outcome else { panic!("{outcome:?}") };
        assert_eq!((tally.seen, tally.forgotten, tally.labelled), (3, 1, 1));
        assert_eq!(run("conntrack -L -s 10.0.0.1"), "");
        assert_ne!(run("conntrack -L -s 10.0.0.3"), "");
        assert_eq!((labelled(), review.known_cut()), (texts(&["fd00::1"]), Some(1)));
    });
}

/// The netfilter sockets of the namespace but the kernel's own, by inode.
fn sockets() -> BTreeSet<String> {
    /// `NETLINK_NETFILTER` of linux/netlink.h.
    const NETFILTER: &str = "12";
    let table = std::fs::read_to_string("/proc/thread-self/net/netlink").expect("the kernel lists sockets");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = rows.filter(|row| row.get(1) == Some(&NETFILTER) && row.get(2) != Some(&"0"));
    ours.filter_map(|row| row.last().map(ToString::to_string)).collect()
}

/// The end of such a socket has nf_tables wait for memory that it is about to free.
#[test]
fn no_review_closes_a_socket() {
    tracking(|| {
        let mut review = Review::open().expect("a socket");
        go_through(&mut review, LONG, &mut |_| Judgement::Leave);
        let opened = sockets();
        assert_eq!(opened.len(), 2, "{opened:?}");
        for _ in 0..3 {
            go_through(&mut review, LONG, &mut |_| Judgement::Leave);
            assert_eq!(sockets(), opened);
        }
        drop(review);
        while !sockets().is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}
