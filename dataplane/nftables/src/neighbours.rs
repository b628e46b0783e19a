//! Rules of others in the same namespace that decide about our packets, too.
//!
//! They are only looked at. A packet passes if the base chains of everybody at a hook
//! let it pass: a drop of somebody else is final, before our chains and after them.

use std::fmt;

use caracal_net::Mark;
use caracal_sys::nft::{
    Expr, Hook, Name, NftSocket, Policy, QueryError, SurveyedBase, SurveyedChain, TableFamily, TableId, Verdict,
    mark_bits,
};
use nix::errno::Errno;

use crate::ir::TABLE;

/// Something of somebody else that matters to us.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// The table, as nft writes it: `ip filter`.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// What matters about it.
    pub matter: Matter,
}

/// What matters about somebody else's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Matter {
    /// A base chain that drops what none of its rules decides.
    DropsByDefault(Place),
    /// A base chain with rules that drop or reject, by itself or by chains that it may lead to.
    DropsByRule(Place),
    /// A rule that sets or tests bits of the packet mark that we use.
    NamesMark(Mark),
}

/// Where a base chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The hook.
    pub hook: Hook,
    /// The priority: ours are 0 and 1; lower comes first.
    pub priority: i32,
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chain {} {}", self.table, self.chain)
    }
}

impl fmt::Display for Matter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |f: &mut fmt::Formatter<'_>, Place { hook, priority }: Place| {
            let when = if priority < 0 { "before" } else { "after" };
            write!(f, "at hook {} with priority {priority}, {when} our chains", hook_name(hook))
        };
        match self {
            Self::DropsByDefault(at) => {
                f.write_str("its policy is drop: what our policy allows passes only if a rule there accepts it, ")?;
                place(f, *at)
            }
            Self::DropsByRule(at) => {
                f.write_str("rules there drop or reject packets that our policy may allow, ")?;
                place(f, *at)
            }
            Self::NamesMark(bits) => write!(
                f,
                "a rule there uses bits {:#x} of the packet mark, which are ours; leave them out of NftablesMarkMask or of that rule",
                bits.0
            ),
        }
    }
}

const fn hook_name(hook: Hook) -> &'static str {
    match hook {
        Hook::Prerouting => "prerouting",
        Hook::Input => "input",
        Hook::Forward => "forward",
        Hook::Output => "output",
        Hook::Postrouting => "postrouting",
    }
}

/// The hooks at which somebody else's drop is final for packets of workloads.
const HOOKS: [Hook; 2] = [Hook::Forward, Hook::Input];

/// A look at the chains of others, one at a time.
#[derive(Debug, Default)]
pub struct Survey {
    chains: Vec<SurveyedChain>,
    /// How many of the chains were looked at.
    seen: usize,
    /// Chains with a rule that drops or rejects.
    dropping: Vec<(TableId, Name)>,
    /// From a chain to one that it leads to, within a table.
    jumps: Vec<(TableId, Name, Name)>,
    found: Vec<Neighbour>,
}

impl Survey {
    /// Lists the chains.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn begin(socket: &mut NftSocket) -> Result<Self, QueryError> {
        let mut chains = Vec::new();
        for family in TableFamily::ALL {
            chains.extend(socket.survey_chains(family)?);
        }
        chains.retain(|chain| (chain.table.family, chain.table.name.as_str()) != (TableFamily::Inet, TABLE));
        Ok(Self { chains, ..Self::default() })
    }

    /// Looks at the next chain; `false` if there was none left.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn step(&mut self, socket: &mut NftSocket, ours: Mark) -> Result<bool, QueryError> {
        let Some(SurveyedChain { table, name, .. }) = self.chains.get(self.seen) else { return Ok(false) };
        let rules = match socket.rules_of(table, name) {
            // It went meanwhile.
            Err(QueryError::Refused { errno: Errno::ENOENT, .. }) => Vec::new(),
            rules => rules?,
        };
        let (mut drops, mut bits) = (false, 0);
        for listed in &rules {
            bits |= mark_bits(&listed.rule) & ours.0;
            for expr in &listed.rule.exprs {
                match expr {
                    Expr::Verdict(Verdict::Drop) | Expr::Reject(_) => drops = true,
                    Expr::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) => {
                        self.jumps.push((table.clone(), name.clone(), to.clone()));
                    }
                    // iptables-nft has its own words for these.
                    Expr::Raw { name, .. } if name.as_str() == "reject" => drops = true,
                    _ => {}
                }
            }
        }
        if drops {
            self.dropping.push((table.clone(), name.clone()));
        }
        if bits != 0 {
            let (table, chain) = (table.to_string(), name.to_string());
            self.found.push(Neighbour { table, chain, matter: Matter::NamesMark(Mark(bits)) });
        }
        self.seen += 1;
        Ok(true)
    }

    /// What matters of all that was looked at, in order.
    #[must_use]
    pub fn finish(mut self) -> Vec<Neighbour> {
        // Whatever leads to a chain that drops, drops.
        loop {
            let leads = |(table, from, to): &(TableId, Name, Name)| {
                let drops = |name: &Name| self.dropping.iter().any(|(t, n)| (t, n) == (table, name));
                (drops(to) && !drops(from)).then(|| (table.clone(), from.clone()))
            };
            let Some(next) = self.jumps.iter().find_map(leads) else { break };
            self.dropping.push(next);
        }
        for SurveyedChain { table, name, base } in &self.chains {
            let Some(SurveyedBase { hook: Some(hook), kind, priority, policy }) = base else { continue };
            if !HOOKS.contains(hook) || kind != "filter" {
                continue;
            }
            let place = Place { hook: *hook, priority: *priority };
            let matter = match policy {
                Policy::Drop => Matter::DropsByDefault(place),
                Policy::Accept if self.dropping.iter().any(|(t, n)| (t, n) == (table, name)) => {
                    Matter::DropsByRule(place)
                }
                Policy::Accept => continue,
            };
            self.found.push(Neighbour { table: table.to_string(), chain: name.to_string(), matter });
        }
        self.found.sort();
        self.found.dedup();
        self.found
    }
}

/// Looks at all chains of others at once.
///
/// # Errors
/// See [`QueryError`].
pub fn survey(socket: &mut NftSocket, ours: Mark) -> Result<Vec<Neighbour>, QueryError> {
    let mut survey = Survey::begin(socket)?;
    while survey.step(socket, ours)? {}
    Ok(survey.finish())
}

#[cfg(test)]
mod tests;
