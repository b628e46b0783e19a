//! What holds of any file.

use proptest::prelude::*;

use crate::admit::fuzz::fuzz_one;

/// Objects that are admitted, to be damaged.
const MANIFEST: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, labels: {app: web}}
spec:
  nodeName: n1
  containers:
  - name: c
    image: i
    ports: [{name: http, containerPort: 8080, protocol: TCP}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: a}
spec:
  podSelector: {matchExpressions: [{key: app, operator: In, values: [web]}]}
  ingress:
  - from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]
    ports: [{port: 80, endPort: 90}]
---
apiVersion: v1
kind: List
items:
- apiVersion: crd.projectcalico.org/v1
  kind: GlobalNetworkPolicy
  metadata:
    name: default.g
    annotations: {projectcalico.org/metadata: '{\"name\":\"g\"}'}
  spec:
    selector: &s has(app)
    types: [Ingress]
    ingress:
    - {action: Allow, protocol: TCP, source: {selector: *s}, destination: {ports: [80, '90:99', http]}}
- apiVersion: v1
  kind: Service
  metadata: {name: web}
  spec: {clusterIPs: [10.96.0.1, 'fd00::1'], externalIPs: [198.51.100.1], ports: [{port: 80, nodePort: 30080}]}
- apiVersion: projectcalico.org/v3
  kind: IPPool
  metadata: {name: p}
  spec: {cidr: 10.64.0.0/16, natOutgoing: true, blockSize: 26, allowedUses: [Workload]}
- apiVersion: projectcalico.org/v3
  kind: Tier
  metadata: {name: t}
  spec: {order: 10}
";

/// Bits of YAML and of manifests.
fn token() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "---",
        "\n",
        "\n  ",
        ": ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "'",
        "\"",
        "|",
        ">-",
        "#",
        "&a ",
        "*a",
        "<<: ",
        "!!str ",
        "null",
        "~",
        "true",
        "yes",
        "0",
        "-1",
        "65536",
        "1e999",
        "0x",
        "::/0",
        "10.0.0.0/8",
        "spec",
        "metadata",
        "name",
        "kind: List",
        "items",
        "apiVersion: v1",
        "kind: Pod",
        "\t",
        "\r\n",
        "\u{feff}",
        "global()",
        "a == 'b'",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_break_the_reader(data in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz_one(&data);
    }

    #[test]
    fn no_tokens_break_the_reader(tokens in prop::collection::vec(token(), 0..60)) {
        fuzz_one(tokens.concat().as_bytes());
    }

    #[test]
    fn no_damage_breaks_admission(edits in prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, token()), 0..8)) {
        let mut text: Vec<char> = MANIFEST.chars().collect();
        for (place, removed, inserted) in edits {
            let start = place.index(text.len() + 1);
            let end = text.len().min(start + removed);
            text.splice(start..end, inserted.chars());
        }
        fuzz_one(String::from_iter(text).as_bytes());
    }
}

#[test]
fn the_undamaged_manifest_is_admitted() {
    let documents = crate::manifest::read_documents(std::path::Path::new("f.yaml"), MANIFEST);
    let refused: Vec<_> =
        documents.into_iter().filter_map(|document| document.and_then(crate::admit::admit).err()).collect();
    assert!(refused.is_empty(), "{refused:?}");
}
