//! What is ours in the kernel of this node: a table, and routes to workloads.
//!
//! Each thing is found first and removed one by one, so that a dry run lists exactly
//! what would go. What cannot be removed does not keep the rest.

use std::{fmt, io};

use anyhow::Context as _;
use caracal_config::Settings;
use caracal_nftables::ir::TABLE;
use caracal_sys::nft::{Batch, CommitError, Name, NftSocket, TableId};
use caracal_sys::route::{Route, RouteSocket};
use nix::errno::Errno;

/// Something of ours in the kernel.
#[derive(Clone, Debug)]
pub enum Thing {
    /// The table.
    Table(TableId),
    /// A route to a workload, and the name of the interface that it leads into.
    Route(Route, String),
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(table) => write!(f, "table {table}"),
            Self::Route(route, interface) => write!(f, "route {} dev {interface}", route.destination),
        }
    }
}

/// The kernel of the calling thread's network namespace.
pub struct Kernel {
    nft: NftSocket,
    routes: RouteSocket,
}

impl Kernel {
    /// Opens the sockets.
    ///
    /// # Errors
    /// If the kernel has none for us.
    pub fn open() -> anyhow::Result<Self> {
        let nft = NftSocket::open().context("cannot ask nf_tables")?;
        Ok(Self { nft, routes: RouteSocket::open().context("cannot ask for routes")? })
    }

    /// Everything of ours, in the order in which it is to go: rules last, so that what
    /// workloads send is judged for as long as it has a way.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn find(&mut self, settings: &Settings) -> anyhow::Result<Vec<Thing>> {
        let mut things = self.our_routes(settings).context("cannot list routes")?;
        let table = TableId::inet(Name::new(TABLE).expect("the table's name is short"));
        if self.nft.table(&table).context("cannot list tables; this needs CAP_NET_ADMIN")?.is_some() {
            things.push(Thing::Table(table));
        }
        Ok(things)
    }

    /// Routes to single addresses that lead into workload interfaces and have our protocol.
    fn our_routes(&mut self, settings: &Settings) -> io::Result<Vec<Thing>> {
        let names = nix::net::if_::if_nameindex()?;
        let mut things = Vec::new();
        for interface in &names {
            let name = interface.name().to_string_lossy();
            if !settings.interface_prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())) {
                continue;
            }
            let routes = self.routes.routes()?.into_iter().filter(|route| {
                route.interface.0 == interface.index()
                    && route.protocol == settings.device_route_protocol
                    && route.destination.is_host()
            });
            things.extend(routes.map(|route| Thing::Route(route, name.to_string())));
        }
        things.sort_by_key(ToString::to_string);
        Ok(things)
    }

    /// Removes a thing.
    ///
    /// # Errors
    /// If the kernel does not remove it.
    pub fn remove(&mut self, thing: &Thing) -> anyhow::Result<()> {
        match thing {
            Thing::Route(route, _) => self.routes.delete(route)?,
            Thing::Table(table) => {
                let mut batch = Batch::new(table);
                batch.delete_table().expect("a name is short");
                match self.nft.commit(&mut batch) {
                    Err(CommitError::Refused(refused)) if refused.iter().any(|r| r.errno == Errno::EPERM) => {
                        anyhow::bail!("a running agent owns it, or CAP_NET_ADMIN is missing; stop the agent first")
                    }
                    outcome => drop(outcome?),
                }
            }
        }
        Ok(())
    }
}
