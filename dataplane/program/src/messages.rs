//! Messages and packets for tests, from short texts.

use caracal_net::Protocol;
use caracal_proto::felix::{self, to_dataplane::Payload};

use crate::{Packet, PolicyStore, Transport};

/// A message of a payload in canonical JSON, for example `{"ipsetRemove": {"id": "s:a"}}`.
pub(crate) fn message(json: &str) -> felix::ToDataplane {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// A store of messages in canonical JSON.
pub(crate) fn store(messages: &[&str]) -> PolicyStore {
    let mut store = PolicyStore::new();
    for json in messages {
        store.apply(&message(json)).expect("an understood message");
    }
    store
}

/// A rule in canonical JSON.
pub(crate) fn rule(json: &str) -> felix::Rule {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// A message without a sequence number.
pub(crate) fn wrap(payload: Payload) -> felix::ToDataplane {
    felix::ToDataplane { sequence_number: 0, payload: Some(payload) }
}

/// A packet such as `10.0.0.1 > 10.0.0.2 tcp 1000 > 80`, `… icmp 8/0` or `… 47`.
pub(crate) fn packet(text: &str) -> Packet {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (addresses, protocol, rest) = match words.as_slice() {
        [src, ">", dst, protocol, rest @ ..] => ([src, dst], protocol, rest),
        _ => panic!("not a packet: {text}"),
    };
    let [src, dst] = addresses.map(|addr| addr.parse().expect("an address"));
    let protocol: Protocol = protocol.parse().expect("a protocol");
    let transport = match rest {
        [] => Transport::Opaque,
        [src, ">", dst] => {
            let [src, dst] = [src, dst].map(|port| port.parse().expect("a port"));
            Transport::Ports { src, dst }
        }
        [icmp] => {
            let (icmp_type, code) = icmp.split_once('/').expect("a type and a code");
            let [icmp_type, code] = [icmp_type, code].map(|byte| byte.parse().expect("a byte"));
            Transport::Icmp { icmp_type, code }
        }
        _ => panic!("not a packet: {text}"),
    };
    Packet::new(src, dst, protocol, transport).expect("addresses of one family")
}
