//! Lines of the log on their way out.
//!
//! Whoever logs never waits for whoever reads: a pipe that nobody empties would
//! stop enforcement otherwise. A thread writes; what finds no room is dropped,
//! counted, and told once there is room again.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that wait to be written; as many may be on their way out.
const ROOM: usize = 1 << 20;

/// Where lines wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Something came in or went out.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Whether the thread is writing what it took.
    writing: bool,
    dropped: u64,
    /// How many of these the reader was told of.
    told: u64,
}

impl Queue {
    /// A queue whose lines a thread of its own writes to `out`. An error there is
    /// passed over: there is no other place to tell it.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let queue = Self::default();
        let lines = queue.clone();
        std::thread::Builder::new().name("log".to_owned()).spawn(move || lines.write_to(out))?;
        Ok(queue)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does not end: the process may log to its end.
    fn write_to(&self, mut out: impl Write) {
        let mut lines = Vec::new();
        loop {
            let mut state = self.lock();
            state.writing = false;
            self.0.changed.notify_all();
            while state.waiting.is_empty() {
                state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            lines.clear();
            std::mem::swap(&mut state.waiting, &mut lines);
            state.writing = true;
            drop(state);
            let _ = out.write_all(&lines).and_then(|()| out.flush());
            let mut state = self.lock();
            let untold = state.dropped - state.told;
            state.told = state.dropped;
            drop(state);
            if untold > 0 {
                let _ = writeln!(out, "{untold} lines of the log are missing here: nobody read it in time");
            }
            // What a burst took is given back.
            lines.shrink_to(64 << 10);
        }
    }

    /// How many lines were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Waits until everything is written, but not for longer than this.
    pub(super) fn flush(&self, patience: Duration) {
        let busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        let waited = self.0.changed.wait_timeout_while(self.lock(), patience, busy);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Takes one line.
pub(super) struct Line<'a>(&'a Queue);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if state.waiting.len() + line.len() > ROOM {
            state.dropped += 1;
        } else {
            state.waiting.extend_from_slice(line);
            self.0.0.changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn log(queue: &Queue, line: &str) {
        queue.make_writer().write_all(line.as_bytes()).expect("a line is taken or dropped");
    }

    #[test]
    fn lines_come_out_whole_and_in_order() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let queue = Queue::start(writer).expect("a thread");
        let want: Vec<String> = (0..1000).map(|number| format!("line {number}\n")).collect();
        want.iter().for_each(|line| log(&queue, line));
        queue.flush(Duration::from_secs(10));
        let want = want.concat();
        let mut found = vec![0; want.len()];
        reader.read_exact(&mut found).expect("everything is written");
        assert_eq!(String::from_utf8_lossy(&found), want);
        assert_eq!(queue.dropped(), 0);
    }

    #[test]
    fn nobody_waits_for_a_reader_who_does_not_read_and_what_is_missing_is_told() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let queue = Queue::start(writer).expect("a thread");
        let line = format!("{}\n", "x".repeat(1023));
        // What the pipe holds, what is on its way, and what waits are less than this.
        let lines = 4 * ROOM / line.len();
        (0..lines).for_each(|_| log(&queue, &line));
        let dropped = queue.dropped();
        assert!(dropped > 0);
        queue.flush(Duration::from_millis(1));
        let mut text = String::new();
        let mut bytes = [0; 4096];
        let told = format!("{dropped} lines of the log are missing here: nobody read it in time\n");
        while !text.ends_with(&told) {
            let count = reader.read(&mut bytes).expect("there is more");
            text.push_str(std::str::from_utf8(&bytes[..count]).expect("text"));
        }
        let kept = u64::try_from(text.matches(&line).count()).expect("a number");
        assert_eq!(kept + dropped, u64::try_from(lines).expect("a number"));
    }

    #[test]
    fn a_reader_who_has_gone_is_no_failure() {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let queue = Queue::start(writer).expect("a thread");
        for _ in 0..3 {
            log(&queue, "nobody reads this\n");
            queue.flush(Duration::from_secs(10));
        }
        assert_eq!(queue.dropped(), 0);
    }
}
