use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::{Duration, Instant};

use caracal_net::Family;
use caracal_sys::arp::{ArpRequest, ArpSocket};
use caracal_sys::route::RouteSocket;
use caracal_sys::sysctl::{SourceCheck, prepare_interface};

use super::*;

const MAC: [u8; 6] = [0xee; 6];
const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
const GATEWAY_V6: &str = "fe80::ecee:eeff:feee:eeee";
const WORKLOAD_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const WORKLOAD_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);

/// What the workload did about its gateway before it is told.
#[derive(Clone, Copy, Debug)]
enum Before {
    AskedInVain,
    Nothing,
}

/// A workload behind `w0` whose packets all go by a gateway that does not answer:
/// the host neither does proxy ARP nor has a link-local address.
struct Workload {
    namespace: NetNs,
    interface: IfIndex,
}

impl Workload {
    fn plug() -> Self {
        let namespace = NetNs::new().expect("a namespace; needs root");
        run("ip link add w0 address ee:ee:ee:ee:ee:ee type veth peer name w0p");
        // The kernel gives it no link-local address by itself (`IN6_ADDR_GEN_MODE_NONE`).
        std::fs::write("/proc/sys/net/ipv6/conf/w0/addr_gen_mode", "1").expect("a host with IPv6");
        let file = namespace.as_fd().as_raw_fd();
        run(&format!("ip link set w0p netns /proc/{}/fd/{file}", std::process::id()));
        let workload = Self { namespace, interface: index_of("w0") };
        workload.run(&format!("ip addr add {WORKLOAD_V4}/32 dev w0p"));
        workload.run(&format!("ip addr add {WORKLOAD_V6}/128 dev w0p nodad"));
        workload.run("ip link set w0p up");
        run("ip link set w0 up");
        workload.run(&format!("ip route add default via {GATEWAY_V4} dev w0p onlink"));
        workload.run(&format!("ip route add default via {GATEWAY_V6} dev w0p"));
        workload
    }

    fn run(&self, command: &str) -> String {
        self.namespace.run(|| run(command)).expect("the namespace can be entered")
    }

    fn does(&self, before: Before) {
        let Before::AskedInVain = before else { return };
        let send = || {
            for (from, to) in [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")] {
                let socket = UdpSocket::bind(from).expect("an address");
                socket.send_to(b"x", to).expect("there is a route");
            }
        };
        self.namespace.run(send).expect("the namespace can be entered");
        for gateway in [&GATEWAY_V4.to_string(), GATEWAY_V6] {
            let known = self.run(&format!("ip neigh show {gateway} dev w0p"));
            assert!(known.contains("INCOMPLETE"), "{gateway}: {known}");
        }
    }

    /// The workload knows where its gateway is before it would ask again, after a second.
    fn knows(&self, gateway: &str, state: &str) {
        let deadline = Instant::now() + Duration::from_millis(300);
        loop {
            let known = self.run(&format!("ip neigh show {gateway} dev w0p"));
            if known.contains("lladdr ee:ee:ee:ee:ee:ee") {
                return;
            }
            assert!(Instant::now() < deadline, "{state}: {gateway}: {known}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn whoever_is_asked_learns_where_the_asker_is() {
    for before in [Before::AskedInVain, Before::Nothing] {
        in_namespace(|| {
            let workload = Workload::plug();
            workload.does(before);
            let mut routes = RouteSocket::open().expect("a socket");
            assert_eq!(routes.mac(workload.interface).expect("it is an Ethernet"), MAC);

            let request = ArpRequest { sender: (GATEWAY_V4, MAC), target: WORKLOAD_V4 };
            ArpSocket::open().expect("a socket").request(workload.interface, &request).expect("sent");
            workload.knows(&GATEWAY_V4.to_string(), &format!("{before:?}"));

            run(&format!("ip addr add {GATEWAY_V6}/64 dev w0 nodad"));
            routes.ask_for_neighbour(workload.interface, WORKLOAD_V6.into()).expect("sent");
            workload.knows(GATEWAY_V6, &format!("{before:?}"));
        });
    }
}

#[test]
fn a_link_local_address_is_told_of_as_soon_as_it_may_be_used() {
    in_namespace(|| {
        let workload = Workload::plug();
        let name = "w0".parse().expect("a name");
        prepare_interface(&name, Family::V6, SourceCheck::AsDefault).expect("sysctls can be written");
        workload.does(Before::AskedInVain);
        // The kernel looks for another one with the address, without waiting for its answer.
        std::fs::write("/proc/sys/net/ipv6/conf/w0/accept_dad", "0").expect("a host with IPv6");
        run(&format!("ip addr add {GATEWAY_V6}/64 dev w0"));
        workload.knows(GATEWAY_V6, "the address is there");
    });
}

#[test]
fn where_nobody_can_be_asked_is_an_error() {
    in_namespace(|| {
        let (mut routes, arp) = (RouteSocket::open().expect("a socket"), ArpSocket::open().expect("a socket"));
        let lo = index_of("lo");
        assert_eq!(routes.mac(lo).expect_err("it is no Ethernet").kind(), std::io::ErrorKind::Unsupported);
        let nowhere = IfIndex(4711);
        routes.mac(nowhere).expect_err("there is no such interface");
        routes.ask_for_neighbour(nowhere, WORKLOAD_V6.into()).expect_err("there is no such interface");
        let request = ArpRequest { sender: (GATEWAY_V4, MAC), target: WORKLOAD_V4 };
        for interface in [nowhere, add_link("w0")] {
            arp.request(interface, &request).expect_err("it is not there, or down");
        }
    });
}
