//! What is said of rules that other programs make.

use super::*;
use crate::testing::{in_namespace, nft};

/// Rules of others, and what is said of them.
const CASES: &[(&str, &str, &[&str])] = &[
    ("nothing", "", &[]),
    (
        "Docker's forward policy, by iptables-nft",
        "table ip filter {
             chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; }
             chain DOCKER-USER { return; }
         }",
        &[
            "chain ip filter FORWARD: its policy is drop: what our policy allows passes only if a rule there accepts it, at hook forward with priority 0, after our chains",
        ],
    ),
    (
        "firewalld's reject at the end of a chain that a base chain leads to",
        "table inet firewalld {
             chain filter_FORWARD { type filter hook forward priority 10; policy accept; jump filter_FORWARD_POLICIES; }
             chain filter_FORWARD_POLICIES { reject with icmpx admin-prohibited; }
             chain filter_OUTPUT { type filter hook output priority -10; policy accept; drop; }
         }",
        &[
            "chain inet firewalld filter_FORWARD: rules there drop or reject packets that our policy may allow, at hook forward with priority 10, after our chains",
            "chain inet firewalld filter_OUTPUT: rules there drop or reject packets that our policy may allow, at hook output with priority -10, before our chains",
        ],
    ),
    (
        "a raw chain before ours",
        "table ip6 guard {
             chain early { type filter hook forward priority -300; ip6 saddr fd00::/8 drop; }
         }",
        &[
            "chain ip6 guard early: rules there drop or reject packets that our policy may allow, at hook forward with priority -300, before our chains",
        ],
    ),
    (
        "on the way to routing, and behind it",
        "table inet guard {
             chain early { type filter hook prerouting priority 10; ip saddr 192.0.2.1 drop; }
             chain late { type filter hook postrouting priority -10; policy drop; }
         }
         table netdev guard {
             chain taken { type filter hook ingress device lo priority 10; ip saddr 192.0.2.1 drop; }
         }",
        &[
            "chain inet guard early: rules there drop or reject packets that our policy may allow, at hook prerouting with priority 10, before our chains",
            "chain inet guard late: its policy is drop: what our policy allows passes only if a rule there accepts it, at hook postrouting with priority -10, after our chains",
            "chain netdev guard taken: rules there drop or reject packets that our policy may allow, at hook of an interface with priority 10, before our chains",
        ],
    ),
    (
        "labels of connections, ours among them",
        "table inet labels {
             map of { typeof tcp dport : ct label; }
             chain other { type filter hook forward priority 10; ct label set 126; ct label 127 counter; }
             chain ours { type filter hook forward priority 10; ct label set 127; }
             chain any { type filter hook forward priority 10; ct label set tcp dport map @of; }
         }",
        &[
            "chain inet labels any: a rule there may set label 127 of connections, by which we refuse what policy denies now; it is to use another label",
            "chain inet labels ours: a rule there may set label 127 of connections, by which we refuse what policy denies now; it is to use another label",
        ],
    ),
    (
        "verdicts that maps hold, with and without a name",
        "table inet guard {
             map ports { type inet_service : verdict; elements = { 80 : accept, 81 : goto end }; }
             chain end { drop; }
             chain named { type filter hook forward priority 10; tcp dport vmap @ports; }
             chain unnamed { type filter hook forward priority 11; ip saddr vmap { 192.0.2.0/25 : accept, 192.0.2.128/25 : drop }; }
             chain harmless { type filter hook forward priority 12; ip saddr vmap { 192.0.2.1 : accept, 192.0.2.2 : return }; }
         }",
        &[
            "chain inet guard named: rules there drop or reject packets that our policy may allow, at hook forward with priority 10, after our chains",
            "chain inet guard unnamed: rules there drop or reject packets that our policy may allow, at hook forward with priority 11, after our chains",
        ],
    ),
    (
        "marks: kube-proxy's, one of ours set, and one of ours tested",
        "table ip marks {
             chain kube { meta mark set mark or 0x4000; meta mark and 0x4000 == 0x4000 accept; }
             chain sets { meta mark set mark or 0x10000; }
             chain tests { meta mark and 0x30000 == 0x10000 accept; }
             chain whole { meta mark 0x10000 accept; }
         }",
        &[
            "chain ip marks sets: a rule there uses bits 0x10000 of the packet mark, which are ours; leave them out of NftablesMarkMask or of that rule",
            "chain ip marks tests: a rule there uses bits 0x10000 of the packet mark, which are ours; leave them out of NftablesMarkMask or of that rule",
        ],
    ),
    (
        "what is ours, and what is not in the way",
        "table inet caracal {
             chain forward { type filter hook forward priority 0; policy drop; }
         }
         table ip nat {
             chain POSTROUTING { type nat hook postrouting priority 100; }
         }
         table netdev n {
             chain c { drop; }
         }",
        &[],
    ),
];

#[test]
fn what_decides_beside_us_is_told() {
    for (name, rules, wanted) in CASES {
        let found = in_namespace(|| {
            nft(&["-f", "-"], rules).expect("nft loads the rules");
            let mut socket = NftSocket::open().expect("a socket");
            survey(&mut socket, Mark(0x10000)).expect("the kernel answers")
        });
        let told: Vec<String> = found.iter().map(|found| format!("{found}: {}", found.matter)).collect();
        assert_eq!(told, *wanted, "{name}");
    }
}
