use super::*;
use crate::messages::{packet, rule, store};
use crate::parse_rule;

/// Sets that the tables below name.
fn sets() -> PolicyStore {
    store(&[
        r#"{"ipsetUpdate": {"id": "web", "type": "NET", "members": ["10.0.0.1/32", "10.9.0.0/16", "fd00::1/128", "fd00:9::/32"]}}"#,
        r#"{"ipsetUpdate": {"id": "db", "type": "NET", "members": ["10.0.0.1/32", "10.0.0.2/32"]}}"#,
        r#"{"ipsetUpdate": {"id": "empty", "type": "NET"}}"#,
        r#"{"ipsetUpdate": {"id": "http", "type": "IP_AND_PORT", "members": ["10.0.0.2,tcp:80", "10.0.0.1,tcp:1000", "fd00::2,tcp:80"]}}"#,
        r#"{"ipsetUpdate": {"id": "svc", "type": "IP_AND_PORT", "members": ["10.0.0.2,tcp:80", "10.0.0.2,udp:53"]}}"#,
        r#"{"ipsetUpdate": {"id": "svc-tcp", "type": "IP_AND_PORT", "members": ["10.0.0.2,tcp:80"]}}"#,
    ])
}

/// Checks that `fields` and nothing else keeps the rule from matching.
fn check(fields_of_rule: &str, packet_text: &str, want: &[Field]) {
    let store = sets();
    let text = format!(r#"{{"action": "allow", {fields_of_rule}}}"#);
    let rule = parse_rule(&rule(&text)).expect("an understood rule");
    let packet = packet(packet_text);
    assert_eq!(rule.mismatches(&packet, &store), want, "{fields_of_rule} with {packet_text}");
    assert_eq!(rule.matches(&packet, &store), want.is_empty(), "{fields_of_rule} with {packet_text}");
}

const V4: &str = "10.0.0.1 > 10.0.0.2 tcp 1000 > 80";
const V6: &str = "fd00::1 > fd00::2 tcp 1000 > 80";

#[test]
fn an_empty_rule_matches_everything() {
    let store = sets();
    let rule = parse_rule(&rule(r#"{"action": "allow"}"#)).expect("an understood rule");
    for text in [V4, V6, "10.0.0.1 > 10.0.0.2 icmp 8/0", "10.0.0.1 > 10.0.0.2 47"] {
        assert!(rule.matches(&packet(text), &store), "{text}");
    }
}

#[test]
fn family_and_protocol() {
    use Field::{Family, NotProtocol, Protocol};
    for (fields, packet, want) in [
        (r#""ipVersion": "IPV4""#, V4, &[][..]),
        (r#""ipVersion": "IPV4""#, V6, &[Family]),
        (r#""ipVersion": "IPV6""#, V6, &[]),
        (r#""ipVersion": "IPV6""#, V4, &[Family]),
        (r#""protocol": {"name": "tcp"}"#, V4, &[]),
        (r#""protocol": {"number": 6}"#, V4, &[]),
        (r#""protocol": {"name": "udp"}"#, V4, &[Protocol]),
        (r#""protocol": {"number": 47}"#, "10.0.0.1 > 10.0.0.2 47", &[]),
        (r#""notProtocol": {"name": "udp"}"#, V4, &[]),
        (r#""notProtocol": {"name": "tcp"}"#, V4, &[NotProtocol]),
        (r#""notProtocol": {"number": 6}"#, V6, &[NotProtocol]),
    ] {
        check(fields, packet, want);
    }
}

#[test]
fn icmp_types_and_codes() {
    use Field::{Icmp, NotIcmp, Protocol};
    let ping = "10.0.0.1 > 10.0.0.2 icmp 8/0";
    let unreachable = "10.0.0.1 > 10.0.0.2 icmp 3/1";
    for (fields, packet, want) in [
        (r#""protocol": {"name": "icmp"}, "icmpType": 8"#, ping, &[][..]),
        (r#""protocol": {"name": "icmp"}, "icmpType": 8"#, unreachable, &[Icmp]),
        (r#""protocol": {"name": "icmp"}, "icmpType": 0"#, ping, &[Icmp]),
        (r#""icmpTypeCode": {"type": 3, "code": 1}"#, unreachable, &[]),
        (r#""icmpTypeCode": {"type": 3, "code": 0}"#, unreachable, &[Icmp]),
        (r#""protocol": {"name": "icmp"}, "icmpType": 8"#, V4, &[Protocol, Icmp]),
        // The same numbers mean something else in the other family.
        (r#""protocol": {"name": "icmpv6"}, "icmpType": 128"#, "fd00::1 > fd00::2 icmpv6 128/0", &[]),
        (r#""icmpType": 128"#, "fd00::1 > fd00::2 icmp 128/0", &[Icmp]),
        // Not (type and code): one of them differing is enough.
        (r#""notIcmpType": 8"#, ping, &[NotIcmp]),
        (r#""notIcmpType": 8"#, unreachable, &[]),
        (r#""notIcmpTypeCode": {"type": 3, "code": 1}"#, unreachable, &[NotIcmp]),
        (r#""notIcmpTypeCode": {"type": 3, "code": 2}"#, unreachable, &[]),
        (r#""notIcmpTypeCode": {"type": 4, "code": 1}"#, unreachable, &[]),
        (r#""notIcmpType": 8"#, V4, &[]),
    ] {
        check(fields, packet, want);
    }
}

#[test]
fn prefixes() {
    use Field::{DstNets, NotDstNets, NotSrcNets, SrcNets};
    for (fields, packet, want) in [
        (r#""srcNet": ["10.0.0.0/24"]"#, V4, &[][..]),
        (r#""srcNet": ["10.1.0.0/16", "10.0.0.1/32"]"#, V4, &[]),
        (r#""srcNet": ["10.1.0.0/16"]"#, V4, &[SrcNets]),
        (r#""dstNet": ["10.0.0.2/32"]"#, V4, &[]),
        (r#""dstNet": ["10.0.0.1/32"]"#, V4, &[DstNets]),
        (r#""dstNet": ["fd00::/16"]"#, V6, &[]),
        // A list without a prefix of the packet's family never matches.
        (r#""srcNet": ["fd00::/16"]"#, V4, &[SrcNets]),
        (r#""srcNet": ["10.0.0.0/8"]"#, V6, &[SrcNets]),
        (r#""srcNet": ["10.0.0.0/8", "fd00::/16"]"#, V6, &[]),
        (r#""notSrcNet": ["10.1.0.0/16"]"#, V4, &[]),
        (r#""notSrcNet": ["10.1.0.0/16", "10.0.0.0/24"]"#, V4, &[NotSrcNets]),
        (r#""notDstNet": ["10.0.0.2/32"]"#, V4, &[NotDstNets]),
        // … not even a negated one.
        (r#""notSrcNet": ["10.1.0.0/16"]"#, V6, &[NotSrcNets]),
        (r#""notDstNet": ["fd01::/16"]"#, V4, &[NotDstNets]),
        (r#""notDstNet": ["10.1.0.0/16", "fd01::/16"]"#, V6, &[]),
        // Nothing is outside of everything.
        (r#""notDstNet": ["0.0.0.0/0"]"#, V4, &[NotDstNets]),
        (r#""notDstNet": ["0.0.0.0/0", "fd01::/16"]"#, V6, &[]),
        // "In this block except that one" is two fields that must both hold.
        (r#""srcNet": ["10.0.0.0/8"], "notSrcNet": ["10.0.0.0/24"]"#, V4, &[NotSrcNets]),
    ] {
        check(fields, packet, want);
    }
}

#[test]
fn ports() {
    use Field::{DstPorts, NotDstPorts, NotSrcPorts, SrcPorts};
    let opaque = "10.0.0.1 > 10.0.0.2 47";
    let ping = "10.0.0.1 > 10.0.0.2 icmp 0/80";
    for (fields, packet, want) in [
        (r#""dstPorts": [{"first": 80, "last": 80}]"#, V4, &[][..]),
        (r#""dstPorts": [{"first": 81, "last": 90}, {"first": 79, "last": 80}]"#, V6, &[]),
        (r#""dstPorts": [{"first": 81, "last": 90}]"#, V4, &[DstPorts]),
        (r#""dstPorts": [{"first": 0, "last": 65535}]"#, V4, &[]),
        (r#""srcPorts": [{"first": 1000, "last": 1000}]"#, V4, &[]),
        (r#""srcPorts": [{"first": 80, "last": 80}]"#, V4, &[SrcPorts]),
        (r#""notDstPorts": [{"first": 80, "last": 80}]"#, V4, &[NotDstPorts]),
        (r#""notDstPorts": [{"first": 81, "last": 82}]"#, V4, &[]),
        (r#""notSrcPorts": [{"first": 1, "last": 2000}]"#, V4, &[NotSrcPorts]),
        // What has no ports has none of these ports.
        (r#""dstPorts": [{"first": 0, "last": 65535}]"#, opaque, &[DstPorts]),
        (r#""dstPorts": [{"first": 0, "last": 65535}]"#, ping, &[DstPorts]),
        (r#""notDstPorts": [{"first": 0, "last": 65535}]"#, opaque, &[]),
    ] {
        check(fields, packet, want);
    }
}

#[test]
fn sets_of_addresses() {
    use Field::{DstSets, NotDstSets, NotSrcSets, SrcSets};
    for (fields, packet, want) in [
        (r#""srcIpSetIds": ["web"]"#, V4, &[][..]),
        (r#""srcIpSetIds": ["web"]"#, V6, &[]),
        (r#""srcIpSetIds": ["web"]"#, "10.9.3.4 > 10.0.0.2 tcp 1 > 80", &[]),
        (r#""srcIpSetIds": ["web"]"#, "fd00:9:1::1 > fd00::2 tcp 1 > 80", &[]),
        (r#""srcIpSetIds": ["web"]"#, "10.0.0.3 > 10.0.0.2 tcp 1 > 80", &[SrcSets]),
        // All of them must hold it.
        (r#""srcIpSetIds": ["web", "db"]"#, V4, &[]),
        (r#""srcIpSetIds": ["web", "db"]"#, V6, &[SrcSets]),
        (r#""srcIpSetIds": ["empty"]"#, V4, &[SrcSets]),
        (r#""dstIpSetIds": ["web"]"#, V4, &[DstSets]),
        (r#""dstIpSetIds": ["db"]"#, V4, &[]),
        // None of them may hold it.
        (r#""notSrcIpSetIds": ["web"]"#, V4, &[NotSrcSets]),
        (r#""notSrcIpSetIds": ["empty", "web"]"#, V4, &[NotSrcSets]),
        (r#""notSrcIpSetIds": ["db"]"#, V6, &[]),
        (r#""notDstIpSetIds": ["web"]"#, V4, &[]),
        (r#""notDstIpSetIds": ["db"]"#, V4, &[NotDstSets]),
        // A set of ports holds no address.
        (r#""dstIpSetIds": ["http"]"#, V4, &[DstSets]),
    ] {
        check(fields, packet, want);
    }
}

#[test]
fn named_ports_and_services() {
    use Field::{DstIpPortSets, DstPorts, NotDstNamedPorts, NotSrcNamedPorts, SrcPorts};
    for (fields, packet, want) in [
        (r#""dstNamedPortIpSetIds": ["http"]"#, V4, &[][..]),
        (r#""dstNamedPortIpSetIds": ["http"]"#, V6, &[]),
        (r#""dstNamedPortIpSetIds": ["http"]"#, "10.0.0.1 > 10.0.0.2 udp 1000 > 80", &[DstPorts]),
        (r#""dstNamedPortIpSetIds": ["http"]"#, "10.0.0.1 > 10.0.0.2 tcp 1000 > 81", &[DstPorts]),
        // Any of the named ones, or any of the numeric ones.
        (r#""dstNamedPortIpSetIds": ["empty", "http"]"#, V4, &[]),
        (r#""dstNamedPortIpSetIds": ["empty"], "dstPorts": [{"first": 80, "last": 80}]"#, V4, &[]),
        (r#""dstNamedPortIpSetIds": ["http"], "dstPorts": [{"first": 81, "last": 81}]"#, V4, &[]),
        (r#""srcNamedPortIpSetIds": ["http"]"#, V4, &[]),
        (r#""srcNamedPortIpSetIds": ["svc"]"#, V4, &[SrcPorts]),
        (r#""notDstNamedPortIpSetIds": ["http"]"#, V4, &[NotDstNamedPorts]),
        (r#""notDstNamedPortIpSetIds": ["empty"]"#, V4, &[]),
        (r#""notSrcNamedPortIpSetIds": ["http"]"#, V4, &[NotSrcNamedPorts]),
        (r#""notSrcNamedPortIpSetIds": ["http"]"#, "10.0.0.1 > 10.0.0.2 47", &[]),
        (r#""dstIpPortSetIds": ["svc"]"#, V4, &[]),
        (r#""dstIpPortSetIds": ["svc"]"#, "10.0.0.1 > 10.0.0.2 udp 1 > 53", &[]),
        (r#""dstIpPortSetIds": ["svc", "svc-tcp"]"#, "10.0.0.1 > 10.0.0.2 udp 1 > 53", &[DstIpPortSets]),
        (r#""dstIpPortSetIds": ["svc", "svc-tcp"]"#, V4, &[]),
    ] {
        check(fields, packet, want);
    }
}

#[test]
fn every_failing_field_is_named_those_that_cost_least_first() {
    check(
        r#""protocol": {"name": "udp"}, "srcIpSetIds": ["empty"], "dstPorts": [{"first": 1, "last": 2}]"#,
        V4,
        &[Field::Protocol, Field::DstPorts, Field::SrcSets],
    );
}
