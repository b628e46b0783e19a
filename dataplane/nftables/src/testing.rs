//! Stores for tests, and namespaces to load them in.

pub(crate) mod aim;
pub(crate) mod crossroads;
pub(crate) mod faults;
pub(crate) mod host;
pub(crate) mod lab;
pub(crate) mod manifest;
pub(crate) mod minimise;
pub(crate) mod network;
pub(crate) mod random;
pub(crate) mod sim;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use caracal_program::{Change, PolicyStore, coalesce};
use caracal_proto::felix::{self, to_dataplane::Payload};
use caracal_sys::netns::NetNs;

/// A store and what has changed in it since it was last asked.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) store: PolicyStore,
    changes: Vec<Change>,
    /// The sources that a workload may use, by interface; any unless it is said.
    sources: BTreeMap<String, Vec<String>>,
}

/// A tier of an endpoint: name, default action, policies inbound and outbound.
pub(crate) type Tier<'a> = (&'a str, &'a str, &'a [&'a str], &'a [&'a str]);

impl World {
    /// Changes since the last call, as one revision.
    pub(crate) fn changes(&mut self) -> Vec<Change> {
        coalesce(std::mem::take(&mut self.changes))
    }

    pub(crate) fn tell(&mut self, payload: Payload) -> &mut Self {
        let message = felix::ToDataplane { sequence_number: 0, payload: Some(payload) };
        self.changes.push(self.store.apply(&message).expect("a message that can be understood"));
        self
    }

    pub(crate) fn in_sync(&mut self) -> &mut Self {
        self.tell(Payload::InSync(felix::InSync {}))
    }

    pub(crate) fn set(&mut self, id: &str, members: &[&str]) -> &mut Self {
        let kind = match id.split_once(':') {
            Some(("n", _)) => felix::ip_set_update::IpSetType::IpAndPort,
            Some(("i", _)) => felix::ip_set_update::IpSetType::Ip,
            _ if members.iter().any(|member| member.contains(',')) => felix::ip_set_update::IpSetType::IpAndPort,
            _ => felix::ip_set_update::IpSetType::Net,
        };
        let members = members.iter().map(ToString::to_string).collect();
        self.tell(Payload::IpsetUpdate(felix::IpSetUpdate { id: id.into(), members, r#type: kind.into() }))
    }

    pub(crate) fn members(&mut self, id: &str, added: &[&str], removed: &[&str]) -> &mut Self {
        let [added_members, removed_members] = [added, removed].map(|m| m.iter().map(ToString::to_string).collect());
        self.tell(Payload::IpsetDeltaUpdate(felix::IpSetDeltaUpdate { id: id.into(), added_members, removed_members }))
    }

    pub(crate) fn remove_set(&mut self, id: &str) -> &mut Self {
        self.tell(Payload::IpsetRemove(felix::IpSetRemove { id: id.into() }))
    }

    pub(crate) fn policy(&mut self, id: &str, inbound: &[felix::Rule], outbound: &[felix::Rule]) -> &mut Self {
        let policy = felix::Policy {
            inbound_rules: inbound.to_vec(),
            outbound_rules: outbound.to_vec(),
            tier: "default".into(),
            ..felix::Policy::default()
        };
        let id = Some(policy_id(id));
        self.tell(Payload::ActivePolicyUpdate(felix::ActivePolicyUpdate { id, policy: Some(policy) }))
    }

    pub(crate) fn remove_policy(&mut self, id: &str) -> &mut Self {
        let id = Some(policy_id(id));
        self.tell(Payload::ActivePolicyRemove(felix::ActivePolicyRemove { id }))
    }

    pub(crate) fn profile(&mut self, name: &str, inbound: &[felix::Rule], outbound: &[felix::Rule]) -> &mut Self {
        let profile = felix::Profile { inbound_rules: inbound.to_vec(), outbound_rules: outbound.to_vec() };
        let id = Some(felix::ProfileId { name: name.into() });
        self.tell(Payload::ActiveProfileUpdate(felix::ActiveProfileUpdate { id, profile: Some(profile) }))
    }

    pub(crate) fn endpoint(&mut self, pod: &str, interface: &str, tiers: &[Tier<'_>], profiles: &[&str]) -> &mut Self {
        self.endpoint_in_state("active", pod, interface, tiers, profiles)
    }

    pub(crate) fn endpoint_in_state(
        &mut self,
        state: &str,
        pod: &str,
        interface: &str,
        tiers: &[Tier<'_>],
        profiles: &[&str],
    ) -> &mut Self {
        let endpoint = felix::WorkloadEndpoint {
            state: state.into(),
            name: interface.into(),
            tiers: felix_tiers(tiers),
            profile_ids: profiles.iter().map(ToString::to_string).collect(),
            // Packets of the tests come from anywhere, unless it is said.
            allow_spoofed_source_prefixes: match self.sources.get(interface) {
                Some(sources) => sources.clone(),
                None => texts(&["0.0.0.0/0", "::/0"]),
            },
            ..felix::WorkloadEndpoint::default()
        };
        let id = Some(workload_id(pod));
        self.tell(Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate { id, endpoint: Some(endpoint) }))
    }

    /// The sources that the workload which an interface gets may use.
    pub(crate) fn sources(&mut self, interface: &str, prefixes: &[&str]) -> &mut Self {
        self.sources.insert(interface.to_owned(), texts(prefixes));
        self
    }

    /// A host endpoint with policies for normal, forwarded, pre-DNAT and untracked packets.
    pub(crate) fn host(
        &mut self,
        id: &str,
        interface: &str,
        expected: &[&str],
        tiers: [&[Tier<'_>]; 4],
        profiles: &[&str],
    ) -> &mut Self {
        let [normal, forward, pre_dnat, untracked] = tiers.map(felix_tiers);
        let (v4, v6) = expected.iter().map(ToString::to_string).partition(|addr: &String| !addr.contains(':'));
        let endpoint = felix::HostEndpoint {
            name: interface.into(),
            expected_ipv4_addrs: v4,
            expected_ipv6_addrs: v6,
            tiers: normal,
            forward_tiers: forward,
            pre_dnat_tiers: pre_dnat,
            untracked_tiers: untracked,
            profile_ids: profiles.iter().map(ToString::to_string).collect(),
            ..felix::HostEndpoint::default()
        };
        let id = Some(felix::HostEndpointId { endpoint_id: id.into() });
        self.tell(Payload::HostEndpointUpdate(felix::HostEndpointUpdate { id, endpoint: Some(endpoint) }))
    }

    pub(crate) fn remove_host(&mut self, id: &str) -> &mut Self {
        let id = Some(felix::HostEndpointId { endpoint_id: id.into() });
        self.tell(Payload::HostEndpointRemove(felix::HostEndpointRemove { id }))
    }

    /// The addresses of one of the host's own interfaces.
    pub(crate) fn addresses(&mut self, interface: &str, addresses: &[&str]) -> &mut Self {
        let addresses = addresses.iter().map(|addr| addr.parse().expect("an address")).collect();
        self.changes.push(self.store.set_addresses(&interface.into(), addresses));
        self
    }

    pub(crate) fn remove_endpoint(&mut self, pod: &str) -> &mut Self {
        let id = Some(workload_id(pod));
        self.tell(Payload::WorkloadEndpointRemove(felix::WorkloadEndpointRemove { id }))
    }
}

fn felix_tiers(tiers: &[Tier<'_>]) -> Vec<felix::TierInfo> {
    let ids = |policies: &[&str]| policies.iter().map(|id| policy_id(id)).collect();
    let tiers = tiers.iter().map(|(name, end, ingress, egress)| felix::TierInfo {
        name: (*name).into(),
        default_action: (*end).into(),
        ingress_policies: ids(ingress),
        egress_policies: ids(egress),
    });
    tiers.collect()
}

/// `NAMESPACE/NAME` is a NetworkPolicy, `NAME` a GlobalNetworkPolicy, and
/// `staged:NAME` a StagedGlobalNetworkPolicy.
fn policy_id(id: &str) -> felix::PolicyId {
    let (kind, namespace, name) = match (id.split_once('/'), id.strip_prefix("staged:")) {
        (_, Some(name)) => ("StagedGlobalNetworkPolicy", "", name),
        (Some((namespace, name)), None) => ("NetworkPolicy", namespace, name),
        (None, None) => ("GlobalNetworkPolicy", "", id),
    };
    felix::PolicyId { kind: kind.into(), namespace: namespace.into(), name: name.into() }
}

fn workload_id(pod: &str) -> felix::WorkloadEndpointId {
    felix::WorkloadEndpointId { orchestrator_id: "k8s".into(), workload_id: pod.into(), endpoint_id: "eth0".into() }
}

/// A rule that matches every packet.
pub(crate) fn rule(action: &str) -> felix::Rule {
    felix::Rule { action: action.into(), ..felix::Rule::default() }
}

pub(crate) fn protocol(name: &str) -> Option<felix::Protocol> {
    let number_or_name = match name.parse() {
        Ok(number) => felix::protocol::NumberOrName::Number(number),
        Err(_) => felix::protocol::NumberOrName::Name(name.into()),
    };
    Some(felix::Protocol { number_or_name: Some(number_or_name) })
}

/// Ports as `80` or `80:90`.
pub(crate) fn ports(texts: &[&str]) -> Vec<felix::PortRange> {
    let range = |text: &&str| {
        let range: caracal_net::PortRange = text.parse().expect("ports");
        felix::PortRange { first: range.first().into(), last: range.last().into() }
    };
    texts.iter().map(range).collect()
}

pub(crate) fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

/// Allows a protocol and ports from a set of sources.
pub(crate) fn allow_from(set: &str, port: &str) -> felix::Rule {
    felix::Rule { protocol: protocol("tcp"), dst_ports: ports(&[port]), src_ip_set_ids: texts(&[set]), ..rule("allow") }
}

/// Runs work in a network namespace of its own; fails without root.
pub(crate) fn in_namespace<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    NetNs::new().expect("a network namespace; needs root").run(work).expect("the namespace can be entered")
}

/// Runs nft in the calling thread's namespace.
pub(crate) fn nft(args: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new("nft")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nft is installed");
    child.stdin.take().expect("the pipe was asked for").write_all(input.as_bytes()).expect("nft reads its input");
    let out = child.wait_with_output().expect("nft ends");
    match out.status.success() {
        true => Ok(String::from_utf8(out.stdout).expect("nft prints UTF-8")),
        false => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
    }
}

/// The ruleset as nft lists it, without the table's flags, counters at zero,
/// objects in the order of their names and elements in some fixed order: what
/// two equal rulesets have in common.
pub(crate) fn listing() -> String {
    let listed = nft(&["-nn", "list", "ruleset"], "").expect("nft lists the ruleset");
    let mut objects: Vec<String> = Vec::new();
    let mut elements: Option<String> = None;
    for line in listed.lines() {
        // An owned table has its flags in a line, and its owner's name behind its own.
        let line = line.split(" # progname").next().unwrap_or(line);
        // How much room a set has follows from how large it was.
        let is_of_no_matter = line.starts_with("\tflags") || line.starts_with("\t\tsize ");
        if line.trim().is_empty() || line == "}" || is_of_no_matter {
            continue;
        }
        let begins = ["table ", "\tset ", "\tmap ", "\tchain "].iter().any(|word| line.starts_with(word));
        if begins {
            objects.push(String::new());
        }
        let object = objects.last_mut().expect("a listing begins with a table");
        // nft breaks the elements of a set into lines as it likes.
        let mut list = match (elements.take(), line.trim().strip_prefix("elements = {")) {
            (Some(list), _) => list + " " + line.trim(),
            (None, Some(list)) => list.to_owned(),
            (None, None) => {
                object.push_str(&without_counts(line));
                object.push('\n');
                continue;
            }
        };
        if list.ends_with('}') {
            list.truncate(list.len() - 1);
            let mut list: Vec<&str> = list.split(',').map(str::trim).collect();
            list.sort_unstable();
            object.push_str(&format!("\t\telements = {{ {} }}\n", list.join(", ")));
        } else {
            elements = Some(list);
        }
    }
    objects.sort();
    objects.concat()
}

/// A line without "packets N bytes N".
fn without_counts(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    while let Some(at) = words.iter().position(|word| *word == "packets") {
        words.drain(at..at + 4);
    }
    words.join(" ")
}
