use super::*;

#[test]
fn a_revision_that_is_long_on_its_way_is_a_problem() {
    let (long_ago, now) = (Moment::from_nanos(0), Moment::now());
    let known = |revision| Some(Acknowledged { revision, at: now, since: None });
    for (sent, acknowledged, is_late) in [
        (None, None, false),
        (Some((1, now)), None, false),
        (Some((1, long_ago)), None, true),
        (Some((3, long_ago)), known(2), true),
        (Some((3, long_ago)), known(3), false),
    ] {
        assert_eq!(late(sent, acknowledged).is_some(), is_late, "{sent:?}, {acknowledged:?}");
    }
    let problem = late(Some((7, long_ago)), known(5)).expect("it is late");
    assert_eq!((problem.source.as_str(), problem.subject.as_str()), ("data half", "revision 7"));
    assert!(problem.reason.ends_with("s ago and not acknowledged; what is in force is older"), "{}", problem.reason);
}
