use caracal_net::{Cidr, IfIndex};
use caracal_sys::route::{Route, RouteSocket};

use super::*;

/// `rtm_protocol` of routes that an administrator wrote.
const STATIC: u8 = 4;
const BOOT: u8 = 3;

fn cidr(text: &str) -> Cidr {
    text.parse().expect("a prefix")
}

fn route(destination: &str, interface: IfIndex) -> Route {
    Route { destination: cidr(destination), interface, protocol: BOOT, metric: 1024 }
}

fn link_up(name: &str) -> IfIndex {
    let index = add_link(name);
    run(&format!("ip link set {name} up"));
    index
}

fn sorted(socket: &mut RouteSocket) -> Vec<Route> {
    let mut routes = socket.routes().expect("a listing");
    routes.sort();
    routes
}

#[test]
fn a_namespace_without_routes_lists_none() {
    in_namespace(|| {
        assert_eq!(sorted(&mut RouteSocket::open().expect("a socket")), []);
    });
}

#[test]
fn routes_are_written_listed_and_removed() {
    in_namespace(|| {
        let index = link_up("w0");
        let mut socket = RouteSocket::open().expect("a socket");
        let routes = [route("10.0.0.1/32", index), route("10.1.0.0/24", index), route("fd00::1/128", index)];
        for route in &routes {
            socket.replace(route).expect("written");
            socket.replace(route).expect("written again");
        }
        assert_eq!(sorted(&mut socket), routes);
        assert_eq!(run("ip -4 route show 10.0.0.1"), "10.0.0.1 dev w0 scope link metric 1024 linkdown \n");
        for route in &routes {
            socket.delete(route).expect("removed");
            socket.delete(route).expect("it is not there, which is no error");
        }
        assert_eq!(sorted(&mut socket), []);
    });
}

#[test]
fn an_address_moves_to_another_interface_in_one_step() {
    in_namespace(|| {
        let (first, second) = (link_up("w0"), link_up("w1"));
        let mut socket = RouteSocket::open().expect("a socket");
        for address in ["10.0.0.1/32", "fd00::1/128"] {
            let (old, new) = (route(address, first), route(address, second));
            socket.replace(&old).expect("written");
            socket.replace(&new).expect("written over the old one");
            assert_eq!(sorted(&mut socket), [new]);
            socket.delete(&old).expect("it is not there, which is no error");
            assert_eq!(sorted(&mut socket), [new], "what replaced it stays");
            socket.delete(&new).expect("removed");
        }
    });
}

#[test]
fn only_routes_on_link_that_a_program_wrote_are_listed() {
    in_namespace(|| {
        let index = link_up("w0");
        run("ip addr add 192.0.2.1/24 dev w0");
        run("ip -6 addr add fd01::1/64 dev w0 nodad");
        run("ip route add default via 192.0.2.9");
        run("ip route add 10.2.0.0/16 nexthop via 192.0.2.7 nexthop via 192.0.2.8");
        run("ip route add blackhole 10.3.0.0/16");
        run("ip route add 10.4.0.0/16 dev w0 table 77");
        run("ip -6 route add fd02::/64 via fd01::9");
        run("ip route add 10.5.0.0/16 dev w0 proto static");
        run("ip -6 route add default dev w0 proto static metric 5");
        let expected = [
            Route { destination: cidr("10.5.0.0/16"), interface: index, protocol: STATIC, metric: 0 },
            Route { destination: cidr("::/0"), interface: index, protocol: STATIC, metric: 5 },
        ];
        let mut socket = RouteSocket::open().expect("a socket");
        assert_eq!(sorted(&mut socket), expected);
        for external in expected {
            socket.delete(&external).expect("removed");
        }
        assert_eq!(sorted(&mut socket), []);
    });
}

#[test]
fn an_interface_that_is_down_or_gone_takes_no_route() {
    in_namespace(|| {
        let down = add_link("w0");
        let mut socket = RouteSocket::open().expect("a socket");
        let errno = |outcome: std::io::Result<()>| outcome.expect_err("refused").raw_os_error();
        assert_eq!(errno(socket.replace(&route("10.0.0.1/32", down))), Some(nix::libc::ENETDOWN));
        assert_eq!(errno(socket.replace(&route("10.0.0.1/32", IfIndex(999)))), Some(nix::libc::ENODEV));
        socket.delete(&route("10.0.0.1/32", IfIndex(999))).expect("it is not there, which is no error");
    });
}

#[test]
fn a_neighbour_is_permanent_and_can_be_written_again() {
    in_namespace(|| {
        let index = link_up("w0");
        let mut socket = RouteSocket::open().expect("a socket");
        let addr = "10.0.0.1".parse().expect("an address");
        for last in [1, 2] {
            socket.set_neighbour(index, addr, [2, 0, 0, 0, 0, last]).expect("written");
        }
        assert_eq!(run("ip neigh show"), "10.0.0.1 dev w0 lladdr 02:00:00:00:00:02 PERMANENT \n");
    });
}

#[test]
fn a_long_listing_is_whole() {
    in_namespace(|| {
        let index = link_up("w0");
        let mut socket = RouteSocket::open().expect("a socket");
        let routes: Vec<Route> =
            (0..2_000_u32).map(|n| route(&format!("10.0.{}.{}/32", n / 250, n % 250), index)).collect();
        for route in &routes {
            socket.replace(route).expect("written");
        }
        assert_eq!(sorted(&mut socket), routes);
    });
}
