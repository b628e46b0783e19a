//! Which interfaces there are, whether they are up and what addresses they have, as events.

mod links;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use caracal_net::IfIndex;
use futures_util::StreamExt;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::AsyncSocket;
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use tokio::sync::oneshot;
use tracing::{debug, warn};

use links::{Link, Links, State};

/// Room for notifications that nobody has read yet.
const RECEIVE_BUFFER: usize = 4 << 20;

/// What is subscribed to.
const GROUPS: [MulticastGroup; 3] = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];

/// The pause before a listing that failed is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// What happened to an interface.
///
/// An interface is *up* when it is administratively up (`IFF_UP`), with or
/// without carrier: that is what its routes need. The kernel takes the routes
/// away when it goes down, but not when only its carrier is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// It is there, and up. With an index other than before it is another
    /// interface of the same name.
    Up {
        /// Its name.
        name: String,
        /// Its index.
        index: IfIndex,
    },
    /// It has been told to be up and carries packets from now on (`IFF_LOWER_UP`; Linux
    /// 6.1 says `IFF_RUNNING` at first of one without a carrier); what was sent before
    /// was lost. Not told of one that ran already when it was told to be up.
    Running {
        /// Its name.
        name: String,
        /// Its index.
        index: IfIndex,
    },
    /// It is there, but down.
    Down {
        /// Its name.
        name: String,
        /// Its index.
        index: IfIndex,
    },
    /// No interface has the name any more. One that was renamed is gone under
    /// its old name.
    Gone {
        /// Its name.
        name: String,
    },
    /// It has these addresses now, and no others. Told after the first news of an
    /// interface that has any; one that is gone has lost them without a word.
    Addresses {
        /// Its name.
        name: String,
        /// The addresses of both families.
        addresses: BTreeSet<IpAddr>,
    },
    /// Notifications were lost. The last state of every interface has been told,
    /// but one that is up may have been down meanwhile and have lost its routes.
    Missed,
}

/// Ends the watch when it is dropped.
#[derive(Debug)]
pub struct WatchHandle {
    _stop: oneshot::Sender<Infallible>,
}

/// Watches the interfaces of the caller's network namespace on a thread of its
/// own: first `sink` is told of all that are there, then of every change, until
/// it breaks or the handle is dropped.
///
/// If notifications are lost because `sink` is slow, the interfaces are listed
/// anew and `sink` is told what differs, then [`LinkEvent::Missed`].
///
/// # Errors
/// When the thread or its socket cannot be made.
pub fn watch(sink: impl FnMut(LinkEvent) -> ControlFlow<()> + Send + 'static) -> io::Result<WatchHandle> {
    let (stop, stopped) = oneshot::channel();
    let (opened, outcome) = mpsc::sync_channel(1);
    thread::Builder::new().name("link-monitor".to_owned()).spawn(move || {
        let monitor = async move {
            let notifications = match Notifications::open() {
                Ok(notifications) => notifications,
                Err(error) => return drop(opened.send(Err(error))),
            };
            drop(opened.send(Ok(())));
            tokio::select! {
                _ = stopped => {}
                () = follow(notifications, sink) => {}
            }
        };
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(monitor),
            // The channel closes with the monitor.
            Err(error) => warn!(%error, "cannot start a runtime for the link monitor"),
        }
    })?;
    outcome.recv().map_err(|_| io::Error::other("the link monitor's thread has no runtime"))??;
    Ok(WatchHandle { _stop: stop })
}

/// A connection that is subscribed to changes of links and addresses.
struct Notifications {
    handle: Handle,
    stream: Stream,
}

type Message = NetlinkMessage<RouteNetlinkMessage>;
type Stream = futures_util::stream::BoxStream<'static, Message>;

impl Notifications {
    fn open() -> io::Result<Self> {
        let (mut connection, handle, messages) = new_multicast_connection(&GROUPS)?;
        // The end of a listing must be seen, to know that it is whole.
        connection.set_forward_done(true);
        let socket = connection.socket_mut().socket_mut();
        // Without the right to exceed the system's bound the usual room must do.
        if setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            socket.set_rx_buf_sz(RECEIVE_BUFFER)?;
        }
        tokio::spawn(connection);
        Ok(Self { handle, stream: messages.map(|(message, _)| message).boxed() })
    }
}

