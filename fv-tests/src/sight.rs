//! What a packet looks like where it arrives.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use caracal_sys::netns::NetNs;

/// How long one datagram may take.
const ARRIVAL: Duration = Duration::from_millis(300);

const PAUSE: Duration = Duration::from_millis(50);

/// A datagram that is sent again and again, and what is seen of it.
#[derive(Clone, Copy)]
pub struct Sight<'a> {
    /// Where it is sent, and from which address.
    pub from: (&'a NetNs, IpAddr),
    /// Where it goes, and to which address and port.
    pub to: (&'a NetNs, SocketAddr),
}

impl Sight<'_> {
    /// Sends one datagram; gives the source that the receiver sees, if it arrives.
    pub fn once(&self) -> anyhow::Result<Option<SocketAddr>> {
        let receiver = self.to.0.run(|| UdpSocket::bind(self.to.1))??;
        receiver.set_read_timeout(Some(ARRIVAL))?;
        let sender = self.from.0.run(|| UdpSocket::bind((self.from.1, 0)))??;
        if let Err(error) = sender.send_to(b"sight", self.to.1) {
            anyhow::ensure!(error.kind() == ErrorKind::PermissionDenied, "cannot send: {error}");
        }
        match receiver.recv_from(&mut [0; 16]) {
            Ok((_, source)) => Ok(Some(source)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends until what is seen is as it must be.
    pub fn until(
        &self,
        state: &str,
        patience: Duration,
        is_right: impl Fn(Option<SocketAddr>) -> bool,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let seen = self.once().with_context(|| state.to_owned())?;
            if is_right(seen) {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "{state}: {} -> {}: seen {seen:?}", self.from.1, self.to.1);
            thread::sleep(PAUSE);
        }
    }
}
