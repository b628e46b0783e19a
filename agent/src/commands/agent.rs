//! `caracal agent`.

use std::sync::mpsc;

use anyhow::Context as _;
use caracal_dataplane::{Frames, Reply};
use caracal_proto::sync::{ToData, from_data};
use tracing::info;

use super::half::{ControlThread, EndGuard};
use super::source::Prepared;
use crate::cli::{AgentArgs, Global};
use crate::control::{Input, Outlet, PeerId};
use crate::logging::{self, Reader};
use crate::sync::{Link, Refused, Retention};
use crate::{data, signals};

/// The data half of this process.
const LOCAL: PeerId = PeerId(0);

pub(super) fn run(global: &Global, args: &AgentArgs) -> anyhow::Result<()> {
    let logging = logging::start(global.log_level.as_deref(), Reader::Log)?;
    let prepared = Prepared::new(global, &args.source)?;
    info!(node = %prepared.configuration.node(), "{} starts", crate::BUILD);
    let settings = prepared.configuration.settings();
    let (end, ended) = mpsc::channel();
    signals::on_stop({
        let end = end.clone();
        move || drop(end.send(Ok(())))
    })?;

    let control = ControlThread::start(prepared, Retention::Transient, logging, end.clone())?;
    let replies = control.inbox();
    let guard = EndGuard::new(end.clone(), "the data half");
    let data = data::start(settings, move |reply| match reply {
        Reply::Frame(frame) => replies.send(Input::Frame { peer: LOCAL, frame }),
        Reply::GiveUp(reason) => guard.failed(&reason),
    })?;
    attach(&control, data.frames())?;
    let admin = control.serve_admin(&args.admin, &args.source, end)?;

    let result = ended.recv().context("every thread has ended")?;
    drop(admin);
    // The sender first.
    drop(control);
    data.stop();
    info!("stopped, the rules stay in the kernel");
    result
}

/// Connects the halves. Frames go from thread to thread; the data half passes over the welcome.
fn attach(control: &ControlThread, frames: Frames) -> anyhow::Result<()> {
    let Some(from_data::Frame::Hello(hello)) = Link::new().hello(None).frame else {
        anyhow::bail!("a link's first frame is a hello");
    };
    control.inbox().send(Input::Attach { peer: LOCAL, hello, outlet: Box::new(Local(frames)) });
    Ok(())
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
