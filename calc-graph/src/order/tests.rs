use std::sync::Arc;

use caracal_model::{Labels, WorkloadEndpoint};

use super::*;
use crate::{ActivePolicy, ActiveProfile, Encapsulation, TierPolicies};

/// What deltas are made of.
struct Parts {
    set: SmolStr,
    member: [Member; 1],
    key: PolicyKey,
    policy: ActivePolicy,
    name: SmolStr,
    profile: ActiveProfile,
    workload: WorkloadEndpointKey,
    endpoint: WorkloadEndpoint,
    list: PolicyList,
    labels: Labels,
}

fn parts() -> Parts {
    let key = PolicyKey {
        kind: caracal_model::PolicyKind::GlobalNetworkPolicy,
        namespace: SmolStr::default(),
        name: "p".into(),
    };
    let rule = ScannedRule {
        rule: caracal_model::Rule::any(caracal_model::Action::Allow),
        src_ip_sets: vec!["s:1".into()],
        dst_ip_sets: Vec::new(),
        not_src_ip_sets: Vec::new(),
        not_dst_ip_sets: Vec::new(),
        src_named_port_sets: Vec::new(),
        dst_named_port_sets: Vec::new(),
        not_src_named_port_sets: Vec::new(),
        not_dst_named_port_sets: Vec::new(),
        dst_ip_port_sets: Vec::new(),
    };
    Parts {
        set: "s:1".into(),
        member: [Member::Net("10.0.0.1".parse().expect("an address"))],
        policy: ActivePolicy {
            tier: "default".into(),
            selector: "all()".into(),
            inbound_rules: vec![rule],
            outbound_rules: Vec::new(),
            untracked: false,
            pre_dnat: false,
            perf_hints: Vec::new(),
        },
        name: "kns.a".into(),
        profile: ActiveProfile::default(),
        workload: WorkloadEndpointKey {
            host: "h".into(),
            orchestrator: "k8s".into(),
            workload: "a/b".into(),
            endpoint: "eth0".into(),
        },
        endpoint: WorkloadEndpoint { profiles: vec!["kns.a".into()], ..WorkloadEndpoint::default() },
        list: Arc::from([TierPolicies {
            name: "default".into(),
            default_action: None,
            ingress: vec![key.clone()],
            egress: Vec::new(),
        }]),
        key,
        labels: Labels::new(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Do {
    Set,
    Grow,
    Shrink,
    Idle,
    SetGone,
    Policy,
    PolicyGone,
    Profile,
    ProfileGone,
    Pod,
    PodGone,
    Namespace,
    Tunnels,
    InSync,
    EndFlush,
}

fn run(steps: &[Do]) -> Result<(), OrderError> {
    let parts = parts();
    let mut checker = OrderChecker::new();
    for step in steps {
        let (id, name, key) = (&parts.set, &parts.name, &parts.key);
        let delta = match step {
            Do::Set => Delta::IpSetUpdate { id, kind: IpSetKind::Net, members: &[] },
            Do::Grow => Delta::IpSetDelta { id, added: &parts.member, removed: &[] },
            Do::Shrink => Delta::IpSetDelta { id, added: &[], removed: &parts.member },
            Do::Idle => Delta::IpSetDelta { id, added: &[], removed: &[] },
            Do::SetGone => Delta::IpSetRemove { id },
            Do::Policy => Delta::PolicyUpdate { key, policy: &parts.policy },
            Do::PolicyGone => Delta::PolicyRemove { key },
            Do::Profile => Delta::ProfileUpdate { name, profile: &parts.profile },
            Do::ProfileGone => Delta::ProfileRemove { name },
            Do::Pod => Delta::WorkloadUpdate { key: &parts.workload, endpoint: &parts.endpoint, tiers: &parts.list },
            Do::PodGone => Delta::WorkloadRemove { key: &parts.workload },
            Do::Namespace => Delta::NamespaceUpdate { name: "a", labels: &parts.labels },
            Do::Tunnels => Delta::Encapsulation { encapsulation: Encapsulation::default() },
            Do::InSync => Delta::InSync,
            Do::EndFlush => {
                checker.end_flush()?;
                continue;
            }
        };
        checker.check(&delta)?;
    }
    Ok(())
}

#[test]
fn what_is_in_order_passes() {
    use Do::{
        EndFlush, Grow, InSync, Namespace, Pod, PodGone, Policy, PolicyGone, Profile, ProfileGone, Set, SetGone,
        Shrink, Tunnels,
    };
    let all = [
        Set,
        Policy,
        Profile,
        Pod,
        Namespace,
        Tunnels,
        InSync,
        EndFlush,
        Grow,
        EndFlush,
        Shrink,
        EndFlush,
        PodGone,
        ProfileGone,
        PolicyGone,
        SetGone,
        EndFlush,
    ];
    assert_eq!(run(&all), Ok(()));
}

#[test]
fn what_is_not_is_named() {
    use Do::{
        EndFlush, Grow, Idle, InSync, Pod, PodGone, Policy, PolicyGone, Profile, ProfileGone, Set, SetGone, Shrink,
        Tunnels,
    };
    let kind = |steps: &[Do]| match run(steps) {
        Ok(()) => "fine",
        Err(OrderError::Late { .. }) => "late",
        Err(OrderError::Unknown { .. }) => "unknown",
        Err(OrderError::InUse { .. }) => "in use",
        Err(OrderError::NotExact { .. }) => "not exact",
        Err(OrderError::Unsorted { .. }) => "unsorted",
        Err(OrderError::Early) => "early",
        Err(OrderError::InSyncTwice) => "twice",
        Err(OrderError::Unused { .. }) => "unused",
    };
    for (steps, want) in [
        (&[Policy][..], "unknown"),
        (&[Set, Profile, Pod], "unknown"),
        (&[Set, Policy, Pod], "unknown"),
        (&[Grow], "unknown"),
        (&[SetGone], "unknown"),
        (&[PolicyGone], "unknown"),
        (&[ProfileGone], "unknown"),
        (&[PodGone], "unknown"),
        (&[Set, Policy, Set], "late"),
        (&[Set, Policy, Profile, Pod, InSync, PodGone], "late"),
        (&[Set, Policy, SetGone], "in use"),
        (&[Set, Policy, Profile, Pod, PolicyGone], "in use"),
        (&[Set, Policy, Profile, Pod, ProfileGone], "in use"),
        (&[Set, Shrink], "not exact"),
        (&[Set, Idle], "not exact"),
        (&[Set, Grow, Grow], "not exact"),
        (&[Set, EndFlush], "unused"),
        (&[Profile, InSync, EndFlush], "unused"),
        (&[Profile, EndFlush], "fine"),
        (&[Set, Policy, Profile, Pod, EndFlush], "early"),
        (&[InSync, EndFlush, InSync], "twice"),
        (&[Tunnels, EndFlush], "early"),
        (&[Tunnels, Tunnels], "not exact"),
        (&[InSync, Tunnels], "late"),
    ] {
        assert_eq!(kind(steps), want, "{steps:?}");
    }
}

#[test]
fn members_are_sorted_and_of_the_set_s_kind() {
    let member = |text: &str| Member::Net(text.parse().expect("an address"));
    let id = SmolStr::new_static("s:1");
    let update = |kind, members: &[Member]| {
        let id = &id;
        OrderChecker::new().check(&Delta::IpSetUpdate { id, kind, members })
    };
    let sorted = [member("10.0.0.1"), member("10.0.0.2")];
    assert_eq!(update(IpSetKind::Net, &sorted), Ok(()));
    let reversed = [sorted[1], sorted[0]];
    assert!(matches!(update(IpSetKind::Net, &reversed), Err(OrderError::Unsorted { .. })));
    assert!(matches!(update(IpSetKind::IpPort, &sorted), Err(OrderError::NotExact { .. })));
}
