//! What others do to our table is found and put right.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};

use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;
use crate::settings::Events;
use crate::testing::Tier;
use crate::testing::faults::{behind_a_large_send, nameless_socket};

/// Has a driver that polls as often as it wants heal a change, and delete what that
/// leaves; the time until it was healed.
fn heal(driver: &mut NftablesDriver, world: &World, change: &str) -> Duration {
    let start = Instant::now();
    let mut finding = Finding::Unchanged;
    while finding == Finding::Unchanged {
        assert!(start.elapsed() < Duration::from_secs(60), "not found: {change}");
        sleep(driver.poll_interval());
        finding = driver.poll(&world.store).expect("the kernel answers");
    }
    let took = start.elapsed();
    while driver.model.as_ref().is_some_and(Model::has_garbage) {
        sleep(Duration::from_millis(1));
        driver.poll(&world.store).expect("the kernel answers");
    }
    took
}

/// Two policies, sets of every kind, three pods.
fn varied() -> World {
    let mut world = World::default();
    let ports = caracal_proto::felix::Rule {
        protocol: crate::testing::protocol("tcp"),
        dst_ports: crate::testing::ports(&["80", "443", "8000:8080"]),
        src_net: crate::testing::texts(&["10.0.0.0/8", "172.16.0.0/12"]),
        ..rule("allow")
    };
    world
        .set("s:clients", &["10.0.0.1/32", "10.0.0.2/32", "10.1.0.0/16", "fd00::1/128", "fd00:1::/64"])
        .set("n:named", &["10.0.0.1,tcp:80", "fd00::1,udp:53"])
        .policy("default/web", &[allow_from("s:clients", "80"), ports, rule("deny")], &[rule("allow")])
        .policy("global", &[rule("next-tier"), rule("log")], &[rule("deny")])
        .profile("kns.default", &[rule("allow")], &[rule("allow")]);
    for pod in 0..3 {
        let tiers: [Tier<'_>; 2] =
            [("first", "Deny", &["global"], &["global"]), ("default", "Deny", &["default/web"], &["default/web"])];
        world.endpoint(&format!("default/web-{pod}"), &format!("cali{pod}"), &tiers, &["kns.default"]);
    }
    world.in_sync();
    world
}

/// The names after a word at the beginning of a line in `nft list table`.
fn names_after(listed: &str, word: &str) -> Vec<String> {
    let begins = format!("\t{word} ");
    let names = listed.lines().filter_map(|line| line.strip_prefix(&begins)?.split(' ').next());
    names.map(str::to_owned).collect()
}

/// Picks something to do to the table, as nft commands; none if it does not fit what
/// is picked.
fn mutation(runner: &mut TestRunner) -> Option<String> {
    let mut pick = |below: usize| (0..below).new_tree(runner).expect("a number").current();
    let listed = nft(&["-nn", "-a", "list", "table", "inet", "caracal"], "").expect("nft lists the table");
    let (chains, sets) = (names_after(&listed, "chain"), names_after(&listed, "set"));
    let maps = names_after(&listed, "map");
    let chain = &chains[pick(chains.len())];
    let set = &sets[pick(sets.len())];
    let map = &maps[pick(maps.len())];
    let base: Vec<_> =
        chains.iter().filter(|name| name.starts_with("forward-") || name.starts_with("input-")).collect();
    let base = base[pick(base.len())];
    let inside = nft(&["-nn", "-a", "list", "chain", "inet", "caracal", chain], "").expect("nft lists the chain");
    let handles: Vec<&str> = inside
        .lines()
        .filter(|line| line.starts_with("\t\t") && !line.contains("type filter"))
        .filter_map(|line| Some(line.rsplit_once("# handle ")?.1))
        .collect();
    let handle = (!handles.is_empty()).then(|| handles[pick(handles.len())]);
    let elements = nft(&["-nn", "list", "set", "inet", "caracal", set], "").expect("nft lists the set");
    let elements = elements.split_once("elements = {").and_then(|(_, rest)| rest.split_once('}')).map(|(list, _)| list);
    let element = elements.map(|list| {
        let list: Vec<&str> = list.split(',').map(str::trim).collect();
        list[pick(list.len())].to_owned()
    });
    let there = "inet caracal";
    Some(match pick(16) {
        0 => format!("delete table {there}"),
        1 => format!("flush table {there}"),
        2 => format!("flush chain {there} {chain}"),
        3 => format!("delete rule {there} {chain} handle {}", handle?),
        4 => format!("replace rule {there} {chain} handle {} counter accept", handle?),
        5 => format!("insert rule {there} {chain} accept"),
        6 => format!("add rule {there} {chain} meta mark set 0x1"),
        7 => format!("add chain {there} stranger"),
        8 => format!("add chain {there} guest {{ type filter hook output priority 7; policy accept; }}"),
        9 => format!("chain {there} {base} {{ policy drop; }}"),
        10 => format!("flush set {there} {set}"),
        11 => format!("delete element {there} {set} {{ {} }}", element?),
        12 if set.starts_with('a') => format!("add element {there} {set} {{ 203.0.113.{} }}", pick(200) + 1),
        12 if set.starts_with('n') => format!("add element {there} {set} {{ 203.0.{}.0/24 }}", pick(200) + 1),
        12 => format!("add element {there} {map} {{ \"eth{}\" : accept }}", pick(9)),
        13 => format!("add set {there} unknown {{ type ipv4_addr . mark; flags timeout; }}"),
        14 => format!("flush map {there} {map}"),
        // What is changed and what refers to it, in one transaction.
        _ => format!(
            "add chain {there} detour\nadd rule {there} detour accept\ninsert rule {there} {chain} jump detour\n\
             add set {there} lure {{ type ipv4_addr; elements = {{ 10.0.0.1 }}; }}\n\
             insert rule {there} {chain} ip saddr @lure accept"
        ),
    })
}

/// Random changes by another process, each found and healed by `heal`: the kernel
/// ends with what the text of the store loads to. Gives the times that it took.
fn check_mutations(
    count: usize,
    events: Events,
    heal: impl Fn(&mut NftablesDriver, &World, &str) -> Duration + Sync,
) -> Vec<Duration> {
    let world = varied();
    let wanted = loaded(&world);
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    in_namespace(|| {
        let mut driver = driver_with(|settings| {
            settings.ownership = Ownership::Shared;
            settings.events = events;
        });
        driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
        assert_eq!(listing(), wanted);
        let mut blind = Vec::new();
        while blind.len() < count {
            let Some(mutation) = mutation(&mut runner) else { continue };
            if nft(&["-f", "-"], &mutation).is_err() || listing() == wanted {
                // Not possible here, or no change.
                continue;
            }
            blind.push(heal(&mut driver, &world, &mutation));
            assert_eq!(listing(), wanted, "after {mutation}");
            assert_eq!(driver.look_at_everything(), None, "after {mutation}");
        }
        assert_eq!(driver.counts().refusals, 0);
        blind
    })
}

#[test]
fn events_tell_of_every_change_by_others() {
    const MUTATIONS: usize = 200;
    let mut blind = check_mutations(MUTATIONS, Events::Heard, |driver, world, mutation| {
        let took = heal(driver, world, mutation);
        assert!(!driver.audit.is_due(), "everything suspected after {mutation}");
        took
    });
    blind.sort_unstable();
    let [median, longest] = [blind[MUTATIONS / 2], blind[MUTATIONS - 1]];
    println!("{MUTATIONS} mutations healed; blind for {median:?} (median), {longest:?} (longest)");
}

#[test]
fn without_events_every_change_by_others_is_found_by_looking() {
    check_mutations(50, Events::Ignored, |driver, world, mutation| {
        driver.audit.hurry();
        heal(driver, world, mutation)
    });
}

#[test]
fn a_resync_finds_every_change_by_others() {
    check_mutations(50, Events::Ignored, |driver, world, mutation| {
        let start = Instant::now();
        let receipt = driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
        let took = start.elapsed();
        // What came in addition is deleted by a later transaction.
        while driver.model.as_ref().is_some_and(Model::has_garbage) {
            sleep(Duration::from_millis(1));
            driver.poll(&world.store).expect("the kernel answers");
        }
        let again = driver.resync(&world.store, Sweep::Remove).expect("the kernel answers");
        assert_eq!((again.transactions, again.outcomes), (0, receipt.outcomes), "after {mutation}");
        took
    });
}

/// The kernel keeps others from an owned table: their changes fail, and a ruleset
/// that is flushed leaves it standing.
#[test]
fn an_owned_table_cannot_be_changed_by_others() {
    let world = varied();
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[8; 32]));
    in_namespace(|| {
        let mut driver = driver_with(|settings| settings.ownership = Ownership::Owned);
        driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
        // Kernels before 6.9 have no such tables, and the driver is told so.
        if !driver.features.owned_persistent {
            assert!(!driver.known.owned);
            return;
        }
        let wanted = listing();
        let mut tried = 0;
        while tried < 50 {
            let Some(mutation) = mutation(&mut runner) else { continue };
            nft(&["-f", "-"], &mutation).expect_err("the kernel refuses it");
            tried += 1;
        }
        nft(&["flush", "ruleset"], "").expect("nft flushes what is not owned");
        nft(&["-f", "-"], "add table inet other").expect("nft adds a table");
        assert_eq!(driver.poll(&world.store).expect("the kernel answers"), Finding::Unchanged);
        assert_eq!(driver.counts().repairs, 0);
        nft(&["delete", "table", "inet", "other"], "").expect("nft deletes its table");
        assert_eq!(listing(), wanted);
    });
}

