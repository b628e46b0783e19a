use super::*;
use crate::WorkloadId;
use crate::messages::{packet, store};

mod naive;

const WEB: &str = "10.0.0.1 > 10.0.0.2 tcp 1000 > 80";
const DNS: &str = "10.0.0.1 > 10.0.0.2 udp 1000 > 53";

const ALLOW_TCP: &str = r#"{"action": "allow", "protocol": {"name": "tcp"}}"#;
const DENY_TCP: &str = r#"{"action": "deny", "protocol": {"name": "tcp"}}"#;
const PASS_TCP: &str = r#"{"action": "next-tier", "protocol": {"name": "tcp"}}"#;
const ALLOW: &str = r#"{"action": "allow"}"#;
const DENY: &str = r#"{"action": "deny"}"#;
const PASS: &str = r#"{"action": "next-tier"}"#;
const LOG: &str = r#"{"action": "log"}"#;

fn policy(kind: &str, name: &str, inbound: &[&str]) -> String {
    format!(
        r#"{{"activePolicyUpdate": {{"id": {{"kind": "{kind}", "name": "{name}"}}, "policy": {{"inboundRules": [{}]}}}}}}"#,
        inbound.join(", ")
    )
}

fn profile(name: &str, inbound: &[&str]) -> String {
    format!(
        r#"{{"activeProfileUpdate": {{"id": {{"name": "{name}"}}, "profile": {{"inboundRules": [{}]}}}}}}"#,
        inbound.join(", ")
    )
}

/// A tier of enforced policies for ingress; a name that starts with `~` is a staged one.
fn tier(name: &str, default_action: &str, policies: &[&str]) -> String {
    let ids: Vec<String> = policies
        .iter()
        .map(|name| match name.strip_prefix('~') {
            Some(name) => format!(r#"{{"kind": "StagedNetworkPolicy", "name": "{name}"}}"#),
            None => format!(r#"{{"kind": "NetworkPolicy", "name": "{name}"}}"#),
        })
        .collect();
    format!(r#"{{"name": "{name}", "defaultAction": "{default_action}", "ingressPolicies": [{}]}}"#, ids.join(", "))
}

fn endpoint(state: &str, tiers: &[String], profiles: &[&str]) -> String {
    let profiles: Vec<String> = profiles.iter().map(|name| format!("\"{name}\"")).collect();
    format!(
        r#"{{"workloadEndpointUpdate": {{"id": {{"workloadId": "w"}}, "endpoint": {{"state": "{state}", "name": "cali0", "tiers": [{}], "profileIds": [{}]}}}}}}"#,
        tiers.join(", "),
        profiles.join(", ")
    )
}

/// A small world: the policies of these rules in these tiers, and profiles.
struct World {
    policies: &'static [(&'static str, &'static [&'static str])],
    tiers: Vec<String>,
    profiles: &'static [(&'static str, &'static [&'static str])],
}

impl World {
    /// Checks the verdict and what decided, in words: `default/p#0`, `end of T`,
    /// `profile P#0`, `no profile`, `unknown …`, `down`.
    fn check(&self, packet_text: &str, verdict: Verdict, cause: &str) {
        let mut messages: Vec<String> = self
            .policies
            .iter()
            .map(|(name, rules)| match name.strip_prefix('~') {
                Some(name) => policy("StagedNetworkPolicy", name, rules),
                None => policy("NetworkPolicy", name, rules),
            })
            .collect();
        messages.extend(self.profiles.iter().map(|(name, rules)| profile(name, rules)));
        let names: Vec<&str> = self.profiles.iter().map(|(name, _)| *name).collect();
        messages.push(endpoint("active", &self.tiers, &names));
        check(&messages, packet_text, verdict, cause);
    }
}

