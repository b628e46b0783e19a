//! Pools of addresses and services as messages.

use caracal_calc_graph::Encapsulation;
use caracal_datastore::BgpConfiguration;
use caracal_model::{IpPool, Service, ServicePort, ServiceRef};
use caracal_net::{Cidr, Protocol};
use caracal_proto::felix;

use super::texts;

/// Felix's name for a pool: its prefix with `-` for the slash.
pub(super) fn pool_id(cidr: Cidr) -> String {
    cidr.to_string().replace('/', "-")
}

pub(super) fn pool(pool: &IpPool) -> felix::IpamPoolUpdate {
    let IpPool { cidr, masquerade, ipip, vxlan, allowed_uses } = pool;
    felix::IpamPoolUpdate {
        id: pool_id(*cidr),
        pool: Some(felix::IpamPool {
            cidr: cidr.to_string(),
            masquerade: *masquerade,
            ipip_mode: ipip.as_wire().to_owned(),
            vxlan_mode: vxlan.as_wire().to_owned(),
            allowed_uses: allowed_uses.iter().map(|allowed| allowed.as_str().to_owned()).collect(),
        }),
    }
}

/// Routes to other nodes are not ours, so none to pools without tunnels are needed.
pub(super) fn encapsulation(encapsulation: Encapsulation) -> felix::Encapsulation {
    let Encapsulation { ipip, vxlan, vxlan_v6 } = encapsulation;
    felix::Encapsulation {
        ipip_enabled: ipip,
        vxlan_enabled: vxlan,
        vxlan_enabled_v6: vxlan_v6,
        no_encap_enabled: false,
    }
}

pub(super) fn service(key: &ServiceRef, service: &Service) -> felix::ServiceUpdate {
    let Service { service_type, cluster_ips, load_balancer_ip, external_ips, ingress_ips, ports } = service;
    felix::ServiceUpdate {
        name: key.name.to_string(),
        namespace: key.namespace.to_string(),
        r#type: service_type.as_str().to_owned(),
        cluster_ips: texts(cluster_ips),
        loadbalancer_ip: load_balancer_ip.to_string(),
        external_ips: texts(external_ips),
        ports: ports.iter().map(service_port).collect(),
        loadbalancer_ingress_ips: texts(ingress_ips),
    }
}

fn service_port(service_port: &ServicePort) -> felix::ServicePort {
    let ServicePort { protocol, port, node_port } = service_port;
    felix::ServicePort {
        protocol: protocol_name(*protocol).to_owned(),
        port: (*port).into(),
        node_port: node_port.unwrap_or(0).into(),
    }
}

/// Kubernetes' names of protocols, TCP for what it has none for, as in Felix.
const fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::UDP => "UDP",
        Protocol::SCTP => "SCTP",
        _ => "TCP",
    }
}

pub(super) fn bgp(configuration: &BgpConfiguration) -> felix::GlobalBgpConfigUpdate {
    let BgpConfiguration {
        service_cluster,
        service_external,
        service_load_balancer,
        local_workload_peering_ipv4,
        local_workload_peering_ipv6,
    } = configuration;
    let texts = |prefixes: &[Cidr]| prefixes.iter().map(ToString::to_string).collect();
    felix::GlobalBgpConfigUpdate {
        service_cluster_cidrs: texts(service_cluster),
        service_external_cidrs: texts(service_external),
        service_loadbalancer_cidrs: texts(service_load_balancer),
        local_workload_peering_ip_v4: local_workload_peering_ipv4.clone(),
        local_workload_peering_ip_v6: local_workload_peering_ipv6.clone(),
    }
}
