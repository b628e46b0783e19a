//! What the agent uses when nothing happens.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Context as _;
use caracal_fv_tests::agent::Process;
use nix::time::clock_getcpuclockid;

/// How long the last change goes on in the agent: what it left behind is deleted, and
/// the connections that it may have cut off are looked through.
const AFTERMATH: Duration = Duration::from_secs(5);

/// How long nothing happens then.
const QUIET: Duration = Duration::from_secs(30);

/// Processor seconds a minute, and resident bytes.
pub(crate) struct Idle {
    pub(crate) cpu_seconds_per_minute: f64,
    pub(crate) resident_bytes: u64,
}

/// Watches both halves, which are one process here.
pub(crate) fn measure(agent: &Process) -> anyhow::Result<Idle> {
    sleep(AFTERMATH);
    let before = processor_time(agent)?;
    sleep(QUIET);
    let used = processor_time(agent)? - before;
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.id()))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse()?;
    let cpu_seconds_per_minute = used.as_secs_f64() * 60.0 / QUIET.as_secs_f64();
    Ok(Idle { cpu_seconds_per_minute, resident_bytes: kib * 1024 })
}

/// The time that all threads of a process, ended ones too, have had a core, to the
/// nanosecond (`clock_getcpuclockid(3)`): clock ticks are too coarse for so little.
fn processor_time(agent: &Process) -> anyhow::Result<Duration> {
    Ok(clock_getcpuclockid(agent.id())?.now()?.into())
}
