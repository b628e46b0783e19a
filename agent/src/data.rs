//! The data half, made of what this node has.

use anyhow::Context as _;
use caracal_config::Settings;
use caracal_dataplane::{Handle, KernelHost, Reply, nftables_settings};
use caracal_nftables::NftablesDriver;

/// Starts the data half on this host's kernel. `replies` must not wait for it.
///
/// # Errors
/// If the kernel does not let this process program it.
pub fn start(settings: Settings, replies: impl Fn(Reply) + Send + 'static) -> anyhow::Result<Handle> {
    let rules = nftables_settings(&settings).context("cannot use the configuration")?;
    let driver = NftablesDriver::new(rules).context("cannot program nf_tables")?;
    let host = KernelHost::open().context("cannot program routes")?;
    Ok(caracal_dataplane::spawn(driver, host, settings, replies)?)
}
