//! The kernel's own part of changes: the time of the transactions that they led to, as
//! the agent's metrics tell it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use caracal_fv_tests::cluster::Cluster;

use crate::PATIENCE;

/// Where the agent answers.
const METRICS: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9091);

/// How long it takes until the data half has told the control half what it counted.
const TOLD: Duration = Duration::from_secs(4);

/// Has an agent that starts later tell its metrics.
pub(crate) fn tell(cluster: &Cluster) -> anyhow::Result<()> {
    let (host, port) = METRICS;
    let text = format!(
        "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: default}}\n\
         spec: {{prometheusMetricsEnabled: true, prometheusMetricsHost: {host}, prometheusMetricsPort: {port}}}\n"
    );
    cluster.write("metrics.yaml", &text).map(drop)
}

/// Waits until the agent tells its metrics.
pub(crate) fn wait(cluster: &Cluster) -> anyhow::Result<()> {
    const PAUSE: Duration = Duration::from_millis(20);
    let start = Instant::now();
    loop {
        match read(cluster) {
            Err(error) if start.elapsed() > PATIENCE => return Err(error),
            Err(_) => sleep(PAUSE),
            Ok(_) => return Ok(()),
        }
    }
}

/// How long the kernel has worked on transactions of the agent, all together. What it
/// did for the last change, and for what that left behind, is among it.
pub(crate) fn spent(cluster: &Cluster) -> anyhow::Result<Duration> {
    sleep(TOLD);
    read(cluster)
}

fn read(cluster: &Cluster) -> anyhow::Result<Duration> {
    const NAME: &str = "caracal_nftables_kernel_seconds_total ";
    let page = cluster.node.run(page)?.context("cannot read the agent's metrics")?;
    let seconds = page.lines().find_map(|line| line.strip_prefix(NAME)).context("no time of the kernel")?;
    Ok(Duration::from_secs_f64(seconds.parse()?))
}

fn page() -> std::io::Result<String> {
    let mut stream = TcpStream::connect(METRICS)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}
