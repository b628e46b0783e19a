//! A namespace with one table, and short names for what tests do in it.

use std::process::Command;

use caracal_sys::netns::NetNs;
use caracal_sys::nft::{
    Base, Batch, Chain, ChainType, Commit, CommitError, Element, Expr, Field, Guard, Hook, Key, Lookup, Name,
    NftSocket, Place, Policy, Reg, Rule, Set, SetData, SetHeader, SetKind, Table, TableId, Verdict,
};
use nix::errno::Errno;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a good name")
}

/// A table in a namespace of its own.
pub(crate) struct Sandbox {
    pub(crate) table: TableId,
    pub(crate) socket: NftSocket,
}

impl Sandbox {
    /// Runs `work` in a fresh namespace that has an empty table `t`.
    pub(crate) fn run(work: impl FnOnce(&mut Self) + Send) {
        let namespace = NetNs::new().expect("a namespace; needs root");
        let inside = || {
            let mut sandbox = Self { table: TableId::inet(name("t")), socket: NftSocket::open().expect("a socket") };
            sandbox.must(|batch| {
                batch.add_table(&Table::default()).expect("short");
            });
            work(&mut sandbox);
        };
        namespace.run(inside).expect("the namespace can be entered");
    }

    pub(crate) fn header(&self, set: &str) -> SetHeader {
        SetHeader::new(&self.table, &name(set))
    }

    /// A batch on the table, filled by `fill`.
    pub(crate) fn batch(&self, fill: impl FnOnce(&mut Batch)) -> Batch {
        let mut batch = Batch::new(&self.table);
        fill(&mut batch);
        batch
    }

    pub(crate) fn try_commit(&mut self, fill: impl FnOnce(&mut Batch)) -> Result<Commit, CommitError> {
        let mut batch = self.batch(fill);
        self.socket.commit(&mut batch)
    }

    pub(crate) fn try_guarded(&mut self, guard: Guard, fill: impl FnOnce(&mut Batch)) -> Result<Commit, CommitError> {
        let mut batch = self.batch(|_| {});
        batch.restart(guard);
        fill(&mut batch);
        self.socket.commit(&mut batch)
    }

    /// Commits what must succeed.
    pub(crate) fn must(&mut self, fill: impl FnOnce(&mut Batch)) {
        self.try_commit(fill).unwrap_or_else(|error| panic!("refused: {error:?}"));
    }

    /// Commits what must be refused; the errors in order, with the operation's number.
    pub(crate) fn refused(&mut self, fill: impl FnOnce(&mut Batch)) -> Vec<(Option<u32>, Errno)> {
        match self.try_commit(fill) {
            Err(CommitError::Refused(refused)) => refused.iter().map(|r| (r.op.map(|op| op.0), r.errno)).collect(),
            outcome => panic!("not refused: {outcome:?}"),
        }
    }

    /// What `nft` says about the namespace.
    pub(crate) fn nft(&self, arguments: &[&str]) -> String {
        let output = Command::new("nft").args(arguments).output().expect("nft is installed");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "nft {arguments:?}: {err}");
        out.into_owned()
    }

    pub(crate) fn chain_names(&mut self) -> Vec<String> {
        let chains = self.socket.chains(&self.table).expect("a listing");
        chains.iter().map(|listed| listed.chain.name.to_string()).collect()
    }
}

/// Operations with names and objects that are good, so that they cannot fail.
pub(crate) trait Operations {
    fn chain(&mut self, chain: &str) -> &mut Self;
    fn base(&mut self, chain: &str) -> &mut Self;
    fn rule(&mut self, chain: &str, exprs: &[Expr]) -> &mut Self;
    fn flush(&mut self, chain: &str) -> &mut Self;
    fn drop_chain(&mut self, chain: &str) -> &mut Self;
    fn set(&mut self, set: &Set) -> &mut Self;
    fn drop_set(&mut self, set: &str) -> &mut Self;
    fn put(&mut self, set: &SetHeader, elements: &[Element]) -> &mut Self;
    fn take(&mut self, set: &SetHeader, elements: &[Element]) -> &mut Self;
}

impl Operations for Batch {
    fn chain(&mut self, chain: &str) -> &mut Self {
        self.add_chain(&Chain::regular(name(chain))).expect("short");
        self
    }

    fn base(&mut self, chain: &str) -> &mut Self {
        self.add_chain(&Chain::base(name(chain), FORWARD)).expect("short");
        self
    }

    fn rule(&mut self, chain: &str, exprs: &[Expr]) -> &mut Self {
        self.add_rule(&name(chain), Place::Last, &Rule::new(exprs)).expect("short");
        self
    }

    fn flush(&mut self, chain: &str) -> &mut Self {
        self.flush_chain(&name(chain)).expect("short");
        self
    }

    fn drop_chain(&mut self, chain: &str) -> &mut Self {
        self.delete_chain(&name(chain)).expect("short");
        self
    }

    fn set(&mut self, set: &Set) -> &mut Self {
        self.add_set(set).expect("short");
        self
    }

    fn drop_set(&mut self, set: &str) -> &mut Self {
        self.delete_set(&name(set)).expect("short");
        self
    }

    fn put(&mut self, set: &SetHeader, elements: &[Element]) -> &mut Self {
        self.add_elements(set, elements.iter().cloned()).expect("short");
        self
    }

    fn take(&mut self, set: &SetHeader, elements: &[Element]) -> &mut Self {
        self.delete_elements(set, elements.iter().cloned()).expect("short");
        self
    }
}

pub(crate) const FORWARD: Base =
    Base { kind: ChainType::Filter, hook: Hook::Forward, priority: 0, policy: Policy::Accept };

/// A set of IPv4 addresses.
pub(crate) fn addresses(set: &str) -> Set {
    Set::new(name(set), SetKind::Hash, [Field::Ipv4].as_slice())
}

/// A set of IPv4 ranges.
pub(crate) fn ranges(set: &str) -> Set {
    Set::new(name(set), SetKind::Interval, [Field::Ipv4].as_slice())
}

/// A map from interface names to verdicts.
pub(crate) fn dispatch(set: &str) -> Set {
    Set::new(name(set), SetKind::Hash, [Field::IfName].as_slice()).with_data(SetData::Verdict)
}

pub(crate) fn ip(address: u32) -> Element {
    Element::at(std::net::Ipv4Addr::from_bits(address))
}

/// The two elements of a range of addresses, the last excluded.
pub(crate) fn range(first: u32, behind: u32) -> [Element; 2] {
    [ip(first), Element::new(Key::End(std::net::Ipv4Addr::from_bits(behind).into()))]
}

pub(crate) fn interface(interface: &str, verdict: Verdict) -> Element {
    Element::at(caracal_sys::IfName::new(interface).expect("a good name")).with_verdict(verdict)
}

pub(crate) fn jump(chain: &str) -> Expr {
    Expr::Verdict(Verdict::Jump(name(chain)))
}

pub(crate) fn lookup(set: &str) -> Expr {
    Expr::Lookup { set: name(set), sreg: Reg::R0, yields: Lookup::Member }
}
