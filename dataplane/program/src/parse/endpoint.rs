//! Endpoints.

use std::net::IpAddr;

use caracal_net::Cidr;
use caracal_proto::felix;
use smol_str::SmolStr;

use super::{FieldResult, Subject, required};
use crate::{
    AdminState, EndOfTier, EndpointTier, Fault, HostEndpoint, HostId, HostPrograms, Mac, PolicyId, ProfileName,
    ProgramError, TierList, WorkloadId,
};

/// What a WorkloadEndpointUpdate says; the store turns tiers and profiles into
/// programs.
pub(crate) struct WorkloadFields {
    pub(crate) id: WorkloadId,
    pub(crate) state: AdminState,
    pub(crate) interface: SmolStr,
    pub(crate) mac: Option<Mac>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) spoofable: Vec<Cidr>,
    pub(crate) tiers: Vec<EndpointTier>,
    pub(crate) profiles: Vec<ProfileName>,
}

pub(crate) fn workload_id(
    message: &'static str,
    id: Option<&felix::WorkloadEndpointId>,
) -> Result<WorkloadId, ProgramError> {
    let subject = Subject { message, object: &"an endpoint without an id" };
    let felix::WorkloadEndpointId { orchestrator_id, workload_id, endpoint_id } = subject.check(required("id", id))?;
    Ok(WorkloadId { orchestrator: orchestrator_id.into(), workload: workload_id.into(), endpoint: endpoint_id.into() })
}

pub(crate) fn host_id(message: &'static str, id: Option<&felix::HostEndpointId>) -> Result<HostId, ProgramError> {
    let subject = Subject { message, object: &"a host endpoint without an id" };
    let felix::HostEndpointId { endpoint_id } = subject.check(required("id", id))?;
    Ok(HostId(endpoint_id.into()))
}

pub(crate) fn workload(update: &felix::WorkloadEndpointUpdate) -> Result<WorkloadFields, ProgramError> {
    const MESSAGE: &str = "WorkloadEndpointUpdate";
    let id = workload_id(MESSAGE, update.id.as_ref())?;
    let subject = Subject { message: MESSAGE, object: &id };
    let endpoint = subject.check(required("endpoint", update.endpoint.as_ref()))?;
    let fields = || {
        if endpoint.name.is_empty() {
            return Err(("name", Fault::Missing));
        }
        let mut addresses = addresses("ipv4_nets", &endpoint.ipv4_nets)?;
        addresses.extend(self::addresses("ipv6_nets", &endpoint.ipv6_nets)?);
        let spoofable: Result<Vec<Cidr>, _> = endpoint
            .allow_spoofed_source_prefixes
            .iter()
            .map(|text| text.parse().map_err(|error| ("allow_spoofed_source_prefixes", Fault::Cidr(error))))
            .collect();
        Ok(WorkloadFields {
            id: id.clone(),
            state: match endpoint.state.as_str() {
                "active" => AdminState::Active,
                _ => AdminState::Down,
            },
            interface: endpoint.name.as_str().into(),
            mac: mac(&endpoint.mac)?,
            addresses,
            spoofable: spoofable?,
            tiers: tiers("tiers", &endpoint.tiers)?,
            profiles: endpoint.profile_ids.iter().map(ProfileName::from).collect(),
        })
    };
    subject.check(fields())
}

pub(crate) fn host(update: &felix::HostEndpointUpdate) -> Result<HostEndpoint, ProgramError> {
    const MESSAGE: &str = "HostEndpointUpdate";
    let id = host_id(MESSAGE, update.id.as_ref())?;
    let subject = Subject { message: MESSAGE, object: &format_args!("host endpoint {id}") };
    let felix::HostEndpoint {
        name,
        profile_ids,
        tiers: normal,
        expected_ipv4_addrs,
        expected_ipv6_addrs,
        untracked_tiers,
        pre_dnat_tiers,
        forward_tiers,
        qos_policies: _,
    } = subject.check(required("endpoint", update.endpoint.as_ref()))?;
    let list = |field, list| tiers(field, list).map(TierList::from);
    let fields = || {
        let mut expected_addresses = addresses("expected_ipv4_addrs", expected_ipv4_addrs)?;
        expected_addresses.extend(addresses("expected_ipv6_addrs", expected_ipv6_addrs)?);
        let profiles: Vec<ProfileName> = profile_ids.iter().map(ProfileName::from).collect();
        let tiers = list("tiers", normal)?;
        let untracked = list("untracked_tiers", untracked_tiers)?;
        let pre_dnat = list("pre_dnat_tiers", pre_dnat_tiers)?;
        let forward = list("forward_tiers", forward_tiers)?;
        let programs = HostPrograms::new(&tiers, &untracked, &pre_dnat, &forward, &profiles);
        Ok(HostEndpoint {
            id: id.clone(),
            interface: name.into(),
            expected_addresses,
            profiles,
            tiers,
            untracked,
            pre_dnat,
            forward,
            programs,
        })
    };
    subject.check(fields())
}

/// Reads addresses; a prefix length after an address has no meaning for an
/// endpoint and is left out.
fn addresses(field: &'static str, texts: &[String]) -> FieldResult<Vec<IpAddr>> {
    texts
        .iter()
        .map(|text| {
            // The whole text is checked, the address is taken with its host bits.
            let _checked: Cidr = text.parse().map_err(|error| (field, Fault::Cidr(error)))?;
            let addr = text.split_once('/').map_or(text.as_str(), |(addr, _)| addr);
            addr.parse().map_err(|_| (field, Fault::Address(text.clone())))
        })
        .collect()
}

fn mac(text: &str) -> FieldResult<Option<Mac>> {
    if text.is_empty() {
        return Ok(None);
    }
    let fault = || ("mac", Fault::Mac(text.to_owned()));
    let mut bytes = [0; 6];
    let mut pairs = text.split(':');
    for byte in &mut bytes {
        let pair = pairs.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
        *byte = pair.and_then(|p| u8::from_str_radix(p, 16).ok()).ok_or_else(fault)?;
    }
    match pairs.next() {
        None => Ok(Some(Mac(bytes))),
        Some(_) => Err(fault()),
    }
}

fn tiers(field: &'static str, tiers: &[felix::TierInfo]) -> FieldResult<Vec<EndpointTier>> {
    tiers
        .iter()
        .map(|tier| {
            let felix::TierInfo { name, ingress_policies, egress_policies, default_action } = tier;
            Ok(EndpointTier {
                name: name.into(),
                default_action: match default_action.as_str() {
                    // Empty: the tier does not exist.
                    "Deny" | "" => EndOfTier::Deny,
                    "Pass" => EndOfTier::Pass,
                    other => return Err((field, Fault::DefaultAction(other.to_owned()))),
                },
                ingress: policies(ingress_policies),
                egress: policies(egress_policies),
            })
        })
        .collect()
}

fn policies(ids: &[felix::PolicyId]) -> Vec<PolicyId> {
    ids.iter()
        .map(|felix::PolicyId { name, namespace, kind }| PolicyId {
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        })
        .collect()
}
