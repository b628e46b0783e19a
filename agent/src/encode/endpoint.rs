//! Workload and host endpoints as messages.

use caracal_calc_graph::{HostPolicyLists, TierPolicies};
use caracal_model::{
    HostEndpoint, HostEndpointKey, Labels, Nat, Qos, QosLimits, WorkloadEndpoint, WorkloadEndpointKey,
};
use caracal_net::Family;
use caracal_proto::felix;

use super::{policy_id, texts};

/// The label of a pod that runs a virtual machine, and its value.
const KUBEVIRT: &str = "kubevirt.io";
const VIRTUAL_MACHINE: &str = "virt-launcher";

pub(super) fn workload_id(key: &WorkloadEndpointKey) -> felix::WorkloadEndpointId {
    let WorkloadEndpointKey {
        // The wire speaks of local endpoints only.
        host: _,
        orchestrator,
        workload,
        endpoint,
    } = key;
    felix::WorkloadEndpointId {
        orchestrator_id: orchestrator.to_string(),
        workload_id: workload.to_string(),
        endpoint_id: endpoint.to_string(),
    }
}

pub(super) fn workload(endpoint: &WorkloadEndpoint, tiers: &[TierPolicies]) -> felix::WorkloadEndpoint {
    let WorkloadEndpoint {
        state,
        interface,
        mac,
        profiles,
        ipv4_nets,
        ipv6_nets,
        nats,
        // The others did their work in the graph, as the ports did.
        labels,
        ports: _,
        allowed_source_prefixes,
        annotations,
        qos,
    } = endpoint;
    felix::WorkloadEndpoint {
        state: state.to_string(),
        name: interface.to_string(),
        mac: mac.to_string(),
        profile_ids: texts(profiles),
        ipv4_nets: texts(ipv4_nets),
        ipv6_nets: texts(ipv6_nets),
        tiers: tier_infos(tiers),
        ipv4_nat: nat_infos(nats, Family::V4),
        ipv6_nat: nat_infos(nats, Family::V6),
        allow_spoofed_source_prefixes: texts(allowed_source_prefixes),
        annotations: annotations.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        qos_controls: encode_limits(qos),
        skip_redir: skip_redirect(qos, labels),
        qos_policies: encode_marks(qos.dscp),
        ..felix::WorkloadEndpoint::default()
    }
}

fn encode_limits(qos: &Qos) -> Option<felix::QoSControls> {
    let Qos { ingress, egress, dscp: _ } = qos;
    if [ingress, egress] == [&QosLimits::default(); 2] {
        return None;
    }
    Some(felix::QoSControls {
        ingress_bandwidth: ingress.bandwidth,
        egress_bandwidth: egress.bandwidth,
        ingress_burst: ingress.burst,
        egress_burst: egress.burst,
        ingress_packet_rate: ingress.packet_rate,
        egress_packet_rate: egress.packet_rate,
        ingress_max_connections: ingress.max_connections,
        egress_max_connections: egress.max_connections,
        ingress_peakrate: ingress.peakrate,
        egress_peakrate: egress.peakrate,
        ingress_minburst: ingress.minburst,
        egress_minburst: egress.minburst,
        ingress_packet_burst: ingress.packet_burst,
        egress_packet_burst: egress.packet_burst,
    })
}

/// Which directions must not bypass the interface's queues: those with limits
/// on rates, and what enters a virtual machine, which may be moving.
fn skip_redirect(qos: &Qos, labels: &Labels) -> Option<felix::WorkloadBpfSkipRedir> {
    let limited = |limits: &QosLimits| limits.bandwidth != 0 || limits.packet_rate != 0;
    let ingress = limited(&qos.ingress) || labels.get(KUBEVIRT) == Some(VIRTUAL_MACHINE);
    let egress = limited(&qos.egress);
    (ingress || egress).then_some(felix::WorkloadBpfSkipRedir { ingress, egress })
}

fn encode_marks(dscp: Option<u8>) -> Vec<felix::QoSPolicy> {
    let mark = |dscp: u8| felix::QoSPolicy { destination: String::new(), dscp: dscp.into() };
    dscp.map(mark).into_iter().collect()
}

pub(super) fn host_id(key: &HostEndpointKey) -> felix::HostEndpointId {
    let HostEndpointKey { host: _, name } = key;
    felix::HostEndpointId { endpoint_id: name.to_string() }
}

pub(super) fn host(endpoint: &HostEndpoint, lists: &HostPolicyLists) -> felix::HostEndpoint {
    let HostEndpoint { interface, expected_ips, profiles, labels: _, ports: _, dscp } = endpoint;
    let HostPolicyLists { normal, untracked, pre_dnat, forward } = lists;
    let addrs = |family| {
        let of_family = expected_ips.iter().filter(|ip| Family::of(**ip) == family);
        of_family.map(ToString::to_string).collect()
    };
    felix::HostEndpoint {
        name: interface.to_string(),
        profile_ids: texts(profiles),
        tiers: tier_infos(normal),
        expected_ipv4_addrs: addrs(Family::V4),
        expected_ipv6_addrs: addrs(Family::V6),
        untracked_tiers: tier_infos(untracked),
        pre_dnat_tiers: tier_infos(pre_dnat),
        forward_tiers: tier_infos(forward),
        qos_policies: encode_marks(*dscp),
    }
}

fn tier_infos(tiers: &[TierPolicies]) -> Vec<felix::TierInfo> {
    let encode = |tier: &TierPolicies| {
        let TierPolicies { name, default_action, ingress, egress } = tier;
        felix::TierInfo {
            name: name.to_string(),
            ingress_policies: ingress.iter().map(policy_id).collect(),
            egress_policies: egress.iter().map(policy_id).collect(),
            default_action: default_action.map_or("", |action| action.as_wire()).to_owned(),
        }
    };
    tiers.iter().map(encode).collect()
}

fn nat_infos(nats: &[Nat], family: Family) -> Vec<felix::NatInfo> {
    let of_family = nats.iter().filter(|nat| Family::of(nat.internal) == family);
    of_family
        .map(|Nat { external, internal }| felix::NatInfo { ext_ip: external.to_string(), int_ip: internal.to_string() })
        .collect()
}
