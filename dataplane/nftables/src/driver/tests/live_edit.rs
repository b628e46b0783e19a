//! Live edits: while programs change, no packet is judged by a mix of an old and
//! a new one. Each program denies the packet that is sent all the time; a mix of
//! two of them would let it through.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use caracal_net::Protocol;
use caracal_program::{Packet, Transport};
use caracal_proto::felix;

use super::*;
use crate::testing::texts;
use crate::testing::wire::Wire;

/// Packets for each kind of edit in `make test`; `CARACAL_LIVE_EDIT` says another number.
const PACKETS: u64 = 60_000;

/// Revisions that packets must have met at least.
const REVISIONS: usize = 20;

/// What one revision tells.
type Revision = fn(&mut World);

/// What was seen while revisions came and went.
#[derive(Debug)]
struct Seen {
    /// Packets that came through.
    mixed: u64,
    revisions: usize,
    /// Members of sets that the driver edited in place.
    uncopied: u64,
}

fn packets() -> u64 {
    std::env::var("CARACAL_LIVE_EDIT").map_or(PACKETS, |number| number.parse().expect("a number"))
}

/// The first pod lets everything out; what comes to the second is judged by two policies.
fn start(members: u32, revision: Revision) -> World {
    let mut world = World::default();
    let others = (0..members - 1).map(|n| std::net::Ipv4Addr::from_bits(0x0a09_0000 + n).to_string() + "/32");
    let members: Vec<String> = others.chain(["10.0.0.1/32".to_owned()]).collect();
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    world.set("s:a", &members).profile("open", &[rule("allow")], &[rule("allow")]);
    revision(&mut world);
    world
        .endpoint("ns/0", "cali0", &[], &["open"])
        .endpoint("ns/1", "cali1", &[("default", "Deny", &["p1", "p2"], &[])], &[])
        .in_sync();
    world
}

/// Tells the revisions over and over while packets are sent.
fn edit(mut world: World, revisions: &[Revision], packets: u64) -> Seen {
    let wire = Wire::new();
    let mut driver = wire.in_router(driver);
    apply(&mut driver, &mut world);
    let [src, dst] = ["10.0.0.1", "10.0.0.2"].map(|addr| addr.parse().expect("an address"));
    let transport = Transport::Ports { src: 1024, dst: 80 };
    let packet = Packet::new(src, dst, Protocol::UDP, transport).expect("one family");
    let (done, told, sent) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicU64::new(0));
    let mixed = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let more = |number| {
                sent.store(number, Ordering::Relaxed);
                number < packets || told.load(Ordering::Relaxed) < REVISIONS
            };
            let passed = wire.blast(&packet, more);
            done.store(true, Ordering::Relaxed);
            passed
        });
        // Ends with a whole round, whenever the sender does.
        for next in revisions.iter().cycle() {
            next(&mut world);
            apply(&mut driver, &mut world);
            driver.poll(&world.store).expect("the kernel answers");
            // However busy the machine is, a packet meets what is in force now: not the
            // one that is on its way, but the next.
            let met = sent.load(Ordering::Relaxed) + 2;
            while sent.load(Ordering::Relaxed) < met && !done.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            let round = told.fetch_add(1, Ordering::Relaxed) + 1;
            if done.load(Ordering::Relaxed) && round.is_multiple_of(revisions.len()) {
                break;
            }
        }
        sender.join().expect("the sender")
    });
    Seen { mixed, revisions: told.into_inner(), uncopied: driver.counts().uncopied_members }
}

/// One policy denies, and then the other.
const FIRST_DENIES: Revision = |world| {
    world.policy("p1", &[rule("deny")], &[]).policy("p2", &[rule("allow")], &[]);
};
const SECOND_DENIES: Revision = |world| {
    world.policy("p1", &[], &[]).policy("p2", &[rule("deny")], &[]);
};

/// Members are denied and the sender is one, or others are and it is none.
const DENIED_AS_MEMBER: Revision = |world| {
    world.members("s:a", &["10.0.0.1/32"], &[]);
    MEMBERS_ARE_DENIED(world);
};
const DENIED_AS_OTHER: Revision = |world| {
    world.members("s:a", &[], &["10.0.0.1/32"]);
    let deny = felix::Rule { not_src_ip_set_ids: texts(&["s:a"]), ..rule("deny") };
    world.policy("p1", &[deny, rule("allow")], &[]);
};
const MEMBERS_ARE_DENIED: Revision = |world| {
    let deny = felix::Rule { src_ip_set_ids: texts(&["s:a"]), ..rule("deny") };
    world.policy("p1", &[deny, rule("allow")], &[]);
};
const SENDER_LEAVES: Revision = |world| {
    world.members("s:a", &[], &["10.0.0.1/32"]);
};

#[test]
fn rules_change_all_at_once() {
    let seen = edit(start(1, FIRST_DENIES), &[SECOND_DENIES, FIRST_DENIES], packets());
    assert!(seen.mixed == 0 && seen.revisions >= REVISIONS, "{seen:?}");
}

#[test]
fn rules_change_together_with_a_set_of_ten_thousand() {
    for members in [10, 10_000] {
        let seen = edit(start(members, MEMBERS_ARE_DENIED), &[DENIED_AS_OTHER, DENIED_AS_MEMBER], packets());
        assert!(seen.mixed == 0 && seen.revisions >= REVISIONS && seen.uncopied == 0, "{members} members: {seen:?}");
    }
}

#[test]
fn a_set_too_big_to_copy_is_counted() {
    let revisions = [DENIED_AS_OTHER, DENIED_AS_MEMBER];
    let seen = edit(start(10_002, MEMBERS_ARE_DENIED), &revisions, 1000);
    assert!(seen.uncopied >= 10_000, "{seen:?}");
}

/// What this file looks for would be seen: an edit in two transactions is one.
#[test]
fn an_edit_in_two_transactions_is_seen() {
    let seen = edit(start(10, MEMBERS_ARE_DENIED), &[SENDER_LEAVES, DENIED_AS_MEMBER], 5000);
    assert!(seen.mixed > 0, "{seen:?}");
}
