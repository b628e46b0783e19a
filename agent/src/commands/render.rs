//! `caracal render`.

use std::io::Write;

use anyhow::Context as _;
use caracal_dataplane::nftables_settings;
use caracal_nftables::render_text;
use caracal_program::PolicyStore;
use tracing::warn;

use super::finished;
use super::source::Prepared;
use crate::cli::{DataplaneKind, Global, RenderArgs};
use crate::logging::{self, Reader};

pub(super) fn run(global: &Global, args: &RenderArgs, output: impl Write) -> anyhow::Result<()> {
    logging::start(global.log_level.as_deref(), Reader::Person)?;
    let prepared = Prepared::new(global, &args.source)?;
    let locality = prepared.locality();
    let mut calculator = prepared.calculate(locality)?;
    let mut store = PolicyStore::new();
    calculator.flush(&mut |message| {
        if let Err(error) = store.apply(&message) {
            warn!("{error}");
        }
    });
    let text = match args.dataplane {
        DataplaneKind::Nftables => {
            let settings = calculator.configuration().settings();
            render_text(&store, &nftables_settings(&settings).context("cannot use the configuration")?)
        }
    };
    finished(print(&text, output))
}

fn print(text: &str, mut output: impl Write) -> anyhow::Result<()> {
    output.write_all(text.as_bytes())?;
    Ok(output.flush()?)
}
