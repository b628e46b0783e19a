//! Equal rulesets in two namespaces: the driver's, and the floor's.

use std::thread::sleep;
use std::time::{Duration, Instant};

use caracal_nftables::{NftablesDriver, Ownership, Settings};
use caracal_program::{Change, Driver, PolicyStore, Receipt, Sweep, coalesce};
use caracal_proto::felix::{self, to_dataplane::Payload};
use caracal_sys::netns::NetNs;

use crate::floor::Floor;
use crate::workload::Spec;

/// Longer than a packet's walk: after it, what a change left behind is deleted.
pub(crate) const SETTLE: Duration = Duration::from_millis(6);

/// The driver and its store, and the floor.
pub(crate) struct Sides {
    pub(crate) store: PolicyStore,
    pub(crate) driver: NftablesDriver,
    pub(crate) floor: Floor,
}

impl Sides {
    /// Loads a ruleset on both sides.
    pub(crate) fn new(spec: &Spec) -> Self {
        let store = store_of(spec);
        let load = |ownership| {
            let (namespace, mut driver) = driver(ownership);
            driver.resync(&store, Sweep::Remove).expect("the kernel takes the ruleset");
            (namespace, driver)
        };
        let (_, driver) = load(Ownership::Owned);
        let (floor, _) = load(Ownership::Shared);
        Self { store, driver, floor: Floor::new(floor) }
    }

    /// Takes what is told as one revision; the time that the driver needs for it.
    pub(crate) fn apply(&mut self, messages: impl IntoIterator<Item = Payload>) -> Duration {
        let changes: Vec<Change> = coalesce(messages.into_iter().map(|message| tell(&mut self.store, message)));
        let start = Instant::now();
        let Receipt { transactions, .. } = self.driver.apply(&self.store, &changes).expect("the kernel takes it");
        let took = start.elapsed();
        assert_eq!(transactions, 1);
        took
    }

    /// Lets the driver delete what the last change left without users; the time that it needs.
    pub(crate) fn settle(&mut self) -> Duration {
        sleep(SETTLE);
        let start = Instant::now();
        self.driver.poll(&self.store).expect("the kernel answers");
        start.elapsed()
    }
}

/// A driver in a namespace of its own.
pub(crate) fn driver(ownership: Ownership) -> (NetNs, NftablesDriver) {
    let namespace = NetNs::new().expect("a network namespace; needs root");
    let mut settings = Settings::default();
    settings.ownership = ownership;
    let driver = namespace.run(|| NftablesDriver::new(settings).expect("nf_tables"));
    (namespace, driver.expect("the namespace can be entered"))
}

/// A store that was told a ruleset.
pub(crate) fn store_of(spec: &Spec) -> PolicyStore {
    let mut store = PolicyStore::new();
    for message in spec.ruleset() {
        tell(&mut store, message);
    }
    store
}

fn tell(store: &mut PolicyStore, payload: Payload) -> Change {
    let message = felix::ToDataplane { sequence_number: 0, payload: Some(payload) };
    store.apply(&message).expect("a message that can be understood")
}