/// Tells `sink` of changes until it breaks.
async fn follow(mut notifications: Notifications, mut sink: impl FnMut(LinkEvent) -> ControlFlow<()>) {
    let mut links = Links::default();
    let mut missed = None;
    loop {
        match list(&mut notifications.handle).await {
            Ok((listed, addresses)) => {
                if links.replace(listed, addresses).into_iter().chain(missed).try_for_each(&mut sink).is_break() {
                    return;
                }
                missed = Some(LinkEvent::Missed);
                if read(&mut notifications.stream, &mut links, &mut sink).await.is_break() {
                    return;
                }
                debug!("notifications of interfaces were lost; listing all of them");
            }
            Err(error) => {
                warn!(%error, "cannot list the interfaces; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
        // What the old connection still held is older than the next listing.
        match Notifications::open() {
            Ok(fresh) => notifications = fresh,
            Err(error) => {
                warn!(%error, "cannot watch the interfaces; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Reads notifications until some are lost.
async fn read(
    stream: &mut Stream,
    links: &mut Links,
    sink: &mut impl FnMut(LinkEvent) -> ControlFlow<()>,
) -> ControlFlow<()> {
    while let Some(message) = stream.next().await {
        let events = match message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => match Link::of(&message) {
                Some(link) => links.there(link),
                None => continue,
            },
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(message)) => match Link::of(&message) {
                Some(link) => links.gone(link.index),
                None => continue,
            },
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(message)) => match held(&message) {
                Some((index, addr)) => links.gained(index, addr),
                None => continue,
            },
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(message)) => match held(&message) {
                Some((index, addr)) => links.lost(index, addr),
                None => continue,
            },
            NetlinkPayload::Overrun(_) => break,
            _ => continue,
        };
        events.into_iter().try_for_each(&mut *sink)?;
    }
    ControlFlow::Continue(())
}

/// All links, and all addresses with the interface that has each.
async fn list(handle: &mut Handle) -> io::Result<(Vec<Link>, Vec<(IfIndex, IpAddr)>)> {
    let mut question = LinkMessage::default();
    question.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let links = dump(handle, RouteNetlinkMessage::GetLink(question), |answer| match answer {
        RouteNetlinkMessage::NewLink(message) => Link::of(&message),
        _ => None,
    });
    let links = links.await?;
    let addresses = dump(handle, RouteNetlinkMessage::GetAddress(AddressMessage::default()), |answer| match answer {
        RouteNetlinkMessage::NewAddress(message) => held(&message),
        _ => None,
    });
    Ok((links, addresses.await?))
}

/// A listing. An answer that is not of one piece is asked for again.
async fn dump<T>(
    handle: &mut Handle,
    question: RouteNetlinkMessage,
    read: impl Fn(RouteNetlinkMessage) -> Option<T>,
) -> io::Result<Vec<T>> {
    loop {
        let mut request = Message::from(question.clone());
        request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut answer = handle.request(request).map_err(io::Error::other)?;
        let (mut listed, mut whole, mut interrupted) = (Vec::new(), false, false);
        while let Some(message) = answer.next().await {
            interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
            match message.payload {
                NetlinkPayload::InnerMessage(message) => listed.extend(read(message)),
                NetlinkPayload::Done(_) => whole = true,
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
        }
        if !whole {
            // A notification with the number of the listing ends it for the library.
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the listing ended too early"));
        }
        if !interrupted {
            return Ok(listed);
        }
    }
}

/// The address that a message is about, and the interface that has or had it.
/// `IFA_LOCAL` is its own where `IFA_ADDRESS` is that of a peer.
fn held(message: &AddressMessage) -> Option<(IfIndex, IpAddr)> {
    let own = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(addr) => Some(*addr),
        _ => None,
    });
    let any = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(addr) => Some(*addr),
        _ => None,
    });
    Some((IfIndex(message.header.index), own.or(any)?))
}

impl Link {
    /// A link as a message tells of it; `None` for what a bridge tells of its ports.
    fn of(message: &LinkMessage) -> Option<Self> {
        if message.header.interface_family != AddressFamily::Unspec {
            return None;
        }
        let name = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        })?;
        let flags = message.header.flags;
        let state = match (flags.contains(LinkFlags::Up), flags.contains(LinkFlags::LowerUp)) {
            (true, true) => State::Running,
            (true, false) => State::Up,
            (false, _) => State::Down,
        };
        Some(Self { name, index: IfIndex(message.header.index), state })
    }
}
