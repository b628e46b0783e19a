//! What a person may choose about the ruleset.

mod nat;
mod rate;

use caracal_net::{Mark, MarkMask, Protocol, ProtocolPort};
use caracal_program::Failsafes;
pub use caracal_program::Ipv6;
pub use nat::{InterfaceFilter, NatExclusions, NatOutgoing};
pub use rate::{Rate, RateError, RatePeriod};
use smol_str::SmolStr;

use crate::ir::IfName;

/// How a denied packet ends (Felix's `NftablesFilterDenyAction`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenyAction {
    /// Silently.
    Drop,
    /// With an ICMP "port unreachable" to the sender.
    Reject,
}

/// What happens to packets that connection tracking calls invalid
/// (Felix's `DisableConntrackInvalidCheck`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidPackets {
    /// They are dropped.
    Drop,
    /// Policy decides.
    Judge,
}

/// What becomes of packets from a workload to its own host that its egress
/// policy let through (Felix's `DefaultEndpointToHostAction`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointToHost {
    /// They are dropped.
    Drop,
    /// Whatever judges the host's packets after us decides.
    Return,
    /// Nothing more of ours judges them. Base chains of others still do: no
    /// verdict but a drop is final across base chains.
    Accept,
}

/// Whether the table belongs to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The table carries the flags `owner` and `persist` if the kernel has both
    /// (6.9): others cannot change it while we live, `nft flush ruleset` skips
    /// it, and it survives our end.
    Owned,
    /// Anybody with the capability may edit the table.
    Shared,
}

/// Whether the kernel's events tell what others do to a table that they may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    /// They do: what changed, and who did it, is known soon, and nobody need ask often
    /// whether anything did. That makes every commit in the namespace a little dearer,
    /// of whomever.
    Heard,
    /// They do not: whether somebody has committed is asked many times a second, then
    /// the table is looked through, slowly, and nobody is named.
    Ignored,
}

/// Whether connections that policy allowed once and denies now are cut
/// (`RevokeEstablishedConnections`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// What bears the label of a revoked connection is refused.
    On,
    /// Established connections pass, whatever they bear.
    Off,
}

/// Whether a workload may send packets that hold others: IP in IP, VXLAN (Felix's
/// `AllowIPIPPacketsFromWorkloads` and `AllowVXLANPacketsFromWorkloads`). The
/// other end might take them for a host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulated {
    /// They are dropped.
    Drop,
    /// Policy decides.
    Judge,
}

/// What becomes of forwarded packets to addresses of services that no service
/// proxy translated (Felix's `ServiceLoopPrevention`): they would go to and fro
/// between this host and its router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceLoops {
    /// They are dropped.
    Drop,
    /// They are refused.
    Reject,
    /// They are forwarded.
    Forward,
}

/// Whether rules tell of the flows that they decide about
/// (Felix's `FlowLogsLocalReporter` and `FlowLogsGoldmaneServer`); see
/// [`crate::flow_log`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowLogs {
    /// They do: somebody listens.
    On,
    /// They do not.
    Off,
}

/// What a person may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    interface_prefixes: Vec<SmolStr>,
    pass_mark: Mark,
    log_prefix: SmolStr,
    /// How a denied packet ends.
    pub deny: DenyAction,
    /// What happens to invalid packets.
    pub invalid: InvalidPackets,
    /// What becomes of a workload's packets to this host.
    pub endpoint_to_host: EndpointToHost,
    /// Ports that no policy of a host endpoint closes.
    pub failsafes: Failsafes,
    /// Whether rules and sets for IPv6 are programmed (Felix's `Ipv6Support`).
    pub ipv6: Ipv6,
    /// Whether workloads may send IP in IP.
    pub ipip_from_workloads: Encapsulated,
    /// Whether workloads may send VXLAN.
    pub vxlan_from_workloads: Encapsulated,
    /// The UDP port of VXLAN (Felix's `VXLANPort`).
    pub vxlan_port: u16,
    /// How addresses of pools are translated on their way out.
    pub nat: NatOutgoing,
    /// How often each Log rule may write; always if `None`.
    pub log_rate: Option<Rate>,
    /// What becomes of packets to services that are none.
    pub service_loops: ServiceLoops,
    /// The most members that an IP set may have (Felix's `MaxIpsetSize`); `None`
    /// for any number. A larger one is refused, and the rules that name it deny.
    pub largest_set: Option<usize>,
    /// Whether the table belongs to this process.
    pub ownership: Ownership,
    /// Whether the kernel's events tell what others do to a table of all.
    pub events: Events,
    /// Whether revoked connections are cut.
    pub revocation: Revocation,
    /// Whether rules tell of flows.
    pub flow_logs: FlowLogs,
}

/// A value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Without a prefix no interface is a workload's.
    #[error("InterfacePrefix is empty; name at least one prefix of workload interfaces")]
    NoPrefix,
    /// A prefix that no interface can have.
    #[error("InterfacePrefix {0:?} cannot begin the name of an interface (1 to 14 printable characters)")]
    Prefix(String),
    /// No interface can have this name.
    #[error(
        "IptablesNATOutgoingInterfaceFilter {0:?} is not the name of an interface, nor the beginning of one and a plus sign"
    )]
    NatInterface(String),
    /// A Log rule cannot be bound to this.
    #[error("LogActionRateLimit: {0}")]
    LogRate(#[from] RateError),
    /// The mark mask leaves no bit to work with.
    #[error("NftablesMarkMask is 0; it needs at least one bit")]
    NoMark,
}

