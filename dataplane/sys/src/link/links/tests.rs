use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What somebody believes who hears all events.
fn hear(believed: &mut BTreeMap<String, (IfIndex, bool)>, events: Vec<LinkEvent>) {
    for event in events {
        match event {
            LinkEvent::Up { name, index } => drop(believed.insert(name, (index, true))),
            LinkEvent::Running { name, index } => assert_eq!(believed.get(&name), Some(&(index, true))),
            LinkEvent::Down { name, index } => drop(believed.insert(name, (index, false))),
            LinkEvent::Gone { name } => drop(believed.remove(&name)),
            LinkEvent::Addresses { .. } => unreachable!("no interface has any"),
            LinkEvent::Missed => unreachable!("not an interface's"),
        }
    }
}

fn believed_of(kernel: &BTreeMap<IfIndex, Link>) -> BTreeMap<String, (IfIndex, bool)> {
    kernel.values().map(|link| (link.name.clone(), (link.index, link.state.is_up()))).collect()
}

#[derive(Clone, Debug)]
enum Happening {
    /// The kernel tells of an interface that is new, other than before, or the same.
    There {
        index: u32,
        name: u8,
        state: State,
    },
    Gone {
        index: u32,
    },
    /// Notifications are lost from here on, up to a listing.
    Lost(Vec<Happening>),
}

fn happening() -> impl Strategy<Value = Happening> {
    let states = prop::sample::select(vec![State::Down, State::Up, State::Running]);
    let there = (1..6_u32, 0..4_u8, states).prop_map(|(index, name, state)| Happening::There { index, name, state });
    let gone = (1..6_u32).prop_map(|index| Happening::Gone { index });
    let leaf = prop_oneof![there, gone];
    leaf.prop_recursive(1, 8, 8, |leaf| prop::collection::vec(leaf, 0..8).prop_map(Happening::Lost))
}

/// Does to the kernel what happens there; nothing if a name is taken.
fn happen(kernel: &mut BTreeMap<IfIndex, Link>, happening: &Happening) -> Option<Link> {
    match happening {
        Happening::There { index, name, state } => {
            let link = Link { name: format!("w{name}"), index: IfIndex(*index), state: *state };
            let taken = kernel.values().any(|other| other.name == link.name && other.index != link.index);
            if taken {
                return None;
            }
            kernel.insert(link.index, link.clone());
            Some(link)
        }
        Happening::Gone { index } => {
            kernel.remove(&IfIndex(*index));
            None
        }
        Happening::Lost(lost) => {
            for happening in lost {
                happen(kernel, happening);
            }
            None
        }
    }
}

proptest! {
    #[test]
    fn who_hears_all_events_knows_the_interfaces(happenings in prop::collection::vec(happening(), 0..40)) {
        let (mut kernel, mut links, mut believed) = (BTreeMap::new(), Links::default(), BTreeMap::new());
        for happening in happenings {
            let told = happen(&mut kernel, &happening);
            let events = match happening {
                Happening::There { .. } => told.map(|link| links.there(link)).unwrap_or_default(),
                Happening::Gone { index } => links.gone(IfIndex(index)),
                Happening::Lost(_) => links.replace(kernel.values().cloned().collect(), Vec::new()),
            };
            hear(&mut believed, events);
            prop_assert_eq!(&believed, &believed_of(&kernel));
            prop_assert_eq!(links.replace(kernel.values().cloned().collect(), Vec::new()), [], "nothing is told twice");
        }
    }
}

#[test]
fn names_that_were_swapped_unseen_are_told_right() {
    let link = |name: &str, index| Link { name: name.to_owned(), index: IfIndex(index), state: State::Up };
    let (mut links, mut believed) = (Links::default(), BTreeMap::new());
    hear(&mut believed, links.replace(vec![link("w0", 1), link("w1", 2)], Vec::new()));
    hear(&mut believed, links.replace(vec![link("w1", 1), link("w0", 2)], Vec::new()));
    assert_eq!(
        believed,
        BTreeMap::from([("w1".to_owned(), (IfIndex(1), true)), ("w0".to_owned(), (IfIndex(2), true))])
    );
}

#[test]
fn the_end_of_an_interface_whose_name_has_a_new_owner_is_no_news() {
    let link = |index| Link { name: "w0".to_owned(), index: IfIndex(index), state: State::Up };
    let mut links = Links::default();
    links.there(link(1));
    assert_eq!(links.there(link(2)), [LinkEvent::Up { name: "w0".to_owned(), index: IfIndex(2) }]);
    assert_eq!(links.gone(IfIndex(1)), []);
}

#[test]
fn that_it_runs_is_told_of_an_interface_that_was_told_to_be_up_only() {
    let mut links = Links::default();
    let mut check = |state, expected: &[&str]| {
        let link = Link { name: "w0".to_owned(), index: IfIndex(1), state };
        assert_eq!(told(links.there(link)), expected);
    };
    check(State::Up, &["w0 up"]);
    check(State::Running, &["w0 runs"]);
    check(State::Running, &[]);
    check(State::Up, &[]);
    check(State::Running, &["w0 runs"]);
    check(State::Down, &["w0 down"]);
    check(State::Running, &["w0 up"]);
}

fn told(events: Vec<LinkEvent>) -> Vec<String> {
    let text = |event| match event {
        LinkEvent::Up { name, .. } => format!("{name} up"),
        LinkEvent::Running { name, .. } => format!("{name} runs"),
        LinkEvent::Down { name, .. } => format!("{name} down"),
        LinkEvent::Gone { name } => format!("{name} gone"),
        LinkEvent::Addresses { name, addresses } => format!("{name} {addresses:?}"),
        LinkEvent::Missed => "missed".to_owned(),
    };
    events.into_iter().map(text).collect()
}

#[test]
fn addresses_are_told_whole_and_under_the_name_of_now() {
    let link = |name: &str| Link { name: name.to_owned(), index: IfIndex(1), state: State::Up };
    let [a, b] = ["192.0.2.1", "fd00::1"].map(|text| text.parse().expect("an address"));
    let mut links = Links::default();
    assert_eq!(told(links.gained(IfIndex(1), a)), Vec::<String>::new(), "nobody knows its name");
    assert_eq!(told(links.there(link("w0"))), ["w0 up", "w0 {192.0.2.1}"]);
    assert_eq!(told(links.gained(IfIndex(1), b)), ["w0 {192.0.2.1, fd00::1}"]);
    assert_eq!(told(links.gained(IfIndex(1), b)), Vec::<String>::new(), "it is known");
    assert_eq!(told(links.there(link("w1"))), ["w0 gone", "w1 up", "w1 {192.0.2.1, fd00::1}"]);
    assert_eq!(told(links.lost(IfIndex(1), a)), ["w1 {fd00::1}"]);
    assert_eq!(told(links.replace(vec![link("w1")], vec![(IfIndex(1), a)])), ["w1 {192.0.2.1}"]);
    assert_eq!(told(links.replace(vec![link("w1")], Vec::new())), ["w1 {}"]);
    assert_eq!(told(links.gone(IfIndex(1))), ["w1 gone"]);
    assert_eq!(told(links.there(link("w1"))), ["w1 up"], "another interface");
}
