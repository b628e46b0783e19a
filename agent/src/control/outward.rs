//! What the graph's thread tells of itself: to probes, to listeners that follow
//! the configuration, and in endpoint-status files.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use caracal_config::{HttpListener, Settings};
use tokio::sync::watch;

use super::Insight;
use crate::health::{self, Health, Ready};
use crate::http::Troubles;
use crate::logging::Logging;
use crate::status::files::{Keeper, Wanted, file_of};
use crate::status::{Presence, Status};

/// The least that `DataplaneWatchdogTimeout` can mean, as in Felix: who says every ten
/// seconds that it lives is not ill for having missed one.
const LEAST_WATCHDOG: Duration = Duration::from_secs(20);

/// The telling end.
pub struct Outward {
    logging: Logging,
    /// Where the policy sync API is served.
    policysync_prefix: watch::Sender<Option<PathBuf>>,
    health: Health,
    health_listener: watch::Sender<HttpListener>,
    metrics_listener: watch::Sender<HttpListener>,
    files: Keeper,
    files_prefix: Option<PathBuf>,
    /// What was kept last, and as of which stir of the status.
    kept: Option<(u64, Wanted)>,
}

/// The ends that follow.
pub struct Followers {
    /// Where the policy sync API is to be served.
    pub policysync_prefix: watch::Receiver<Option<PathBuf>>,
    /// How everything is doing.
    pub health: Health,
    /// Where probes are to be answered.
    pub health_listener: watch::Receiver<HttpListener>,
    /// Where metrics are to be served.
    pub metrics_listener: watch::Receiver<HttpListener>,
    /// Why they are not.
    pub troubles: Troubles,
}

impl Outward {
    /// Both ends; nobody listens anywhere yet.
    ///
    /// # Errors
    /// If the thread that writes files cannot be started.
    pub fn new(logging: Logging) -> io::Result<(Self, Followers)> {
        let nowhere = HttpListener { enabled: false, host: String::new(), port: 0, tls: None };
        let (policysync_prefix, policysync) = watch::channel(None);
        let (health_listener, probes) = watch::channel(nowhere.clone());
        let (metrics_listener, scrapes) = watch::channel(nowhere);
        let health = Health::default();
        health.register(health::STARTUP, None);
        health.register(health::GRAPH, Some(health::SILENCE));
        health.register(health::DATASTORE, Some(health::SILENCE));
        health.register(health::OBJECTS, None);
        health.register(health::DATAPLANE, None);
        health.away(health::DATAPLANE, "not connected");
        let troubles = Troubles::default();
        let files = Keeper::start(troubles.clone())?;
        let followers = Followers {
            policysync_prefix: policysync,
            health: health.clone(),
            health_listener: probes,
            metrics_listener: scrapes,
            troubles,
        };
        let outward = Self {
            logging,
            policysync_prefix,
            health,
            health_listener,
            metrics_listener,
            files,
            files_prefix: None,
            kept: None,
        };
        Ok((outward, followers))
    }

    /// Passes the configuration on to whoever does not read it from messages.
    pub(super) fn configure(&mut self, settings: Settings) {
        self.logging.set_severity(settings.log_severity_screen);
        follow(&self.policysync_prefix, settings.policy_sync_path_prefix);
        follow(&self.health_listener, settings.health);
        follow(&self.metrics_listener, settings.metrics);
        self.health.set_overrides(settings.health_timeouts);
        self.health.set_timeout(health::DATAPLANE, settings.dataplane_watchdog.map(|limit| limit.max(LEAST_WATCHDOG)));
        self.files_prefix = settings.endpoint_status_path_prefix;
        self.health.report(health::STARTUP, Ready::Yes, "");
    }

    /// The data half said something.
    pub(super) fn heard(&self) {
        self.health.alive(health::DATAPLANE);
    }

    /// Tells how things are now; called whenever they may have changed, and now and then.
    pub(super) fn tell(&mut self, insight: &Insight<'_>) {
        let listed = if insight.calculator.is_complete() { Ready::Yes } else { Ready::No };
        self.health.report(health::GRAPH, listed, "");
        self.tell_of_objects(insight);
        self.tell_of_data_half(insight);
        self.keep_files(insight.status);
    }

    fn tell_of_objects(&self, insight: &Insight<'_>) {
        let absent = insight.status.absent() + insight.calculator.count_problems();
        let detail = match absent {
            0 => String::new(),
            absent => format!("degraded: {absent} objects were never admitted; `caracal status` names them"),
        };
        self.health.report(health::OBJECTS, Ready::Yes, detail);
    }

    fn tell_of_data_half(&self, insight: &Insight<'_>) {
        let status = insight.status;
        let receipts = status.receipts();
        let may_act = insight.calculator.configuration().datastore_is_ready();
        let (ready, detail) = match status.data_half().presence {
            Presence::Away => return self.health.away(health::DATAPLANE, "not connected"),
            Presence::Here if receipts.failure().is_some() => (Ready::No, "rules cannot be put in force"),
            // As in Felix: who waits for the datastore is not ill.
            Presence::Here if !may_act => (Ready::Yes, "the datastore is not ready"),
            Presence::Here if receipts.acknowledged().is_none() => (Ready::No, "nothing is acknowledged"),
            Presence::Here => (Ready::Yes, ""),
        };
        // It must say itself that it lives.
        self.health.set_ready(health::DATAPLANE, ready, detail);
    }

    fn keep_files(&mut self, status: &Status) {
        let Some(prefix) = &self.files_prefix else {
            if let Some((_, kept)) = self.kept.take() {
                // Nobody keeps them right from now on.
                self.files.keep(Wanted { files: BTreeMap::new(), ..kept });
            }
            return;
        };
        if status.receipts().acknowledged().is_none() {
            return;
        }
        let stirs = status.stirs();
        if self.kept.as_ref().is_some_and(|(kept, wanted)| *kept == stirs && wanted.prefix == *prefix) {
            return;
        }
        let workloads = status.ledger().workloads().iter();
        let files = workloads.filter_map(|(id, workload)| file_of(id, workload, status.receipts().of(id)?));
        let wanted = Wanted { prefix: prefix.clone(), files: files.collect() };
        if self.kept.as_ref().is_none_or(|(_, kept)| *kept != wanted) {
            self.files.keep(wanted.clone());
        }
        self.kept = Some((stirs, wanted));
    }
}

fn follow<T: PartialEq>(sender: &watch::Sender<T>, value: T) {
    sender.send_if_modified(|held| {
        let changed = *held != value;
        *held = value;
        changed
    });
}
