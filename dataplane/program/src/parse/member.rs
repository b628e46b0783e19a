//! Members of IP sets.

use std::net::IpAddr;

use caracal_net::{Cidr, Port, Protocol};
use caracal_proto::felix;

use super::FieldResult;
use crate::{Fault, Member, SetKind};

pub(crate) fn set_kind(number: i32) -> FieldResult<SetKind> {
    use felix::ip_set_update::IpSetType;
    match IpSetType::try_from(number) {
        // Single addresses are prefixes of full length.
        Ok(IpSetType::Ip | IpSetType::Net) => Ok(SetKind::Net),
        Ok(IpSetType::IpAndPort) => Ok(SetKind::IpPort),
        Err(_) => Err(("type", Fault::Enumeration(number))),
    }
}

pub(crate) fn members(field: &'static str, kind: SetKind, texts: &[String]) -> FieldResult<Vec<Member>> {
    let parse = |text: &String| match kind {
        SetKind::Net => text.parse::<Cidr>().map(Member::Net).map_err(Fault::from),
        SetKind::IpPort => ip_port(text).ok_or_else(|| Fault::IpPort(text.clone())),
    };
    texts.iter().map(|text| parse(text).map_err(|fault| (field, fault))).collect()
}

/// Reads `ADDRESS,PROTOCOL:PORT`.
fn ip_port(text: &str) -> Option<Member> {
    let (addr, rest) = text.split_once(',')?;
    let (protocol, port) = rest.split_once(':')?;
    let addr: IpAddr = addr.parse().ok()?;
    let protocol: Protocol = protocol.parse().ok()?;
    let port: Port = port.parse().ok()?;
    Some(Member::IpPort(addr, protocol, port))
}
