//! The datastore's thread.

use std::io;
use std::thread::JoinHandle;

use caracal_datastore::convert::Settings;
use caracal_datastore::{ConfigEvent, Remote, Report, Request, Sink, Source};
use caracal_model::Event;

use super::{News, SourceInbox};

/// A source that runs on a thread of its own; it ends when dropped.
#[derive(Debug)]
pub struct Feed {
    remote: Remote,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Runs a source; what it tells goes to `inbox`, and `alive` is called when it has
    /// told something whole, and every few seconds.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(
        mut source: impl Source + 'static,
        inbox: SourceInbox,
        alive: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let remote = source.remote();
        let thread = std::thread::Builder::new().name("datastore".to_owned()).spawn(move || {
            let mut sink = Forward { inbox, alive: Box::new(alive) };
            if let Err(error) = source.run(&mut sink) {
                sink.inbox.send(News::Failed(crate::chain(&error)));
            }
        })?;
        Ok(Self { remote, thread: Some(thread) })
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.remote.ask(Request::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}

/// Puts what a source tells into the inbox.
struct Forward {
    inbox: SourceInbox,
    alive: Box<dyn Fn() + Send>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        // Nobody would notice that nothing comes any more.
        if std::thread::panicking() {
            self.inbox.send(News::Failed("the source's thread panicked".to_owned()));
        }
    }
}

impl Sink for Forward {
    fn event(&mut self, event: Event) {
        self.inbox.send(News::Event(Box::new(event)));
    }

    fn config(&mut self, event: ConfigEvent) {
        self.inbox.send(News::Config(event));
    }

    fn converts(&mut self, settings: &Settings) {
        self.inbox.send(News::Converts(settings.clone()));
    }

    fn report(&mut self, report: Report) {
        self.inbox.send(News::Report(report));
    }

    fn settled(&mut self) {
        (self.alive)();
        self.inbox.send(News::Settled);
    }

    fn alive(&mut self) {
        (self.alive)();
    }

    fn synced(&mut self, token: &str) {
        self.inbox.send(News::Synced(token.to_owned()));
    }
}
