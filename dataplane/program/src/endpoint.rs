//! Endpoints in typed form.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use caracal_net::Cidr;
use smol_str::SmolStr;

use crate::{Direction, EndOfTier, HostId, PolicyId, ProfileName, Program, ProgramKind, WorkloadId};

/// Whether an endpoint may carry traffic at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdminState {
    /// Policy decides.
    Active,
    /// Nothing passes. Any state but `active` means this.
    Down,
}

/// A MAC address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The policies of one tier that select an endpoint, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointTier {
    /// The tier's name.
    pub name: SmolStr,
    /// What happens to a packet that no policy of the tier decided; `Deny` for
    /// a tier that does not exist.
    pub default_action: EndOfTier,
    /// Policies for traffic towards the endpoint.
    pub ingress: Vec<PolicyId>,
    /// Policies for traffic from the endpoint.
    pub egress: Vec<PolicyId>,
}

impl EndpointTier {
    /// The policies of one direction.
    #[must_use]
    pub fn policies(&self, direction: Direction) -> &[PolicyId] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// The ordered tiers of an endpoint.
pub type TierList = Arc<[EndpointTier]>;

/// A workload's interface on this node, and the programs that decide for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadEndpoint {
    /// Which endpoint it is.
    pub id: WorkloadId,
    /// Whether it may carry traffic.
    pub state: AdminState,
    /// The host's side of the interface.
    pub interface: SmolStr,
    /// The interface's MAC address, if known.
    pub mac: Option<Mac>,
    /// The endpoint's addresses, IPv4 first, each family in the order given.
    pub addresses: Vec<IpAddr>,
    /// Prefixes that the workload may use as source though they are not its own.
    pub spoofable: Vec<Cidr>,
    /// What decides about traffic towards the endpoint; shared by all endpoints
    /// with the same ordered policies and profiles.
    pub ingress: Arc<Program>,
    /// What decides about traffic from the endpoint; shared likewise.
    pub egress: Arc<Program>,
}

impl WorkloadEndpoint {
    /// The program of one direction.
    #[must_use]
    pub fn program(&self, direction: Direction) -> &Arc<Program> {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// An interface of the host that policy applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEndpoint {
    /// Which endpoint it is.
    pub id: HostId,
    /// The interface; `*` for all of them, empty to go by `expected_addresses`.
    pub interface: SmolStr,
    /// Addresses by which the interface is found, IPv4 first.
    pub expected_addresses: Vec<IpAddr>,
    /// Profiles, in order.
    pub profiles: Vec<ProfileName>,
    /// Tiers for traffic that ends at or comes from the host.
    pub tiers: TierList,
    /// Tiers before connection tracking.
    pub untracked: TierList,
    /// Tiers before DNAT.
    pub pre_dnat: TierList,
    /// Tiers for forwarded traffic.
    pub forward: TierList,
    /// What decides about the endpoint's traffic.
    pub programs: HostPrograms,
}

/// The interface name of a host endpoint that stands for all interfaces.
pub const ALL_INTERFACES: &str = "*";

impl HostEndpoint {
    /// Whether the endpoint stands for all interfaces that have no other.
    #[must_use]
    pub fn is_for_all_interfaces(&self) -> bool {
        self.interface == ALL_INTERFACES
    }

    /// Whether policy before connection tracking applies. It is not there for
    /// all interfaces at once, as in Felix.
    #[must_use]
    pub fn has_untracked(&self) -> bool {
        !self.untracked.is_empty() && !self.is_for_all_interfaces()
    }

    /// Whether policy before DNAT applies.
    #[must_use]
    pub fn has_pre_dnat(&self) -> bool {
        !self.pre_dnat.is_empty()
    }
}

/// The programs of a host endpoint by kind and direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPrograms(BTreeMap<(ProgramKind, Direction), Arc<Program>>);

impl HostPrograms {
    /// Builds the programs from the endpoint's four lists of tiers. Before DNAT
    /// there is ingress only.
    #[must_use]
    pub fn new(
        normal: &[EndpointTier],
        untracked: &[EndpointTier],
        pre_dnat: &[EndpointTier],
        forward: &[EndpointTier],
        profiles: &[ProfileName],
    ) -> Self {
        let lists = [
            (ProgramKind::Normal, normal),
            (ProgramKind::Translated, normal),
            (ProgramKind::Forward, forward),
            (ProgramKind::PreDnat, pre_dnat),
            (ProgramKind::Untracked, untracked),
        ];
        let programs = lists.into_iter().flat_map(|(kind, tiers)| {
            Direction::ALL
                .map(|direction| ((kind, direction), Arc::new(Program::of_kind(kind, direction, tiers, profiles))))
        });
        Self(programs.collect())
    }

    /// All programs, by kind and direction.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Program>> {
        self.0.values()
    }

    /// The program of a kind and direction.
    #[must_use]
    pub fn get(&self, kind: ProgramKind, direction: Direction) -> &Arc<Program> {
        self.0.get(&(kind, direction)).expect("there is a program of each kind and direction")
    }
}
