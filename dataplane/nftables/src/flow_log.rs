//! How rules tell of the flows that they decide about: over NFLOG, in the groups
//! and with the prefixes of Felix, so that whoever reads Felix's reads ours.
//!
//! A prefix is `<action><owner><direction><index>|<id>`: `APE0|np/default/web` is
//! an Allow of the first egress rule of a policy. The end of a tier is
//! `DPI|<tier>`, or `PPI|<tier>` if the next tier decides; the end of everything `DRI`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_program::{Action, Decider, Direction, PolicyId, PolicyStore};
use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use crate::ir::{LogPrefix, Statement};
use crate::lower::Stage;
use crate::settings::{FlowLogs, Settings};

/// The bytes of each packet that are sent along: its headers.
pub const SNAPLEN: u32 = 80;

/// A prefix of this length is one that was too long, and has a hash in it. No
/// other is as long, so that nobody can choose a name that looks like a hash.
const HASHED: usize = 63;

/// What a hashed prefix keeps of its beginning, and of its end.
const KEPT: usize = 10;

/// The characters of the hash: what is left beside two underscores.
const HASH: usize = HASHED - 2 * KEPT - 2;

/// Policy kinds, and what prefixes call them.
const KINDS: [(&str, &str); 7] = [
    ("NetworkPolicy", "np"),
    ("GlobalNetworkPolicy", "gnp"),
    ("StagedNetworkPolicy", "snp"),
    ("StagedGlobalNetworkPolicy", "sgnp"),
    ("StagedKubernetesNetworkPolicy", "sknp"),
    ("KubernetesNetworkPolicy", "knp"),
    ("KubernetesClusterNetworkPolicy", "kcnp"),
];

/// The group that packets of a direction are told to.
#[must_use]
pub const fn group(direction: Direction) -> u16 {
    match direction {
        Direction::Ingress => 1,
        Direction::Egress => 2,
    }
}

/// What a prefix says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What decided.
    pub decider: Decider,
    /// Which way the packet went.
    pub direction: Direction,
    /// What became of it; never [`Action::Log`].
    pub action: Action,
}

impl Decision {
    /// The prefix that says this; `None` for what decides nothing.
    #[must_use]
    pub fn prefix(&self) -> Option<LogPrefix> {
        let raw = self.raw()?;
        let is_plain = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        let text = match raw.len() < HASHED && raw.chars().all(is_plain) {
            true => raw,
            false => hashed(&raw.chars().map(|c| if is_plain(c) { c } else { '?' }).collect::<String>(), &raw),
        };
        Some(LogPrefix::new(text).expect("a prefix is short and not empty"))
    }

    /// The prefix without regard to its length.
    fn raw(&self) -> Option<String> {
        let action = match self.action {
            Action::Allow => 'A',
            Action::Deny => 'D',
            Action::Pass => 'P',
            Action::Log => return None,
        };
        let direction = match self.direction {
            Direction::Ingress => 'I',
            Direction::Egress => 'E',
        };
        Some(match &self.decider {
            Decider::Policy(id, index) => format!("{action}P{direction}{index}|{}", short(id)),
            Decider::Profile(name, index) => format!("{action}R{direction}{index}|{name}"),
            Decider::EndOfTier(tier) => format!("{action}P{direction}|{tier}"),
            Decider::NoMatch => format!("{action}R{direction}"),
        })
    }

    /// Reads a prefix. One with a hash in it is looked for among what a store has.
    #[must_use]
    pub fn of(prefix: &str, store: &PolicyStore) -> Option<Self> {
        let mut letters = prefix.chars();
        let action = match letters.next()? {
            'A' => Action::Allow,
            'D' => Action::Deny,
            'P' => Action::Pass,
            _ => return None,
        };
        let owner = letters.next()?;
        let direction = match letters.next()? {
            'I' => Direction::Ingress,
            'E' => Direction::Egress,
            _ => return None,
        };
        let (index, id) = match letters.as_str().split_once('|') {
            Some((index, id)) => (index, id),
            None => (letters.as_str(), ""),
        };
        let index = (!index.is_empty()).then(|| index.parse::<usize>()).transpose().ok()?;
        let decision = |decider| Self { decider, direction, action };
        let is_it = |decision: &Self| decision.prefix().is_some_and(|said| said.as_str() == prefix);
        if prefix.len() < HASHED {
            let decider = match (owner, index) {
                ('P', Some(index)) => Decider::Policy(policy(id)?, index),
                ('P', None) => Decider::EndOfTier(id.into()),
                ('R', Some(index)) => Decider::Profile(id.into(), index),
                ('R', None) => Decider::NoMatch,
                _ => return None,
            };
            return Some(decision(decider));
        }
        match (owner, index) {
            ('P', Some(index)) => {
                store.policies().map(|policy| decision(Decider::Policy(policy.id.clone(), index))).find(is_it)
            }
            ('P', None) => store.policies().map(|policy| decision(Decider::EndOfTier(policy.tier.clone()))).find(is_it),
            ('R', Some(index)) => {
                store.profiles().map(|profile| decision(Decider::Profile(profile.name.clone(), index))).find(is_it)
            }
            _ => None,
        }
    }
}

/// The statement of a rule that decides; `None` if nobody wants to know. Untracked
/// packets are not told of: each one would be a flow.
pub(crate) fn told(
    settings: &Settings,
    stage: Stage,
    direction: Direction,
    decider: impl FnOnce() -> Decider,
    action: Action,
) -> Option<Statement> {
    let is_told = match (settings.flow_logs, stage) {
        (FlowLogs::Off, _) | (FlowLogs::On, Stage::Untracked) => false,
        (FlowLogs::On, Stage::Filter | Stage::Leaving | Stage::PreDnat) => true,
    };
    let prefix = is_told.then(|| Decision { decider: decider(), direction, action }.prefix())??;
    Some(Statement::Nflog(group(direction), prefix))
}

/// `<first 10>_<hash>_<last 10>`; the hash is base64url of SHA-256, cut.
fn hashed(plain: &str, raw: &str) -> String {
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(raw));
    let (first, last) = (&plain[..KEPT.min(plain.len())], &plain[plain.len().saturating_sub(KEPT)..]);
    let text = format!("{first}_{}_{last}", &hash[..HASH]);
    // Only a short text that cannot be written plainly leaves room.
    format!("{text:_<HASHED$}")
}

fn short(PolicyId { kind, namespace, name }: &PolicyId) -> String {
    let kind = KINDS.iter().find(|(long, _)| long == kind).map_or(kind.as_str(), |(_, short)| short);
    match namespace.is_empty() {
        true => format!("{kind}/{name}"),
        false => format!("{kind}/{namespace}/{name}"),
    }
}

fn policy(short: &str) -> Option<PolicyId> {
    let (kind, rest) = short.split_once('/')?;
    let kind = KINDS.iter().find(|(_, short)| *short == kind).map_or(kind, |(long, _)| long);
    let (namespace, name) = rest.split_once('/').unwrap_or(("", rest));
    Some(PolicyId { kind: kind.into(), namespace: namespace.into(), name: SmolStr::new(name) })
}

#[cfg(test)]
mod tests;
