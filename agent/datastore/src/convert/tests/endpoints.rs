//! Endpoints that are resources themselves, network sets and nodes.

use caracal_model::{HostEndpoint, Node, Object, WorkloadEndpoint};

use super::{labels, object};

fn workload(name: &str, spec: &str) -> (String, String, WorkloadEndpoint) {
    let manifest = format!(
        "{{apiVersion: projectcalico.org/v3, kind: WorkloadEndpoint, \
          metadata: {{name: {name}, namespace: shop, labels: {{app: api, pcns.x: z}}}}, spec: {{{spec}}}}}"
    );
    match object(&manifest) {
        Object::WorkloadEndpoint(key, endpoint) => (key.host.to_string(), key.to_string(), endpoint),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_name_of_a_workload_endpoint_is_its_key() {
    for (name, spec, host, key) in [
        (
            "n1-cni-cid1-eth0",
            "node: n1, orchestrator: cni, containerID: cid1, endpoint: eth0",
            "n1",
            "cni/shop/cid1/eth0",
        ),
        (
            "ip--10--0--0--7.ec2.internal-cni-cid0-e--1",
            "node: ip-10-0-0-7.ec2.internal, orchestrator: cni, containerID: cid0, endpoint: e-1",
            "ip-10-0-0-7.ec2.internal",
            "cni/shop/cid0/e-1",
        ),
        ("n1-k8s-web--0-eth0", "node: n1, orchestrator: k8s, pod: web-0, endpoint: eth0", "n1", "k8s/shop/web-0/eth0"),
    ] {
        let spec = format!("{spec}, interfaceName: tap0, ipNetworks: [10.0.0.1/32]");
        let (its_host, its_key, _) = workload(name, &spec);
        assert_eq!((its_host.as_str(), its_key.as_str()), (host, key));
    }
}

#[test]
fn a_workload_endpoint_is_taken_as_it_is() {
    let (_, _, endpoint) = workload(
        "n1-cni-cid1-eth0",
        "node: n1, orchestrator: cni, containerID: cid1, endpoint: eth0, interfaceName: tap0, mac: 'EE:EE:ee:ee:ee:01', \
         profiles: [p, kns.shop], ipNetworks: [10.0.0.1/32, 'fd00::1/128'], serviceAccountName: robot, \
         ports: [{name: http, protocol: TCP, port: 80}], allowSpoofedSourcePrefixes: [10.9.0.0/16], \
         ipNATs: [{internalIP: 10.0.0.1, externalIP: 192.0.2.1}]",
    );
    assert_eq!((endpoint.state.as_str(), endpoint.interface.as_str()), ("active", "tap0"));
    assert_eq!(endpoint.mac, "ee:ee:ee:ee:ee:01");
    assert_eq!(endpoint.profiles, ["p", "kns.shop"]);
    assert_eq!(format!("{:?} {:?}", endpoint.ipv4_nets, endpoint.ipv6_nets), "[10.0.0.1/32] [fd00::1/128]");
    assert_eq!(
        labels(&endpoint.labels),
        [
            "app=api",
            "projectcalico.org/namespace=shop",
            "projectcalico.org/orchestrator=cni",
            "projectcalico.org/serviceaccount=robot",
        ]
    );
    assert_eq!(endpoint.ports.len(), 1);
    assert_eq!(format!("{:?}", endpoint.allowed_source_prefixes), "[10.9.0.0/16]");
    assert_eq!(format!("{}", endpoint.nats[0].external), "192.0.2.1");
}

#[test]
fn host_endpoints() {
    let manifest = "{apiVersion: projectcalico.org/v3, kind: HostEndpoint, metadata: {name: h, labels: {a: b}, \
                     annotations: {qos.projectcalico.org/dscp: AF31, qos.projectcalico.org/egressBandwidth: 1M}}, \
                     spec: {node: n1, interfaceName: eth0, expectedIPs: [192.0.2.1, '2001:db8::1'], profiles: [p], \
                     ports: [{name: http, protocol: TCP, port: 80}, {name: dns, protocol: 17, port: 53}]}}";
    let Object::HostEndpoint(key, HostEndpoint { interface, expected_ips, profiles, labels: own, ports, dscp }) =
        object(manifest)
    else {
        panic!("it is a host endpoint")
    };
    assert_eq!((key.host.as_str(), key.name.as_str(), interface.as_str()), ("n1", "h", "eth0"));
    assert_eq!(format!("{expected_ips:?}"), "[192.0.2.1, 2001:db8::1]");
    assert_eq!(profiles, ["p"]);
    assert_eq!(labels(&own), ["a=b"]);
    let ports: Vec<_> = ports.iter().map(|p| format!("{}={}/{}", p.name, p.port, p.protocol)).collect();
    assert_eq!(ports, ["http=80/tcp", "dns=53/udp"]);
    assert_eq!(dscp, Some(26));
    let Object::HostEndpoint(_, endpoint) = object(&manifest.replace("AF31", "high")) else {
        panic!("it is a host endpoint")
    };
    assert_eq!(endpoint.dscp, None);
}

#[test]
fn network_sets() {
    let spec = "spec: {nets: [10.1.2.3/8, 192.0.2.1, 'fd00::/8', 0.0.0.0/0]}";
    let nets = "[10.0.0.0/8, 192.0.2.1/32, fd00::/8, 0.0.0.0/0]";
    let manifest = |kind: &str, metadata: &str| {
        format!(
            "{{apiVersion: projectcalico.org/v3, kind: {kind}, metadata: {{name: s, labels: {{a: b}}{metadata}}}, {spec}}}"
        )
    };
    let Object::NetworkSet(key, set) = object(&manifest("NetworkSet", ", namespace: shop")) else {
        panic!("it is a set")
    };
    assert_eq!(key.0, "shop/s");
    assert_eq!(labels(&set.labels), ["a=b", "projectcalico.org/namespace=shop"]);
    assert_eq!(set.profiles, ["kns.shop"]);
    assert_eq!(format!("{:?}", set.nets), nets);

    let Object::NetworkSet(key, set) = object(&manifest("GlobalNetworkSet", "")) else { panic!("it is a set") };
    assert_eq!(key.0, "s");
    assert_eq!(labels(&set.labels), ["a=b"]);
    assert!(set.profiles.is_empty());
    assert_eq!(format!("{:?}", set.nets), nets);
}

#[test]
fn a_node_has_calicos_labels_under_those_of_kubernetes() {
    for (annotation, want) in [
        ("{}", "shared=kubernetes zone=z"),
        (r#"{"rack": "r1", "shared": "calico"}"#, "rack=r1 shared=kubernetes zone=z"),
        ("rack=r1", "shared=kubernetes zone=z"),
        (r#"{"rack": 1}"#, "shared=kubernetes zone=z"),
    ] {
        let manifest = format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: n1, labels: {{zone: z, shared: kubernetes}}, \
              annotations: {{projectcalico.org/labels: '{annotation}'}}}}}}"
        );
        let Object::Node(_, node) = object(&manifest) else { panic!("{manifest}") };
        assert_eq!(labels(&node.labels).join(" "), want, "{annotation}");
    }
}

