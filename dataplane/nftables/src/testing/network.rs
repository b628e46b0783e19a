//! The cluster's network, for tests.

use caracal_proto::felix::{self, to_dataplane::Payload};

use super::{World, texts, workload_id};

impl World {
    /// A workload with addresses and prefixes that it may use beside them.
    pub(crate) fn endpoint_at(&mut self, pod: &str, interface: &str, addrs: &[&str], beside: &[&str]) -> &mut Self {
        let (v4, v6) = addrs.iter().map(ToString::to_string).partition(|addr: &String| !addr.contains(':'));
        let endpoint = felix::WorkloadEndpoint {
            state: "active".into(),
            name: interface.into(),
            ipv4_nets: v4,
            ipv6_nets: v6,
            allow_spoofed_source_prefixes: texts(beside),
            profile_ids: texts(&["open"]),
            ..felix::WorkloadEndpoint::default()
        };
        let id = Some(workload_id(pod));
        self.tell(Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate { id, endpoint: Some(endpoint) }))
    }

    /// A pool; `flags` are words: `nat`, `ipip`, `vxlan`.
    pub(crate) fn pool(&mut self, cidr: &str, flags: &str) -> &mut Self {
        let mode = |word: &str| if flags.contains(word) { "always" } else { "never" };
        let pool = felix::IpamPool {
            cidr: cidr.into(),
            masquerade: flags.contains("nat"),
            ipip_mode: mode("ipip").into(),
            vxlan_mode: mode("vxlan").into(),
            ..felix::IpamPool::default()
        };
        self.tell(Payload::IpamPoolUpdate(felix::IpamPoolUpdate { id: pool_id(cidr), pool: Some(pool) }))
    }

    pub(crate) fn remove_pool(&mut self, cidr: &str) -> &mut Self {
        self.tell(Payload::IpamPoolRemove(felix::IpamPoolRemove { id: pool_id(cidr) }))
    }

    /// A host of the cluster.
    pub(crate) fn node(&mut self, name: &str, v4: &str, v6: &str) -> &mut Self {
        self.tell(Payload::HostMetadataUpdate(felix::HostMetadataUpdate {
            hostname: name.into(),
            ipv4_addr: v4.into(),
            ipv6_addr: v6.into(),
            ..felix::HostMetadataUpdate::default()
        }))
    }

    /// The prefixes that services get addresses from.
    pub(crate) fn services(&mut self, prefixes: &[&str]) -> &mut Self {
        self.tell(Payload::GlobalBgpConfigUpdate(felix::GlobalBgpConfigUpdate {
            service_cluster_cidrs: texts(prefixes),
            ..felix::GlobalBgpConfigUpdate::default()
        }))
    }
}

fn pool_id(cidr: &str) -> String {
    cidr.replace('/', "-")
}
