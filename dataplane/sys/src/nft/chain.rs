//! Chains.

use super::name::{Comment, Name};
use super::uapi::{
    NFTA_CHAIN_HANDLE, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME, NFTA_CHAIN_POLICY, NFTA_CHAIN_TYPE, NFTA_CHAIN_USE,
    NFTA_CHAIN_USERDATA, NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY,
};
use super::userdata;
use crate::wire::{Attrs, Malformed, Writer};

/// Where in a packet's way a base chain stands (`enum nf_inet_hooks`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// As packets come in, before routing.
    Prerouting,
    /// Packets to this machine.
    Input,
    /// Packets that go through.
    Forward,
    /// Packets from this machine.
    Output,
    /// As packets leave, after routing.
    Postrouting,
}

impl Hook {
    /// Every hook.
    pub const ALL: [Self; 5] = [Self::Prerouting, Self::Input, Self::Forward, Self::Output, Self::Postrouting];

    pub(super) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.number() == number)
    }

    const fn number(self) -> u32 {
        (match self {
            Self::Prerouting => libc::NF_INET_PRE_ROUTING,
            Self::Input => libc::NF_INET_LOCAL_IN,
            Self::Forward => libc::NF_INET_FORWARD,
            Self::Output => libc::NF_INET_LOCAL_OUT,
            Self::Postrouting => libc::NF_INET_POST_ROUTING,
        }) as u32
    }
}

/// What a base chain does with a packet that no rule decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Lets it on to the next base chain.
    Accept,
    /// Drops it.
    Drop,
}

impl Policy {
    pub(super) const fn number(self) -> u32 {
        (match self {
            Self::Accept => libc::NF_ACCEPT,
            Self::Drop => libc::NF_DROP,
        }) as u32
    }
}

/// What kind of base chain it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChainType {
    /// Judges packets; any hook.
    Filter,
    /// Translates addresses of a connection's first packet.
    Nat,
    /// Output only: routes again what the rules changed.
    Route,
}

impl ChainType {
    const ALL: [Self; 3] = [Self::Filter, Self::Nat, Self::Route];

    const fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Route => "route",
        }
    }
}

/// What makes a chain a base chain: packets come to it by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Base {
    /// The kind.
    pub kind: ChainType,
    /// The hook. Cannot be changed later.
    pub hook: Hook,
    /// The order among base chains of a hook; lower comes first. Cannot be changed later.
    pub priority: i32,
    /// The default verdict. Can be changed later.
    pub policy: Policy,
}

/// A chain to be made. Adding one that is there changes its policy, nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chain {
    /// The name.
    pub name: Name,
    /// For a base chain.
    pub base: Option<Base>,
    /// Printed by `nft list`.
    pub comment: Option<Comment>,
}

impl Chain {
    /// A chain that packets come to by a jump.
    #[must_use]
    pub const fn regular(name: Name) -> Self {
        Self { name, base: None, comment: None }
    }

    /// A chain that packets come to by themselves.
    #[must_use]
    pub const fn base(name: Name, base: Base) -> Self {
        Self { name, base: Some(base), comment: None }
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        out.text(NFTA_CHAIN_NAME, &self.name);
        if let Some(base) = &self.base {
            out.nest(NFTA_CHAIN_HOOK, |out| {
                out.be32(NFTA_HOOK_HOOKNUM, base.hook.number());
                out.be32(NFTA_HOOK_PRIORITY, base.priority.cast_unsigned());
            });
            out.be32(NFTA_CHAIN_POLICY, base.policy.number());
            out.text(NFTA_CHAIN_TYPE, base.kind.name());
        }
        if let Some(comment) = &self.comment {
            userdata::put_comment(out, NFTA_CHAIN_USERDATA, comment);
        }
    }
}

/// A chain that the kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedChain {
    /// The chain.
    pub chain: Chain,
    /// The kernel's number of it.
    pub handle: u64,
    /// How many rules it has and how many jumps lead to it, in one number.
    pub uses: u32,
}

impl ListedChain {
    /// `None` for a base chain that [`Base`] cannot hold, such as an ingress hook.
    pub(super) fn decode(attrs: Attrs<'_>) -> Result<Option<Self>, Malformed> {
        let (mut name, mut handle, mut uses, mut comment) = (None, 0, 0, None);
        let (mut kind, mut hook, mut policy) = (None, None, Policy::Accept);
        for attr in attrs {
            let attr = attr?;
            match attr.kind {
                NFTA_CHAIN_NAME => name = Name::new(attr.text()?).ok(),
                NFTA_CHAIN_HANDLE => handle = attr.be64()?,
                NFTA_CHAIN_USE => uses = attr.be32()?,
                NFTA_CHAIN_USERDATA => comment = userdata::comment(attr.payload),
                NFTA_CHAIN_TYPE => kind = Some(attr.text()?),
                NFTA_CHAIN_HOOK => hook = Some(decode_hook(attr.nested())?),
                NFTA_CHAIN_POLICY if attr.be32()? == Policy::Drop.number() => policy = Policy::Drop,
                _ => {}
            }
        }
        let name = name.ok_or(Malformed("a chain without a name"))?;
        let base = match hook {
            None => None,
            Some((hook, priority)) => {
                let hook = Hook::from_number(hook);
                let kind = ChainType::ALL.into_iter().find(|known| kind == Some(known.name()));
                let (Some(hook), Some(kind)) = (hook, kind) else { return Ok(None) };
                Some(Base { kind, hook, priority, policy })
            }
        };
        Ok(Some(Self { chain: Chain { name, base, comment }, handle, uses }))
    }
}

pub(super) fn decode_hook(attrs: Attrs<'_>) -> Result<(u32, i32), Malformed> {
    let (mut hook, mut priority) = (0, 0);
    for attr in attrs {
        let attr = attr?;
        match attr.kind {
            NFTA_HOOK_HOOKNUM => hook = attr.be32()?,
            NFTA_HOOK_PRIORITY => priority = attr.be32()?.cast_signed(),
            _ => {}
        }
    }
    Ok((hook, priority))
}
