//! What rules and programs look like in the kernel.

use caracal_proto::felix;

use crate::render::render_text;
use crate::settings::{DenyAction, EndpointToHost, FlowLogs, InvalidPackets, Ipv6, Settings};
use crate::testing::{World, in_namespace, nft, ports, protocol, rule, texts};

/// The sets that the rules below name.
fn sets(world: &mut World) {
    world
        .set("s:hosts", &["10.0.0.1/32", "fd00::1/128"])
        .set("s:hosts4", &["10.0.0.1/32"])
        .set("s:nets4", &["10.0.0.0/8"])
        .set("s:both", &["10.0.0.1/32", "172.16.0.0/12"])
        .set("s:none", &[])
        .set("n:web", &["10.0.0.1,tcp:80"]);
}

/// The chains of one policy with the given rules, inbound.
fn chains_of(rules: &[felix::Rule], settings: &Settings) -> String {
    let mut world = World::default();
    sets(&mut world);
    world.policy("p", rules, &[]).endpoint("ns/0", "cali0", &[("default", "Deny", &["p"], &[])], &[]);
    let text = render_text(&world.store, settings);
    in_namespace(|| nft(&["-c", "-f", "-"], &text)).expect("nft takes the text");
    let chains =
        text.split("\n\n").filter(|object| object.contains("policy-ingress/") && object.contains("\tchain policy"));
    let lists = text.split("\n\n").filter(|object| {
        ["\tset ports", "\tset nets4-list", "\tset addrs4-list", "\tset protocols"]
            .iter()
            .any(|begin| object.contains(begin))
    });
    lists.chain(chains).map(|object| format!("{}\n", object.trim_end_matches(['}', '\n', '\t']))).collect()
}

