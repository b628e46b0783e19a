//! IP sets as messages, split where they are large.

use caracal_calc_graph::{IpSetKind, Member};
use caracal_proto::felix::{self, to_dataplane::Payload};

/// A whole set: one message, and deltas for the members that it has no room for.
pub(super) fn update(id: &str, kind: IpSetKind, members: &[Member], max: usize, out: &mut dyn FnMut(Payload)) {
    let kind = match kind {
        IpSetKind::Net => felix::ip_set_update::IpSetType::Net,
        IpSetKind::IpPort => felix::ip_set_update::IpSetType::IpAndPort,
    };
    let (first, rest) = members.split_at(members.len().min(max));
    out(Payload::IpsetUpdate(felix::IpSetUpdate { id: id.to_owned(), members: texts(first), r#type: kind.into() }));
    for added in rest.chunks(max) {
        out(delta_message(id, added, &[]));
    }
}

/// Removals go first, so that a set never grows past what it holds before or
/// after; what room the last of their messages has left takes additions.
pub(super) fn delta(id: &str, mut added: &[Member], removed: &[Member], max: usize, out: &mut dyn FnMut(Payload)) {
    for removed in removed.chunks(max) {
        let (with, rest) = added.split_at(added.len().min(max - removed.len()));
        added = rest;
        out(delta_message(id, with, removed));
    }
    for added in added.chunks(max) {
        out(delta_message(id, added, &[]));
    }
}

fn delta_message(id: &str, added: &[Member], removed: &[Member]) -> Payload {
    Payload::IpsetDeltaUpdate(felix::IpSetDeltaUpdate {
        id: id.to_owned(),
        added_members: texts(added),
        removed_members: texts(removed),
    })
}

/// `10.0.0.1/32` for a prefix, `10.0.0.1,tcp:80` for an address with a port.
fn texts(members: &[Member]) -> Vec<String> {
    let text = |member: &Member| match member {
        Member::Net(net) => net.to_string(),
        Member::IpPort(addr, protocol, port) => format!("{addr},{protocol}:{port}"),
    };
    members.iter().map(text).collect()
}
