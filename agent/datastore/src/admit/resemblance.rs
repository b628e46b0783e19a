//! What somebody meant who wrote a name that there is not.

use super::violation::Violation;
use crate::manifest::{Layer, ResourceKind};

/// Groups in which kinds were once, or are stored, and where they are now: Kubernetes before 1.16, whose
/// recipes are still about, and Calico's custom resources, of which only one version is told apart.
const OTHER_GROUPS: [(&str, &str); 2] =
    [("extensions", "networking.k8s.io"), ("crd.projectcalico.org", "projectcalico.org")];

/// The kind that an `apiVersion` and a `kind` mean which name none that is read, and what is
/// wrong with them: another version of a kind's group, another group of those that are read,
/// or a slip of the pen. A kind of somebody else's group is none, whatever it is called.
pub(super) fn mistaken_kind(api_version: &str, kind: &str) -> Option<(ResourceKind, Violation)> {
    let way_to = |known: &ResourceKind| Way::between(group_of(api_version), group_of(known.api_version()));
    let of_kind = ResourceKind::ALL.into_iter().filter(|known| known.kind() == kind);
    if let Some(meant) = of_kind.min_by_key(way_to)
        && ResourceKind::ALL.iter().any(|known| way_to(known) < Way::Far)
    {
        let reason = format!("{api_version:?} has no {kind} that is read: write {}", meant.api_version());
        return Some((meant, Violation::new(Layer::Decode, reason).at("apiVersion")));
    }
    let of_api = ResourceKind::ALL.into_iter().filter(|known| known.api_version() == api_version);
    let (meant, name) = nearest(kind, of_api.map(|known| (known, known.kind())))?;
    let reason = format!("{kind:?} is no kind of {api_version}: did you mean {name}?");
    Some((meant, Violation::new(Layer::Decode, reason).at("kind")))
}

/// How far a written group is from one whose kinds are read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    None,
    Short,
    Far,
}

impl Way {
    fn between(written: &str, group: &'static str) -> Self {
        if written == group {
            Self::None
        } else if OTHER_GROUPS.contains(&(written, group)) || slips_between(written, group).is_some() {
            Self::Short
        } else {
            Self::Far
        }
    }
}

/// A field is not known; those that are may tell which one is meant.
pub(super) fn unknown_field(name: &str, known: impl Iterator<Item = &'static str>) -> Violation {
    let violation = match nearest(name, known.map(|known| ((), known))) {
        Some(((), meant)) => Violation::new(Layer::Decode, format!("unknown field: did you mean {meant}?")),
        None => Violation::new(Layer::Decode, "unknown field"),
    };
    violation.at(name.to_owned())
}

