//! Looking at tables of others: every chain there is, whatever its hook.

use libc::NLM_F_DUMP;
use smol_str::SmolStr;

use super::chain::{Hook, Policy, decode_hook};
use super::error::QueryError;
use super::expr::{CtKey, Expr, MetaKey};
use super::name::Name;
use super::rule::Rule;
use super::socket::{NftSocket, Request};
use super::table::{TableFamily, TableId};
use super::uapi::{NFTA_ANY_TABLE, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME, NFTA_CHAIN_POLICY, NFTA_CHAIN_TYPE};
use super::value::Value;
use crate::wire::{Attrs, Malformed, ne32};

/// `NFTA_MATCH_NAME` and `NFTA_TARGET_NAME` of `linux/netfilter/nf_tables_compat.h`:
/// what iptables-nft has no expression of nftables for.
const XT_NAME: u16 = 1;

/// `NFTA_MATCH_INFO` and `NFTA_TARGET_INFO`.
const XT_INFO: u16 = 3;

/// A chain of any table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurveyedChain {
    /// Its table.
    pub table: TableId,
    /// Its name.
    pub name: Name,
    /// For a base chain.
    pub base: Option<SurveyedBase>,
}

/// What makes a chain a base chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurveyedBase {
    /// The hook; `None` for one of an interface: ingress, egress.
    pub hook: Option<Hook>,
    /// The kind, in nft's words: `filter`, `nat`, `route`.
    pub kind: SmolStr,
    /// The order among base chains of a hook; lower comes first.
    pub priority: i32,
    /// The default verdict.
    pub policy: Policy,
}

impl SurveyedChain {
    fn decode(family: TableFamily, attrs: Attrs<'_>) -> Result<Self, Malformed> {
        let (mut table, mut name, mut hook, mut kind, mut policy) =
            (None, None, None, SmolStr::default(), Policy::Accept);
        for attr in attrs {
            let attr = attr?;
            match attr.kind {
                NFTA_ANY_TABLE => table = Name::new(attr.text()?).ok(),
                NFTA_CHAIN_NAME => name = Name::new(attr.text()?).ok(),
                NFTA_CHAIN_TYPE => kind = attr.text()?.into(),
                NFTA_CHAIN_HOOK => hook = Some(decode_hook(attr.nested())?),
                NFTA_CHAIN_POLICY if attr.be32()? == Policy::Drop.number() => policy = Policy::Drop,
                _ => {}
            }
        }
        let (Some(table), Some(name)) = (table, name) else {
            return Err(Malformed("a chain without its name or table"));
        };
        let hook_of = |number| match family {
            TableFamily::Inet | TableFamily::Ip | TableFamily::Ip6 => Hook::from_number(number),
            // It numbers its hooks by itself (`enum nf_dev_hooks` of `linux/netfilter.h`).
            TableFamily::Netdev => None,
        };
        let base = hook.map(|(number, priority)| SurveyedBase { hook: hook_of(number), kind, priority, policy });
        Ok(Self { table: TableId { family, name: table }, name, base })
    }
}

impl NftSocket {
    /// The chains of all tables of a family, in the order of their making.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn survey_chains(&mut self, family: TableFamily) -> Result<Vec<SurveyedChain>, QueryError> {
        let request =
            Request { what: "chains", number: libc::NFT_MSG_GETCHAIN, flags: NLM_F_DUMP, family: family.number() };
        self.until_whole(request.what, |socket| {
            let mut chains = Vec::new();
            let whole = socket.ask(
                request,
                |_| {},
                |attrs| {
                    chains.push(SurveyedChain::decode(family, attrs)?);
                    Ok(())
                },
            )?;
            Ok((chains, whole))
        })
    }
}

/// The bits of the packet mark that a rule names: those that it sets, and those that
/// it tests or changes through a mask. A comparison of the whole mark names none.
#[must_use]
pub fn mark_bits(rule: &Rule) -> u32 {
    let mut named = 0;
    // The register has the mark, what is in it was computed from it, or a constant.
    let mut bits = 0;
    for expr in &rule.exprs {
        match expr {
            Expr::Meta { key: MetaKey::Mark, .. } => bits = 0,
            Expr::Bitwise { mask, xor, .. } => {
                let (mask, xor) = (word(mask), word(xor));
                // A test keeps the bits of its mask, a change keeps all others.
                bits = if mask.count_ones() <= 16 { mask | xor } else { !mask | xor };
            }
            Expr::Immediate { value, .. } => bits = word(value),
            Expr::SetMeta { key: MetaKey::Mark, .. } => named |= std::mem::take(&mut bits),
            Expr::Cmp { .. } if reads_mark(rule) => named |= std::mem::take(&mut bits),
            Expr::Raw { name, data: Some(data) } if matches!(name.as_str(), "match" | "target") => {
                named |= xt_mark(data).unwrap_or(0);
            }
            _ => {}
        }
    }
    named
}

/// Whether a rule may set one of these bits of a connection's labels.
#[must_use]
pub fn sets_labels(rule: &Rule, bits: &[u8; 16]) -> bool {
    let mut constant = None;
    for expr in &rule.exprs {
        match expr {
            Expr::Immediate { value, .. } => constant = Some(value.as_bytes()),
            // What a map yields is anybody's guess.
            Expr::Lookup { .. } => constant = None,
            Expr::SetCt { key: CtKey::Labels, .. } => {
                let names = |set: &[u8]| set.iter().zip(bits).any(|(set, bit)| set & bit != 0);
                if constant.is_none_or(names) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

fn reads_mark(rule: &Rule) -> bool {
    rule.exprs.iter().any(|expr| matches!(expr, Expr::Meta { key: MetaKey::Mark, .. }))
}

fn word(value: &Value) -> u32 {
    ne32(value.as_bytes()).unwrap_or(0)
}

/// The mask of a `mark` match or `MARK` target of iptables, which both begin with the
/// mark and its mask (`struct xt_mark_mtinfo1`, `struct xt_mark_tginfo2`).
fn xt_mark(data: &[u8]) -> Option<u32> {
    let (mut is_mark, mut info) = (false, None);
    for attr in Attrs(data).flatten() {
        match attr.kind {
            XT_NAME => is_mark = matches!(attr.text().ok()?, "mark" | "MARK"),
            XT_INFO => info = Some(attr.payload),
            _ => {}
        }
    }
    let mask = ne32(info?.get(4..)?)?;
    // A whole mask compares or replaces the whole mark.
    (is_mark && mask != u32::MAX).then_some(mask)
}
