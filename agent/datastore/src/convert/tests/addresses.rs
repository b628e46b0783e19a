//! Services, pools of addresses and what a cluster says of itself.

use caracal_model::{IpPool, Object, Service};

use super::{converted, object};
use crate::convert::Converted;

fn service(fields: &str) -> Service {
    let manifest = format!("{{apiVersion: v1, kind: Service, metadata: {{name: dns, namespace: shop}}, {fields}}}");
    match object(&manifest) {
        Object::Service(key, service) => {
            assert_eq!((key.namespace.as_str(), key.name.as_str()), ("shop", "dns"));
            service
        }
        other => panic!("{other:?}"),
    }
}

/// A service in a few words: `TYPE own | external | ingress | wanted | ports`.
fn line(service: &Service) -> String {
    let Service { service_type, cluster_ips, load_balancer_ip, external_ips, ingress_ips, ports } = service;
    let ports: Vec<_> = ports
        .iter()
        .map(|port| match port.node_port {
            None => format!("{}:{}", port.protocol, port.port),
            Some(node_port) => format!("{}:{}@{node_port}", port.protocol, port.port),
        })
        .collect();
    let lists = [cluster_ips, external_ips, ingress_ips].map(|list| list.join(" "));
    format!("{} {} | {load_balancer_ip} | {}", service_type.as_str(), lists.join(" | "), ports.join(" "))
}

#[test]
fn what_services_are_reached_at() {
    for (fields, want) in [
        ("spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}", "ClusterIP 10.96.0.1 |  |  |  | tcp:80"),
        // Addresses stay as they are written.
        (
            "spec: {clusterIPs: [10.96.0.1, 'fd00:0::1'], ports: [{port: 80, nodePort: 0}]}",
            "ClusterIP 10.96.0.1 fd00:0::1 |  |  |  | tcp:80",
        ),
        ("spec: {clusterIP: None}", "ClusterIP None |  |  |  | "),
        ("spec: {type: ExternalName, externalName: a.example.org}", "ExternalName  |  |  |  | "),
        (
            "spec: {type: NodePort, ports: [{name: a, port: 53, nodePort: 30053, protocol: UDP}, {name: b, port: 9, protocol: SCTP}]}",
            "NodePort  |  |  |  | udp:53@30053 sctp:9",
        ),
        (
            "spec: {type: LoadBalancer, loadBalancerIP: 198.51.100.1, externalIPs: [198.51.100.2], ports: [{port: 80}]}, \
             status: {loadBalancer: {ingress: [{ip: 198.51.100.3}, {hostname: lb.example.org}, {ip: 'fd00::3'}]}}",
            "LoadBalancer  | 198.51.100.2 | 198.51.100.3 fd00::3 | 198.51.100.1 | tcp:80",
        ),
    ] {
        assert_eq!(line(&service(fields)), want, "{fields}");
    }
}

#[test]
fn only_addresses_can_be_taken() {
    let own = |fields| service(fields).own_addresses().map(|address| address.to_string()).collect::<Vec<_>>();
    assert_eq!(own("spec: {clusterIPs: [10.96.0.1, 'fd00:0::1'], ports: [{port: 80}]}"), ["10.96.0.1", "fd00::1"]);
    assert!(own("spec: {clusterIP: None}").is_empty());
}

#[test]
fn pools() {
    let pool = |spec: &str| -> IpPool {
        match object(&format!(
            "{{apiVersion: projectcalico.org/v3, kind: IPPool, metadata: {{name: p}}, spec: {spec}}}"
        )) {
            Object::IpPool(name, pool) => {
                assert_eq!(name, "p");
                pool
            }
            other => panic!("{other:?}"),
        }
    };
    let line = |pool: &IpPool| {
        let IpPool { cidr, masquerade, ipip, vxlan, allowed_uses } = pool;
        let uses: Vec<_> = allowed_uses.iter().map(|allowed| allowed.as_str()).collect();
        format!("{cidr} {masquerade} {ipip:?} {vxlan:?} {}", uses.join(","))
    };
    for (spec, want) in [
        ("{cidr: 10.64.0.0/16}", "10.64.0.0/16 false Never Never Workload,Tunnel"),
        (
            "{cidr: 10.64.0.0/16, natOutgoing: true, ipipMode: Always, vxlanMode: Never}",
            "10.64.0.0/16 true Always Never Workload,Tunnel",
        ),
        (
            "{cidr: 'fd00:0:64::/64', vxlanMode: CrossSubnet, disabled: true, allowedUses: [Workload]}",
            "fd00:0:64::/64 false Never CrossSubnet Workload",
        ),
        ("{cidr: 10.64.0.0/24, allowedUses: [LoadBalancer]}", "10.64.0.0/24 false Never Never LoadBalancer"),
    ] {
        assert_eq!(line(&pool(spec)), want, "{spec}");
    }
}

#[test]
fn the_cluster_of_the_resource_named_default() {
    let manifest = |name: &str| {
        format!(
            "{{apiVersion: projectcalico.org/v3, kind: ClusterInformation, metadata: {{name: {name}}}, \
             spec: {{calicoVersion: v3.31.0, clusterGUID: 0af, clusterType: 'k8s,bgp', datastoreReady: true}}}}"
        )
    };
    match converted(&manifest("default")) {
        Converted::Cluster(found) => {
            let texts = [&found.calico_version, &found.cluster_guid, &found.cluster_type];
            assert_eq!(texts, ["v3.31.0", "0af", "k8s,bgp"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(converted(&manifest("other")), Converted::Nothing);
}
