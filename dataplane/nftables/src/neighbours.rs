//! Rules of others in the same namespace that decide about our packets, too.
//!
//! They are only looked at. A packet passes if the base chains of everybody at a hook
//! let it pass: a drop of somebody else is final, before our chains and after them.

use std::fmt;

use caracal_net::Mark;
use caracal_sys::conntrack::REVOKED;
use caracal_sys::nft::{
    Data, Expr, Hook, Lookup, Name, NftSocket, Policy, QueryError, SurveyedBase, SurveyedChain, TableFamily, TableId,
    Verdict, mark_bits, sets_labels,
};
use nix::errno::Errno;

use crate::ir::{REVOKED_LABEL, TABLE};

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
    /// A rule that may set the label of connections that policy denies.
    SetsLabel,
}

/// Where a base chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The hook; `None` for those of an interface.
    pub hook: Option<Hook>,
    /// The priority; lower comes first.
    pub priority: i32,
}

impl Place {
    /// Whether packets come there before they come to the chains that judge them, which
    /// stand around priority 0 of their hooks.
    const fn is_before_ours(self) -> bool {
        match self.hook {
            None | Some(Hook::Prerouting) => true,
            Some(Hook::Postrouting) => false,
            Some(Hook::Input | Hook::Forward | Hook::Output) => self.priority < 0,
        }
    }
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chain {} {}", self.table, self.chain)
    }
}

impl fmt::Display for Matter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |f: &mut fmt::Formatter<'_>, place: Place| {
            let when = if place.is_before_ours() { "before" } else { "after" };
            let at = place.hook.map_or("of an interface", hook_name);
            write!(f, "at hook {at} with priority {}, {when} our chains", place.priority)
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
            Self::SetsLabel => write!(
                f,
                "a rule there may set label {REVOKED_LABEL} of connections, by which we refuse what policy denies now; it is to use another label"
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

/// A look at the chains of others, one at a time, and the maps of verdicts that they use.
#[derive(Debug, Default)]
pub struct Survey {
    chains: Vec<SurveyedChain>,
    /// How many of the chains were looked at.
    seen: usize,
    /// From a chain to a map of verdicts that was not looked at yet.
    maps: Vec<(TableId, Name, Name)>,
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

    /// Looks at the next chain or map; `false` if there was none left.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn step(&mut self, socket: &mut NftSocket, ours: Mark) -> Result<bool, QueryError> {
        if let Some((table, chain, map)) = self.maps.pop() {
            let elements = if_there(socket.elements(&table, &map))?;
            for element in elements {
                if let Some(Data::Verdict(verdict)) = element.data {
                    self.verdict(&table, &chain, &verdict);
                }
            }
            return Ok(true);
        }
        let Some(SurveyedChain { table, name, .. }) = self.chains.get(self.seen).cloned() else { return Ok(false) };
        let (mut bits, mut sets_label) = (0, false);
        for listed in if_there(socket.rules_of(&table, &name))? {
            bits |= mark_bits(&listed.rule) & ours.0;
            sets_label |= sets_labels(&listed.rule, &REVOKED);
            for expr in listed.rule.exprs {
                match expr {
                    Expr::Verdict(verdict) => self.verdict(&table, &name, &verdict),
                    Expr::Reject(_) => self.drops(&table, &name),
                    // iptables-nft has its own words for these.
                    Expr::Raw { name: word, .. } if word.as_str() == "reject" => self.drops(&table, &name),
                    Expr::Lookup { set, yields: Lookup::Verdict, .. } => {
                        self.maps.push((table.clone(), name.clone(), set));
                    }
                    _ => {}
                }
            }
        }
        let matters = [(bits != 0).then_some(Matter::NamesMark(Mark(bits))), sets_label.then_some(Matter::SetsLabel)];
        for matter in matters.into_iter().flatten() {
            self.found.push(Neighbour { table: table.to_string(), chain: name.to_string(), matter });
        }
        self.seen += 1;
        Ok(true)
    }

    fn verdict(&mut self, table: &TableId, chain: &Name, verdict: &Verdict) {
        match verdict {
            Verdict::Drop => self.drops(table, chain),
            Verdict::Jump(to) | Verdict::Goto(to) => {
                let jump = (table.clone(), chain.clone(), to.clone());
                if self.jumps.last() != Some(&jump) {
                    self.jumps.push(jump);
                }
            }
            Verdict::Accept | Verdict::Continue | Verdict::Break | Verdict::Return => {}
        }
    }

    fn drops(&mut self, table: &TableId, chain: &Name) {
        let dropping = (table.clone(), chain.clone());
        if self.dropping.last() != Some(&dropping) {
            self.dropping.push(dropping);
        }
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
            let Some(SurveyedBase { hook, kind, priority, policy }) = base else { continue };
            if kind != "filter" {
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

/// What was listed; nothing if it went meanwhile.
fn if_there<T>(listed: Result<Vec<T>, QueryError>) -> Result<Vec<T>, QueryError> {
    match listed {
        Err(QueryError::Refused { errno: Errno::ENOENT, .. }) => Ok(Vec::new()),
        listed => listed,
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
