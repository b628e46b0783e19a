//! Scripts: messages and requests in, what each stream is told out.

use caracal_proto::felix::{
    ActivePolicyRemove, ActivePolicyUpdate, ActiveProfileRemove, ActiveProfileUpdate, ConfigUpdate, InSync,
    IpSetDeltaUpdate, IpSetRemove, IpSetUpdate, NamespaceId, NamespaceRemove, NamespaceUpdate, Policy, PolicyId,
    Profile, ProfileId, Rule, ServiceAccountId, ServiceAccountRemove, ServiceAccountUpdate, TierInfo, WorkloadEndpoint,
    WorkloadEndpointId, WorkloadEndpointRemove, WorkloadEndpointUpdate,
};

use super::*;

/// A processor and what it has told since the last look.
struct Script {
    processor: Processor,
    told: Vec<String>,
}

impl Script {
    fn new() -> Self {
        Self::with_max_members(MAX_MEMBERS)
    }

    fn with_max_members(max_members: usize) -> Self {
        Self { processor: Processor::with_max_members(max_members), told: Vec::new() }
    }

    fn say(&mut self, payload: Payload) {
        let told = &mut self.told;
        let message = ToDataplane { sequence_number: 7, payload: Some(payload) };
        self.processor.on_message(message, &mut |join, what| told.push(text(join, &what)));
    }

    fn join(&mut self, pod: &str, join: u64) {
        let told = &mut self.told;
        self.processor.join(EndpointId::from(&id(pod)), JoinId(join), &mut |join, what| told.push(text(join, &what)));
    }

    fn leave(&mut self, pod: &str, join: u64) {
        self.processor.leave(&EndpointId::from(&id(pod)), JoinId(join));
    }

    #[track_caller]
    fn expect(&mut self, want: &[&str]) {
        assert_eq!(std::mem::take(&mut self.told), want);
    }

    /// Two sets, two policies that name them, a profile, and the endpoint `a` that has the first policy.
    fn shop() -> Self {
        let mut script = Self::new();
        script.say(set("s1", &["10.0.0.1/32"]));
        script.say(set("s2", &["10.0.0.2/32"]));
        script.say(policy("p1", &["s1"]));
        script.say(policy("p2", &["s2"]));
        script.say(profile("kns.shop", &[]));
        script.say(endpoint("a", &["p1"], &["kns.shop"]));
        script.expect(&[]);
        script
    }
}

/// The stream, and a message in short.
fn text(JoinId(join): JoinId, told: &Told) -> String {
    let what = match told {
        Told::End(ended) => format!("end {ended:?}"),
        Told::Message(message) => match message.payload.as_ref().expect("a payload") {
            Payload::IpsetUpdate(set) => format!("set {} {}", set.id, set.members.join(" ")),
            Payload::IpsetDeltaUpdate(delta) => {
                let added = delta.added_members.iter().map(|member| format!(" +{member}"));
                let removed = delta.removed_members.iter().map(|member| format!(" -{member}"));
                format!("delta {}{}", delta.id, added.chain(removed).collect::<String>())
            }
            Payload::IpsetRemove(set) => format!("no set {}", set.id),
            Payload::ActivePolicyUpdate(policy) => format!("policy {}", policy.id.as_ref().expect("an id").name),
            Payload::ActivePolicyRemove(policy) => format!("no policy {}", policy.id.as_ref().expect("an id").name),
            Payload::ActiveProfileUpdate(profile) => format!("profile {}", profile.id.as_ref().expect("an id").name),
            Payload::ActiveProfileRemove(profile) => format!("no profile {}", profile.id.as_ref().expect("an id").name),
            Payload::WorkloadEndpointUpdate(endpoint) => {
                format!("endpoint {}", endpoint.id.as_ref().expect("an id").workload_id)
            }
            Payload::WorkloadEndpointRemove(endpoint) => {
                format!("no endpoint {}", endpoint.id.as_ref().expect("an id").workload_id)
            }
            Payload::ServiceAccountUpdate(account) => format!("account {}", account.id.as_ref().expect("an id").name),
            Payload::ServiceAccountRemove(account) => {
                format!("no account {}", account.id.as_ref().expect("an id").name)
            }
            Payload::NamespaceUpdate(namespace) => format!("namespace {}", namespace.id.as_ref().expect("an id").name),
            Payload::NamespaceRemove(namespace) => {
                format!("no namespace {}", namespace.id.as_ref().expect("an id").name)
            }
            Payload::InSync(InSync {}) => "in sync".to_owned(),
            other => panic!("no client takes {other:?}"),
        },
    };
    format!("{join}: {what}")
}