/// A foreign commit that is not about us costs a question, and with events no more.
#[test]
fn what_others_do_elsewhere_is_not_drift() {
    let world = varied();
    for events in [Events::Heard, Events::Ignored] {
        in_namespace(|| {
            let mut driver = driver_with(|settings| {
                settings.ownership = Ownership::Shared;
                settings.events = events;
            });
            driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
            for n in 0..5 {
                nft(&["-f", "-"], &format!("add table inet other{n}")).expect("nft adds a table");
                assert_eq!(driver.poll(&world.store).expect("the kernel answers"), Finding::Unchanged);
            }
            let start = Instant::now();
            while driver.audit.is_due() {
                assert_eq!(events, Events::Ignored, "events tell that nothing is to be looked at");
                assert!(start.elapsed() < Duration::from_secs(60), "the round does not end");
                driver.audit.hurry();
                assert_eq!(driver.poll(&world.store).expect("the kernel answers"), Finding::Unchanged);
            }
            assert_eq!((driver.counts().repairs, driver.counts().audits > 0), (0, events == Events::Ignored));
        });
    }
}

/// Others commit more than the subscription has room for, and among it a rule of ours.
#[test]
fn lost_events_have_everything_looked_at() {
    let world = small();
    let flood: String = (0..40_000)
        .map(|n| format!("add rule inet other c ip daddr {} accept\n", std::net::Ipv4Addr::from_bits(n)))
        .collect();
    in_namespace(|| {
        let mut driver = driver_with(|settings| settings.ownership = Ownership::Shared);
        driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
        nft(&["-f", "-"], &format!("add table inet other\nadd chain inet other c\n{flood}")).expect("nft takes it");
        nft(&["-f", "-"], "insert rule inet caracal forward-egress accept").expect("nft adds a rule");
        let start = Instant::now();
        while driver.poll(&world.store).expect("the kernel answers") == Finding::Unchanged {
            assert!(driver.audit.is_due() && start.elapsed() < Duration::from_secs(60), "the rule is not found");
            driver.audit.hurry();
        }
        assert_eq!((driver.counts().overruns, driver.counts().repairs), (1, 1));
    });
}