/// Felix's `FailsafeInboundHostPorts` and `FailsafeOutboundHostPorts`: ssh, DHCP,
/// BGP, etcd, Typha and the API server, and DNS, DHCP and the same outwards.
fn felix_failsafes() -> Failsafes {
    let port = |protocol, port| ProtocolPort { protocol, net: None, port };
    let tcp = |ports: &[u16]| ports.iter().map(|number| port(Protocol::TCP, *number)).collect::<Vec<_>>();
    let udp = |number| vec![port(Protocol::UDP, number)];
    let both = tcp(&[179, 2379, 2380, 5473, 6443, 6666, 6667]);
    Failsafes::new(&[tcp(&[22]), udp(68), both.clone()].concat(), &[udp(53), udp(67), both].concat())
}

impl Default for Settings {
    /// Felix's defaults; the table is owned where the kernel can.
    fn default() -> Self {
        Self {
            interface_prefixes: vec!["cali".into()],
            pass_mark: Mark(1 << MarkMask::FELIX_DEFAULT.0.trailing_zeros()),
            log_prefix: "calico-packet".into(),
            deny: DenyAction::Drop,
            invalid: InvalidPackets::Drop,
            endpoint_to_host: EndpointToHost::Drop,
            failsafes: felix_failsafes(),
            ipv6: Ipv6::On,
            ipip_from_workloads: Encapsulated::Drop,
            vxlan_from_workloads: Encapsulated::Drop,
            vxlan_port: 4789,
            nat: NatOutgoing::default(),
            log_rate: None,
            service_loops: ServiceLoops::Drop,
            largest_set: Some(1 << 20),
            ownership: Ownership::Owned,
            events: Events::Heard,
            revocation: Revocation::On,
            flow_logs: FlowLogs::Off,
        }
    }
}

impl Settings {
    /// Sets the beginnings of workload interfaces' names. An interface that
    /// begins so and belongs to no endpoint carries nothing.
    ///
    /// # Errors
    /// [`SettingsError::NoPrefix`] without any, [`SettingsError::Prefix`] for
    /// one that no interface can have.
    pub fn with_interface_prefixes<S: AsRef<str>>(
        mut self,
        prefixes: impl IntoIterator<Item = S>,
    ) -> Result<Self, SettingsError> {
        let mut kept: Vec<SmolStr> = Vec::new();
        for prefix in prefixes {
            let prefix = prefix.as_ref();
            if IfName::new(prefix).is_err() || prefix.len() > 14 {
                return Err(SettingsError::Prefix(prefix.to_owned()));
            }
            kept.push(prefix.into());
        }
        kept.sort();
        kept.dedup();
        if kept.is_empty() {
            return Err(SettingsError::NoPrefix);
        }
        self.interface_prefixes = kept;
        Ok(self)
    }

    /// Takes the lowest bit of the mask as the scratch bit that a Pass leaves
    /// for the end of its tier.
    ///
    /// # Errors
    /// [`SettingsError::NoMark`] if the mask is empty.
    pub fn with_mark_mask(mut self, mask: MarkMask) -> Result<Self, SettingsError> {
        self.pass_mark = mask.lowest_bit().ok_or(SettingsError::NoMark)?;
        Ok(self)
    }

    /// Sets the text before the lines that Log rules write. `%t`, `%k`, `%n`
    /// and `%p` stand for the policy's tier, kind, name and namespace/name.
    #[must_use]
    pub fn with_log_prefix(mut self, prefix: &str) -> Self {
        self.log_prefix = prefix.into();
        self
    }

    /// The beginnings of workload interfaces' names, sorted.
    #[must_use]
    pub fn interface_prefixes(&self) -> &[SmolStr] {
        &self.interface_prefixes
    }

    /// The scratch bit.
    #[must_use]
    pub const fn pass_mark(&self) -> Mark {
        self.pass_mark
    }

    /// The text before logged lines.
    #[must_use]
    pub fn log_prefix(&self) -> &str {
        &self.log_prefix
    }

    /// Whether an interface is a workload's by its name.
    #[must_use]
    pub fn is_workload(&self, interface: &str) -> bool {
        self.interface_prefixes.iter().any(|prefix| interface.starts_with(prefix.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_checked_and_sorted() {
        let with = |prefixes: &[&str]| Settings::default().with_interface_prefixes(prefixes);
        assert_eq!(with(&[]), Err(SettingsError::NoPrefix));
        for bad in ["", "a b", "a*", "a/b", "fifteen-letters"] {
            assert_eq!(with(&["cali", bad]), Err(SettingsError::Prefix(bad.to_owned())));
        }
        let settings = with(&["tap", "cali", "tap"]).expect("both are prefixes");
        assert_eq!(settings.interface_prefixes(), ["cali", "tap"]);
        assert!(settings.is_workload("tap0") && !settings.is_workload("eth0"));
    }

    #[test]
    fn the_scratch_bit_is_the_lowest_of_the_mask() {
        assert_eq!(Settings::default().pass_mark(), Mark(0x0001_0000));
        let settings = Settings::default().with_mark_mask(MarkMask(0xf0));
        assert_eq!(settings.map(|s| s.pass_mark()), Ok(Mark(0x10)));
        assert_eq!(Settings::default().with_mark_mask(MarkMask(0)), Err(SettingsError::NoMark));
    }
}
