use std::time::Duration;

use super::*;

const LEVELS: Kind = Kind::OneOf(&["INFO", "Debug"]);
const SMALL: Kind = Kind::Integer { min: -1, max: 9 };
const TABLES: Kind = Kind::TableRanges { count: usize::MAX, max: u32::MAX };

#[test]
fn values() {
    let seconds = |s| Value::Duration(Duration::from_secs_f64(s));
    for (kind, text, value) in [
        (Kind::Bool, "YES", Value::Bool(true)),
        (Kind::Bool, "t", Value::Bool(true)),
        (Kind::Bool, "0", Value::Bool(false)),
        (SMALL, "-1", Value::Integer(-1)),
        (SMALL, "0x9", Value::Integer(9)),
        (Kind::Seconds, "1.5", seconds(1.5)),
        (Kind::Seconds, "0", seconds(0.0)),
        (Kind::Milliseconds, "50", seconds(0.05)),
        (LEVELS, "info", Value::Text("INFO".into())),
        (LEVELS, "DEBUG", Value::Text("Debug".into())),
        (Kind::MarkMask, "0xff00", Value::MarkMask(MarkMask(0xff00))),
    ] {
        assert_eq!(kind.parse(text), Ok(value), "{kind:?} {text}");
    }
}

#[test]
fn texts_that_are_kept() {
    for (kind, text) in [
        (Kind::Text, "anything at all"),
        (Kind::Pattern("^a+$"), "aaa"),
        (Kind::Regex, r"^(eth|wlan)\d+"),
        (Kind::InterfacePatterns, "kube-ipvs0, /^veth.*/,dummy0"),
        (Kind::KeyValues, "A=true,B=,C=x=y"),
        (Kind::KeyDurations, "CalculationGraph=1m30s, x=0"),
        (Kind::Ipv4, "10.0.0.1"),
        (Kind::Ipv6, "fd00::1"),
        (Kind::Cidrs, "10.0.0.0/8, fd00::/8"),
        (Kind::ProtocolPorts, "22,tcp:80,UDP:53,tcp:10.0.0.0/8:80,udp:[fd00::/8]:53,10.0.0.1/32:22"),
        (Kind::PortRange, "80"),
        (Kind::PortRange, "30000:32767"),
        (Kind::PortRanges, "80,30000:32767"),
        (TABLES, "1-250, 1000-1100 4294967295-4294967295"),
    ] {
        assert_eq!(kind.parse(text), Ok(Value::Text(text.into())), "{kind:?} {text}");
    }
}

#[test]
fn errors_say_what_is_expected() {
    for (kind, text, expected) in [
        (Kind::Bool, "on", "true or false"),
        (SMALL, "10", "a whole number from -1 to 9"),
        (SMALL, "0x-1", "a whole number from -1 to 9"),
        (SMALL, "1.5", "a whole number from -1 to 9"),
        (Kind::Integer { min: 0, max: i64::MAX }, "-1", "a whole number from 0"),
        (Kind::Seconds, "90s", "a number of seconds"),
        (Kind::Seconds, "-1", "a number of seconds"),
        (Kind::Seconds, "NaN", "a number of seconds"),
        (Kind::Milliseconds, "inf", "a number of milliseconds"),
        (LEVELS, "loud", "one of INFO, Debug"),
        (Kind::MarkMask, "0x100", "a 32-bit mask, decimal or 0x…, with two bits or more, found one"),
        (Kind::MarkMask, "0", "a 32-bit mask, decimal or 0x…, with two bits or more, found none"),
        (Kind::MarkMask, "0x1ffffffff", "a 32-bit mask, decimal or 0x…, with two bits or more"),
        (Kind::Pattern("^a+$"), "b", "text that ^a+$ matches"),
        (Kind::InterfacePatterns, "eth0,/x", "a slash at the end of \"/x\""),
        (Kind::InterfacePatterns, "a-name-of-sixteen", r"text that ^[^/\s]{1,15}$ matches"),
        (Kind::KeyValues, "a", "key=value, found \"a\""),
        (Kind::KeyDurations, "a=90", "a duration such as 1m30s in \"a=90\""),
        (Kind::Ipv4, "fd00::1", "an IPv4 address, found \"fd00::1\""),
        (Kind::Ipv6, "10.0.0.1", "an IPv6 address, found \"10.0.0.1\""),
        (Kind::Cidrs, "10.0.0.0/8,x", "a CIDR, found \"x\""),
        (Kind::ProtocolPorts, "sctp:80", "[tcp:|udp:][cidr:]port, found \"sctp:80\""),
        (Kind::ProtocolPorts, "tcp:fd00::/8:80", "[tcp:|udp:][cidr:]port, found \"tcp:fd00::/8:80\""),
        (Kind::ProtocolPorts, "70000", "[tcp:|udp:][cidr:]port, found \"70000\""),
        (Kind::PortRange, "2:1", "a port or first:last, found \"2:1\""),
        (Kind::PortRanges, "1,x", "a port or first:last, found \"x\""),
        (TABLES, "5-1", "first-last up to 4294967295, found \"5-1\""),
        (TABLES, "1-65536", "65535 tables at most, found 65536"),
        (Kind::TableRanges { count: 1, max: 250 }, "1-2,3-4", "one range"),
        (Kind::TableRanges { count: 1, max: 250 }, "1-251", "first-last up to 250, found \"1-251\""),
    ] {
        assert_eq!(kind.parse(text), Err(BadText::Expected(expected.into())), "{kind:?} {text}");
    }
    let error = Kind::Regex.parse("(").expect_err("an open group").to_string();
    assert!(error.starts_with("expected a regular expression: "), "{error}");
}
