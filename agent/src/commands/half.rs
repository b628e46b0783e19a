//! The halves as threads of a command.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use anyhow::{Context as _, anyhow};
use caracal_datastore::{Remote, Request, Source as _};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::{info, warn};

use super::source::Prepared;
use crate::admin;
use crate::cli::{AdminArgs, Global, SourceArgs};
use crate::control::{Calculator, ControlHalf, Feed, Followers, Inbox, Input, Outward, inbox};
use crate::health::{self, Ready};
use crate::logging::Logging;
use crate::metrics::Scrapes;
use crate::sync::Retention;
use crate::{policysync, signals};

/// What the thread of a command is told while others work.
pub(super) enum Notice {
    /// Something has ended. The first end of anything ends the command: well if it was asked for.
    End(anyhow::Result<()>),
    /// What is read once or now and then is to be read again (SIGHUP).
    Reload,
}

/// The two ends of where notices come in. Signals give some.
pub(super) fn listen() -> std::io::Result<(Sender<Notice>, Receiver<Notice>)> {
    let (sender, notices) = mpsc::channel();
    let (reload, stop) = (sender.clone(), sender.clone());
    signals::follow(
        move || drop(reload.send(Notice::Reload)),
        // Whoever listens takes the first end only.
        move || drop(stop.send(Notice::End(Ok(())))),
    )?;
    Ok((sender, notices))
}

/// Has this process use all the descriptors that it may have, as programs in Go do by
/// themselves: the usual limit is for those that call select(2).
pub(super) fn allow_descriptors() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        warn!("the limit of open files stays as it is: {error}");
    }
}

/// Waits for the first end, and calls `reload` whenever that is asked for.
pub(super) fn wait(notices: &Receiver<Notice>, reload: impl Fn()) -> anyhow::Result<()> {
    loop {
        match notices.recv().context("every thread has ended")? {
            Notice::End(result) => return result,
            Notice::Reload => reload(),
        }
    }
}

/// The control half; it ends when dropped.
pub(super) struct ControlThread {
    inbox: Inbox,
    source: Remote,
    thread: Option<JoinHandle<()>>,
    followers: Followers,
    _policysync: policysync::serve::Server,
    /// Dropped last: it may wait for room in the inbox, which ends with the thread.
    _feed: Feed,
}

impl ControlThread {
    /// Opens the datastore and starts the threads. If the control half fails, `end` is told.
    pub(super) fn start(
        prepared: Prepared,
        retention: Retention,
        logging: Logging,
        end: Sender<Notice>,
    ) -> anyhow::Result<Self> {
        let source = prepared.open()?;
        let remote = source.remote();
        let calculator = Calculator::new(prepared.locality(), prepared.configuration).tuning(remote.clone());
        let (inbox, news, inputs) = inbox();
        let (outward, followers) = Outward::new(logging)?;
        let half = ControlHalf::new(inputs, calculator, retention, outward);
        let guard = EndGuard::new(end.clone(), "the policy sync server");
        let policysync = policysync::serve::spawn(followers.policysync_prefix.clone(), inbox.clone(), guard)?;
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || {
            let guard = EndGuard::new(end, "the control half");
            match half.run() {
                Ok(()) => guard.stopped(),
                Err(error) => guard.failed(&crate::chain(&error)),
            }
        })?;
        let health = followers.health.clone();
        let feed = Feed::start(source, news, move || health.report(health::DATASTORE, Ready::Yes, ""))?;
        Ok(Self { inbox, source: remote, thread: Some(thread), followers, _policysync: policysync, _feed: feed })
    }

    /// Answers questions about this control half: on the admin socket, and to
    /// probes and scrapes where the configuration says. If the thread for that ends, `end` is told.
    pub(super) fn serve_admin(
        &self,
        global: &Global,
        admin: &AdminArgs,
        source: &SourceArgs,
        end: Sender<Notice>,
    ) -> std::io::Result<admin::Server> {
        let Followers { health, health_listener, metrics_listener, troubles, .. } = &self.followers;
        let service = admin::Service::new(self.inbox(), source.datastore.clone(), health.clone(), troubles.clone())
            .with_config_file(global.config_file.clone());
        let listeners = admin::Listeners {
            health: (health_listener.clone(), health.clone()),
            metrics: (metrics_listener.clone(), Scrapes::new(self.inbox())),
            troubles: troubles.clone(),
        };
        admin::spawn(admin.admin_socket.clone(), service, listeners, EndGuard::new(end, "the admin server"))
    }

    /// Reads the configuration file and the datastore again.
    pub(super) fn reload(&self) {
        info!("SIGHUP: the configuration file and the datastore are read again");
        self.inbox.send(Input::Reload);
        self.source.ask(Request::Refresh);
    }

    /// Where peers write to.
    pub(super) fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }
}

impl Drop for ControlThread {
    fn drop(&mut self) {
        self.inbox.send(Input::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}

/// Reports the end of a thread, also when it panics.
pub(super) struct EndGuard {
    end: Sender<Notice>,
    what: &'static str,
}

impl EndGuard {
    pub(super) fn new(end: Sender<Notice>, what: &'static str) -> Self {
        Self { end, what }
    }

    /// It has failed.
    pub(super) fn failed(&self, reason: &str) {
        // Whoever listens takes the first end only.
        let _ = self.end.send(Notice::End(Err(anyhow!("{} failed: {reason}", self.what))));
    }

    /// It was told to end.
    fn stopped(&self) {
        let _ = self.end.send(Notice::End(Ok(())));
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        let _ = self.end.send(Notice::End(Err(anyhow!("{} has ended", self.what))));
    }
}
