//! `caracal dataplane`.

use caracal_dataplane::Reply;
use tracing::info;

use super::half::{EndGuard, allow_descriptors, listen, wait};
use crate::cli::{DataplaneArgs, Global};
use crate::configuration::Configuration;
use crate::data;
use crate::logging::{self, Reader};
use crate::metrics::Vitals;
use crate::sync::connect::{self, Loop};

pub(super) fn run(global: &Global, args: &DataplaneArgs) -> anyhow::Result<()> {
    let logging = logging::start(global.log_level.as_deref(), Reader::Log)?;
    // What holds until the control half sends its own.
    let configuration = Configuration::load(global.config_file.as_deref(), None)?;
    logging.set_severity(configuration.settings().log_severity_screen);
    info!("{} starts, data half", crate::BUILD);
    allow_descriptors();
    let (end, notices) = listen()?;

    let (answers, replies) = connect::replies();
    let guard = EndGuard::new(end.clone(), "the data half");
    let vitals = Vitals::default();
    let replies_of = move |reply| match reply {
        Reply::Frame(frame) => answers.send(Box::new(vitals.add_to(*frame))),
        Reply::GiveUp(reason) => answers.give_up(reason),
    };
    let data = data::start(configuration.texts(), replies_of, guard)?;
    let (frames, position) = (data.frames(), data.frames());
    let client = connect::spawn(
        &args.socket,
        Loop { frames: Box::new(move |frame| frames.send(frame)), held: Box::new(move || position.held()), replies },
        EndGuard::new(end, "the connection to the control half"),
    )?;

    let result = wait(&notices, || info!("SIGHUP: the control half has the configuration; nothing is read again here"));
    drop(client);
    drop(data);
    info!("stopped, what is programmed stays");
    result
}
