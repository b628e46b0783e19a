use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What somebody believes who hears all events.
fn hear(believed: &mut BTreeMap<String, (IfIndex, bool)>, events: Vec<LinkEvent>) {
    for event in events {
        match event {
            LinkEvent::Up { name, index } => drop(believed.insert(name, (index, true))),
            LinkEvent::Down { name, index } => drop(believed.insert(name, (index, false))),
            LinkEvent::Gone { name } => drop(believed.remove(&name)),
            LinkEvent::Missed => unreachable!("not an interface's"),
        }
    }
}

fn believed_of(kernel: &BTreeMap<IfIndex, Link>) -> BTreeMap<String, (IfIndex, bool)> {
    kernel.values().map(|link| (link.name.clone(), (link.index, link.up))).collect()
}

#[derive(Clone, Debug)]
enum Happening {
    /// The kernel tells of an interface that is new, other than before, or the same.
    There {
        index: u32,
        name: u8,
        up: bool,
    },
    Gone {
        index: u32,
    },
    /// Notifications are lost from here on, up to a listing.
    Lost(Vec<Happening>),
}

fn happening() -> impl Strategy<Value = Happening> {
    let there = (1..6_u32, 0..4_u8, any::<bool>()).prop_map(|(index, name, up)| Happening::There { index, name, up });
    let gone = (1..6_u32).prop_map(|index| Happening::Gone { index });
    let leaf = prop_oneof![there, gone];
    leaf.prop_recursive(1, 8, 8, |leaf| prop::collection::vec(leaf, 0..8).prop_map(Happening::Lost))
}

/// Does to the kernel what happens there; nothing if a name is taken.
fn happen(kernel: &mut BTreeMap<IfIndex, Link>, happening: &Happening) -> Option<Link> {
    match happening {
        Happening::There { index, name, up } => {
            let link = Link { name: format!("w{name}"), index: IfIndex(*index), up: *up };
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
                Happening::Lost(_) => links.replace(kernel.values().cloned().collect()),
            };
            hear(&mut believed, events);
            prop_assert_eq!(&believed, &believed_of(&kernel));
            prop_assert_eq!(links.replace(kernel.values().cloned().collect()), [], "nothing is told twice");
        }
    }
}

#[test]
fn names_that_were_swapped_unseen_are_told_right() {
    let link = |name: &str, index| Link { name: name.to_owned(), index: IfIndex(index), up: true };
    let (mut links, mut believed) = (Links::default(), BTreeMap::new());
    hear(&mut believed, links.replace(vec![link("w0", 1), link("w1", 2)]));
    hear(&mut believed, links.replace(vec![link("w1", 1), link("w0", 2)]));
    assert_eq!(
        believed,
        BTreeMap::from([("w1".to_owned(), (IfIndex(1), true)), ("w0".to_owned(), (IfIndex(2), true))])
    );
}

#[test]
fn the_end_of_an_interface_whose_name_has_a_new_owner_is_no_news() {
    let link = |index| Link { name: "w0".to_owned(), index: IfIndex(index), up: true };
    let mut links = Links::default();
    links.there(link(1));
    assert_eq!(links.there(link(2)), [LinkEvent::Up { name: "w0".to_owned(), index: IfIndex(2) }]);
    assert_eq!(links.gone(IfIndex(1)), []);
}
