//! Routes, neighbour entries and MAC addresses of workloads' interfaces, by `NETLINK_ROUTE`.

use std::io;
use std::net::IpAddr;

use caracal_net::{Cidr, Family, IfIndex};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, Parseable,
};
use netlink_packet_route::link::{LinkAttribute, LinkLayerType, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;

use crate::netlink::{self, NetlinkSocket, Unanswered, Whole, malformed};
use crate::wire::Malformed;

/// How often a listing is begun anew when routes change under it.
const ATTEMPTS: usize = 16;

/// A unicast route of the table `main` to a destination on link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    /// Where it leads.
    pub destination: Cidr,
    /// The interface that it leads through.
    pub interface: IfIndex,
    /// Which program wrote it (`rtm_protocol`, `linux/rtnetlink.h`).
    pub protocol: u8,
    /// The route's priority; lower wins. The kernel writes 1024 for IPv6 routes that ask for 0.
    pub metric: u32,
}

/// A socket for routes of the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct RouteSocket(NetlinkSocket);

impl RouteSocket {
    /// Opens a socket.
    ///
    /// # Errors
    /// When the system has no room for another socket.
    pub fn open() -> io::Result<Self> {
        let socket = netlink::open(NETLINK_ROUTE)?;
        // The kernel then lists only the table that is asked for.
        socket.set_netlink_get_strict_chk(true)?;
        Ok(Self(NetlinkSocket::over(Box::new(socket))))
    }

    /// The routes that lead through one interface without a gateway, except
    /// those that the kernel wrote itself. In no order.
    ///
    /// # Errors
    /// When the kernel cannot be asked, or routes change all the time.
    pub fn routes(&mut self) -> io::Result<Vec<Route>> {
        let mut routes = Vec::new();
        for family in Family::ALL {
            routes.extend(self.routes_of(family)?);
        }
        Ok(routes)
    }