#[test]
fn a_node_has_the_address_of_its_network_or_else_its_own() {
    let addresses = "addresses: [{type: Hostname, address: n1}, {type: ExternalIP, address: 203.0.113.1}, \
                     {type: InternalIP, address: 192.0.2.9}, {type: ExternalIP, address: '2001:db8::9'}]";
    for (annotations, status, ipv4, ipv6, number) in [
        ("", "", "", "", ""),
        ("", addresses, "192.0.2.9/32", "2001:db8::9/128", ""),
        (
            "projectcalico.org/IPv4Address: 192.0.2.1/24, projectcalico.org/IPv6Address: '2001:db8::1/64'",
            addresses,
            "192.0.2.1/24",
            "2001:db8::1/64",
            "",
        ),
        ("projectcalico.org/IPv4Address: 192.0.2.1", "", "192.0.2.1/32", "", ""),
        ("projectcalico.org/ASNumber: '64512'", "", "", "", "64512"),
        ("projectcalico.org/ASNumber: '65000.1'", "", "", "", "4259840001"),
    ] {
        let manifest = format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: n1, labels: {{zone: z}}, annotations: {{{annotations}}}}}, \
              status: {{{status}}}}}"
        );
        let Object::Node(name, Node { ipv4: v4, ipv6: v6, as_number, labels: own }) = object(&manifest) else {
            panic!("{manifest}")
        };
        assert_eq!((name.as_str(), labels(&own).join(" ").as_str()), ("n1", "zone=z"));
        assert_eq!((v4.as_str(), v6.as_str(), as_number.as_str()), (ipv4, ipv6, number), "{annotations}");
    }
}