fn check(messages: &[String], packet_text: &str, verdict: Verdict, cause: &str) {
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    let store = store(&messages);
    let id = WorkloadId { orchestrator: "".into(), workload: "w".into(), endpoint: "".into() };
    let endpoint = store.workload(&id).expect("the endpoint");
    let packet = packet(packet_text);
    let decision = evaluate_endpoint(endpoint, Direction::Ingress, &store, &packet);
    assert_eq!((decision.verdict, words(decision.cause).as_str()), (verdict, cause));
    let (traced, _) = trace_endpoint(endpoint, Direction::Ingress, &store, &packet);
    assert_eq!(traced, decision, "tracing does not change the decision");
}

fn words(cause: Cause<'_>) -> String {
    match cause {
        Cause::EndpointDown => "down".to_owned(),
        Cause::PolicyRule { tier, policy, index, .. } => format!("{tier}/{}#{index}", policy.name),
        Cause::EndOfTier { tier } => format!("end of {tier}"),
        Cause::ProfileRule { profile, index, .. } => format!("profile {profile}#{index}"),
        Cause::NoProfile => "no profile".to_owned(),
        Cause::UnknownPolicy(id) => format!("unknown policy {}", id.name),
        Cause::UnknownProfile(name) => format!("unknown profile {name}"),
        Cause::UnknownSet(id) => format!("unknown set {id}"),
        Cause::Undecided => "undecided".to_owned(),
        Cause::EndpointToHost(action) => format!("{action:?} at the host"),
    }
}

use Verdict::{Allow, Deny};

#[test]
fn the_first_matching_rule_of_the_first_policy_decides() {
    let world = World {
        policies: &[("a", &[LOG, ALLOW_TCP]), ("b", &[DENY_TCP, ALLOW])],
        tiers: vec![tier("t", "Deny", &["a", "b"])],
        profiles: &[],
    };
    world.check(WEB, Allow, "t/a#1");
    world.check(DNS, Allow, "t/b#1");
}

#[test]
fn a_tier_with_policies_ends_in_its_default_action() {
    for (action, verdict, cause) in
        [("Deny", Deny, "end of t"), ("", Deny, "end of t"), ("Pass", Allow, "profile open#0")]
    {
        World {
            policies: &[("a", &[ALLOW_TCP])],
            tiers: vec![tier("t", action, &["a"])],
            profiles: &[("open", &[ALLOW])],
        }
        .check(DNS, verdict, cause);
    }
}

#[test]
fn a_tier_without_policies_in_the_direction_has_no_say() {
    World { policies: &[], tiers: vec![tier("t", "Deny", &[])], profiles: &[("open", &[ALLOW])] }.check(
        WEB,
        Allow,
        "profile open#0",
    );
}

#[test]
fn staged_policies_neither_decide_nor_deny_by_being_there() {
    World { policies: &[("~s", &[DENY])], tiers: vec![tier("t", "Deny", &["~s"])], profiles: &[("open", &[ALLOW])] }
        .check(WEB, Allow, "profile open#0");
    World {
        policies: &[("~s", &[ALLOW]), ("a", &[DENY_TCP])],
        tiers: vec![tier("t", "Deny", &["~s", "a"])],
        profiles: &[("open", &[ALLOW])],
    }
    .check(DNS, Deny, "end of t");
}

#[test]
fn pass_leaves_the_tier() {
    let world = World {
        policies: &[("a", &[PASS_TCP]), ("b", &[DENY]), ("c", &[ALLOW_TCP])],
        tiers: vec![tier("t", "Deny", &["a", "b"]), tier("u", "Deny", &["c"])],
        profiles: &[],
    };
    world.check(WEB, Allow, "u/c#0");
    world.check(DNS, Deny, "t/b#0");
    World { policies: &[("a", &[PASS])], tiers: vec![tier("t", "Deny", &["a"])], profiles: &[("open", &[ALLOW])] }
        .check(WEB, Allow, "profile open#0");
}

#[test]
fn profiles_decide_in_order_and_then_everything_is_denied() {
    let world = World {
        policies: &[],
        tiers: Vec::new(),
        profiles: &[("none", &[]), ("passes", &[PASS]), ("tcp", &[LOG, DENY_TCP]), ("open", &[ALLOW_TCP])],
    };
    world.check(WEB, Deny, "profile tcp#1");
    world.check(DNS, Deny, "no profile");
}

