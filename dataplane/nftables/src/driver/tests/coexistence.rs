//! Rules of others in the same namespace: they are not touched, they are not in the
//! way of ours, and what of them decides about our packets is reported.

use std::process::Command;

use caracal_net::MarkMask;

use super::*;

/// Runs a command in the calling thread's namespace.
fn sh(command: &str) {
    let out = Command::new("sh").args(["-ec", command]).output().expect("there is a shell");
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
}

/// What others have there from the beginning.
const OTHERS: &[&str] = &[
    // Docker: by iptables-nft, as most distributions have it.
    "iptables-nft -P FORWARD DROP
     iptables-nft -N DOCKER-USER && iptables-nft -A DOCKER-USER -j RETURN
     iptables-nft -A FORWARD -j DOCKER-USER
     iptables-nft -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
    // kube-proxy's mark, and somebody who tests ours.
    "iptables-nft -t mangle -A PREROUTING -j MARK --or-mark 0x4000
     iptables-nft -t mangle -A PREROUTING -m mark --mark 0x10000/0x10000 -j ACCEPT",
    // Beside nf_tables, where it does not see them.
    "iptables-legacy -A FORWARD -s 192.0.2.1 -j DROP",
    // What none of our types can hold.
    "nft -f - <<'END'
     table inet newer {
         set seen {
             type ipv4_addr . inet_service
             flags dynamic,timeout
             timeout 1m
             size 1000
         }
         counter every {
         }
         quota monthly {
             over 10 mbytes
         }
         chain c {
             type filter hook prerouting priority raw; policy accept;
             update @seen { ip saddr . tcp dport timeout 30s limit rate 5/second } counter
             meta nftrace set 0
             ip dscp set cs1
         }
}
END",
];

/// What others do while we run, each ending as it began: firewalld reloads, kube-proxy
/// syncs, an administrator tries something.
const MEANWHILE: &[&str] = &[
    "nft -f - <<'END'
     table inet firewalld { }
     delete table inet firewalld
     table inet firewalld {
         chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept; reject with icmpx admin-prohibited; }
     }
END
     nft delete table inet firewalld",
    "iptables-nft -A FORWARD -s 192.0.2.1 -j DROP; iptables-nft -D FORWARD -s 192.0.2.1 -j DROP",
    "iptables-nft-save > /dev/null; iptables-nft-save | iptables-nft-restore",
    "nft add table ip caracal; nft add chain ip caracal c; nft delete table ip caracal",
];

/// What iptables-legacy has, without its counts.
fn of_legacy() -> String {
    let out = Command::new("iptables-legacy").arg("-S").output().expect("iptables-legacy is installed");
    String::from_utf8(out.stdout).expect("text")
}

/// The ruleset without our table, as nft lists it.
fn of_others() -> String {
    let tables = nft(&["list", "tables"], "").expect("nft lists tables");
    let mut others: Vec<&str> = tables.lines().filter(|line| *line != "table inet caracal").collect();
    others.sort_unstable();
    let list = |table: &str| {
        let args: Vec<&str> = ["-s", "list"].into_iter().chain(table.split(' ')).collect();
        nft(&args, "").expect("nft lists a table")
    };
    let listed: String = others.into_iter().map(list).collect();
    listed + &of_legacy()
}

fn ours() -> String {
    nft(&["-s", "list", "table", "inet", "caracal"], "").expect("nft lists our table")
}

#[test]
fn others_are_neither_touched_nor_in_the_way() {
    for ownership in [Ownership::Shared, Ownership::Owned] {
        let mut world = small();
        in_namespace(|| {
            OTHERS.iter().for_each(|others| sh(others));
            // Restoring adds the base chains that iptables has by default.
            MEANWHILE.iter().for_each(|meanwhile| sh(meanwhile));
            let before = of_others();
            let mut driver = driver_with(|settings| settings.ownership = ownership);
            apply(&mut driver, &mut world);
            let ours = ours();
            for meanwhile in MEANWHILE {
                sh(meanwhile);
                assert_eq!(driver.poll(&world.store).expect("the kernel answers"), Finding::Unchanged, "{meanwhile}");
                world.members("s:clients", &["10.0.0.9/32"], &[]);
                apply(&mut driver, &mut world);
                world.members("s:clients", &[], &["10.0.0.9/32"]);
                apply(&mut driver, &mut world);
            }
            assert_eq!(driver.look_at_everything(), None);
            assert_eq!(of_others(), before);
            assert_eq!(self::ours(), ours);
            assert_eq!((driver.counts().repairs, driver.counts().refusals), (0, 0));

            let start = Instant::now();
            while driver.report().problems.is_empty() {
                assert!(start.elapsed() < Duration::from_secs(30), "nobody is reported");
                driver.surroundings.hurry();
                driver.poll(&world.store).expect("the kernel answers");
            }
            let subjects: Vec<String> = driver.report().problems.into_iter().map(|problem| problem.subject).collect();
            let wanted = ["chain ip filter FORWARD of somebody else", "chain ip mangle PREROUTING of somebody else"];
            assert_eq!(subjects, wanted);

            driver.remove().expect("the kernel takes it");
            assert_eq!(of_others(), before);
        });
    }
}

#[test]
fn who_uses_another_bit_of_the_mark_is_told_when_that_becomes_ours() {
    let mut world = small();
    in_namespace(|| {
        sh("nft add table ip other; nft add chain ip other c; nft add rule ip other c meta mark set mark or 0x20000");
        let mut driver = driver();
        apply(&mut driver, &mut world);
        let told = |driver: &mut NftablesDriver, world: &World| {
            std::thread::sleep(Duration::from_millis(20));
            driver.poll(&world.store).expect("the kernel answers");
            driver.report().problems.into_iter().map(|problem| problem.subject).collect::<Vec<_>>()
        };
        assert!((0..20).all(|_| told(&mut driver, &world).is_empty()));
        driver.set_settings(driver.settings.clone().with_mark_mask(MarkMask(0x20000)).expect("a bit"));
        driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
        let start = Instant::now();
        while told(&mut driver, &world) != ["chain ip other c of somebody else"] {
            assert!(start.elapsed() < Duration::from_secs(10), "nobody is reported");
        }
    });
}
