//! How the addresses of pools are translated on their way out.

use std::net::Ipv4Addr;

use caracal_net::PortRange;
use smol_str::SmolStr;

use super::SettingsError;
use crate::ir::IfName;

/// How the addresses of pools are translated on their way out. Whether a pool is
/// translated at all is a property of the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatOutgoing {
    /// The IPv4 address that the packets get (`NATOutgoingAddress`); if none, one
    /// of the interface that they leave by.
    pub address: Option<Ipv4Addr>,
    /// The ports that TCP and UDP get (`NATPortRange`); if none, any.
    pub ports: Option<PortRange>,
    /// Where packets go to that are left as they are (`NATOutgoingExclusions`).
    pub exclusions: NatExclusions,
    /// The interfaces by which packets leave that are translated
    /// (`IptablesNATOutgoingInterfaceFilter`); if none, all.
    pub interface: Option<InterfaceFilter>,
}

/// Where packets of pools go to that are left as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NatExclusions {
    /// To addresses of pools.
    #[default]
    Pools,
    /// To those, and to the hosts of the cluster.
    PoolsAndHosts,
}

/// Interfaces by their name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceFilter {
    /// The one of this name.
    Named(IfName),
    /// Those whose name begins so.
    Prefix(SmolStr),
}

impl InterfaceFilter {
    /// Reads a name, or the beginning of names with a plus sign behind it, as
    /// iptables has it. A text of nothing is no filter.
    ///
    /// # Errors
    /// [`SettingsError::NatInterface`] for a text that no interface can have as a name.
    pub fn parse(text: &str) -> Result<Option<Self>, SettingsError> {
        let legal = |name: &str| IfName::new(name).map_err(|_| SettingsError::NatInterface(text.to_owned()));
        match text.strip_suffix('+') {
            Some("") => Ok(None),
            Some(prefix) => legal(prefix).map(|_| Some(Self::Prefix(prefix.into()))),
            None if text.is_empty() => Ok(None),
            None => legal(text).map(|name| Some(Self::Named(name))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_as_iptables_writes_them() {
        let named = IfName::new("eth0").expect("a name");
        for (text, wanted) in [
            ("", Ok(None)),
            ("+", Ok(None)),
            ("eth0", Ok(Some(InterfaceFilter::Named(named)))),
            ("eth+", Ok(Some(InterfaceFilter::Prefix("eth".into())))),
            ("a/b", Err(SettingsError::NatInterface("a/b".to_owned()))),
        ] {
            assert_eq!(InterfaceFilter::parse(text), wanted, "{text}");
        }
    }
}
