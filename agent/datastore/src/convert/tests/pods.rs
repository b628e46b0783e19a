//! Pods.

use caracal_model::{Object, WorkloadEndpoint, WorkloadEndpointKey};

use super::{converted, labels};
use crate::convert::{Converted, interface_name};

/// A pod on node n1; each part is the inside of a YAML mapping.
fn manifest(metadata: &str, spec: &str, status: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: web-0, namespace: shop, {metadata}}}, \
          spec: {{nodeName: n1, containers: [{{name: c, image: i}}], {spec}}}, status: {{{status}}}}}"
    )
}

fn endpoint(metadata: &str, spec: &str, status: &str) -> (WorkloadEndpointKey, WorkloadEndpoint) {
    match converted(&manifest(metadata, spec, status)) {
        Converted::Object(_, object) => match *object {
            Object::WorkloadEndpoint(key, endpoint) => (key, endpoint),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

const RUNNING: &str = "phase: Running, podIP: 10.65.0.1";

#[test]
fn interfaces_have_the_names_that_the_cni_plugin_gives() {
    for (namespace, pod, name) in [
        ("default", "pod-0", "calic220f2ba281"),
        ("kube-system", "coredns-abc", "cali3d5d6ab04b5"),
        ("shop", "web-0", "calia4fc3c48bd8"),
    ] {
        assert_eq!(interface_name("cali", namespace, pod), name);
    }
    assert_eq!(interface_name("tap", "default", "pod-0"), "tapc220f2ba281");
}

#[test]
fn a_running_pod_is_an_endpoint() {
    let (key, endpoint) = endpoint("labels: {app: web}", "serviceAccountName: robot", RUNNING);
    assert_eq!(key.to_string(), "k8s/shop/web-0/eth0");
    assert_eq!(key.host, "n1");
    assert_eq!(endpoint.state, "active");
    assert_eq!(endpoint.interface, "calia4fc3c48bd8");
    assert_eq!(endpoint.mac, "");
    assert_eq!(endpoint.profiles, ["kns.shop", "ksa.shop.robot"]);
    assert_eq!(
        labels(&endpoint.labels),
        [
            "app=web",
            "projectcalico.org/namespace=shop",
            "projectcalico.org/orchestrator=k8s",
            "projectcalico.org/serviceaccount=robot",
        ]
    );
}

#[test]
fn the_old_field_of_the_service_account_counts_if_the_new_one_is_empty() {
    let profiles = |spec: &str| endpoint("", spec, RUNNING).1.profiles;
    assert_eq!(profiles(""), ["kns.shop"]);
    assert_eq!(profiles("serviceAccount: old"), ["kns.shop", "ksa.shop.old"]);
    assert_eq!(profiles("serviceAccountName: new, serviceAccount: old"), ["kns.shop", "ksa.shop.new"]);
}

#[test]
fn a_pod_cannot_give_itself_labels_of_its_surroundings() {
    let metadata = "labels: {pcns.team: red, pcsa.role: admin, pcnsx: ok, projectcalico.org/namespace: pay, \
                    projectcalico.org/orchestrator: vm, projectcalico.org/serviceaccount: root}";
    let own = |spec: &str| labels(&endpoint(metadata, spec, RUNNING).1.labels).join(" ");
    let placed = "pcnsx=ok projectcalico.org/namespace=shop projectcalico.org/orchestrator=k8s";
    assert_eq!(own("serviceAccountName: robot"), format!("{placed} projectcalico.org/serviceaccount=robot"));
}

#[test]
fn addresses_come_from_the_first_place_that_has_any() {
    let annotations = "annotations: {cni.projectcalico.org/podIPs: '10.0.0.3/32,fd00::3/128', \
                       cni.projectcalico.org/podIP: 10.0.0.4/32, vpc.amazonaws.com/pod-ips: '10.0.0.5,10.0.0.6'}";
    let only = |name: &str, text: &str| format!("annotations: {{{name}: '{text}'}}");
    for (metadata, status, addresses) in [
        (annotations, "podIP: 10.0.0.2, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]", "10.0.0.1/32 fd00::1/128"),
        (annotations, "podIP: 10.0.0.2", "10.0.0.2/32"),
        (annotations, "podIP: 'fd00::2'", "fd00::2/128"),
        (annotations, "", "10.0.0.3/32 fd00::3/128"),
        (&only("cni.projectcalico.org/podIP", "10.0.0.4/32"), "", "10.0.0.4/32"),
        (&only("vpc.amazonaws.com/pod-ips", "10.0.0.5,10.0.0.6"), "", "10.0.0.5/32 10.0.0.6/32"),
    ] {
        let (_, endpoint) = endpoint(metadata, "", status);
        let nets: Vec<_> = endpoint.ipv4_nets.iter().chain(&endpoint.ipv6_nets).map(ToString::to_string).collect();
        assert_eq!(nets.join(" "), addresses, "{metadata} {status}");
    }
}

#[test]
fn what_is_no_endpoint() {
    let released = "deletionTimestamp: '2026-01-02T03:04:05Z', annotations: {cni.projectcalico.org/podIP: ''}";
    let released_aws = "deletionTimestamp: '2026-01-02T03:04:05Z', annotations: {vpc.amazonaws.com/pod-ips: ''}";
    for (what, metadata, spec, status) in [
        ("no addresses yet", "", "", "phase: Pending"),
        ("on the host's network", "", "hostNetwork: true", RUNNING),
        ("succeeded", "", "", "phase: Succeeded, podIP: 10.65.0.1"),
        ("failed", "", "", "phase: Failed, podIP: 10.65.0.1"),
        ("its address is released", released, "", RUNNING),
        ("its address is released on AWS", released_aws, "", RUNNING),
    ] {
        assert_eq!(converted(&manifest(metadata, spec, status)), Converted::Nothing, "{what}");
    }
    let unscheduled = "{apiVersion: v1, kind: Pod, metadata: {name: web-0, namespace: shop}, \
                        spec: {containers: [{name: c, image: i}]}, status: {podIP: 10.65.0.1}}";
    assert_eq!(converted(unscheduled), Converted::Nothing, "not on a node");
}

#[test]
fn what_is_an_endpoint_still() {
    let deletion = "deletionTimestamp: '2026-01-02T03:04:05Z'";
    for (what, metadata) in [
        ("it is being deleted", deletion.to_owned()),
        (
            "its address is not released",
            format!("{deletion}, annotations: {{cni.projectcalico.org/podIP: 10.65.0.1/32}}"),
        ),
        ("it is not being deleted", "annotations: {cni.projectcalico.org/podIP: ''}".to_owned()),
    ] {
        let (_, endpoint) = endpoint(&metadata, "", RUNNING);
        assert_eq!(endpoint.ipv4_nets.len(), 1, "{what}");
    }
}

#[test]
fn a_bad_annotation_is_told_and_the_pod_is_as_if_it_did_not_exist() {
    let annotation = |name: &str, text: &str| format!("annotations: {{{name}: '{text}'}}");
    for (metadata, status, reason) in [
        (annotation("cni.projectcalico.org/podIP", "nonsense"), "", "\"nonsense\" is not an IP address or prefix"),
        (
            annotation("cni.projectcalico.org/allowedSourcePrefixes", "[\"10.0.0.1\"]"),
            RUNNING,
            "annotation cni.projectcalico.org/allowedSourcePrefixes: \"10.0.0.1\" has no prefix length",
        ),
        (
            annotation("cni.projectcalico.org/floatingIPs", "10.0.0.1"),
            RUNNING,
            "annotation cni.projectcalico.org/floatingIPs is not a JSON list of texts: 10.0.0.1",
        ),
    ] {
        assert_eq!(converted(&manifest(&metadata, "", status)), Converted::Broken(reason.to_owned()));
    }
}

#[test]
fn floating_addresses_translate_to_the_address_of_their_family() {
    let metadata = "annotations: {cni.projectcalico.org/floatingIPs: '[\"192.0.2.1\", \"2001:db8::1\", \"x\"]'}";
    let nats = |status: &str| {
        let nats = endpoint(metadata, "", status).1.nats;
        nats.iter().map(|nat| format!("{}>{}", nat.external, nat.internal)).collect::<Vec<_>>()
    };
    assert_eq!(nats(RUNNING), ["192.0.2.1>10.65.0.1"]);
    assert_eq!(nats("podIPs: [{ip: 10.65.0.1}, {ip: 'fd00::1'}]"), ["192.0.2.1>10.65.0.1", "2001:db8::1>fd00::1"]);
}

#[test]
fn prefixes_and_annotations_are_passed_on() {
    let metadata = "annotations: {cni.projectcalico.org/allowedSourcePrefixes: '[\"10.1.2.3/8\"]', \
                    k8s.v1.cni.cncf.io/network-status: '[]', other: x}";
    let (_, endpoint) = endpoint(metadata, "", RUNNING);
    assert_eq!(format!("{:?}", endpoint.allowed_source_prefixes), "[10.0.0.0/8]");
    assert_eq!(format!("{:?}", endpoint.annotations), r#"{"k8s.v1.cni.cncf.io/network-status": "[]"}"#);
}

#[test]
fn named_ports_of_all_containers_count() {
    let spec = "containers: [{name: a, image: i, ports: [{name: http, containerPort: 80}, {containerPort: 81}, \
                {name: dns, containerPort: 53, protocol: UDP}]}, {name: b, image: i, ports: [\
                {name: sig, containerPort: 5, protocol: SCTP}]}], \
                initContainers: [{name: d, image: i, ports: [{name: early, containerPort: 82}]}]";
    let manifest = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: web-0, namespace: shop}}, \
          spec: {{nodeName: n1, {spec}}}, status: {{{RUNNING}}}}}"
    );
    let Converted::Object(_, object) = converted(&manifest) else { panic!("{manifest}") };
    let Object::WorkloadEndpoint(_, endpoint) = *object else { panic!("{object:?}") };
    let ports: Vec<_> = endpoint.ports.iter().map(|p| format!("{}={}/{}", p.name, p.port, p.protocol)).collect();
    assert_eq!(ports, ["http=80/tcp", "dns=53/udp", "sig=5/sctp", "early=82/tcp"]);
}
