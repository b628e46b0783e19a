//! Interfaces, addresses and routes of the test's own namespaces, by rtnetlink.
//!
//! What a CNI plugin would do is done here; what the agent must do (routes and
//! sysctls on the node's side of a pod) is not.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use caracal_sys::netns::NetNs;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth};
use rtnetlink::packet_route::neighbour::NeighbourState;
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

/// The MAC address that Calico's CNI plugin gives to the node's side of every pod.
const HOST_SIDE_MAC: [u8; 6] = [0xee; 6];

/// The IPv4 gateway of a pod; the node answers for it by proxy ARP.
const POD_GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// The link-local address that follows from [`HOST_SIDE_MAC`]: a pod's IPv6 gateway.
const POD_GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xecee, 0xeeff, 0xfeee, 0xeeee);

/// A fresh namespace with loopback up and without duplicate address detection,
/// so that an address can be used at once.
pub fn namespace() -> anyhow::Result<NetNs> {
    let namespace = NetNs::new().context("network namespaces need root")?;
    namespace.run(|| {
        for scope in ["all", "default"] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/accept_dad"), "0")?;
        }
        io::Result::Ok(())
    })??;
    configure(&namespace, async |net| net.up("lo").await)?;
    Ok(namespace)
}

/// Runs an async configuration step inside a namespace.
pub fn configure<T: Send>(
    namespace: &NetNs,
    step: impl AsyncFnOnce(Configurator) -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    namespace.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            let driver = tokio::spawn(connection);
            let outcome = step(Configurator { handle }).await;
            driver.abort();
            outcome
        })
    })?
}

/// Makes a pod's interface: `eth0` inside, `host_side` on the node, both up,
/// addresses and default routes inside as Calico's CNI plugin lays them.
pub fn plug_pod(pod: &NetNs, node: &NetNs, host_side: &str, addrs: &[IpAddr]) -> anyhow::Result<()> {
    configure(pod, async |net| {
        net.veth("eth0", node, host_side, HOST_SIDE_MAC).await?;
        for addr in addrs {
            net.address("eth0", *addr, if addr.is_ipv4() { 32 } else { 128 }).await?;
        }
        net.up("eth0").await
    })?;
    configure(node, async |net| net.up(host_side).await)?;
    configure(pod, async |net| {
        if addrs.iter().any(IpAddr::is_ipv4) {
            net.route((POD_GATEWAY_V4.into(), 32), None, "eth0").await?;
            net.route((Ipv4Addr::UNSPECIFIED.into(), 0), Some(POD_GATEWAY_V4.into()), "eth0").await?;
        }
        if addrs.iter().any(IpAddr::is_ipv6) {
            net.neighbour("eth0", POD_GATEWAY_V6.into(), HOST_SIDE_MAC).await?;
            net.route((Ipv6Addr::UNSPECIFIED.into(), 0), Some(POD_GATEWAY_V6.into()), "eth0").await?;
        }
        Ok(())
    })
    .with_context(|| format!("cannot plug {host_side}"))
}

/// Waits until an interface carries packets: the kernel may take up to a second after the carrier is there
/// (`net/core/link_watch.c` works once a second), and drops what is sent before.
pub fn wait_running(namespace: &NetNs, name: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        let listed = namespace.run(|| getifaddrs().map(Iterator::collect::<Vec<_>>))??;
        let running = |interface: &InterfaceAddress| {
            interface.interface_name == name && interface.flags.contains(InterfaceFlags::IFF_RUNNING)
        };
        if listed.iter().any(running) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    bail!("{name} does not run")
}

/// Takes a pod's interface away, as when its sandbox is torn down.
pub fn unplug_pod(pod: &NetNs) -> anyhow::Result<()> {
    configure(pod, async |net| net.delete("eth0").await)
}

/// One namespace's links, addresses and routes.
pub struct Configurator {
    handle: Handle,
}

impl Configurator {
    /// Makes a veth pair, both ends down: `name` here, `peer_name` in the other namespace.
    /// (The kernel refuses to make an end up that has no other end yet: `ENOTCONN`.)
    pub async fn veth(&self, name: &str, peer_ns: &NetNs, peer_name: &str, peer_mac: [u8; 6]) -> anyhow::Result<()> {
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(peer_name)
            .address(peer_mac.to_vec())
            .setns_by_fd(peer_ns.as_fd().as_raw_fd())
            .build();
        let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(name)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        self.handle.link().add(pair).execute().await.with_context(|| format!("cannot make {name} and {peer_name}"))
    }

    /// Sets an interface up.
    pub async fn up(&self, name: &str) -> anyhow::Result<()> {
        let message = LinkUnspec::new_with_name(name).up().build();
        self.handle.link().set(message).execute().await.with_context(|| format!("cannot set {name} up"))
    }

    /// Deletes an interface, and with it the other end of a pair.
    pub async fn delete(&self, name: &str) -> anyhow::Result<()> {
        let index = self.index(name)?;
        self.handle.link().del(index).execute().await.with_context(|| format!("cannot delete {name}"))
    }

    /// Adds an address to an interface.
    pub async fn address(&self, name: &str, addr: IpAddr, prefix_len: u8) -> anyhow::Result<()> {
        let index = self.index(name)?;
        self.handle
            .address()
            .add(index, addr, prefix_len)
            .execute()
            .await
            .with_context(|| format!("cannot add {addr}/{prefix_len} to {name}"))
    }

    /// Adds a route through an interface, on link or by a gateway.
    pub async fn route(&self, dst: (IpAddr, u8), gateway: Option<IpAddr>, name: &str) -> anyhow::Result<()> {
        let mut builder =
            RouteMessageBuilder::<IpAddr>::new().destination_prefix(dst.0, dst.1)?.output_interface(self.index(name)?);
        builder = match gateway {
            Some(gateway) => builder.gateway(gateway)?.onlink(),
            None => builder.scope(rtnetlink::packet_route::route::RouteScope::Link),
        };
        self.handle
            .route()
            .add(builder.build())
            .execute()
            .await
            .with_context(|| format!("cannot route {}/{} through {name}", dst.0, dst.1))
    }

    /// Writes a permanent neighbour entry, in place of what the neighbour itself has told meanwhile.
    pub async fn neighbour(&self, name: &str, addr: IpAddr, mac: [u8; 6]) -> anyhow::Result<()> {
        self.handle
            .neighbours()
            .add(self.index(name)?, addr)
            .link_layer_address(&mac)
            .state(NeighbourState::Permanent)
            .replace()
            .execute()
            .await
            .with_context(|| format!("cannot write neighbour {addr}"))
    }

    fn index(&self, name: &str) -> anyhow::Result<u32> {
        nix::net::if_::if_nametoindex(name).with_context(|| format!("no interface {name}"))
    }
}
