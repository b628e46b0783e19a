use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel, sync_channel};
use std::time::Duration;

use caracal_sys::link::{LinkEvent, WatchHandle, watch};

use super::*;

const LONG: Duration = Duration::from_secs(20);

/// What is told of interfaces whose names begin with `w` and do not end in `p`.
struct Watch {
    events: Receiver<LinkEvent>,
    handle: WatchHandle,
}

fn name(event: &LinkEvent) -> &str {
    match event {
        LinkEvent::Up { name, .. }
        | LinkEvent::Running { name, .. }
        | LinkEvent::Down { name, .. }
        | LinkEvent::Gone { name } => name,
        // Of addresses see below.
        LinkEvent::Addresses { .. } | LinkEvent::Missed => "",
    }
}

fn up(name: &str, index: IfIndex) -> LinkEvent {
    LinkEvent::Up { name: name.to_owned(), index }
}

fn down(name: &str, index: IfIndex) -> LinkEvent {
    LinkEvent::Down { name: name.to_owned(), index }
}

fn gone(name: &str) -> LinkEvent {
    LinkEvent::Gone { name: name.to_owned() }
}

impl Watch {
    fn start() -> Self {
        let (sender, events) = channel();
        let handle = watch(move |event| {
            if !name(&event).starts_with('w') || name(&event).ends_with('p') {
                return ControlFlow::Continue(());
            }
            if sender.send(event).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        Self { events, handle: handle.expect("links can be watched") }
    }

    fn told(&self, expected: LinkEvent) {
        assert_eq!(self.events.recv_timeout(LONG), Ok(expected));
    }
}

#[test]
fn what_is_there_is_told_first() {
    in_namespace(|| {
        let first = add_link("w0");
        let second = add_link("w1");
        run("ip link set w1 up");
        let watch = Watch::start();
        watch.told(down("w0", first));
        watch.told(up("w1", second));
    });
}

#[test]
fn an_interface_comes_goes_up_and_down_and_away() {
    in_namespace(|| {
        let watch = Watch::start();
        let index = add_link("w0");
        watch.told(down("w0", index));
        run("ip link set w0 up");
        watch.told(up("w0", index));
        // Carrier comes and goes with the peer; only that it comes is news.
        run("ip link set w0p up");
        watch.told(LinkEvent::Running { name: "w0".to_owned(), index });
        run("ip link set w0p down");
        run("ip link set w0 down");
        watch.told(down("w0", index));
        run("ip link del w0");
        watch.told(gone("w0"));
    });
}

#[test]
fn a_renamed_interface_is_gone_under_its_old_name() {
    in_namespace(|| {
        let watch = Watch::start();
        let index = add_link("w0");
        watch.told(down("w0", index));
        run("ip link set w0 name w1");
        watch.told(gone("w0"));
        watch.told(down("w1", index));
        run("ip link set w1 up");
        watch.told(up("w1", index));
    });
}

#[test]
fn a_new_interface_of_the_same_name_has_another_index() {
    in_namespace(|| {
        let watch = Watch::start();
        let old = add_link("w0");
        watch.told(down("w0", old));
        run("ip link del w0");
        let new = add_link("w0");
        assert_ne!(old, new);
        watch.told(gone("w0"));
        watch.told(down("w0", new));
    });
}

#[test]
fn an_interface_that_moves_to_another_namespace_is_gone() {
    in_namespace(|| {
        let watch = Watch::start();
        let index = add_link("w0");
        watch.told(down("w0", index));
        let other = NetNs::new().expect("a namespace");
        let pid = std::process::id();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(&other));
        run(&format!("ip link set w0 netns /proc/{pid}/fd/{fd}"));
        watch.told(gone("w0"));
    });
}

#[test]
fn what_a_bridge_says_of_its_ports_is_no_news() {
    in_namespace(|| {
        let watch = Watch::start();
        let index = add_link("w0");
        watch.told(down("w0", index));
        run("ip link add br0 type bridge");
        run("ip link set w0 master br0");
        run("ip link set w0 nomaster");
        run("ip link set w0 up");
        watch.told(up("w0", index));
    });
}

#[test]
fn a_slow_reader_misses_events_but_not_the_last_state() {
    in_namespace(|| {
        let index = add_link("w0");
        let (sender, events) = sync_channel(0);
        let _handle = watch(move |event| {
            if !["w0", ""].contains(&name(&event)) || sender.send(event).is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        assert_eq!(events.recv_timeout(LONG), Ok(down("w0", index)));
        // More notifications than there is room for, while nobody reads.
        let batch = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(batch.path(), "link set w0 up\nlink set w0 down\n".repeat(4_000)).expect("a file");
        run(&format!("ip -batch {}", batch.path().display()));
        run("ip link set w0 name w9");
        run("ip link del w9");
        let told = std::iter::from_fn(|| events.recv_timeout(LONG).ok());
        let told: Vec<LinkEvent> = told.take_while(|event| *event != gone("w0")).collect();
        assert!(told.len() < 8_000, "none were lost: {}", told.len());
        assert_eq!(events.recv_timeout(LONG), Ok(LinkEvent::Missed));
    });
}

#[test]
fn the_watch_ends_with_its_handle() {
    in_namespace(|| {
        let Watch { events, handle } = Watch::start();
        drop(handle);
        assert_eq!(events.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
    });
}

#[test]
fn the_watch_ends_when_the_sink_breaks() {
    in_namespace(|| {
        let (sender, events) = channel();
        let _handle = watch(move |event| {
            sender.send(event).expect("the receiver lives");
            ControlFlow::Break(())
        });
        events.recv_timeout(LONG).expect("the first event");
        assert_eq!(events.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
    });
}

#[test]
fn addresses_come_and_go() {
    in_namespace(|| {
        add_link("w0");
        run("ip addr add 192.0.2.1/24 dev w0");
        let (sender, events) = channel();
        let _watch = watch(move |event| match event {
            LinkEvent::Addresses { name, addresses } if name == "w0" => match sender.send(addresses) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            },
            _ => ControlFlow::Continue(()),
        });
        let told = |wanted: &[&str]| {
            let wanted = wanted.iter().map(|text| text.parse().expect("an address")).collect();
            assert_eq!(events.recv_timeout(LONG), Ok(wanted));
        };
        told(&["192.0.2.1"]);
        run("ip addr add 192.0.2.2 peer 192.0.2.9/32 dev w0");
        told(&["192.0.2.1", "192.0.2.2"]);
        run("ip addr add fd00::1/64 dev w0 nodad");
        told(&["192.0.2.1", "192.0.2.2", "fd00::1"]);
        run("ip addr del 192.0.2.1/24 dev w0");
        told(&["192.0.2.2", "fd00::1"]);
    });
}
