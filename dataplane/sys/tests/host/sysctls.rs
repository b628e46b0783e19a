use std::fs;

use caracal_net::Family;
use caracal_sys::IfName;
use caracal_sys::sysctl::{SourceCheck, enable_forwarding, prepare_interface};

use super::*;

fn read(path: &str) -> String {
    fs::read_to_string(format!("/proc/sys/net/{path}")).expect(path).trim().to_owned()
}

fn write(path: &str, value: &str) {
    fs::write(format!("/proc/sys/net/{path}"), value).expect(path);
}

fn name(text: &str) -> IfName {
    IfName::new(text).expect("a name")
}

#[test]
fn a_workloads_interface_is_prepared() {
    in_namespace(|| {
        // A dot is part of the name of an interface, not of its path.
        add_link("w0.5");
        write("ipv4/conf/default/rp_filter", "1");
        let wanted = [
            ("ipv4/conf/w0.5/rp_filter", "1"),
            ("ipv4/conf/w0.5/route_localnet", "1"),
            ("ipv4/neigh/w0.5/proxy_delay", "0"),
            ("ipv4/conf/w0.5/proxy_arp", "1"),
            ("ipv4/conf/w0.5/forwarding", "1"),
            ("ipv6/conf/w0.5/accept_ra", "0"),
            ("ipv6/conf/w0.5/proxy_ndp", "1"),
            ("ipv6/conf/w0.5/ndisc_notify", "1"),
            ("ipv6/conf/w0.5/forwarding", "1"),
        ];
        for (path, value) in wanted {
            write(path, if value == "1" { "0" } else { "1" });
        }
        for family in Family::ALL {
            prepare_interface(&name("w0.5"), family, SourceCheck::AsDefault).expect("sysctls can be written");
        }
        for (path, value) in wanted {
            assert_eq!(read(path), value, "{path}");
        }
        prepare_interface(&name("w0.5"), Family::V4, SourceCheck::Off).expect("sysctls can be written");
        assert_eq!(read("ipv4/conf/w0.5/rp_filter"), "0");
        assert_eq!(read("ipv4/conf/w0.5p/proxy_arp"), "0", "other interfaces stay as they are");
    });
}

#[test]
fn the_host_forwards() {
    in_namespace(|| {
        let switches = ["ipv4/ip_forward", "ipv6/conf/all/forwarding"];
        for switch in switches {
            write(switch, "0");
        }
        enable_forwarding(Family::V4).expect("the switch can be written");
        assert_eq!(switches.map(read), ["1", "0"]);
        enable_forwarding(Family::V6).expect("the switch can be written");
        assert_eq!(switches.map(read), ["1", "1"]);
    });
}

#[test]
fn a_value_that_is_right_is_not_written_again() {
    in_namespace(|| {
        add_link("w0");
        enable_forwarding(Family::V4).expect("the switch can be written");
        // Writing ip_forward, even the same value by another, would reset this one.
        write("ipv4/conf/w0/forwarding", "0");
        enable_forwarding(Family::V4).expect("nothing to write");
        assert_eq!(read("ipv4/conf/w0/forwarding"), "0");
    });
}

#[test]
fn an_interface_that_is_gone_or_is_none_is_an_error() {
    in_namespace(|| {
        let error = prepare_interface(&name("w9"), Family::V4, SourceCheck::AsDefault).expect_err("there is no w9");
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        assert!(error.to_string().contains("conf/w9/"), "{error}");
        for every in ["all", "default"] {
            let error =
                prepare_interface(&name(every), Family::V4, SourceCheck::AsDefault).expect_err("not an interface");
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        }
        assert_eq!(read("ipv4/conf/all/proxy_arp"), "0");
    });
}
