use super::*;

fn members(texts: &[&str]) -> Vec<Member> {
    texts.iter().map(|text| Member::Net(text.parse().expect("a prefix"))).collect()
}

fn set(added: &[&str], removed: &[&str]) -> Change {
    Change::SetMembers { id: "s".into(), added: members(added), removed: members(removed) }
}

fn endpoint(interfaces: &[&str]) -> Change {
    Change::Endpoint {
        id: WorkloadId { orchestrator: "k8s".into(), workload: "w".into(), endpoint: "eth0".into() },
        interfaces: interfaces.iter().map(|name| SmolStr::from(*name)).collect(),
    }
}

#[test]
fn one_change_for_each_object() {
    let (a, b, c) = ("10.0.0.1", "10.0.0.2", "10.0.0.3");
    let replaced = || Change::SetReplaced("s".into());
    let removed = || Change::SetRemoved("s".into());
    for (changes, want) in [
        (vec![Change::Nothing], vec![]),
        (vec![set(&[a], &[]), set(&[b], &[])], vec![set(&[a, b], &[])]),
        (vec![set(&[a], &[]), set(&[], &[a])], vec![]),
        (vec![set(&[], &[a]), set(&[a], &[])], vec![]),
        (vec![set(&[a], &[b]), set(&[b, c], &[a])], vec![set(&[c], &[])]),
        (vec![replaced(), set(&[a], &[])], vec![replaced()]),
        (vec![set(&[a], &[]), removed(), replaced()], vec![replaced()]),
        (vec![replaced(), removed()], vec![removed()]),
        (vec![endpoint(&["a"]), Change::Config, endpoint(&["a", "b"])], vec![endpoint(&["a", "b"]), Change::Config]),
        (
            vec![Change::Profile("p".into()), set(&[a], &[]), Change::Profile("p".into())],
            vec![Change::Profile("p".into()), set(&[a], &[])],
        ),
        (vec![Change::InSync, Change::InSync], vec![Change::InSync]),
    ] {
        assert_eq!(coalesce(changes.clone()), want, "{changes:?}");
    }
}
