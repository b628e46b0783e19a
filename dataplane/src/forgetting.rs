//! Addresses whose connections must not live on under their next owner.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::Instant;

use tracing::debug;

use crate::host::Host;
use crate::retry::Backoff;

/// The addresses whose connections are still to be forgotten, without waiting for a review.
#[derive(Debug, Default)]
pub(crate) struct Forgetting {
    owed: BTreeSet<IpAddr>,
    backoff: Backoff,
}

impl Forgetting {
    /// Adds addresses.
    pub(crate) fn owe(&mut self, addrs: impl IntoIterator<Item = IpAddr>) {
        self.owed.extend(addrs);
    }

    /// When a failure is to be made good.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.backoff.due()
    }

    /// Forgets the connections of all of them.
    ///
    /// # Errors
    /// When the kernel cannot be asked; they are still owed.
    pub(crate) fn settle(&mut self, now: Instant, host: &mut impl Host) -> io::Result<()> {
        if self.owed.is_empty() {
            return Ok(());
        }
        let addrs: Vec<IpAddr> = self.owed.iter().copied().collect();
        let connections = host.forget_connections(&addrs).inspect_err(|_| self.backoff.failed(now))?;
        debug!(?addrs, connections, "forgot the connections of departed addresses");
        self.owed.clear();
        self.backoff.worked();
        Ok(())
    }
}
