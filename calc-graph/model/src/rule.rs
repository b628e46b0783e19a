//! Rules, after conversion and before selectors are resolved to IP sets.

use std::collections::BTreeMap;

use caracal_net::{Cidr, Family, PortRange, Protocol};
use smol_str::SmolStr;

/// What a rule does with a packet that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Let it through: the decision of this direction.
    Allow,
    /// Refuse it: the decision of this direction.
    Deny,
    /// Leave the tier.
    Pass,
    /// Log it and go on with the next rule.
    Log,
}

impl Action {
    /// The wire's spelling in `Rule.action`.
    #[must_use]
    pub const fn as_wire(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Pass => "next-tier",
            Self::Log => "log",
        }
    }
}

/// A protocol as the policy's author wrote it; the wire tells names from numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleProtocol {
    /// By name: sent in lower case.
    Name(Protocol),
    /// By number.
    Number(Protocol),
}

impl RuleProtocol {
    /// The protocol itself.
    #[must_use]
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::Name(p) | Self::Number(p) => p,
        }
    }
}

/// An ICMP type, with a code if the rule has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Icmp {
    /// The type.
    pub icmp_type: u8,
    /// The code; `None` matches every code of the type.
    pub code: Option<u8>,
}

/// One entry of a port list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RulePort {
    /// A port or a range of ports.
    Numeric(PortRange),
    /// The name of a port of the matched endpoints.
    Named(SmolStr),
}

/// Identifies a Service; as a match of a rule, its endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceRef {
    /// The Service's namespace.
    pub namespace: SmolStr,
    /// The Service's name.
    pub name: SmolStr,
}

/// A `serviceAccounts` match as its author wrote it; it goes to clients of the
/// policy sync API. What the dataplane needs of it is in [`Entity::selector`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceAccounts {
    /// Names, in the author's order.
    pub names: Vec<SmolStr>,
    /// A selector over service account labels.
    pub selector: SmolStr,
}

/// One side of a rule. Every populated field must match; entries of a list are alternatives.
/// What few rules have is boxed: a message holds all rules of a policy at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Entity {
    /// The combined selector (namespace, service account and pod parts); empty if none.
    pub selector: SmolStr,
    /// A selector that must not match; empty if none.
    pub not_selector: SmolStr,
    /// Prefixes, one of which must hold the address.
    pub nets: Vec<Cidr>,
    /// Prefixes, none of which may hold the address.
    pub not_nets: Vec<Cidr>,
    /// Ports, one of which must match.
    pub ports: Vec<RulePort>,
    /// Ports, none of which may match.
    pub not_ports: Vec<RulePort>,
    /// The Service whose endpoints match.
    pub service: Option<Box<ServiceRef>>,
    /// The author's own `selector`.
    pub original_selector: SmolStr,
    /// The author's own `namespaceSelector`.
    pub original_namespace_selector: SmolStr,
    /// The author's own `notSelector`.
    pub original_not_selector: SmolStr,
    /// The author's own `serviceAccounts`.
    pub service_accounts: Option<Box<ServiceAccounts>>,
}

/// One HTTP path match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HttpPath {
    /// The whole path.
    Exact(SmolStr),
    /// A prefix of whole segments.
    Prefix(SmolStr),
}

/// An HTTP match; only clients of the policy sync API enforce it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HttpMatch {
    /// Methods, in the author's order.
    pub methods: Vec<SmolStr>,
    /// Paths, in the author's order.
    pub paths: Vec<HttpPath>,
}

/// A rule of a policy or a profile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// What to do on a match.
    pub action: Action,
    /// The address family the author restricted the rule to.
    pub ip_version: Option<Family>,
    /// The protocol.
    pub protocol: Option<RuleProtocol>,
    /// A protocol that must not match.
    pub not_protocol: Option<RuleProtocol>,
    /// The ICMP or ICMPv6 type and code.
    pub icmp: Option<Icmp>,
    /// An ICMP or ICMPv6 type and code that must not match.
    pub not_icmp: Option<Icmp>,
    /// What the packet's source must be.
    pub source: Entity,
    /// What the packet's destination must be.
    pub destination: Entity,
    /// The HTTP request.
    pub http: Option<Box<HttpMatch>>,
    /// `metadata.annotations` of the rule.
    pub annotations: BTreeMap<SmolStr, SmolStr>,
}

impl Rule {
    /// A rule that matches every packet.
    #[must_use]
    pub fn any(action: Action) -> Self {
        Self {
            action,
            ip_version: None,
            protocol: None,
            not_protocol: None,
            icmp: None,
            not_icmp: None,
            source: Entity::default(),
            destination: Entity::default(),
            http: None,
            annotations: BTreeMap::new(),
        }
    }
}