#[test]
fn each_form_of_a_rule() {
    let rules = [
        ("everything", rule("allow")),
        ("one family", felix::Rule { ip_version: 6, ..rule("deny") }),
        ("one port", felix::Rule { protocol: protocol("tcp"), dst_ports: ports(&["80"]), ..rule("allow") }),
        (
            "a range of ports",
            felix::Rule { protocol: protocol("udp"), dst_ports: ports(&["8000:8080"]), ..rule("allow") },
        ),
        (
            "several ports",
            felix::Rule { protocol: protocol("tcp"), dst_ports: ports(&["443", "80", "8000:8080"]), ..rule("allow") },
        ),
        ("not these ports", felix::Rule { protocol: protocol("tcp"), not_dst_ports: ports(&["80"]), ..rule("allow") }),
        ("not these ports of any protocol", felix::Rule { not_dst_ports: ports(&["80", "443"]), ..rule("allow") }),
        ("a protocol by number", felix::Rule { protocol: protocol("47"), ..rule("allow") }),
        ("not a protocol", felix::Rule { not_protocol: protocol("tcp"), ..rule("allow") }),
        ("one prefix", felix::Rule { src_net: texts(&["10.0.0.0/8"]), ..rule("allow") }),
        (
            "a prefix with an exception",
            felix::Rule {
                src_net: texts(&["10.0.0.0/8"]),
                not_src_net: texts(&["10.1.0.0/20", "10.2.0.0/16"]),
                ..rule("allow")
            },
        ),
        (
            "prefixes of both families",
            felix::Rule { src_net: texts(&["10.0.0.0/8", "fd00::/8", "192.0.2.0/24"]), ..rule("allow") },
        ),
        ("all addresses", felix::Rule { src_net: texts(&["0.0.0.0/0"]), ..rule("allow") }),
        ("not a prefix of the other family", felix::Rule { not_src_net: texts(&["fd00::/8"]), ..rule("allow") }),
        ("a set of both families", felix::Rule { src_ip_set_ids: texts(&["s:hosts"]), ..rule("allow") }),
        ("a set of addresses and prefixes", felix::Rule { src_ip_set_ids: texts(&["s:both"]), ..rule("allow") }),
        ("a set without members", felix::Rule { src_ip_set_ids: texts(&["s:none"]), ..rule("allow") }),
        ("not in a set", felix::Rule { not_src_ip_set_ids: texts(&["s:both"]), ..rule("allow") }),
        ("in all of several sets", felix::Rule { src_ip_set_ids: texts(&["s:hosts4", "s:nets4"]), ..rule("allow") }),
        (
            "in mixed sets on both sides",
            felix::Rule { src_ip_set_ids: texts(&["s:both"]), dst_ip_set_ids: texts(&["s:both"]), ..rule("allow") },
        ),
        ("a set that is unknown", felix::Rule { src_ip_set_ids: texts(&["s:unknown"]), ..rule("allow") }),
        (
            "ports by number and name",
            felix::Rule {
                protocol: protocol("tcp"),
                dst_ports: ports(&["443"]),
                dst_named_port_ip_set_ids: texts(&["n:web"]),
                ..rule("allow")
            },
        ),
        ("a service", felix::Rule { dst_ip_port_set_ids: texts(&["n:web"]), ..rule("allow") }),
        (
            "an icmp type",
            felix::Rule { protocol: protocol("icmp"), icmp: Some(felix::rule::Icmp::IcmpType(8)), ..rule("allow") },
        ),
        (
            "an icmp type and code",
            felix::Rule {
                icmp: Some(felix::rule::Icmp::IcmpTypeCode(felix::IcmpTypeAndCode { r#type: 3, code: 4 })),
                ..rule("allow")
            },
        ),
        (
            "not an icmp type and code",
            felix::Rule {
                protocol: protocol("icmp"),
                not_icmp: Some(felix::rule::NotIcmp::NotIcmpTypeCode(felix::IcmpTypeAndCode { r#type: 3, code: 4 })),
                ..rule("allow")
            },
        ),
        ("a line in the log", felix::Rule { src_ip_set_ids: texts(&["s:hosts4"]), ..rule("log") }),
        (
            "one line in the log for a set of both forms",
            felix::Rule { src_ip_set_ids: texts(&["s:both"]), ..rule("log") },
        ),
        ("a pass", felix::Rule { src_net: texts(&["10.0.0.0/8"]), ..rule("next-tier") }),
    ];
    let chains = rules.map(|(name, rule)| format!("# {name}\n{}\n", chains_of(&[rule], &Settings::default())));
    insta::assert_snapshot!("rules", chains.concat());
}

/// A ruleset with most of what there is.
fn gallery() -> World {
    let mut world = World::default();
    sets(&mut world);
    let from = |set: &str, action: &str| felix::Rule { src_ip_set_ids: texts(&[set]), ..rule(action) };
    world
        .policy("admin", &[from("s:hosts4", "next-tier"), from("s:nets4", "deny")], &[])
        .policy("default/web", &[from("s:hosts", "allow")], &[rule("allow")])
        .policy("staged:next", &[rule("deny")], &[])
        .profile("kns.default", &[rule("allow")], &[rule("allow")])
        .endpoint(
            "default/web-0",
            "cali0",
            &[
                ("security", "Deny", &["admin"], &[]),
                ("default", "Deny", &["staged:next", "default/web"], &["default/web"]),
            ],
            &["kns.default"],
        )
        .endpoint("default/open-0", "cali1", &[], &["kns.default", "ksa.default.default"])
        .endpoint_in_state("down", "default/down-0", "cali2", &[], &["kns.default"]);
    world
}

#[test]
fn a_whole_ruleset() {
    let text = render_text(&gallery().store, &Settings::default());
    in_namespace(|| nft(&["-c", "-f", "-"], &text)).expect("nft takes the text");
    insta::assert_snapshot!(text);
}

#[test]
fn the_same_ruleset_by_other_settings() {
    let mut settings = Settings::default()
        .with_interface_prefixes(["tap", "cali"])
        .and_then(|settings| settings.with_mark_mask(caracal_net::MarkMask(0x80)))
        .expect("settings that can be used")
        .with_log_prefix("%t %k %n %p");
    settings.deny = DenyAction::Reject;
    settings.invalid = InvalidPackets::Judge;
    settings.endpoint_to_host = EndpointToHost::Accept;
    settings.ipv6 = Ipv6::Off;
    let mut world = gallery();
    world.policy("default/web", &[rule("log"), rule("deny")], &[]);
    let text = render_text(&world.store, &settings);
    in_namespace(|| nft(&["-c", "-f", "-"], &text)).expect("nft takes the text");
    insta::assert_snapshot!(text);
}

#[test]
fn the_chains_that_change_when_flows_are_told_of() {
    let mut world = gallery();
    world
        .policy("early", &[rule("allow")], &[])
        .policy("raw", &[rule("allow")], &[])
        .host(
            "eth0",
            "eth0",
            &[],
            [&[], &[], &[("default", "Deny", &["early"], &[])], &[("default", "Deny", &["raw"], &[])]],
            &[],
        )
        .endpoint(
            "default/staged-0",
            "cali3",
            &[("next", "Deny", &["staged:next"], &[]), ("last", "Pass", &["admin"], &[])],
            &["kns.default"],
        );
    let mut settings = Settings::default();
    settings.flow_logs = FlowLogs::On;
    let (silent, telling) = (render_text(&world.store, &Settings::default()), render_text(&world.store, &settings));
    in_namespace(|| nft(&["-c", "-f", "-"], &telling)).expect("nft takes the text");
    assert!(!silent.contains(" group "));
    let untold: Vec<&str> = silent.split("\n\n").collect();
    let changed: Vec<&str> = telling.split("\n\n").filter(|object| !untold.contains(object)).collect();
    insta::assert_snapshot!(changed.join("\n\n"));
}