fn id(pod: &str) -> WorkloadEndpointId {
    WorkloadEndpointId { orchestrator_id: "k8s".into(), workload_id: format!("shop/{pod}"), endpoint_id: "eth0".into() }
}

fn set(id: &str, members: &[&str]) -> Payload {
    let members = members.iter().map(ToString::to_string).collect();
    Payload::IpsetUpdate(IpSetUpdate { id: id.into(), members, r#type: 2 })
}

fn delta(id: &str, added: &[&str], removed: &[&str]) -> Payload {
    let texts = |members: &[&str]| members.iter().map(ToString::to_string).collect();
    Payload::IpsetDeltaUpdate(IpSetDeltaUpdate {
        id: id.into(),
        added_members: texts(added),
        removed_members: texts(removed),
    })
}

fn no_set(id: &str) -> Payload {
    Payload::IpsetRemove(IpSetRemove { id: id.into() })
}

fn policy_id(name: &str) -> PolicyId {
    PolicyId { name: name.into(), namespace: "shop".into(), kind: "NetworkPolicy".into() }
}

fn rules(sets: &[&str]) -> Vec<Rule> {
    sets.iter().map(|set| Rule { src_ip_set_ids: vec![set.to_string()], ..Rule::default() }).collect()
}

fn policy(name: &str, sets: &[&str]) -> Payload {
    let policy = Policy { inbound_rules: rules(sets), ..Policy::default() };
    Payload::ActivePolicyUpdate(ActivePolicyUpdate { id: Some(policy_id(name)), policy: Some(policy) })
}

fn no_policy(name: &str) -> Payload {
    Payload::ActivePolicyRemove(ActivePolicyRemove { id: Some(policy_id(name)) })
}

fn profile(name: &str, sets: &[&str]) -> Payload {
    let profile = Profile { outbound_rules: rules(sets), ..Profile::default() };
    let id = ProfileId { name: name.into() };
    Payload::ActiveProfileUpdate(ActiveProfileUpdate { id: Some(id), profile: Some(profile) })
}

fn no_profile(name: &str) -> Payload {
    Payload::ActiveProfileRemove(ActiveProfileRemove { id: Some(ProfileId { name: name.into() }) })
}

fn endpoint(pod: &str, policies: &[&str], profiles: &[&str]) -> Payload {
    let policies: Vec<_> = policies.iter().map(|name| policy_id(name)).collect();
    let tier = TierInfo {
        name: "default".into(),
        ingress_policies: policies.clone(),
        egress_policies: policies,
        default_action: "Deny".into(),
    };
    let endpoint = WorkloadEndpoint {
        tiers: vec![tier],
        profile_ids: profiles.iter().map(ToString::to_string).collect(),
        ..WorkloadEndpoint::default()
    };
    Payload::WorkloadEndpointUpdate(WorkloadEndpointUpdate { id: Some(id(pod)), endpoint: Some(endpoint) })
}

fn no_endpoint(pod: &str) -> Payload {
    Payload::WorkloadEndpointRemove(WorkloadEndpointRemove { id: Some(id(pod)) })
}

fn account_id(name: &str) -> ServiceAccountId {
    ServiceAccountId { namespace: "shop".into(), name: name.into() }
}

fn account(name: &str) -> Payload {
    Payload::ServiceAccountUpdate(ServiceAccountUpdate { id: Some(account_id(name)), ..Default::default() })
}

fn no_account(name: &str) -> Payload {
    Payload::ServiceAccountRemove(ServiceAccountRemove { id: Some(account_id(name)) })
}

fn namespace(name: &str) -> Payload {
    let id = NamespaceId { name: name.into() };
    Payload::NamespaceUpdate(NamespaceUpdate { id: Some(id), ..Default::default() })
}

fn no_namespace(name: &str) -> Payload {
    Payload::NamespaceRemove(NamespaceRemove { id: Some(NamespaceId { name: name.into() }) })
}

#[test]
fn a_join_gets_what_its_endpoint_needs_in_order() {
    let mut script = Script::shop();
    script.say(namespace("shop"));
    script.say(account("till"));
    script.say(Payload::InSync(InSync {}));
    script.join("a", 1);
    script.expect(&[
        "1: set s1 10.0.0.1/32",
        "1: policy p1",
        "1: profile kns.shop",
        "1: endpoint shop/a",
        "1: account till",
        "1: namespace shop",
        "1: in sync",
    ]);
}

#[test]
fn a_join_before_its_endpoint_is_parked() {
    let mut script = Script::shop();
    script.say(namespace("shop"));
    script.join("b", 1);
    script.expect(&["1: namespace shop"]);
    script.say(Payload::InSync(InSync {}));
    script.say(endpoint("b", &["p2"], &[]));
    script.expect(&["1: in sync", "1: set s2 10.0.0.2/32", "1: policy p2", "1: endpoint shop/b"]);
    script.say(Payload::InSync(InSync {}));
    script.expect(&[]);
}

#[test]
fn an_endpoint_moves_from_policy_to_policy() {
    let mut script = Script::shop();
    script.join("a", 1);
    script.told.clear();
    script.say(endpoint("a", &["p2"], &[]));
    script.expect(&[
        "1: set s2 10.0.0.2/32",
        "1: policy p2",
        "1: endpoint shop/a",
        "1: no policy p1",
        "1: no profile kns.shop",
        "1: no set s1",
    ]);
    script.say(no_policy("p1"));
    script.say(no_profile("kns.shop"));
    script.say(no_set("s1"));
    script.expect(&[]);
}

#[test]
fn rules_of_a_policy_and_of_a_profile_change() {
    let mut script = Script::shop();
    script.join("a", 1);
    script.told.clear();
    script.say(policy("p1", &["s2"]));
    script.expect(&["1: set s2 10.0.0.2/32", "1: policy p1", "1: no set s1"]);
    script.say(profile("kns.shop", &["s1", "s2"]));
    script.expect(&["1: set s1 10.0.0.1/32", "1: profile kns.shop"]);
    script.say(policy("p1", &[]));
    script.expect(&["1: policy p1"]);
    script.say(policy("p2", &["s1"]));
    script.expect(&[]);
}

#[test]
fn a_profile_that_was_missing_comes_and_goes() {
    let mut script = Script::new();
    script.join("a", 1);
    script.say(endpoint("a", &[], &["kns.shop"]));
    script.say(profile("kns.shop", &[]));
    script.say(profile("kns.other", &[]));
    script.say(no_profile("kns.shop"));
    script.expect(&["1: endpoint shop/a", "1: profile kns.shop", "1: no profile kns.shop"]);
}

#[test]
fn members_go_to_those_whose_rules_name_the_set() {
    let mut script = Script::shop();
    script.say(endpoint("b", &["p2"], &[]));
    script.join("a", 1);
    script.join("b", 2);
    script.told.clear();
    script.say(delta("s2", &["10.0.0.3/32"], &["10.0.0.2/32"]));
    script.expect(&["2: delta s2 +10.0.0.3/32 -10.0.0.2/32"]);
    script.say(set("s1", &["10.0.0.9/32"]));
    script.expect(&["1: set s1 10.0.0.9/32"]);
    script.join("b", 3);
    script.expect(&["2: end Replaced", "3: set s2 10.0.0.3/32", "3: policy p2", "3: endpoint shop/b"]);
}

#[test]
fn a_large_set_is_split() {
    for (max, want) in [
        (5, vec!["1: set s 1 2 3 4 5"]),
        (2, vec!["1: set s 1 2", "1: delta s +3 +4", "1: delta s +5"]),
        (4, vec!["1: set s 1 2 3 4", "1: delta s +5"]),
    ] {
        let mut script = Script::with_max_members(max);
        script.say(set("s", &["1", "2", "3"]));
        script.say(delta("s", &["4", "5"], &[]));
        script.say(policy("p", &["s"]));
        script.say(endpoint("a", &["p"], &[]));
        script.join("a", 1);
        let want: Vec<_> = want.into_iter().chain(["1: policy p", "1: endpoint shop/a"]).collect();
        script.expect(&want);
    }
}

#[test]
fn every_kind_of_reference_to_a_set_counts() {
    let name = || vec!["s1".to_owned()];
    for rule in [
        Rule { src_ip_set_ids: name(), ..Rule::default() },
        Rule { dst_ip_set_ids: name(), ..Rule::default() },
        Rule { src_named_port_ip_set_ids: name(), ..Rule::default() },
        Rule { dst_named_port_ip_set_ids: name(), ..Rule::default() },
        Rule { dst_ip_port_set_ids: name(), ..Rule::default() },
        Rule { not_src_ip_set_ids: name(), ..Rule::default() },
        Rule { not_dst_ip_set_ids: name(), ..Rule::default() },
        Rule { not_src_named_port_ip_set_ids: name(), ..Rule::default() },
        Rule { not_dst_named_port_ip_set_ids: name(), ..Rule::default() },
    ] {
        let mut script = Script::shop();
        script.join("a", 1);
        script.say(policy("p1", &[]));
        script.told.clear();
        let policy = Policy { outbound_rules: vec![rule], ..Policy::default() };
        let update = ActivePolicyUpdate { id: Some(policy_id("p1")), policy: Some(policy) };
        script.say(Payload::ActivePolicyUpdate(update));
        script.expect(&["1: set s1 10.0.0.1/32", "1: policy p1"]);
    }
}

#[test]
fn a_stream_ends_with_its_endpoint() {
    let mut script = Script::shop();
    script.join("a", 1);
    script.told.clear();
    script.say(no_endpoint("a"));
    script.expect(&["1: no endpoint shop/a", "1: end Removed"]);
    script.say(namespace("shop"));
    script.expect(&[]);
}

#[test]
fn only_the_last_stream_of_a_pod_can_leave() {
    let mut script = Script::new();
    script.join("a", 1);
    script.join("a", 2);
    script.expect(&["1: end Replaced"]);
    script.leave("a", 1);
    script.say(namespace("one"));
    script.expect(&["2: namespace one"]);
    script.leave("b", 2);
    script.leave("a", 2);
    script.say(namespace("two"));
    script.expect(&[]);
}

#[test]
fn subjects_go_to_everybody() {
    let mut script = Script::new();
    script.join("a", 1);
    script.join("b", 2);
    script.say(account("till"));
    script.say(namespace("shop"));
    script.say(no_namespace("shop"));
    script.say(no_account("till"));
    script.expect(&[
        "1: account till",
        "2: account till",
        "1: namespace shop",
        "2: namespace shop",
        "1: no namespace shop",
        "2: no namespace shop",
        "1: no account till",
        "2: no account till",
    ]);
    script.join("c", 3);
    script.expect(&[]);
}

#[test]
fn what_is_for_dataplanes_stays_here() {
    let mut script = Script::shop();
    script.join("a", 1);
    script.told.clear();
    script.say(Payload::ConfigUpdate(ConfigUpdate::default()));
    script.expect(&[]);
}

#[test]
fn many_policies_that_change_are_told_once_to_each_of_many() {
    // So many that to look for each policy in the list of each client, for each policy of that list, would not end.
    let names: Vec<String> = (0..2_000).map(|number| format!("p{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut script = Script::new();
    names.iter().for_each(|name| script.say(policy(name, &[])));
    for pod in 0..20 {
        script.say(endpoint(&pod.to_string(), &names, &[]));
        script.join(&pod.to_string(), pod);
    }
    assert_eq!(script.told.len(), 20 * (2_000 + 1), "each policy, and the endpoint");
    script.told.clear();
    names.iter().for_each(|name| script.say(policy(name, &[])));
    assert_eq!(script.told.len(), 20 * 2_000);
}
