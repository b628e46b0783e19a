//! Policies that more than one test puts in force.

use crate::cluster::Cluster;
use crate::pod::pod;

/// Pods with `role: server` are reached by pods with `friend: yes` alone.
pub const ONLY_FRIENDS: &str = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-friends, namespace: default}
spec:
  podSelector: {matchLabels: {role: server}}
  ingress: [{from: [{podSelector: {matchLabels: {friend: 'yes'}}}]}]
";

/// Pods with `role: server` are reached by pods with `role: client` alone.
const CLIENT_ONLY: &str = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: client-only, namespace: default}
spec:
  podSelector: {matchLabels: {role: server}}
  ingress: [{from: [{podSelector: {matchLabels: {role: client}}}]}]
";

/// Three pods in the namespace `default`: `client` may reach `server`, `other` may not.
///
/// # Errors
/// If the namespaces of the pods cannot be made; needs root.
pub fn client_only() -> anyhow::Result<Cluster> {
    let mut cluster = Cluster::new()?;
    cluster.namespace("default", &[])?;
    cluster.write("policy.yaml", CLIENT_ONLY)?;
    cluster.start_pods([
        pod("default/server", &[("role", "server")]),
        pod("default/client", &[("role", "client")]),
        pod("default/other", &[]),
    ])?;
    Ok(cluster)
}

/// Three pods in the namespace `default` for [`ONLY_FRIENDS`], which is not in force yet:
/// `friend` may reach `server` then, `foe` may not.
///
/// # Errors
/// If the namespaces of the pods cannot be made; needs root.
pub fn friend_and_foe() -> anyhow::Result<Cluster> {
    let mut cluster = Cluster::new()?;
    cluster.namespace("default", &[])?;
    cluster.start_pods([
        pod("default/server", &[("role", "server")]),
        pod("default/friend", &[("friend", "yes")]),
        pod("default/foe", &[("role", "foe")]),
    ])?;
    Ok(cluster)
}