#[test]
fn what_the_store_lacks_is_a_denial() {
    let tiers = [tier("t", "Pass", &["gone"])];
    check(&[endpoint("active", &tiers, &[])], WEB, Deny, "unknown policy gone");
    let messages = [profile("open", &[ALLOW]), endpoint("active", &[], &["gone", "open"])];
    check(&messages, WEB, Deny, "unknown profile gone");
    // Else a negated set that was lost would let everything in.
    let rule = r#"{"action": "allow", "notSrcIpSetIds": ["lost"]}"#;
    let messages = [profile("open", &[rule]), endpoint("active", &[], &["open"])];
    check(&messages, WEB, Deny, "unknown set lost");
}

#[test]
fn nothing_passes_an_endpoint_that_is_down() {
    for state in ["down", "", "ACTIVE"] {
        let messages = [profile("open", &[ALLOW]), endpoint(state, &[], &["open"])];
        check(&messages, WEB, Deny, "down");
    }
}

#[test]
fn the_trail_names_each_rule_and_the_fields_that_kept_it_from_matching() {
    let tiers = [tier("t", "Pass", &["~s", "a"])];
    let messages = [
        policy("NetworkPolicy", "a", &[LOG, ALLOW_TCP]),
        profile("open", &[ALLOW]),
        endpoint("active", &tiers, &["open"]),
    ];
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    let store = store(&messages);
    let endpoint = store.workloads().next().expect("the endpoint");
    let (_, trail) = trace_endpoint(endpoint, Direction::Ingress, &store, &packet(DNS));
    let trail: Vec<String> = trail
        .into_iter()
        .map(|step| match step {
            Step::Tier(tier) => format!("tier {tier}"),
            Step::Staged(policy) => format!("staged {}", policy.name),
            Step::Policy(policy) => format!("policy {}", policy.name),
            Step::EndOfTier { tier, end } => format!("end of {tier}: {end:?}"),
            Step::Profile(profile) => format!("profile {profile}"),
            Step::Rule { index, mismatches, .. } => format!("{index} {mismatches:?}"),
        })
        .collect();
    assert_eq!(
        trail,
        ["tier t", "staged s", "policy a", "0 []", "1 [Protocol]", "end of t: Pass", "profile open", "0 []",]
    );
}

#[test]
fn egress_decides_and_then_the_action_at_the_host() {
    let drops = r#"{"activePolicyUpdate": {"id": {"kind": "NetworkPolicy", "name": "p"}, "policy": {"outboundRules": [{"action": "allow", "protocol": {"name": "tcp"}}]}}}"#;
    let endpoint = r#"{"workloadEndpointUpdate": {"id": {"workloadId": "w"}, "endpoint": {"state": "active", "name": "cali0", "tiers": [
        {"name": "default", "defaultAction": "Deny", "egressPolicies": [{"kind": "NetworkPolicy", "name": "p"}]}]}}}"#;
    let store = store(&[drops, endpoint]);
    let workload = store.workloads().next().expect("the endpoint");
    for (packet_text, action, verdict, cause) in [
        (WEB, EndpointToHost::Drop, Verdict::Deny, Cause::EndpointToHost(EndpointToHost::Drop)),
        (WEB, EndpointToHost::Return, Verdict::Allow, Cause::EndpointToHost(EndpointToHost::Return)),
        (WEB, EndpointToHost::Accept, Verdict::Allow, Cause::EndpointToHost(EndpointToHost::Accept)),
        (DNS, EndpointToHost::Accept, Verdict::Deny, Cause::EndOfTier { tier: "default" }),
    ] {
        let decision = evaluate_to_host(workload, &store, &packet(packet_text), action);
        assert_eq!(decision, Decision { verdict, cause }, "{packet_text} {action:?}");
    }
}
