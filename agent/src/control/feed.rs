//! The datastore's thread.

use std::io;
use std::thread::JoinHandle;

use caracal_datastore::convert::Settings;
use caracal_datastore::{ConfigEvent, Remote, Report, Request, Sink, Source};
use caracal_model::Event;

use super::inbox::PORTION;
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
            let mut sink = Forward { inbox, portion: Vec::new(), alive: Box::new(alive) };
            if let Err(error) = source.run(&mut sink) {
                sink.push(News::Failed(crate::chain(&error)));
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

/// Puts what a source tells into the inbox, what belongs together at once.
struct Forward {
    inbox: SourceInbox,
    portion: Vec<News>,
    alive: Box<dyn Fn() + Send>,
}

impl Forward {
    fn push(&mut self, news: News) {
        self.portion.push(news);
        if self.portion.len() >= PORTION {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        if !self.portion.is_empty() {
            self.inbox.send(std::mem::take(&mut self.portion));
        }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // Nobody would notice that nothing comes any more.
        if std::thread::panicking() {
            self.push(News::Failed("the source's thread panicked".to_owned()));
        }
        self.hand_over();
    }
}

impl Sink for Forward {
    fn event(&mut self, event: Event) {
        self.push(News::Event(Box::new(event)));
    }

    fn config(&mut self, event: ConfigEvent) {
        self.push(News::Config(event));
    }

    fn converts(&mut self, settings: &Settings) {
        self.push(News::Converts(settings.clone()));
    }

    fn report(&mut self, report: Report) {
        self.push(News::Report(report));
    }

    fn settled(&mut self) {
        self.push(News::Settled);
        self.hand_over();
        (self.alive)();
    }

    fn alive(&mut self) {
        self.hand_over();
        (self.alive)();
    }

    fn synced(&mut self, token: &str) {
        self.push(News::Synced(token.to_owned()));
        self.hand_over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Input, inbox};

    /// How many news arrive at once, where so many are told before they settle.
    #[track_caller]
    fn check(told: usize, portions: &[usize]) {
        let (_, source, receiver) = inbox();
        let mut sink = Forward { inbox: source, portion: Vec::new(), alive: Box::new(|| {}) };
        for _ in 0..told {
            sink.config(ConfigEvent::Begin);
        }
        sink.settled();
        let arrived: Vec<usize> = std::iter::from_fn(|| receiver.try_recv().ok())
            .map(|input| match input {
                Input::Source(portion) => portion.len(),
                _ => 0,
            })
            .collect();
        assert_eq!(arrived, portions);
    }

    #[test]
    fn what_belongs_together_comes_at_once() {
        check(0, &[1]);
        check(3, &[4]);
        check(PORTION - 1, &[PORTION]);
        check(PORTION + 1, &[PORTION, 2]);
    }

    #[test]
    fn a_source_that_goes_leaves_nothing_behind() {
        let (_, source, receiver) = inbox();
        let mut sink = Forward { inbox: source, portion: Vec::new(), alive: Box::new(|| {}) };
        sink.config(ConfigEvent::Begin);
        drop(sink);
        assert!(matches!(receiver.try_recv(), Ok(Input::Source(portion)) if portion.len() == 1));
    }
}
