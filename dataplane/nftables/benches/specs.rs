//! Rulesets of the sizes S, M and L, loaded into a namespace of their own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use caracal_nftables::{NftablesDriver, Ownership, Settings};
use caracal_program::{Driver as _, PolicyStore, Sweep};
use caracal_proto::felix;
use caracal_sys::netns::NetNs;
use caracal_sys::nft::NftSocket;
use workload::{SPECS, Spec};

#[expect(dead_code, reason = "the messages of single changes are for the other benchmark")]
#[path = "nftables/workload.rs"]
mod workload;

/// A driver that has programmed a store, and a socket of somebody else in the same
/// namespace.
pub(crate) struct Loaded {
    pub(crate) store: PolicyStore,
    pub(crate) driver: NftablesDriver,
    pub(crate) other: NftSocket,
    pub(crate) bell: Bell,
}

/// What the driver rings when it is to be polled.
pub(crate) struct Bell(Receiver<()>);

impl Bell {
    /// Waits as the data half does: until it rings, or as long as the driver said.
    pub(crate) fn wait(&self, at_most: Duration) {
        // Whichever comes first.
        let _ = self.0.recv_timeout(at_most);
    }
}

/// The sizes that are named on the command line; all if none is.
pub(crate) fn wanted() -> impl Iterator<Item = &'static Spec> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    SPECS.iter().filter(move |spec| wanted.is_empty() || wanted.iter().any(|name| name == spec.name))
}

/// Loads a ruleset of a size; needs root.
pub(crate) fn load(spec: &Spec, ownership: Ownership) -> Loaded {
    let store = store(spec);
    let mut settings = Settings::default();
    settings.ownership = ownership;
    let namespace = NetNs::new().expect("a network namespace; needs root");
    let opened = namespace.run(|| {
        let driver = NftablesDriver::new(settings).expect("nf_tables");
        (driver, NftSocket::open().expect("a netlink socket"))
    });
    let (mut driver, other) = opened.expect("the namespace can be entered");
    let (sender, receiver) = sync_channel(1);
    driver.watch(Arc::new(move || {
        // One that nobody has seen yet does for both.
        let _ = sender.try_send(());
    }));
    driver.resync(&store, Sweep::Remove).expect("the kernel takes the ruleset");
    Loaded { store, driver, other, bell: Bell(receiver) }
}

fn store(spec: &Spec) -> PolicyStore {
    let mut store = PolicyStore::new();
    for payload in spec.ruleset() {
        let message = felix::ToDataplane { sequence_number: 0, payload: Some(payload) };
        store.apply(&message).expect("a message that can be understood");
    }
    store
}
