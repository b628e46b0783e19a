//! `caracal control`.

use tracing::info;

use super::half::{ControlThread, EndGuard, allow_descriptors, listen, wait};
use super::source::Prepared;
use crate::cli::{ControlArgs, Global};
use crate::logging::{self, Reader};
use crate::sync::socket::Socket;
use crate::sync::{Retention, serve};

pub(super) fn run(global: &Global, args: &ControlArgs) -> anyhow::Result<()> {
    let logging = logging::start(global.log_level.as_deref(), Reader::Log)?;
    let prepared = Prepared::new(global, &args.source)?;
    info!(node = %prepared.configuration.node(), "{} starts, control half", crate::BUILD);
    allow_descriptors();
    let (end, notices) = listen()?;

    let socket = Socket::bind(&args.socket)?;
    let control = ControlThread::start(prepared, Retention::Resumable, logging, end.clone())?;
    let server = serve::spawn(socket, control.inbox(), EndGuard::new(end.clone(), "the sync server"))?;
    let admin = control.serve_admin(global, &args.admin, &args.source, end)?;
    info!(socket = %args.socket.display(), "serving the data half");

    let result = wait(&notices, || control.reload());
    drop(admin);
    drop(server);
    drop(control);
    info!("stopped");
    result
}
