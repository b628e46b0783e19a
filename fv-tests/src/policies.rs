//! Policies that more than one test puts in force.

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
pub const CLIENT_ONLY: &str = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: client-only, namespace: default}
spec:
  podSelector: {matchLabels: {role: server}}
  ingress: [{from: [{podSelector: {matchLabels: {role: client}}}]}]
";
