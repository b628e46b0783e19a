//! The flush order, checked.
//!
//! Input: the deltas of one receiver, in order, and where each flush ends.
//! Output: an error for the first delta that a receiver could not apply as it
//! comes. Memory: the ids that were told and the members of each set.
//!
//! The order is Felix's: sets, policies, profiles, endpoints, then removals in
//! reverse, then service accounts, namespaces, hosts, pools, tunnels, services, and
//! in-sync once. So whatever is told refers to what is known, and nothing goes while something
//! refers to it.

use std::collections::{BTreeMap, BTreeSet};

use caracal_model::{HostEndpointKey, PolicyKey, ServiceRef, WorkloadEndpointKey};
use caracal_net::Cidr;
use smol_str::{SmolStr, ToSmolStr};

use crate::{Delta, Encapsulation, IpSetKind, Member, PolicyList, ScannedRule};

/// A delta that breaks the order of a flush, or refers to what is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The delta belongs before what was told already in this flush.
    #[error("{what} comes after {after:?}")]
    Late {
        /// The delta.
        what: String,
        /// The phase that the flush has reached.
        after: Phase,
    },
    /// The delta names something that was not told or was removed.
    #[error("{what} names {missing}, which is not known")]
    Unknown {
        /// The delta.
        what: String,
        /// What it names.
        missing: String,
    },
    /// The delta removes something that is still in use.
    #[error("{what} while {user} uses it")]
    InUse {
        /// The delta.
        what: String,
        /// What still refers to it.
        user: String,
    },
    /// A set delta adds a member that is there, removes one that is not, or does nothing.
    #[error("{what} is not exact: {member}")]
    NotExact {
        /// The delta.
        what: String,
        /// The member, or why the delta is empty.
        member: String,
    },
    /// A member list is not sorted, or has a member twice.
    #[error("{what} has unsorted or repeated members")]
    Unsorted {
        /// The delta.
        what: String,
    },
    /// A flush told of an endpoint or of tunnels, and neither it nor an earlier one told in-sync.
    #[error("an endpoint or the encapsulation was told before in-sync")]
    Early,
    /// In-sync was told a second time.
    #[error("in-sync is told twice")]
    InSyncTwice,
    /// After a flush, a set or profile is left that nothing uses.
    #[error("{what} is not used by anything after the flush")]
    Unused {
        /// The set or profile.
        what: String,
    },
}

/// The phases of a flush, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of the deltas")]
pub enum Phase {
    IpSetUpdate,
    IpSetDelta,
    PolicyUpdate,
    ProfileUpdate,
    EndpointUpdate,
    EndpointRemove,
    ProfileRemove,
    PolicyRemove,
    IpSetRemove,
    ServiceAccountRemove,
    ServiceAccountUpdate,
    NamespaceRemove,
    NamespaceUpdate,
    HostMetadataRemove,
    HostMetadataUpdate,
    IpPoolRemove,
    IpPoolUpdate,
    Encapsulation,
    ServiceRemove,
    ServiceUpdate,
    InSync,
}

