//! Services, pools of addresses and what a cluster says of itself.

use serde_json::json;

use super::{check, stored};

fn service(spec: &str) -> String {
    format!("{{apiVersion: v1, kind: Service, metadata: {{name: s}}, spec: {spec}}}")
}

fn pool(spec: &str) -> String {
    format!("{{apiVersion: projectcalico.org/v3, kind: IPPool, metadata: {{name: p}}, spec: {spec}}}")
}

#[test]
fn services() {
    check(
        service,
        &[
            ("{ports: [{port: 80}]}", ""),
            ("{clusterIP: 10.96.0.1, ports: [{port: 80, targetPort: http, nodePort: 30080}], type: NodePort}", ""),
            (
                "{clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, 'fd00:96::1'], ports: [{port: 80, targetPort: 8080}]}",
                "",
            ),
            ("{clusterIPs: ['fd00:96::1', 10.96.0.1], ports: [{port: 80}], ipFamilyPolicy: PreferDualStack}", ""),
            ("{clusterIP: None}", ""),
            ("{clusterIP: None, selector: {a: b}, ports: [{port: 80}], unread: [1]}", ""),
            ("{type: ExternalName, externalName: db.example.org.}", ""),
            (
                "{type: LoadBalancer, loadBalancerIP: 198.51.100.1, externalIPs: [198.51.100.2], ports: [{port: 80}]}",
                "",
            ),
            ("{ports: [{name: a, port: 53}, {name: b, port: 53, protocol: UDP}]}", ""),
            ("{ports: [{name: a, port: 53, nodePort: 0}, {name: b, port: 54, nodePort: 0}]}", ""),
            ("{}", "k8s spec.ports: is missing"),
            ("{type: Clusterip, ports: [{port: 80}]}", "k8s spec.type: \"Clusterip\" is not one of"),
            ("{ports: [{}]}", "k8s spec.ports[0].port: is missing"),
            ("{ports: [{port: 0}]}", "k8s spec.ports[0].port: 0 is not within 1-65535"),
            ("{ports: [{port: 65536}]}", "k8s spec.ports[0].port"),
            ("{ports: [{port: '80'}]}", "decode spec.ports[0].port"),
            ("{ports: [{port: 80, nodePort: 70000}]}", "k8s spec.ports[0].nodePort: 70000 is not within 0-65535"),
            ("{ports: [{port: 80, protocol: ICMP}]}", "k8s spec.ports[0].protocol"),
            ("{ports: [{port: 80, targetPort: Http}]}", "k8s spec.ports[0].targetPort: \"Http\" is not a port name"),
            ("{ports: [{port: 80, targetPort: 65536}]}", "k8s spec.ports[0].targetPort: 65536"),
            (
                "{ports: [{port: 80}, {port: 81}]}",
                "k8s spec.ports[0].name: is missing, for there is more than one port",
            ),
            ("{ports: [{name: a, port: 80}, {name: a, port: 81}]}", "k8s spec.ports[1].name: \"a\" occurs twice"),
            ("{ports: [{name: a, port: 80}, {name: b, port: 80}]}", "k8s spec.ports[1].port: TCP 80 occurs twice"),
            (
                "{type: NodePort, ports: [{name: a, port: 80, nodePort: 30080}, {name: b, port: 81, nodePort: 30080}]}",
                "k8s spec.ports[1].nodePort: TCP 30080 occurs twice",
            ),
            ("{type: LoadBalancer, ports: [{port: 10250}]}", "k8s spec.ports[0].port: 10250 is the kubelet's"),
            ("{clusterIP: 10.96.0, ports: [{port: 80}]}", "k8s spec.clusterIPs[0]: \"10.96.0\" is not an IP address"),
            (
                "{clusterIP: 10.96.0.1, clusterIPs: [10.96.0.2], ports: [{port: 80}]}",
                "k8s spec.clusterIP: is not the first of clusterIPs",
            ),
            (
                "{clusterIPs: [10.96.0.1, 10.96.0.2], ports: [{port: 80}]}",
                "k8s spec.clusterIPs[1]: is of the same family as the first",
            ),
            ("{clusterIPs: [None, 10.96.0.2]}", "k8s spec.clusterIPs[0]: None goes with no address"),
            ("{clusterIPs: [10.96.0.1, '']}", "k8s spec.clusterIPs[1]: is empty"),
            (
                "{clusterIPs: [10.96.0.1, 'fd00::1', 'fd00::2'], ports: [{port: 80}]}",
                "k8s spec.clusterIPs: has 3 elements, 2 at most are allowed",
            ),
            ("{type: NodePort, clusterIP: None}", "k8s spec.clusterIP: cannot be None for the type NodePort"),
            ("{type: LoadBalancer, clusterIP: None}", "k8s spec.clusterIP: cannot be None"),
            ("{type: ExternalName}", "k8s spec.externalName: \"\" is not a DNS subdomain"),
            ("{type: ExternalName, externalName: a_b}", "k8s spec.externalName: \"a_b\" is not a DNS subdomain"),
            (
                "{type: ExternalName, externalName: a, clusterIP: 10.96.0.1}",
                "k8s spec.clusterIP: has no meaning for the type ExternalName",
            ),
            ("{ports: [{port: 80}], externalIPs: [here]}", "k8s spec.externalIPs[0]: \"here\" is not an IP address"),
            ("{ports: [{port: 80}], externalIPs: ['']}", "k8s spec.externalIPs[0]: \"\" is not an IP address"),
            ("{ports: [{port: 80}], externalIPs: [127.0.0.1]}", "k8s spec.externalIPs[0]: 127.0.0.1 is no address"),
            ("{ports: [{port: 80}], externalIPs: ['fe80::1']}", "k8s spec.externalIPs[0]"),
            ("{ports: [{port: 80}], externalIPs: [0.0.0.0]}", "k8s spec.externalIPs[0]"),
            ("{ports: [{port: 80}], externalIPs: [224.0.0.1]}", "k8s spec.externalIPs[0]"),
            ("{ports: [{port: 80}], sessionAffinity: None}", ""),
            ("{ports: [{port: 80}], sessionAffinity: clientip}", "k8s spec.sessionAffinity"),
            ("{ports: [{port: 80}], externalTrafficPolicy: local}", "k8s spec.externalTrafficPolicy"),
        ],
    );
    check(
        |fields| format!("{{apiVersion: v1, kind: Service, {fields}}}"),
        &[
            ("metadata: {name: s}", "k8s spec: is missing"),
            (
                "metadata: {name: 9a}, spec: {clusterIP: None}",
                "meta metadata.name: \"9a\" does not begin with a letter",
            ),
            ("metadata: {name: a.b}, spec: {clusterIP: None}", "meta metadata.name: \"a.b\" is not a DNS label"),
            (
                "metadata: {name: s}, spec: {clusterIP: None}, status: {loadBalancer: {ingress: [{hostname: h}, {ip: 198.51.100.1}]}}",
                "",
            ),
            (
                "metadata: {name: s}, spec: {clusterIP: None}, status: {loadBalancer: {ingress: [{ip: x}]}}",
                "k8s status.loadBalancer.ingress[0].ip: \"x\" is not an IP address",
            ),
        ],
    );
}