#[test]
fn events_name_the_culprit() {
    let world = small();
    in_namespace(|| {
        let mut driver = driver_with(|settings| {
            settings.ownership = Ownership::Shared;
        });
        driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
        nft(&["-f", "-"], "insert rule inet caracal forward-egress accept").expect("nft adds a rule");
        poll_until_healed(&mut driver, &world, "a rule");
        let report = driver.report();
        let last = report.measurements.iter().find(|m| m.name == "caracal_nftables_last_repair").expect("it is told");
        let [(_, what), (_, by)] = &last.labels[..] else { panic!("two labels: {last:?}") };
        assert_eq!(what, "rules of chain forward-egress changed");
        assert!(by.starts_with("nft (pid "), "{by}");
    });
}

/// A driver of a shared table that is woken, with what receives that.
fn watched(socket: NftSocket) -> (NftablesDriver, Receiver<()>) {
    let mut settings = Settings::default();
    settings.ownership = Ownership::Shared;
    let mut driver = NftablesDriver::over(settings, socket).expect("nf_tables");
    let (sender, woken) = sync_channel(1);
    driver.watch(Arc::new(move || {
        // One that nobody has seen yet does for both.
        let _ = sender.try_send(());
    }));
    (driver, woken)
}

/// Who is woken knows when the table was right last, without having looked.
#[test]
fn being_woken_tells_since_when_the_table_is_wrong() {
    let world = small();
    in_namespace(|| {
        let (mut driver, woken) = watched(NftSocket::open().expect("a socket"));
        driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
        assert_eq!(driver.poll_interval(), WATCHED_POLL);
        let looked = Instant::now();
        sleep(Duration::from_secs(2));
        woken.try_recv().expect_err("nobody did anything");
        nft(&["delete", "table", "inet", "caracal"], "").expect("nft deletes the table");
        woken.recv_timeout(Duration::from_secs(20)).expect("woken");
        assert!(matches!(driver.poll(&world.store).expect("the kernel answers"), Finding::Repaired(_)));
        let (blind, unseen) = (driver.drift.longest(), looked.elapsed());
        assert!(blind + Duration::from_secs(1) < unseen, "{blind:?}, and nobody looked for {unseen:?}");
        assert_eq!(driver.poll_interval(), WATCHED_POLL);
    });
}

