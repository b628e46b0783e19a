//! Rules as bytes.
//!
//! A cluster has many more policies than a node needs. Until a local endpoint
//! is selected, a policy's rules are only kept, so they are kept small: absent
//! fields take a bit, lists a length. Texts stand apart from the *form*, which
//! names them by their numbers: policies that are made after one pattern for
//! many namespaces have one form. Invariant: unpacking gives back what was
//! packed, and equal rules have equal bytes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;

use caracal_model::{
    Action, Entity, HttpMatch, HttpPath, Icmp, Rule, RulePort, RuleProtocol, ServiceAccounts, ServiceRef,
};
use caracal_net::{Cidr, Family, PortRange, Protocol};
use smol_str::SmolStr;

use crate::varint;

/// The rules of a profile in both directions; or a policy's selector, which is
/// the first of the texts, and its rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed<'a> {
    /// The rules, with numbers for texts.
    pub(crate) form: &'a [u8],
    /// The texts in order of their numbers, each after its length.
    pub(crate) texts: &'a [u8],
}

/// Rules in both directions, or what was made of each.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rules<T = Rule> {
    pub(crate) inbound: Vec<T>,
    pub(crate) outbound: Vec<T>,
}

impl<'a> Packed<'a> {
    /// What [`Packer::rules`] made.
    pub(crate) fn split(mut joined: &'a [u8]) -> Self {
        if joined.is_empty() {
            return Self { form: joined, texts: joined };
        }
        let (form, texts) = (varint::take(&mut joined), joined);
        let (form, texts) = texts.split_at(form);
        Self { form, texts }
    }

    /// The rules of a profile.
    pub(crate) fn rules(self) -> Rules {
        self.map_rules(|rule| rule)
    }

    /// As [`rules`](Self::rules), of which only one is unpacked at a time.
    pub(crate) fn map_rules<T>(self, one: impl FnMut(Rule) -> T) -> Rules<T> {
        match self.form.is_empty() {
            true => Rules { inbound: Vec::new(), outbound: Vec::new() },
            false => Reader::new(self.form, self.texts).rules(one),
        }
    }

    /// The selector of a policy as it was written.
    pub(crate) fn selector(self) -> SmolStr {
        Reader::new(self.form, self.texts).text()
    }

    /// The rules of a policy.
    pub(crate) fn policy_rules(self) -> Rules {
        self.map_policy_rules(|rule| rule)
    }

    /// As [`policy_rules`](Self::policy_rules), of which only one is unpacked at a time.
    pub(crate) fn map_policy_rules<T>(self, one: impl FnMut(Rule) -> T) -> Rules<T> {
        let mut reader = Reader::new(self.form, self.texts);
        reader.text();
        reader.rules(one)
    }
}

/// What a rule's first byte says is there, in its upper half; below are two bits
/// of action and two of IP version.
const PROTOCOLS: u8 = 1;
const ICMP: u8 = 1 << 1;
/// HTTP matches or annotations.
const MORE: u8 = 1 << 2;
const SOURCE: u8 = 1 << 3;

/// How many texts of a policy may be named again; more would make long policies slow.
const REMEMBERED: usize = 32;

/// Packs one after the other: what was packed is written over by the next.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    bytes: Vec<u8>,
    texts: Vec<u8>,
    /// How many texts there are.
    count: usize,
    /// The first texts, by number: where among the texts they stand.
    remembered: Vec<Range<usize>>,
    joined: Vec<u8>,
}

impl Packer {
    /// The rules of a profile, as one string of bytes; none for no rules.
    pub(crate) fn rules(&mut self, inbound: &[Rule], outbound: &[Rule]) -> &[u8] {
        self.clear();
        if !inbound.is_empty() || !outbound.is_empty() {
            self.list(inbound, Self::rule);
            self.list(outbound, Self::rule);
            varint::push(&mut self.joined, self.bytes.len());
            self.joined.extend_from_slice(&self.bytes);
            self.joined.extend_from_slice(&self.texts);
        }
        &self.joined
    }