/// The group of an `apiVersion`; that of Kubernetes' first kinds is empty.
fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// The known name that a written one most resembles, if it resembles any.
fn nearest<T>(written: &str, known: impl Iterator<Item = (T, &'static str)>) -> Option<(T, &'static str)> {
    let alike = known.filter_map(|known| Some((slips_between(written, known.1)?, known)));
    alike.min_by_key(|(slips, _)| *slips).map(|(_, known)| known)
}

/// The slips by which a name becomes another one, if they are two at most, one in a short
/// name; its case is none.
fn slips_between(written: &str, name: &str) -> Option<usize> {
    let most = if name.len() > 5 { 2 } else { 1 };
    // What is much longer is not compared letter by letter.
    if name.len() <= 2 || written.len().abs_diff(name.len()) > most {
        return None;
    }
    let slips = strsim::damerau_levenshtein(&written.to_lowercase(), &name.to_lowercase());
    (slips <= most).then_some(slips)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(api_version: &str, kind: &str, expected: Option<(ResourceKind, &str)>) {
        let found = mistaken_kind(api_version, kind).map(|(meant, violation)| {
            let (_, field, reason) = violation.into_parts();
            (meant, format!("{field}: {reason}"))
        });
        let expected = expected.map(|(kind, text)| (kind, text.to_owned()));
        assert_eq!(found, expected, "{api_version} {kind}");
    }

    #[test]
    fn another_version_or_a_slip_of_the_pen_is_told_with_what_was_meant() {
        use ResourceKind::{
            AdminNetworkPolicy, ClusterNetworkPolicy, EndpointSlice, GlobalNetworkPolicy, KubernetesNetworkPolicy,
            NetworkPolicy, Pod, Tier,
        };
        for (api_version, kind, meant, text) in [
            (
                "networking.k8s.io/v2",
                "NetworkPolicy",
                KubernetesNetworkPolicy,
                "apiVersion: \"networking.k8s.io/v2\" has no NetworkPolicy that is read: write networking.k8s.io/v1",
            ),
            (
                "extensions/v1beta1",
                "NetworkPolicy",
                KubernetesNetworkPolicy,
                "apiVersion: \"extensions/v1beta1\" has no NetworkPolicy that is read: write networking.k8s.io/v1",
            ),
            (
                "v1",
                "NetworkPolicy",
                KubernetesNetworkPolicy,
                "apiVersion: \"v1\" has no NetworkPolicy that is read: write networking.k8s.io/v1",
            ),
            (
                "netwroking.k8s.io/v1",
                "NetworkPolicy",
                KubernetesNetworkPolicy,
                "apiVersion: \"netwroking.k8s.io/v1\" has no NetworkPolicy that is read: write networking.k8s.io/v1",
            ),
            (
                "crd.projectcalico.org/v2",
                "NetworkPolicy",
                NetworkPolicy,
                "apiVersion: \"crd.projectcalico.org/v2\" has no NetworkPolicy that is read: write projectcalico.org/v3",
            ),
            (
                "projectcalico.org/v2",
                "Tier",
                Tier,
                "apiVersion: \"projectcalico.org/v2\" has no Tier that is read: write projectcalico.org/v3",
            ),
            (
                "networking.k8s.io/v1",
                "GlobalNetworkPolicy",
                GlobalNetworkPolicy,
                "apiVersion: \"networking.k8s.io/v1\" has no GlobalNetworkPolicy that is read: write projectcalico.org/v3",
            ),
            (
                "policy.networking.k8s.io/v1alpha1",
                "ClusterNetworkPolicy",
                ClusterNetworkPolicy,
                "apiVersion: \"policy.networking.k8s.io/v1alpha1\" has no ClusterNetworkPolicy that is read: \
                 write policy.networking.k8s.io/v1alpha2",
            ),
            (
                "policy.networking.k8s.io/v1alpha2",
                "AdminNetworkPolicy",
                AdminNetworkPolicy,
                "apiVersion: \"policy.networking.k8s.io/v1alpha2\" has no AdminNetworkPolicy that is read: \
                 write policy.networking.k8s.io/v1alpha1",
            ),
            (
                "discovery.k8s.io/v1beta1",
                "EndpointSlice",
                EndpointSlice,
                "apiVersion: \"discovery.k8s.io/v1beta1\" has no EndpointSlice that is read: write discovery.k8s.io/v1",
            ),
            (
                "networking.k8s.io/v1",
                "NetworkPolcy",
                KubernetesNetworkPolicy,
                "kind: \"NetworkPolcy\" is no kind of networking.k8s.io/v1: did you mean NetworkPolicy?",
            ),
            (
                "projectcalico.org/v3",
                "globalnetworkpolicy",
                GlobalNetworkPolicy,
                "kind: \"globalnetworkpolicy\" is no kind of projectcalico.org/v3: did you mean GlobalNetworkPolicy?",
            ),
            ("v1", "Pods", Pod, "kind: \"Pods\" is no kind of v1: did you mean Pod?"),
        ] {
            check(api_version, kind, Some((meant, text)));
        }
    }

    #[test]
    fn kinds_of_others_are_theirs() {
        for (api_version, kind) in [
            ("apps/v1", "Deployment"),
            ("example.com/v1", "NetworkPolicy"),
            ("serving.knative.dev/v1", "Service"),
            ("crd.antrea.io/v1beta1", "NetworkPolicy"),
            ("crd.antrea.io/v1beta1", "Tier"),
            ("networking.k8s.aws/v1alpha1", "ClusterNetworkPolicy"),
            ("cilium.io/v2", "CiliumNetworkPolicy"),
            ("gateway.networking.k8s.io/v1", "Gateway"),
            ("networking.k8s.io/v1", "Ingress"),
            ("v1", "ConfigMap"),
            ("v1", "Endpoints"),
            ("v1", "PodTemplate"),
            ("projectcalico.org/v3", "BGPPeer"),
            ("projectcalico.org/v3", "IPReservation"),
            ("projectcalico.org/v3", "KubeControllersConfiguration"),
        ] {
            check(api_version, kind, None);
        }
    }

    #[test]
    fn a_field_is_taken_for_the_nearest_one() {
        let known = ["ingress", "egress", "from", "ports", "matchLabels", "to"];
        for (written, meant) in [
            ("ingres", ": did you mean ingress?"),
            ("Egress", ": did you mean egress?"),
            ("form", ": did you mean from?"),
            ("port", ": did you mean ports?"),
            ("matchLabel", ": did you mean matchLabels?"),
            ("spec", ""),
            ("po", ""),
            ("x", ""),
        ] {
            let (_, field, reason) = unknown_field(written, known.into_iter()).into_parts();
            assert_eq!((field.to_string(), reason), (written.to_owned(), format!("unknown field{meant}")));
        }
    }
}