#[test]
fn only_who_may_be_overtaken_is_woken() {
    let interval = |choose: fn(&mut Settings)| {
        in_namespace(|| {
            let mut driver = driver_with(choose);
            driver.watch(Arc::new(|| {}));
            let world = small();
            driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
            (driver.poll_interval(), driver.monitor.is_some(), driver.features.owned_persistent)
        })
    };
    assert!(matches!(interval(|settings| settings.ownership = Ownership::Shared), (WATCHED_POLL, true, _)));
    let unheard = interval(|settings| (settings.ownership, settings.events) = (Ownership::Shared, Events::Ignored));
    assert!(matches!(unheard, (SHARED_POLL, false, _)), "{unheard:?}");
    let owned = interval(|settings| settings.ownership = Ownership::Owned);
    assert!(matches!(owned, (OWNED_POLL, false, true) | (WATCHED_POLL, true, false)), "{owned:?}");
}

/// Who cannot subscribe looks as often as who does not want to, and finds what others do.
#[test]
fn without_a_subscription_the_driver_looks_often() {
    let world = small();
    in_namespace(|| {
        let (mut driver, woken) = watched(nameless_socket());
        driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
        assert!(driver.monitor.is_none() && driver.complained, "it was said");
        assert_eq!(driver.poll_interval(), SHARED_POLL);
        nft(&["delete", "table", "inet", "caracal"], "").expect("nft deletes the table");
        heal(&mut driver, &world, "the table");
        woken.try_recv().expect_err("there is nobody to wake it");
    });
}

/// A transaction that is so large that events are not heard meanwhile, and somebody who
/// changes a rule right behind it.
#[test]
fn what_is_missed_behind_a_large_transaction_is_looked_for() {
    let members: Vec<String> = (0..5000).map(|n| format!("10.9.{}.{}/32", n / 250, n % 250)).collect();
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    let mut world = small();
    in_namespace(|| {
        let done = Arc::default();
        let (mut driver, _woken) = watched(behind_a_large_send(&done, || {
            nft(&["-f", "-"], "insert rule inet caracal forward-egress accept").expect("nft adds a rule");
        }));
        driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
        world.members("s:clients", &members, &[]);
        apply(&mut driver, &mut world);
        assert!(done.load(Ordering::Relaxed), "somebody changed a rule");
        assert!(driver.poll_interval() <= LARGE_POLL && driver.audit.is_due(), "all is suspected");
        let start = Instant::now();
        while driver.poll(&world.store).expect("the kernel answers") == Finding::Unchanged {
            assert!(driver.audit.is_due() && start.elapsed() < Duration::from_secs(60), "the rule is not found");
            driver.audit.hurry();
        }
        assert_eq!(driver.drift.last().map(|last| last.what.as_str()), Some("rules of chain forward-egress changed"));
        assert_eq!(driver.look_at_everything(), None);
    });
}