    /// The selector of a policy and its rules: of a text that both have, one is kept.
    pub(crate) fn policy(&mut self, selector: &SmolStr, inbound: &[Rule], outbound: &[Rule]) -> Packed<'_> {
        self.clear();
        self.text(selector);
        self.list(inbound, Self::rule);
        self.list(outbound, Self::rule);
        Packed { form: &self.bytes, texts: &self.texts }
    }

    /// Forgets what was packed. What large rules took is given back.
    pub(crate) fn clear(&mut self) {
        const KEPT: usize = 1 << 12;
        let Self { bytes, texts, count, remembered, joined } = self;
        for buffer in [bytes, texts, joined] {
            buffer.clear();
            buffer.shrink_to(KEPT);
        }
        *count = 0;
        remembered.clear();
    }

    fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    fn length(&mut self, length: usize) {
        varint::push(&mut self.bytes, length);
    }

    /// Writes a text's number; selectors are often repeated.
    fn text(&mut self, text: &SmolStr) {
        let same = |written: &Range<usize>| self.texts[written.clone()] == *text.as_bytes();
        if let Some(number) = self.remembered.iter().position(same) {
            return self.length(number);
        }
        self.length(self.count);
        self.count += 1;
        varint::push(&mut self.texts, text.len());
        let start = self.texts.len();
        self.texts.extend_from_slice(text.as_bytes());
        if self.remembered.len() < REMEMBERED {
            self.remembered.push(start..self.texts.len());
        }
    }

    fn list<T>(&mut self, list: &[T], mut one: impl FnMut(&mut Self, &T)) {
        self.length(list.len());
        for item in list {
            one(self, item);
        }
    }

    fn rule(&mut self, rule: &Rule) {
        let Rule { action, ip_version, protocol, not_protocol, icmp, not_icmp, source, destination, http, annotations } =
            rule;
        let action = match action {
            Action::Allow => 0,
            Action::Deny => 1,
            Action::Pass => 2,
            Action::Log => 3,
        };
        let ip_version = match ip_version {
            None => 0,
            Some(Family::V4) => 1,
            Some(Family::V6) => 2,
        };
        let source_head = EntityHead::of(source);
        let mut present = 0;
        for (part, is_present) in [
            (PROTOCOLS, protocol.is_some() || not_protocol.is_some()),
            (ICMP, icmp.is_some() || not_icmp.is_some()),
            (MORE, http.is_some() || !annotations.is_empty()),
            (SOURCE, source_head != EntityHead::default()),
        ] {
            present |= if is_present { part } else { 0 };
        }
        self.byte(action | ip_version << 2 | present << 4);
        if present & PROTOCOLS != 0 {
            self.protocol(*protocol);
            self.protocol(*not_protocol);
        }
        if present & ICMP != 0 {
            self.icmp(*icmp);
            self.icmp(*not_icmp);
        }
        if present & SOURCE != 0 {
            self.entity(source_head, source);
        }
        self.entity(EntityHead::of(destination), destination);
        if present & MORE == 0 {
            return;
        }
        self.byte(u8::from(http.is_some()));
        if let Some(HttpMatch { methods, paths }) = http.as_deref() {
            self.list(methods, |this, method| this.text(method));
            self.list(paths, |this, path| {
                let (tag, text) = match path {
                    HttpPath::Exact(text) => (0, text),
                    HttpPath::Prefix(text) => (1, text),
                };
                this.byte(tag);
                this.text(text);
            });
        }
        self.length(annotations.len());
        for (key, value) in annotations {
            self.text(key);
            self.text(value);
        }
    }

    fn protocol(&mut self, protocol: Option<RuleProtocol>) {
        // Protocol numbers start at 1.
        let (tag, number) = match protocol {
            None => (0, 0),
            Some(RuleProtocol::Name(protocol)) => (1, protocol.number()),
            Some(RuleProtocol::Number(protocol)) => (2, protocol.number()),
        };
        self.byte(tag);
        if tag != 0 {
            self.byte(number);
        }
    }

    fn icmp(&mut self, icmp: Option<Icmp>) {
        let Some(Icmp { icmp_type, code }) = icmp else {
            return self.byte(0);
        };
        self.byte(1 + u8::from(code.is_some()));
        self.byte(icmp_type);
        if let Some(code) = code {
            self.byte(code);
        }
    }

    fn entity(&mut self, head: EntityHead, entity: &Entity) {
        let Entity { nets, not_nets, ports, not_ports, service, service_accounts, .. } = entity;
        self.byte(head.texts);
        self.byte(head.lists);
        if head == EntityHead::default() {
            return;
        }
        for text in texts_of(entity).into_iter().filter(|text| !text.is_empty()) {
            self.text(text);
        }
        for nets in [nets, not_nets].into_iter().filter(|nets| !nets.is_empty()) {
            self.list(nets, |this, net| this.net(net));
        }
        for ports in [ports, not_ports].into_iter().filter(|ports| !ports.is_empty()) {
            self.list(ports, Self::port);
        }
        if let Some(ServiceRef { namespace, name }) = service.as_deref() {
            self.text(namespace);
            self.text(name);
        }
        if let Some(ServiceAccounts { names, selector }) = service_accounts.as_deref() {
            self.list(names, |this, name| this.text(name));
            self.text(selector);
        }
    }

    fn net(&mut self, net: &Cidr) {
        match net.addr() {
            IpAddr::V4(addr) => {
                self.byte(4);
                self.bytes.extend_from_slice(&addr.octets());
            }
            IpAddr::V6(addr) => {
                self.byte(6);
                self.bytes.extend_from_slice(&addr.octets());
            }
        }
        self.byte(net.len());
    }

    fn port(&mut self, port: &RulePort) {
        match port {
            RulePort::Numeric(range) => {
                self.byte(0);
                for port in [range.first(), range.last()] {
                    self.bytes.extend_from_slice(&port.to_le_bytes());
                }
            }
            RulePort::Named(name) => {
                self.byte(1);
                self.text(name);
            }
        }
    }
}

