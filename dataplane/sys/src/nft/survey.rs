//! Looking at tables of others: every chain there is, whatever its hook.

use libc::NLM_F_DUMP;
use smol_str::SmolStr;

use super::chain::{Hook, Policy, decode_hook};
use super::error::QueryError;
use super::name::Name;
use super::socket::{NftSocket, Request};
use super::table::{TableFamily, TableId};
use super::uapi::{NFTA_ANY_TABLE, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME, NFTA_CHAIN_POLICY, NFTA_CHAIN_TYPE};
use crate::wire::{Attrs, Malformed};

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
    /// The hook; `None` for one that is not in a routed packet's way, such as ingress.
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
        let base = hook.map(|(hook, priority)| SurveyedBase { hook: Hook::from_number(hook), kind, priority, policy });
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
