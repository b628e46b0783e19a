//! Looking through the connections, and labelling those that policy denies now.
//!
//! A connection that another one called for (the data of an FTP session) goes the
//! way of that one: policy says nothing of itself. What a connection that is cut called
//! for and has not come yet is not expected any more.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;

use super::cut::{CutConnections, LIMIT, Met};
use super::listing::{Lister, Listing, Next};
use super::{
    BATCH, CT_NEW, CTA_ID, CTA_LABELS, CTA_LABELS_MASK, CTA_TUPLE_ORIG, Entry, Flow, REVOKED, delete, expected, flags,
};
use crate::netlink::{NetlinkSocket, malformed};
use crate::wire::{Head, Malformed, Writer};

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It stays as it is.
    Leave,
    /// It is labelled: policy denies it now.
    Cut,
    /// The label is taken off: policy allows it again.
    Restore,
    /// Its entry is deleted.
    Forget,
}

/// What a review found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections that were looked at.
    pub seen: usize,
    /// Those that were labelled.
    pub cut: usize,
    /// Those that could not be labelled because they began before any rule of the
    /// namespace set labels. Their entries were deleted: the next packet makes a
    /// new entry, which policy judges. With `nf_conntrack_tcp_loose` set, which is
    /// the kernel's default, that packet may be one of the side that answers, and
    /// is judged as if that side opened the connection.
    pub unlabelled: usize,
    /// Those that lost the label.
    pub restored: usize,
    /// Those whose entries were deleted.
    pub forgotten: usize,
    /// Those that bear the label now.
    pub labelled: usize,
    /// The processor time that listing them took, on another thread.
    pub listing: Duration,
}

/// How far a review is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There are connections that it did not reach yet.
    Ahead,
    /// There may be, and the kernel has still to list them: to ask again at once is of no use.
    Waiting,
    /// It is over.
    Done(Tally),
}

/// A review of all connections, made piece by piece so that it may be long.
///
/// Connections of conntrack zones other than the default one are other programs'
/// (Open vSwitch, for one, with labels of its own) and are left alone.
#[derive(Debug)]
pub struct Review {
    labelling: NetlinkSocket,
    /// There from the first listing on, unless the last one failed.
    lister: Option<Lister>,
    running: Option<(Listing, Tally)>,
    cut: CutConnections,
    /// Connections that others called for, of the listing so far: whether these are
    /// cut is known at its end.
    related: Vec<Related>,
    /// The original tuples of those that are cut and that a helper reads.
    callers: BTreeSet<Box<[u8]>>,
    /// The original tuples of those that lost the label since the listing began.
    restored: BTreeSet<Box<[u8]>>,
    reconsidering: Option<Reconsidered>,
    requests: Writer,
    /// The requests that may be refused, with what to do then.
    asked: BTreeMap<u32, Asked>,
}

/// How far the connections that were cut have been looked through.
#[derive(Debug)]
struct Reconsidered {
    /// The tuple of the last of them.
    last: Option<Box<[u8]>>,
    tally: Tally,
}

/// A connection that another one called for.
#[derive(Debug)]
struct Related {
    tuple: Box<[u8]>,
    master: Box<[u8]>,
    flow: Flow,
    /// What deletes its entry.
    deletion: Vec<u8>,
}

#[derive(Debug)]
enum Asked {
    /// The deletion of the entry that cannot be labelled.
    Cut(Vec<u8>),
    Restore,
    Forget,
}