/// What an entity's first two bytes say is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct EntityHead {
    texts: u8,
    lists: u8,
}

impl EntityHead {
    fn of(entity: &Entity) -> Self {
        let [selector, not_selector, original, original_namespace, original_not] = texts_of(entity);
        let Entity { nets, not_nets, ports, not_ports, service, service_accounts, .. } = entity;
        let texts = u8::from(!selector.is_empty())
            | u8::from(!not_selector.is_empty()) << 1
            | u8::from(!original.is_empty()) << 2
            | u8::from(!original_namespace.is_empty()) << 3
            | u8::from(!original_not.is_empty()) << 4;
        let lists = u8::from(!nets.is_empty())
            | u8::from(!not_nets.is_empty()) << 1
            | u8::from(!ports.is_empty()) << 2
            | u8::from(!not_ports.is_empty()) << 3
            | u8::from(service.is_some()) << 4
            | u8::from(service_accounts.is_some()) << 5;
        Self { texts, lists }
    }
}

/// An entity's texts in the order in which they are packed.
fn texts_of(entity: &Entity) -> [&SmolStr; 5] {
    let Entity {
        selector,
        not_selector,
        nets: _,
        not_nets: _,
        ports: _,
        not_ports: _,
        service: _,
        original_selector,
        original_namespace_selector,
        original_not_selector,
        service_accounts: _,
    } = entity;
    [selector, not_selector, original_selector, original_namespace_selector, original_not_selector]
}

