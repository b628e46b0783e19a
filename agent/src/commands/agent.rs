//! `caracal agent`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use caracal_dataplane::Reply;
use caracal_proto::sync::{ToData, from_data};
use tracing::{info, warn};

use super::half::{ControlThread, EndGuard, allow_descriptors, listen, wait};
use super::source::Prepared;
use crate::cli::{AgentArgs, Global};
use crate::control::{Inbox, Input, Outlet, PeerId};
use crate::data::{self, Frames};
use crate::logging::{self, Reader};
use crate::sync::{Link, Refused, Retention};

pub(super) fn run(global: &Global, args: &AgentArgs) -> anyhow::Result<()> {
    let logging = logging::start(global.log_level.as_deref(), Reader::Log)?;
    let prepared = Prepared::new(global, &args.source)?;
    info!(node = %prepared.configuration.node(), "{} starts", crate::BUILD);
    let local = prepared.configuration.texts();
    allow_descriptors();
    let (end, notices) = listen()?;

    let control = ControlThread::start(prepared, Retention::Transient, logging, end.clone())?;
    let line = Arc::new(Line { inbox: control.inbox(), frames: OnceLock::new(), peer: AtomicU64::new(0) });
    let replies = line.clone();
    let guard = EndGuard::new(end.clone(), "the data half");
    let data = data::start(local, move |reply| replies.take(reply), guard)?;
    line.attach(data.frames())?;
    let admin = control.serve_admin(global, &args.admin, &args.source, end)?;

    let result = wait(&notices, || control.reload());
    drop(admin);
    // The sender first.
    drop(control);
    drop(data);
    info!("stopped, what is programmed stays");
    result
}

/// The connection of the halves. Frames go from thread to thread; the data half
/// passes over the welcome.
struct Line {
    inbox: Inbox,
    frames: OnceLock<Frames>,
    /// Counts the connections: a data half that lost its place is connected anew.
    peer: AtomicU64,
}

impl Line {
    fn attach(&self, frames: Frames) -> anyhow::Result<()> {
        let Some(from_data::Frame::Hello(hello)) = Link::new().hello(None).frame else {
            anyhow::bail!("a link's first frame is a hello");
        };
        let outlet = Box::new(Local(self.frames.get_or_init(|| frames).clone()));
        self.inbox.send(Input::Attach { peer: self.peer(), hello, outlet });
        Ok(())
    }

    fn peer(&self) -> PeerId {
        PeerId(self.peer.load(Ordering::Relaxed))
    }

    fn take(&self, reply: Reply) {
        match reply {
            Reply::Frame(frame) => self.inbox.send(Input::Frame { peer: self.peer(), frame }),
            Reply::GiveUp(reason) => {
                info!("the data half starts from a snapshot: {reason}");
                self.inbox.send(Input::Detach { peer: self.peer() });
                self.peer.fetch_add(1, Ordering::Relaxed);
                // Nothing comes before it was attached first.
                if let Some(frames) = self.frames.get().cloned()
                    && let Err(error) = self.attach(frames)
                {
                    warn!("{error}");
                }
            }
        }
    }
}

struct Local(Frames);

impl Outlet for Local {
    fn send(&mut self, frame: ToData) {
        // When the data half ends, so does the process.
        let _ = self.0.send(frame);
    }

    fn refuse(&mut self, refused: Refused) {
        unreachable!("the halves of one process understand each other: {refused}");
    }
}