#[test]
fn what_a_service_leaves_out_is_filled_in() {
    for (text, place, expected) in [
        ("{clusterIP: 10.96.0.1, ports: [{port: 80}]}", "/spec/clusterIPs", json!(["10.96.0.1"])),
        ("{clusterIPs: [10.96.0.1], ports: [{port: 80}]}", "/spec/clusterIP", json!("10.96.0.1")),
        ("{ports: [{port: 80}]}", "/spec/type", json!("ClusterIP")),
        ("{ports: [{port: 80}]}", "/spec/ports/0/protocol", json!("TCP")),
        ("{ports: [{port: 80}]}", "/metadata/namespace", json!("default")),
    ] {
        assert_eq!(stored(&service(text)).pointer(place), Some(&expected), "{place} of {text}");
    }
    for (text, place, expected) in [
        ("{cidr: 10.64.0.0/16}", "/spec/nodeSelector", json!("all()")),
        ("{cidr: 10.64.0.0/16}", "/spec/assignmentMode", json!("Automatic")),
    ] {
        assert_eq!(stored(&pool(text)).pointer(place), Some(&expected), "{place} of {text}");
    }
}

#[test]
fn pools() {
    check(
        pool,
        &[
            ("{cidr: 10.64.0.0/16}", ""),
            ("{cidr: 'fd00:64::/64', natOutgoing: true, vxlanMode: Always, ipipMode: Never, blockSize: 122}", ""),
            ("{cidr: 10.64.0.0/16, ipipMode: CrossSubnet, nodeSelector: has(a), namespaceSelector: b == 'c'}", ""),
            ("{cidr: 10.64.0.0/26}", ""),
            ("{cidr: 10.64.0.0/28, disabled: true}", ""),
            ("{cidr: 10.64.0.0/28, blockSize: 28}", ""),
            ("{cidr: 10.64.0.0/24, allowedUses: [LoadBalancer], ipipMode: Never, assignmentMode: Manual}", ""),
            ("{cidr: 10.64.0.0/24, allowedUses: [Workload], namespaceSelector: all()}", ""),
            ("{}", "crd spec.cidr: is missing"),
            ("{cidr: 10.64.0.0}", "client spec.cidr: "),
            ("{cidr: 10.64.0.0/33}", "client spec.cidr: "),
            (
                "{cidr: 10.64.0.1/16}",
                "crd spec.cidr: \"10.64.0.1/16\" has bits set beyond its prefix length, 10.64.0.0/16",
            ),
            ("{cidr: 169.254.7.0/24}", "crd spec.cidr: \"169.254.7.0/24\" overlaps the link's own 169.254.0.0/16"),
            ("{cidr: 169.0.0.0/8}", "crd spec.cidr: \"169.0.0.0/8\" overlaps the link's own"),
            ("{cidr: 'fe80::/64'}", "crd spec.cidr: \"fe80::/64\" overlaps the link's own fe80::/10"),
            ("{cidr: 10.64.0.0/27}", "crd spec.cidr: 10.64.0.0/27 is smaller than a block, which is a /26"),
            ("{cidr: 'fd00::/123'}", "crd spec.cidr: fd00::/123 is smaller than a block, which is a /122"),
            ("{cidr: 10.64.0.0/16, blockSize: 19}", "crd spec.blockSize: 19 is not within 20-32"),
            ("{cidr: 10.64.0.0/16, blockSize: 129}", "crd spec.blockSize: 129 is not within 0-128"),
            ("{cidr: 'fd00::/64', blockSize: 26}", "crd spec.blockSize: 26 is not within 116-128"),
            (
                "{cidr: 10.64.0.0/16, ipipMode: Always, vxlanMode: CrossSubnet}",
                "crd spec.vxlanMode: cannot go with an ipipMode",
            ),
            ("{cidr: 'fd00::/64', ipipMode: Always}", "crd spec.ipipMode: is for IPv4 pools only"),
            ("{cidr: 10.64.0.0/16, ipipMode: always}", "crd spec.ipipMode: \"always\" is not one of"),
            ("{cidr: 10.64.0.0/16, natOutgoing: 'yes'}", "decode spec.natOutgoing"),
            ("{cidr: 10.64.0.0/16, natOutGoing: true}", "decode spec.natOutGoing: unknown field"),
            ("{cidr: 10.64.0.0/16, nodeSelector: a =}", "client spec.nodeSelector: not a selector"),
            ("{cidr: 10.64.0.0/16, nodeSelector: global()}", "crd spec.nodeSelector: global() has a meaning"),
            ("{cidr: 10.64.0.0/16, namespaceSelector: global()}", "crd spec.namespaceSelector: global()"),
            ("{cidr: 10.64.0.0/16, allowedUses: [Pods]}", "crd spec.allowedUses[0]: \"Pods\" is not one of"),
            (
                "{cidr: 10.64.0.0/16, allowedUses: [Workload, LoadBalancer]}",
                "crd spec.allowedUses: LoadBalancer goes with no other use",
            ),
            (
                "{cidr: 10.64.0.0/16, allowedUses: [LoadBalancer], vxlanMode: Always}",
                "crd spec.vxlanMode: cannot go with the use LoadBalancer",
            ),
            (
                "{cidr: 10.64.0.0/16, allowedUses: [LoadBalancer], nodeSelector: has(a)}",
                "crd spec.nodeSelector: cannot go with the use LoadBalancer",
            ),
            (
                "{cidr: 10.64.0.0/16, allowedUses: [LoadBalancer], disableBGPExport: true}",
                "crd spec.disableBGPExport: cannot go with the use LoadBalancer",
            ),
            (
                "{cidr: 10.64.0.0/16, allowedUses: [Tunnel], namespaceSelector: has(a)}",
                "crd spec.namespaceSelector: cannot go with the use Tunnel",
            ),
        ],
    );
}

#[test]
fn cluster_information() {
    check(
        |spec| {
            format!(
                "{{apiVersion: crd.projectcalico.org/v1, kind: ClusterInformation, metadata: {{name: default}}, spec: {spec}}}"
            )
        },
        &[
            ("{}", ""),
            (
                "{calicoVersion: v3.31.0, clusterGUID: 0af, clusterType: 'k8s,bgp', datastoreReady: true, variant: Calico}",
                "",
            ),
            ("{clusterGuid: a}", "decode spec.clusterGuid: unknown field"),
            ("{calicoVersion: 3}", "decode spec.calicoVersion: text is expected"),
            ("{datastoreReady: 'yes'}", "decode spec.datastoreReady"),
        ],
    );
}