struct Reader<'a> {
    rest: &'a [u8],
    /// By number.
    texts: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    fn new(form: &'a [u8], texts: &'a [u8]) -> Self {
        let mut rest = texts;
        let texts = std::iter::from_fn(|| {
            let length = (!rest.is_empty()).then(|| varint::take(&mut rest))?;
            let (text, after) = rest.split_at(length);
            rest = after;
            Some(std::str::from_utf8(text).expect("packed texts are text"))
        });
        Self { rest: form, texts: texts.collect() }
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (bytes, rest) = self.rest.split_first_chunk().expect("packed rules are whole");
        self.rest = rest;
        *bytes
    }

    fn byte(&mut self) -> u8 {
        let [byte] = self.bytes();
        byte
    }

    fn length(&mut self) -> usize {
        varint::take(&mut self.rest)
    }

    fn text(&mut self) -> SmolStr {
        let number = self.length();
        self.texts[number].into()
    }

    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let length = self.length();
        (0..length).map(|_| one(self)).collect()
    }

    fn rules<T>(&mut self, mut one: impl FnMut(Rule) -> T) -> Rules<T> {
        let mut next = |reader: &mut Self| one(reader.rule());
        Rules { inbound: self.list(&mut next), outbound: self.list(&mut next) }
    }

    fn rule(&mut self) -> Rule {
        let head = self.byte();
        let present = head >> 4;
        let mut rule = Rule::any(match head & 3 {
            0 => Action::Allow,
            1 => Action::Deny,
            2 => Action::Pass,
            _ => Action::Log,
        });
        rule.ip_version = match head >> 2 & 3 {
            0 => None,
            1 => Some(Family::V4),
            _ => Some(Family::V6),
        };
        if present & PROTOCOLS != 0 {
            (rule.protocol, rule.not_protocol) = (self.protocol(), self.protocol());
        }
        if present & ICMP != 0 {
            (rule.icmp, rule.not_icmp) = (self.icmp(), self.icmp());
        }
        if present & SOURCE != 0 {
            rule.source = self.entity();
        }
        rule.destination = self.entity();
        if present & MORE == 0 {
            return rule;
        }
        let http = (self.byte() != 0).then(|| HttpMatch {
            methods: self.list(Self::text),
            paths: self.list(|this| match this.byte() {
                0 => HttpPath::Exact(this.text()),
                _ => HttpPath::Prefix(this.text()),
            }),
        });
        rule.http = http.map(Box::new);
        let pairs = self.list(|this| (this.text(), this.text()));
        rule.annotations = pairs.into_iter().collect::<BTreeMap<_, _>>();
        rule
    }

    fn protocol(&mut self) -> Option<RuleProtocol> {
        let form = match self.byte() {
            0 => return None,
            1 => RuleProtocol::Name,
            _ => RuleProtocol::Number,
        };
        let number = self.byte();
        Some(form(Protocol::from_number(number.into()).expect("it was a protocol")))
    }

    fn icmp(&mut self) -> Option<Icmp> {
        let form = self.byte();
        (form != 0).then(|| Icmp { icmp_type: self.byte(), code: (form == 2).then(|| self.byte()) })
    }

    fn entity(&mut self) -> Entity {
        let (texts, lists) = (self.byte(), self.byte());
        let mut text = |bit: u8| if texts & 1 << bit != 0 { self.text() } else { SmolStr::default() };
        let [selector, not_selector] = [text(0), text(1)];
        let [original_selector, original_namespace_selector, original_not_selector] = [text(2), text(3), text(4)];
        let present = |bit: u8| lists & 1 << bit != 0;
        let mut nets = |bit: u8| if present(bit) { self.list(Self::net) } else { Vec::new() };
        let [nets, not_nets] = [nets(0), nets(1)];
        let mut ports = |bit: u8| if present(bit) { self.list(Self::port) } else { Vec::new() };
        let [ports, not_ports] = [ports(2), ports(3)];
        Entity {
            selector,
            not_selector,
            nets,
            not_nets,
            ports,
            not_ports,
            service: present(4).then(|| ServiceRef { namespace: self.text(), name: self.text() }.into()),
            original_selector,
            original_namespace_selector,
            original_not_selector,
            service_accounts: present(5)
                .then(|| ServiceAccounts { names: self.list(Self::text), selector: self.text() }.into()),
        }
    }

    fn net(&mut self) -> Cidr {
        let addr = match self.byte() {
            4 => IpAddr::from(self.bytes::<4>()),
            _ => IpAddr::from(self.bytes::<16>()),
        };
        Cidr::new(addr, self.byte()).expect("it was a prefix")
    }

    fn port(&mut self) -> RulePort {
        match self.byte() {
            0 => {
                let [first, last] = [self.bytes(), self.bytes()].map(u16::from_le_bytes);
                RulePort::Numeric(PortRange::new(first, last).expect("it was a range"))
            }
            _ => RulePort::Named(self.text()),
        }
    }
}

#[cfg(test)]
mod tests;
