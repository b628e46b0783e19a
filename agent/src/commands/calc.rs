//! `caracal calc`.

use std::io::Write;

use caracal_datastore::{Request, Source as _};
use caracal_proto::felix;
use serde::Serialize;

use super::finished;
use super::source::Prepared;
use crate::cli::{CalcArgs, Global};
use crate::control::{Calculator, Feed, Input, News, inbox, log_report};
use crate::logging::{self, Reader};
use crate::signals;

pub(super) fn run(global: &Global, args: &CalcArgs, output: impl Write) -> anyhow::Result<()> {
    logging::start(global.log_level.as_deref(), Reader::Person)?;
    let prepared = Prepared::new(global, &args.source)?;
    let printer = Printer { output, sequence: 0 };
    if args.follow { finished(follow(prepared, printer)) } else { finished(once(prepared, printer)) }
}

/// Prints a state and ends.
fn once(prepared: Prepared, mut printer: Printer<impl Write>) -> anyhow::Result<()> {
    let locality = prepared.locality();
    printer.flush(&mut prepared.calculate(locality)?)
}

/// Prints a state and what becomes of it, until it is told to stop.
fn follow(prepared: Prepared, mut printer: Printer<impl Write>) -> anyhow::Result<()> {
    let source = prepared.open()?;
    let mut calculator = Calculator::new(prepared.locality(), prepared.configuration).tuning(source.remote());
    let (inbox, news, inputs) = inbox();
    let (remote, reloads) = (source.remote(), inbox.clone());
    let reload = move || {
        reloads.send(Input::Reload);
        remote.ask(Request::Refresh);
    };
    signals::follow(reload, move || inbox.send(Input::Stop))?;
    let _feed = Feed::start(source, news, || {})?;
    // Dropped before the feed, which may wait for room.
    let inputs = inputs;
    while let Ok(input) = inputs.recv() {
        match input {
            Input::Source(portion) => {
                portion.into_iter().try_for_each(|news| take(news, &mut calculator, &mut printer))?;
            }
            Input::Reload => {
                calculator.look_at_configuration_file();
                printer.flush(&mut calculator)?;
            }
            Input::Stop => break,
            Input::Attach { .. }
            | Input::Frame { .. }
            | Input::Detach { .. }
            | Input::Refused(_)
            | Input::PolicySync(_)
            | Input::Ask(_)
            | Input::Count(_) => {}
        }
    }
    Ok(())
}

fn take(news: News, calculator: &mut Calculator, printer: &mut Printer<impl Write>) -> anyhow::Result<()> {
    match news {
        News::Event(event) => calculator.on_event(*event),
        News::Config(event) => calculator.on_config(event),
        News::Converts(settings) => calculator.on_converts(settings),
        News::Report(report) => log_report(&report),
        News::Settled => printer.flush(calculator)?,
        News::Synced(token) => printer.synced(&token)?,
        News::Failed(reason) => anyhow::bail!(reason),
    }
    Ok(())
}

/// Prints messages as JSON lines.
struct Printer<W> {
    output: W,
    /// Messages printed so far.
    sequence: u64,
}

/// Says that everything done before the token was given is printed.
#[derive(Serialize)]
struct Marker<'a> {
    caracal: Synced<'a>,
}

#[derive(Serialize)]
struct Synced<'a> {
    synced: &'a str,
}

impl<W: Write> Printer<W> {
    fn flush(&mut self, calculator: &mut Calculator) -> anyhow::Result<()> {
        if !calculator.is_complete() || !calculator.is_settled() || !calculator.is_dirty() {
            return Ok(());
        }
        let mut result = Ok(());
        calculator.flush(&mut |message| {
            if result.is_ok() {
                result = self.message(message);
            }
        });
        result?;
        Ok(self.output.flush()?)
    }

    fn message(&mut self, mut message: felix::ToDataplane) -> anyhow::Result<()> {
        message.sequence_number = self.sequence;
        self.sequence += 1;
        self.line(&message)
    }

    fn synced(&mut self, token: &str) -> anyhow::Result<()> {
        self.line(&Marker { caracal: Synced { synced: token } })?;
        Ok(self.output.flush()?)
    }

    fn line(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.output, value)?;
        Ok(self.output.write_all(b"\n")?)
    }
}
