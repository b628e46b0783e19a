//! BGPConfiguration to what a node needs of it.

use caracal_net::Cidr;

use super::rule::{cidr, each};
use super::{ConvertError, Converted};
use crate::resource::{self, PrefixBlock};
use crate::source::BgpConfiguration;

/// Converts the resource `default`; others are one router's, and no matter of nodes.
pub(super) fn convert(resource: resource::BgpConfiguration) -> Result<Converted, ConvertError> {
    let resource::BgpConfiguration { metadata, spec } = resource;
    if metadata.name != "default" {
        return Ok(Converted::Nothing);
    }
    Ok(Converted::Bgp(BgpConfiguration {
        service_cluster: prefixes(&spec.service_cluster_ips, "spec.serviceClusterIPs")?,
        service_external: prefixes(&spec.service_external_ips, "spec.serviceExternalIPs")?,
        service_load_balancer: prefixes(&spec.service_load_balancer_ips, "spec.serviceLoadBalancerIPs")?,
        local_workload_peering_ipv4: spec.local_workload_peering_ipv4,
        local_workload_peering_ipv6: spec.local_workload_peering_ipv6,
    }))
}

/// The prefixes of a list, each once and in order.
fn prefixes(blocks: &[PrefixBlock], field: &str) -> Result<Vec<Cidr>, ConvertError> {
    let written: Vec<&PrefixBlock> = blocks.iter().filter(|block| !block.cidr.is_empty()).collect();
    let mut prefixes = each(&written, field, |block| cidr(&block.cidr))?;
    prefixes.sort_unstable();
    prefixes.dedup();
    Ok(prefixes)
}
