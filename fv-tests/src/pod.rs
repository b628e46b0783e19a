//! What a test says of a pod.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

/// A pod to be: its object, and what its interface carries.
#[derive(Clone, Debug, Default)]
pub struct PodSpec {
    /// The namespace's name.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Named container ports: name, number, protocol (`TCP`, `UDP`).
    pub ports: Vec<(String, u16, String)>,
    /// The service account, if any.
    pub service_account: Option<String>,
    /// Addresses; if empty the cluster gives one of each family.
    pub addrs: Vec<IpAddr>,
}

/// A pod named `namespace/name` with labels.
#[must_use]
pub fn pod(full_name: &str, labels: &[(&str, &str)]) -> PodSpec {
    let (namespace, name) = full_name.split_once('/').unwrap_or(("default", full_name));
    PodSpec {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..PodSpec::default()
    }
}

impl PodSpec {
    /// Adds a named container port.
    #[must_use]
    pub fn port(mut self, name: &str, number: u16, protocol: &str) -> Self {
        self.ports.push((name.to_owned(), number, protocol.to_owned()));
        self
    }

    /// Sets the service account.
    #[must_use]
    pub fn account(mut self, name: &str) -> Self {
        self.service_account = Some(name.to_owned());
        self
    }

    /// Gives the pod these addresses instead of the next free ones.
    #[must_use]
    pub fn at(mut self, addrs: &[IpAddr]) -> Self {
        self.addrs = addrs.to_vec();
        self
    }

    /// Reads the pods of a multi-document manifest.
    pub fn read_all(text: &str) -> anyhow::Result<Vec<Self>> {
        let objects: Vec<Object> = serde_saphyr::from_multiple(text)?;
        objects.into_iter().filter(|object| object.kind == "Pod").map(Object::into_spec).collect()
    }

    /// `namespace/name`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The pod's object, as an API server would store it while the pod runs.
    #[must_use]
    pub fn manifest(&self, node: &str) -> Value {
        let ports: Vec<_> = self
            .ports
            .iter()
            .map(|(name, number, protocol)| json!({"name": name, "containerPort": number, "protocol": protocol}))
            .collect();
        let ips: Vec<_> = self.addrs.iter().map(|addr| json!({"ip": addr.to_string()})).collect();
        let mut spec = json!({
            "nodeName": node,
            "containers": [{"name": "main", "image": "main", "ports": ports}],
        });
        if let Some(account) = &self.service_account {
            spec["serviceAccountName"] = json!(account);
        }
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"namespace": self.namespace, "name": self.name, "labels": self.labels},
            "spec": spec,
            "status": {"phase": "Running", "podIPs": ips},
        })
    }
}

/// What the harness reads of a pod's manifest.
#[derive(Deserialize)]
struct Object {
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    namespace: String,
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default, rename = "podIPs")]
    pod_ips: Vec<PodIp>,
}

#[derive(Deserialize)]
struct PodIp {
    ip: IpAddr,
}

impl Object {
    fn into_spec(self) -> anyhow::Result<PodSpec> {
        let Metadata { namespace, name, labels } = self.metadata;
        let addrs: Vec<_> = self.status.pod_ips.into_iter().map(|ip| ip.ip).collect();
        anyhow::ensure!(!addrs.is_empty(), "pod {namespace}/{name} has no status.podIPs");
        Ok(PodSpec { namespace, name, labels, addrs, ..PodSpec::default() })
    }
}

/// The name of a pod's interface on the node: `cali` and the first 11 hex
/// digits of SHA-1 of `NAMESPACE.POD` (Calico, `libcalico-go` conversion).
#[must_use]
pub fn interface_name(namespace: &str, pod: &str) -> String {
    let digest = Sha1::digest(format!("{namespace}.{pod}"));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("cali{}", &hex[..11])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_follow_calicos_rule() {
        assert_eq!(interface_name("default", "pod-0"), "calic220f2ba281");
        assert_eq!(interface_name("kube-system", "coredns-abc"), "cali3d5d6ab04b5");
    }
}
