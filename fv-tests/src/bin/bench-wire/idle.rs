//! What the agent uses when nothing happens.

use std::time::Duration;

use anyhow::Context as _;
use caracal_fv_tests::agent::Process;
use nix::unistd::{SysconfVar, sysconf};

/// How long nothing happens.
const QUIET: Duration = Duration::from_secs(20);

/// Processor seconds a minute, and resident bytes.
pub(crate) struct Idle {
    pub(crate) cpu_seconds_per_minute: f64,
    pub(crate) resident_bytes: u64,
}

/// Watches both halves, which are one process here.
pub(crate) fn measure(agent: &Process) -> anyhow::Result<Idle> {
    let before = processor_seconds(agent)?;
    std::thread::sleep(QUIET);
    let used = processor_seconds(agent)? - before;
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.id()))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse()?;
    Ok(Idle { cpu_seconds_per_minute: used * 60.0 / QUIET.as_secs_f64(), resident_bytes: kib * 1024 })
}

/// User and system time of a process (`proc(5)`, fields 14 and 15 of `stat`, in clock ticks).
fn processor_seconds(agent: &Process) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", agent.id()))?;
    let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
    let field = |n: usize| -> anyhow::Result<f64> {
        Ok(fields.split_whitespace().nth(n - 3).context("stat is short")?.parse()?)
    };
    let ticks = sysconf(SysconfVar::CLK_TCK)?.context("the system has no clock tick")?;
    Ok((field(14)? + field(15)?) / ticks as f64)
}
