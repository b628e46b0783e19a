use caracal_proto::felix::{self, to_dataplane::Payload};

use super::*;
use crate::{Failsafes, PolicyStore};

/// What is called out of a host endpoint with one policy, without failsafe ports.
fn called_out(
    interface: &str,
    inbound: &[felix::Rule],
    outbound: &[felix::Rule],
    failsafes: &Failsafes,
) -> Vec<String> {
    let mut store = PolicyStore::new();
    let id = felix::PolicyId { kind: "GlobalNetworkPolicy".into(), namespace: String::new(), name: "p".into() };
    let policy = felix::Policy {
        inbound_rules: inbound.to_vec(),
        outbound_rules: outbound.to_vec(),
        ..felix::Policy::default()
    };
    let tier = felix::TierInfo {
        name: "default".into(),
        ingress_policies: vec![id.clone()],
        egress_policies: vec![id.clone()],
        default_action: "Deny".into(),
    };
    let endpoint = felix::HostEndpoint { name: interface.into(), tiers: vec![tier], ..felix::HostEndpoint::default() };
    for payload in [
        Payload::ActivePolicyUpdate(felix::ActivePolicyUpdate { id: Some(id), policy: Some(policy) }),
        Payload::HostEndpointUpdate(felix::HostEndpointUpdate {
            id: Some(felix::HostEndpointId { endpoint_id: "h".into() }),
            endpoint: Some(endpoint),
        }),
    ] {
        let message = felix::ToDataplane { sequence_number: 0, payload: Some(payload) };
        store.apply(&message).expect("a message that can be understood");
    }
    let view = HostView { store: &store, failsafes, workload_prefixes: &["cali".into()] };
    let addr = |text: &str| text.parse().expect("an address");
    let lifelines = [
        Lifeline::ApiServer("192.0.2.10:6443".parse().expect("an address and a port")),
        Lifeline::NameServer(addr("192.0.2.53")),
        Lifeline::NameServer(addr("2001:db8::53")),
        Lifeline::NameServer(addr("127.0.0.53")),
        Lifeline::SshSession(addr("192.0.2.99")),
        Lifeline::Ssh,
    ];
    let problems = cut_off(&view, Ipv6::On, &lifelines);
    assert!(problems.iter().all(|problem| problem.subject == "host endpoint h"));
    let mut of_ipv4 = problems.clone();
    of_ipv4.retain(|problem| !problem.reason.contains("2001:db8::53"));
    assert_eq!(cut_off(&view, Ipv6::Off, &lifelines), of_ipv4);
    problems.into_iter().map(|problem| problem.reason).collect()
}

fn to(action: &str, ports: &[u16], src: &[&str]) -> felix::Rule {
    let range = |port: &u16| felix::PortRange { first: (*port).into(), last: (*port).into() };
    felix::Rule {
        action: action.into(),
        protocol: (!ports.is_empty())
            .then(|| felix::Protocol { number_or_name: Some(felix::protocol::NumberOrName::Name("tcp".into())) }),
        dst_ports: ports.iter().map(range).collect(),
        src_net: src.iter().map(ToString::to_string).collect(),
        ..felix::Rule::default()
    }
}

/// What lets a type of ICMPv6 pass.
fn icmpv6(icmp_type: i32) -> felix::Rule {
    let protocol = felix::Protocol { number_or_name: Some(felix::protocol::NumberOrName::Name("icmpv6".into())) };
    let icmp = felix::rule::Icmp::IcmpType(icmp_type);
    felix::Rule { action: "allow".into(), protocol: Some(protocol), icmp: Some(icmp), ..felix::Rule::default() }
}

/// The lifelines that are cut, in the order of [`called_out`].
fn check(interface: &str, inbound: &[felix::Rule], outbound: &[felix::Rule], wanted: &[&str]) {
    let found = called_out(interface, inbound, outbound, &Failsafes::default());
    for (reason, wanted) in found.iter().zip(wanted) {
        assert!(reason.contains(wanted), "{reason} should tell of {wanted}");
    }
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
}

#[test]
fn what_policy_would_cut_is_called_out() {
    let all = || to("allow", &[], &[]);
    let (api, dns, dns6, session, ssh) = (
        "the API server at 192.0.2.10:6443",
        "the name server 192.0.2.53",
        "the name server 2001:db8::53",
        "the ssh session of 192.0.2.99",
        "ssh from",
    );
    check("eth0", &[], &[], &[ssh, api, dns, dns6, session]);
    check("eth0", &[all()], &[all()], &[]);
    check("eth0", &[to("allow", &[22], &["192.0.2.0/24"])], &[all()], &[dns6]);
    check("eth0", &[to("allow", &[22], &["192.0.2.0/24"]), icmpv6(136)], &[all()], &[]);
    check("eth0", &[to("allow", &[22], &["10.0.0.0/8"]), icmpv6(136)], &[all()], &[session]);
    check("eth0", &[all()], &[to("allow", &[6443], &[])], &[dns, dns6]);
    check("eth0", &[to("deny", &[22], &[]), all()], &[all()], &[ssh, session]);
    check("lo", &[], &[], &["the name server 127.0.0.53"]);
    check("cali0", &[], &[], &[]);
    check("*", &[], &[all()], &[ssh, dns6, session]);
}

#[test]
fn the_reason_names_the_rule_and_failsafe_ports_count() {
    let deny = to("deny", &[22], &[]);
    let reasons = called_out("eth0", &[deny, icmpv6(136)], &[to("allow", &[], &[])], &Failsafes::default());
    assert_eq!(
        reasons[1],
        "its normal policy cuts off the ssh session of 192.0.2.99, if that goes through eth0: rule 0 of GlobalNetworkPolicy p \
         ingress denies it; allow it by policy or as a failsafe port"
    );
    let port = |text: &str| text.parse().expect("a port");
    let failsafes = Failsafes::new(&[port("22")], &[port("6443"), port("udp:53")]);
    let neighbours = [icmpv6(135), icmpv6(136)];
    assert_eq!(called_out("eth0", &neighbours, &neighbours, &failsafes), Vec::<String>::new());
    assert_eq!(
        called_out("eth0", &neighbours, &[], &failsafes),
        [
            "its normal policy cuts off the name server 2001:db8::53, if that goes through eth0, as IPv6 finds no neighbours: no \
          egress policy of tier default allows it; allow types 135 and 136 of ICMPv6 by policy"
        ]
    );
}