    /// Writes a route, in place of another one to the same destination with the
    /// same metric.
    ///
    /// # Errors
    /// When the interface is gone or down, or the kernel refuses.
    pub fn replace(&mut self, route: &Route) -> io::Result<()> {
        let mut message = message(route);
        message.header.scope = RouteScope::Link;
        self.change(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Removes a route; one that is not there is no error.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn delete(&mut self, route: &Route) -> io::Result<()> {
        let mut message = message(route);
        // For a deletion this is the scope of every route.
        message.header.scope = RouteScope::NoWhere;
        match self.change(RouteNetlinkMessage::DelRoute(message), 0) {
            // Without its interface a route is gone too.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENODEV)) => Ok(()),
            outcome => outcome,
        }
    }

    /// Writes a permanent neighbour entry, in place of another one.
    ///
    /// # Errors
    /// When the interface is gone or the kernel refuses.
    pub fn set_neighbour(&mut self, interface: IfIndex, addr: IpAddr, mac: [u8; 6]) -> io::Result<()> {
        let mut message = neighbour(interface, addr);
        message.header.state = NeighbourState::Permanent;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        self.change(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Has the kernel ask for a neighbour unless it knows where it is, as if a
    /// packet went there; for IPv6 in the name of the interface's own link-local
    /// address, and later if that may not be used yet.
    ///
    /// # Errors
    /// When the interface is gone or the kernel refuses.
    pub fn ask_for_neighbour(&mut self, interface: IfIndex, addr: IpAddr) -> io::Result<()> {
        let mut message = neighbour(interface, addr);
        message.header.flags = NeighbourFlags::Use;
        self.change(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE)
    }

    /// The MAC address of an Ethernet interface.
    ///
    /// # Errors
    /// When the interface is gone or has none.
    pub fn mac(&mut self, interface: IfIndex) -> io::Result<[u8; 6]> {
        let mut question = LinkMessage::default();
        question.header.index = interface.0;
        let question = self.request(RouteNetlinkMessage::GetLink(question), NLM_F_ACK);
        let mut mac = None;
        self.0.ask(&question, |answer| {
            if answer.head.kind == libc::RTM_NEWLINK {
                let message = LinkMessage::parse(answer.body)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
                mac = message.attributes.iter().find_map(|attribute| match attribute {
                    LinkAttribute::Address(addr) if ethernet => <[u8; 6]>::try_from(addr.as_slice()).ok(),
                    _ => None,
                });
            }
            Ok(())
        })?;
        mac.ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "the interface has no MAC address"))
    }

    fn routes_of(&mut self, of: Family) -> io::Result<Vec<Route>> {
        let mut question = RouteMessage::default();
        question.header.address_family = family(of);
        question.header.table = RouteHeader::RT_TABLE_MAIN;
        let question = self.request(RouteNetlinkMessage::GetRoute(question), NLM_F_DUMP);
        for _ in 0..ATTEMPTS {
            let mut routes = Vec::new();
            let listed = self.0.ask(&question, |answer| {
                if answer.head.kind == libc::RTM_NEWROUTE {
                    let message = RouteMessage::parse(answer.body)
                        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                    routes.extend(on_link(&message)?);
                }
                Ok(())
            });
            match listed {
                Ok(Whole::Yes) => return Ok(routes),
                Ok(Whole::No) => {}
                // A namespace has no table before its first route.
                Err(Unanswered::Refused(report)) if report.errno == Errno::ENOENT => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::Error::new(io::ErrorKind::Interrupted, "routes change faster than they can be listed"))
    }

    fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let request = self.request(message, NLM_F_ACK | flags);
        self.0.ask(&request, |_| Ok(()))?;
        Ok(())
    }

    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.0.next_seq();
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }
}

fn family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

fn neighbour(interface: IfIndex, addr: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(Family::of(addr));
    message.header.ifindex = interface.0;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![NeighbourAttribute::Destination(match addr {
        IpAddr::V4(addr) => NeighbourAddress::Inet(addr),
        IpAddr::V6(addr) => NeighbourAddress::Inet6(addr),
    })];
    message
}

fn message(route: &Route) -> RouteMessage {
    let Route { destination, interface, protocol, metric } = *route;
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination.family());
    message.header.destination_prefix_length = destination.len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::from(protocol);
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        RouteAttribute::Destination(destination.addr().into()),
        RouteAttribute::Oif(interface.0),
        RouteAttribute::Priority(metric),
    ];
    message
}

/// A listed route, if it is of the kind that [`RouteSocket::routes`] gives.
fn on_link(message: &RouteMessage) -> io::Result<Option<Route>> {
    let header = &message.header;
    let mut table = u32::from(header.table);
    let (mut destination, mut interface, mut metric) = (None, None, 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(addr)) => destination = Some(IpAddr::V4(*addr)),
            RouteAttribute::Destination(RouteAddress::Inet6(addr)) => destination = Some(IpAddr::V6(*addr)),
            RouteAttribute::Oif(index) => interface = Some(IfIndex(*index)),
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => return Ok(None),
            _ => {}
        }
    }
    let cached = header.flags.contains(RouteFlags::Cloned);
    let main = table == u32::from(RouteHeader::RT_TABLE_MAIN);
    if !main || cached || header.kind != RouteType::Unicast || header.protocol == RouteProtocol::Kernel {
        return Ok(None);
    }
    let Some(interface) = interface else { return Ok(None) };
    let any = match header.address_family {
        AddressFamily::Inet => Cidr::all(Family::V4),
        AddressFamily::Inet6 => Cidr::all(Family::V6),
        _ => return Ok(None),
    };
    let destination = match destination {
        Some(addr) => Cidr::new(addr, header.destination_prefix_length)
            .map_err(|_| malformed(Malformed("a route with a prefix longer than its address")))?,
        None => any,
    };
    Ok(Some(Route { destination, interface, protocol: header.protocol.into(), metric }))
}