impl Phase {
    /// The phase that a delta belongs to.
    #[must_use]
    pub const fn of(delta: &Delta<'_>) -> Self {
        match delta {
            Delta::IpSetUpdate { .. } => Self::IpSetUpdate,
            Delta::IpSetDelta { .. } => Self::IpSetDelta,
            Delta::PolicyUpdate { .. } => Self::PolicyUpdate,
            Delta::ProfileUpdate { .. } => Self::ProfileUpdate,
            Delta::WorkloadUpdate { .. } | Delta::HostUpdate { .. } => Self::EndpointUpdate,
            Delta::WorkloadRemove { .. } | Delta::HostRemove { .. } => Self::EndpointRemove,
            Delta::ProfileRemove { .. } => Self::ProfileRemove,
            Delta::PolicyRemove { .. } => Self::PolicyRemove,
            Delta::IpSetRemove { .. } => Self::IpSetRemove,
            Delta::ServiceAccountRemove { .. } => Self::ServiceAccountRemove,
            Delta::ServiceAccountUpdate { .. } => Self::ServiceAccountUpdate,
            Delta::NamespaceRemove { .. } => Self::NamespaceRemove,
            Delta::NamespaceUpdate { .. } => Self::NamespaceUpdate,
            Delta::HostMetadataRemove { .. } => Self::HostMetadataRemove,
            Delta::HostMetadataUpdate { .. } => Self::HostMetadataUpdate,
            Delta::IpPoolRemove { .. } => Self::IpPoolRemove,
            Delta::IpPoolUpdate { .. } => Self::IpPoolUpdate,
            Delta::Encapsulation { .. } => Self::Encapsulation,
            Delta::ServiceRemove { .. } => Self::ServiceRemove,
            Delta::ServiceUpdate { .. } => Self::ServiceUpdate,
            Delta::InSync => Self::InSync,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Endpoint {
    Workload(WorkloadEndpointKey),
    Host(HostEndpointKey),
}

#[derive(Debug, Default)]
struct EndpointUses {
    policies: BTreeSet<PolicyKey>,
    profiles: BTreeSet<SmolStr>,
}

/// Checks a stream of deltas as one receiver sees it, from nothing.
#[derive(Debug, Default)]
pub struct OrderChecker {
    reached: Option<Phase>,
    in_sync: bool,
    sets: BTreeMap<SmolStr, (IpSetKind, BTreeSet<Member>)>,
    policies: BTreeMap<PolicyKey, BTreeSet<SmolStr>>,
    profiles: BTreeMap<SmolStr, BTreeSet<SmolStr>>,
    endpoints: BTreeMap<Endpoint, EndpointUses>,
    service_accounts: BTreeSet<(SmolStr, SmolStr)>,
    namespaces: BTreeSet<SmolStr>,
    hosts: BTreeSet<SmolStr>,
    pools: BTreeSet<Cidr>,
    encapsulation: Option<Encapsulation>,
    services: BTreeSet<ServiceRef>,
}

impl OrderChecker {
    /// A checker for a receiver that starts from nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks the next delta.
    ///
    /// # Errors
    /// The delta could not be applied as it comes; the checker's state is then
    /// that of the stream so far.
    pub fn check(&mut self, delta: &Delta<'_>) -> Result<(), OrderError> {
        self.check_phase(delta)?;
        let what = describe(delta);
        match delta {
            Delta::IpSetUpdate { id, kind, members } => {
                check_sorted(&what, members)?;
                check_kind(&what, *kind, members)?;
                self.sets.insert((*id).clone(), (*kind, members.iter().copied().collect()));
                Ok(())
            }
            Delta::IpSetDelta { id, added, removed } => self.check_set_delta(&what, id, added, removed),
            Delta::IpSetRemove { id } => self.check_set_remove(&what, id),
            Delta::PolicyUpdate { key, policy } => {
                let sets = sets_of(&policy.inbound_rules, &policy.outbound_rules);
                self.check_sets_known(&what, &sets)?;
                self.policies.insert((*key).clone(), sets);
                Ok(())
            }
            Delta::PolicyRemove { key } => {
                self.check_unused(&what, |uses| uses.policies.contains(*key))?;
                known(&what, self.policies.remove(*key).is_some(), "itself")
            }
            Delta::ProfileUpdate { name, profile } => {
                let sets = sets_of(&profile.inbound_rules, &profile.outbound_rules);
                self.check_sets_known(&what, &sets)?;
                self.profiles.insert((*name).clone(), sets);
                Ok(())
            }
            Delta::ProfileRemove { name } => {
                self.check_unused(&what, |uses| uses.profiles.contains(*name))?;
                known(&what, self.profiles.remove(*name).is_some(), "itself")
            }
            Delta::WorkloadUpdate { key, endpoint, tiers } => {
                self.check_endpoint(&what, Endpoint::Workload((*key).clone()), &[tiers], &endpoint.profiles)
            }
            Delta::HostUpdate { key, endpoint, tiers } => self.check_endpoint(
                &what,
                Endpoint::Host((*key).clone()),
                &[&tiers.normal, &tiers.untracked, &tiers.pre_dnat, &tiers.forward],
                &endpoint.profiles,
            ),
            Delta::WorkloadRemove { key } => {
                let endpoint = Endpoint::Workload((*key).clone());
                known(&what, self.endpoints.remove(&endpoint).is_some(), "itself")
            }
            Delta::HostRemove { key } => {
                let endpoint = Endpoint::Host((*key).clone());
                known(&what, self.endpoints.remove(&endpoint).is_some(), "itself")
            }
            Delta::ServiceAccountUpdate { namespace, name, .. } => {
                self.service_accounts.insert((namespace.to_smolstr(), name.to_smolstr()));
                Ok(())
            }
            Delta::ServiceAccountRemove { namespace, name } => {
                let id = (namespace.to_smolstr(), name.to_smolstr());
                known(&what, self.service_accounts.remove(&id), "itself")
            }
            Delta::NamespaceUpdate { name, .. } => {
                self.namespaces.insert(name.to_smolstr());
                Ok(())
            }
            Delta::NamespaceRemove { name } => known(&what, self.namespaces.remove(*name), "itself"),
            Delta::HostMetadataUpdate { hostname, .. } => {
                self.hosts.insert((*hostname).clone());
                Ok(())
            }
            Delta::HostMetadataRemove { hostname } => known(&what, self.hosts.remove(*hostname), "itself"),
            Delta::IpPoolUpdate { pool } => {
                self.pools.insert(pool.cidr);
                Ok(())
            }
            Delta::IpPoolRemove { cidr } => known(&what, self.pools.remove(cidr), "itself"),
            Delta::Encapsulation { encapsulation } => {
                if self.encapsulation.replace(*encapsulation) == Some(*encapsulation) {
                    return Err(OrderError::NotExact { what, member: "it changes nothing".to_owned() });
                }
                Ok(())
            }
            Delta::ServiceUpdate { key, .. } => {
                self.services.insert((*key).clone());
                Ok(())
            }
            Delta::ServiceRemove { key } => known(&what, self.services.remove(*key), "itself"),
            Delta::InSync => {
                if std::mem::replace(&mut self.in_sync, true) {
                    return Err(OrderError::InSyncTwice);
                }
                Ok(())
            }
        }
    }

    /// Ends a flush: the next delta may be of any phase again.
    ///
    /// # Errors
    /// [`OrderError::Early`] if an endpoint was told before in-sync;
    /// [`OrderError::Unused`] if a set or, once in sync, a profile is left that
    /// nothing uses.
    pub fn end_flush(&mut self) -> Result<(), OrderError> {
        self.reached = None;
        if !self.in_sync && (!self.endpoints.is_empty() || self.encapsulation.is_some()) {
            return Err(OrderError::Early);
        }
        if let Some((id, _)) = self.sets.iter().find(|(id, _)| self.user_of_set(id).is_none()) {
            return Err(OrderError::Unused { what: format!("IP set {id}") });
        }
        if self.in_sync
            && let Some(name) =
                self.profiles.keys().find(|name| !self.endpoints.values().any(|uses| uses.profiles.contains(*name)))
        {
            return Err(OrderError::Unused { what: format!("profile {name}") });
        }
        Ok(())
    }

    fn check_phase(&mut self, delta: &Delta<'_>) -> Result<(), OrderError> {
        let phase = Phase::of(delta);
        if let Some(after) = self.reached
            && phase < after
        {
            return Err(OrderError::Late { what: describe(delta), after });
        }
        self.reached = Some(phase);
        Ok(())
    }

    fn check_set_delta(
        &mut self,
        what: &str,
        id: &SmolStr,
        added: &[Member],
        removed: &[Member],
    ) -> Result<(), OrderError> {
        check_sorted(what, added)?;
        check_sorted(what, removed)?;
        let Some((kind, members)) = self.sets.get_mut(id) else {
            return known(what, false, "the set");
        };
        check_kind(what, *kind, added)?;
        let not_exact = |member: String| OrderError::NotExact { what: what.to_owned(), member };
        if added.is_empty() && removed.is_empty() {
            return Err(not_exact("it changes nothing".to_owned()));
        }
        for member in removed {
            if !members.remove(member) {
                return Err(not_exact(format!("{member:?} is removed but not there")));
            }
        }
        for member in added {
            if removed.binary_search(member).is_ok() || !members.insert(*member) {
                return Err(not_exact(format!("{member:?} is added but there")));
            }
        }
        Ok(())
    }

    fn check_set_remove(&mut self, what: &str, id: &SmolStr) -> Result<(), OrderError> {
        if let Some(user) = self.user_of_set(id) {
            return Err(OrderError::InUse { what: what.to_owned(), user });
        }
        known(what, self.sets.remove(id).is_some(), "the set")
    }

    fn user_of_set(&self, id: &SmolStr) -> Option<String> {
        let policy = self.policies.iter().find(|(_, sets)| sets.contains(id));
        let profile = self.profiles.iter().find(|(_, sets)| sets.contains(id));
        policy.map(|(key, _)| format!("policy {key}")).or_else(|| profile.map(|(name, _)| format!("profile {name}")))
    }

    fn check_sets_known(&self, what: &str, sets: &BTreeSet<SmolStr>) -> Result<(), OrderError> {
        match sets.iter().find(|id| !self.sets.contains_key(*id)) {
            Some(id) => known(what, false, &format!("IP set {id}")),
            None => Ok(()),
        }
    }

    fn check_unused(&self, what: &str, uses: impl Fn(&EndpointUses) -> bool) -> Result<(), OrderError> {
        match self.endpoints.iter().find(|(_, used)| uses(used)) {
            Some((endpoint, _)) => Err(OrderError::InUse { what: what.to_owned(), user: format!("{endpoint:?}") }),
            None => Ok(()),
        }
    }

    fn check_endpoint(
        &mut self,
        what: &str,
        endpoint: Endpoint,
        lists: &[&PolicyList],
        profiles: &[SmolStr],
    ) -> Result<(), OrderError> {
        let policies: BTreeSet<PolicyKey> = lists
            .iter()
            .flat_map(|list| list.iter())
            .flat_map(|tier| tier.ingress.iter().chain(&tier.egress))
            .cloned()
            .collect();
        if let Some(key) = policies.iter().find(|key| !self.policies.contains_key(*key)) {
            return known(what, false, &format!("policy {key}"));
        }
        if let Some(name) = profiles.iter().find(|name| !self.profiles.contains_key(*name)) {
            return known(what, false, &format!("profile {name}"));
        }
        let profiles = profiles.iter().cloned().collect();
        self.endpoints.insert(endpoint, EndpointUses { policies, profiles });
        Ok(())
    }
}

fn known(what: &str, known: bool, missing: &str) -> Result<(), OrderError> {
    if known {
        return Ok(());
    }
    Err(OrderError::Unknown { what: what.to_owned(), missing: missing.to_owned() })
}

fn check_sorted(what: &str, members: &[Member]) -> Result<(), OrderError> {
    if members.is_sorted_by(|a, b| a < b) {
        return Ok(());
    }
    Err(OrderError::Unsorted { what: what.to_owned() })
}

fn check_kind(what: &str, kind: IpSetKind, members: &[Member]) -> Result<(), OrderError> {
    let fits = |member: &&Member| match member {
        Member::Net(_) => kind == IpSetKind::Net,
        Member::IpPort(..) => kind == IpSetKind::IpPort,
    };
    match members.iter().find(|member| !fits(member)) {
        Some(member) => {
            Err(OrderError::NotExact { what: what.to_owned(), member: format!("{member:?} is not of kind {kind:?}") })
        }
        None => Ok(()),
    }
}

/// Every set that rules name.
fn sets_of(inbound: &[ScannedRule], outbound: &[ScannedRule]) -> BTreeSet<SmolStr> {
    inbound.iter().chain(outbound).flat_map(ScannedRule::ip_sets).cloned().collect()
}

/// A delta in a few words: its phase and what it is about.
fn describe(delta: &Delta<'_>) -> String {
    let phase = Phase::of(delta);
    match delta {
        Delta::IpSetUpdate { id, .. } | Delta::IpSetDelta { id, .. } | Delta::IpSetRemove { id } => {
            format!("{phase:?} {id}")
        }
        Delta::PolicyUpdate { key, .. } | Delta::PolicyRemove { key } => format!("{phase:?} {key}"),
        Delta::ProfileUpdate { name, .. } | Delta::ProfileRemove { name } => format!("{phase:?} {name}"),
        Delta::WorkloadUpdate { key, .. } | Delta::WorkloadRemove { key } => format!("{phase:?} {key}"),
        Delta::HostUpdate { key, .. } | Delta::HostRemove { key } => format!("{phase:?} {}", key.name),
        Delta::ServiceAccountUpdate { namespace, name, .. } | Delta::ServiceAccountRemove { namespace, name } => {
            format!("{phase:?} {namespace}/{name}")
        }
        Delta::NamespaceUpdate { name, .. } | Delta::NamespaceRemove { name } => format!("{phase:?} {name}"),
        Delta::HostMetadataUpdate { hostname, .. } | Delta::HostMetadataRemove { hostname } => {
            format!("{phase:?} {hostname}")
        }
        Delta::IpPoolUpdate { pool } => format!("{phase:?} {}", pool.cidr),
        Delta::IpPoolRemove { cidr } => format!("{phase:?} {cidr}"),
        Delta::ServiceUpdate { key, .. } | Delta::ServiceRemove { key } => {
            format!("{phase:?} {}/{}", key.namespace, key.name)
        }
        Delta::Encapsulation { .. } | Delta::InSync => format!("{phase:?}"),
    }
}

#[cfg(test)]
mod tests;