impl Review {
    /// Opens a socket, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When the system has no room for another socket.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            labelling: NetlinkSocket::open(NETLINK_NETFILTER)?,
            lister: None,
            running: None,
            cut: CutConnections::default(),
            related: Vec::new(),
            callers: BTreeSet::new(),
            restored: BTreeSet::new(),
            reconsidering: None,
            requests: Writer::default(),
            asked: BTreeMap::new(),
        })
    }

    /// Goes on with the review, or begins one, for about as long as `budget` and
    /// with what is listed already; does what `judge` says of each connection, and
    /// with one that it leaves and that another one called for what became of that
    /// one. A connection that began meanwhile may be missed: the rules of its time
    /// judged it. One that lost its label and is denied again meanwhile is for the
    /// next review.
    ///
    /// # Errors
    /// When the kernel has no connection tracking or refuses. The review is over
    /// then, and part of it is done.
    pub fn step(&mut self, budget: Duration, judge: &mut dyn FnMut(&Flow) -> Judgement) -> io::Result<Progress> {
        let outcome = self.advance(budget, judge);
        if outcome.is_err() {
            self.lister = None;
        }
        if !matches!(outcome, Ok(Progress::Ahead | Progress::Waiting)) {
            self.running = None;
            self.related.clear();
            self.callers.clear();
            self.restored.clear();
            self.requests.clear();
            self.asked.clear();
        }
        outcome
    }

    /// How many connections bear the label, if all of them are known: a review
    /// was made, and found no more than can be remembered. Some may have ended.
    #[must_use]
    pub fn known_cut(&self) -> Option<usize> {
        self.cut.count()
    }

    /// Looks through the connections that bear the label, as far as they are
    /// known, for about as long as `budget`, going on where it stopped the last
    /// time; restores or forgets those of which `judge` says so. What it costs
    /// does not depend on the number of other connections.
    ///
    /// # Errors
    /// When the kernel refuses; the next call begins anew.
    pub fn reconsider(&mut self, budget: Duration, judge: &mut dyn FnMut(&Flow) -> Judgement) -> io::Result<Progress> {
        let outcome = self.look_again(budget, judge);
        if outcome.is_err() {
            self.asked.clear();
        }
        outcome
    }

    fn look_again(&mut self, budget: Duration, judge: &mut dyn FnMut(&Flow) -> Judgement) -> io::Result<Progress> {
        /// Requests that are sent together.
        const AT_ONCE: usize = 256;
        let began = Instant::now();
        let Reconsidered { mut last, mut tally } =
            self.reconsidering.take().unwrap_or(Reconsidered { last: None, tally: Tally::default() });
        loop {
            let mut restored: BTreeSet<Box<[u8]>> = BTreeSet::new();
            let mut forgotten: Vec<Box<[u8]>> = Vec::new();
            let Self { labelling, requests, asked, cut, .. } = self;
            let mut seen = 0;
            let mut latest = None;
            let mut end = true;
            for (tuple, flow, id) in cut.after(last.as_deref()) {
                if seen == AT_ONCE || (seen > 0 && began.elapsed() >= budget) {
                    end = false;
                    break;
                }
                seen += 1;
                latest = Some(tuple);
                match judge(flow) {
                    Judgement::Restore => {
                        let seq = labelling.next_seq();
                        asked.insert(seq, Asked::Restore);
                        label(family_of(flow), tuple, &[0; 16], requests, seq);
                        restored.insert(tuple.into());
                    }
                    Judgement::Forget => {
                        let seq = labelling.next_seq();
                        asked.insert(seq, Asked::Forget);
                        delete(family_of(flow), tuple, id.map(|id| (CTA_ID, id)), requests, seq);
                        forgotten.push(tuple.into());
                    }
                    Judgement::Leave | Judgement::Cut => {}
                }
            }
            let along = if restored.is_empty() { Vec::new() } else { cut.related_to(&restored) };
            for (tuple, flow) in along {
                let seq = labelling.next_seq();
                asked.insert(seq, Asked::Restore);
                label(family_of(&flow), &tuple, &[0; 16], requests, seq);
                restored.insert(tuple);
            }
            last = latest.map(Box::from);
            tally.seen += seen;
            tally.restored += restored.len();
            tally.forgotten += forgotten.len();
            self.flush(&mut tally)?;
            for tuple in restored.iter().chain(&forgotten) {
                self.cut.lost(tuple);
            }
            if end {
                tally.labelled = self.cut.after(None).count();
                return Ok(Progress::Done(tally));
            }
            if began.elapsed() >= budget {
                self.reconsidering = Some(Reconsidered { last, tally });
                return Ok(Progress::Ahead);
            }
        }
    }

    fn advance(&mut self, budget: Duration, judge: &mut dyn FnMut(&Flow) -> Judgement) -> io::Result<Progress> {
        let began = Instant::now();
        let (listing, mut tally) = match self.running.take() {
            Some(running) => running,
            None => {
                let lister = match &mut self.lister {
                    Some(lister) => lister,
                    none => none.insert(Lister::start()?),
                };
                self.cut.begin();
                (lister.begin(), Tally::default())
            }
        };
        loop {
            let Next::Page(page) = listing.next()? else {
                self.flush(&mut tally)?;
                self.running = Some((listing, tally));
                return Ok(Progress::Waiting);
            };
            for entry in page.entries() {
                self.look_at(&entry.map_err(malformed)?, judge, &mut tally).map_err(malformed)?;
            }
            if let Some(took) = page.took {
                tally.listing = took;
                self.follow(&mut tally);
                self.flush(&mut tally)?;
                if !self.callers.is_empty() {
                    expected::end(&self.callers, &mut self.labelling)?;
                }
                self.cut.end();
                return Ok(Progress::Done(tally));
            }
            let is_over = began.elapsed() >= budget;
            if is_over || self.requests.len() >= BATCH {
                self.flush(&mut tally)?;
            }
            if is_over {
                self.running = Some((listing, tally));
                return Ok(Progress::Ahead);
            }
        }
    }

    /// Has a connection judged, and prepares what is to be done.
    fn look_at(
        &mut self,
        entry: &Entry<'_>,
        judge: &mut dyn FnMut(&Flow) -> Judgement,
        tally: &mut Tally,
    ) -> Result<(), Malformed> {
        let Self { labelling, requests, asked, cut, related, callers, restored, .. } = self;
        let Some(flow) = Flow::of(entry)? else { return Ok(()) };
        tally.seen += 1;
        tally.labelled += usize::from(flow.revoked);
        let seq = labelling.next_seq();
        let (tuple, judgement) = (entry.original.payload, judge(&flow));
        match (flow.revoked, judgement) {
            (_, Judgement::Cut) | (true, Judgement::Leave) => {
                let id = entry.id.and_then(|id| id.payload.try_into().ok());
                let master = entry.master.map(|master| master.payload);
                cut.met(tuple, Met { flow: Flow { revoked: true, ..flow }, master, id });
            }
            (true, Judgement::Restore | Judgement::Forget) => cut.lost(tuple),
            (false, Judgement::Leave | Judgement::Restore | Judgement::Forget) => {}
        }
        let deletion = || {
            let mut deletion = Writer::default();
            entry.delete(&mut deletion, seq);
            deletion.bytes().to_vec()
        };
        if judgement == Judgement::Leave
            && related.len() < LIMIT
            && let Some(master) = entry.master
        {
            let (tuple, master) = (tuple.into(), master.payload.into());
            related.push(Related { tuple, master, flow, deletion: deletion() });
        }
        if judgement == Judgement::Cut && entry.helper.is_some() {
            callers.insert(tuple.into());
        }
        match judgement {
            Judgement::Cut if !flow.revoked => {
                asked.insert(seq, Asked::Cut(deletion()));
                label(entry.family, tuple, &REVOKED, requests, seq);
                tally.cut += 1;
                tally.labelled += 1;
            }
            Judgement::Restore if flow.revoked => {
                restored.insert(tuple.into());
                asked.insert(seq, Asked::Restore);
                label(entry.family, tuple, &[0; 16], requests, seq);
                tally.restored += 1;
                tally.labelled -= 1;
            }
            Judgement::Forget => {
                asked.insert(seq, Asked::Forget);
                entry.delete(requests, seq);
                tally.forgotten += 1;
                tally.labelled -= usize::from(flow.revoked);
            }
            Judgement::Leave | Judgement::Cut | Judgement::Restore => {}
        }
        Ok(())
    }

    /// Does with what others called for as was done with these.
    fn follow(&mut self, tally: &mut Tally) {
        let Self { labelling, requests, asked, cut, related, restored, .. } = self;
        for Related { tuple, master, flow, deletion } in related.drain(..) {
            let seq = labelling.next_seq();
            if !flow.revoked && cut.has(&master) {
                asked.insert(seq, Asked::Cut(deletion));
                label(family_of(&flow), &tuple, &REVOKED, requests, seq);
                // Nobody forgets it but by a review.
                cut.met(&tuple, Met { flow: Flow { revoked: true, ..flow }, master: Some(&master), id: None });
                tally.cut += 1;
                tally.labelled += 1;
            } else if flow.revoked && restored.contains(&master) {
                asked.insert(seq, Asked::Restore);
                label(family_of(&flow), &tuple, &[0; 16], requests, seq);
                cut.lost(&tuple);
                tally.restored += 1;
                tally.labelled -= 1;
            }
        }
    }

    /// Sends what was collected, and deletes what cannot be labelled.
    fn flush(&mut self, tally: &mut Tally) -> io::Result<()> {
        let Self { labelling, requests, asked, .. } = self;
        if requests.len() == 0 {
            return Ok(());
        }
        let sent = labelling.send(requests.bytes());
        requests.clear();
        sent?;
        let mut deletions = Vec::new();
        labelling.failures(|seq, report| match (report.errno, asked.remove(&seq)) {
            (Errno::ENOSPC, Some(Asked::Cut(deletion))) => {
                deletions.extend(deletion);
                tally.cut -= 1;
                tally.labelled -= 1;
                tally.unlabelled += 1;
                Ok(())
            }
            // It ended by itself meanwhile.
            (Errno::ENOENT, Some(Asked::Cut(_))) => {
                tally.cut -= 1;
                tally.labelled -= 1;
                Ok(())
            }
            (Errno::ENOENT, Some(Asked::Restore)) => {
                tally.restored -= 1;
                Ok(())
            }
            (Errno::ENOENT, Some(Asked::Forget)) => {
                tally.forgotten -= 1;
                Ok(())
            }
            (errno, _) => Err(errno.into()),
        })?;
        asked.clear();
        if deletions.is_empty() {
            return Ok(());
        }
        labelling.send(&deletions)?;
        labelling.failures(|_, report| match report.errno {
            Errno::ENOENT => Ok(()),
            errno => Err(errno.into()),
        })
    }
}

/// Asks for our bit of a connection's labels, and for no other bit.
fn label(family: u8, tuple: &[u8], bits: &[u8; 16], requests: &mut Writer, seq: u32) {
    let head = Head { kind: CT_NEW, flags: flags(libc::NLM_F_REQUEST), seq };
    let open = requests.begin(head, family, 0);
    requests.nest(CTA_TUPLE_ORIG, |w| w.raw(tuple));
    requests.attr(CTA_LABELS, bits);
    requests.attr(CTA_LABELS_MASK, &REVOKED);
    requests.end(open).expect("a tuple that came in one message fits into another");
}

fn family_of(flow: &Flow) -> u8 {
    let family = if flow.source.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    u8::try_from(family).expect("address families are small numbers")
}
