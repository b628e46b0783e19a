//! The agent with no more rights than `docs/running.md` asks for: packets go as policy says.

use std::time::Duration;

use anyhow::Context as _;
use caracal_fv_tests::agent::{Process, datastore};
use caracal_fv_tests::cluster::NODE;
use caracal_fv_tests::matrix::agree;
use caracal_fv_tests::policies::{ONLY_FRIENDS, client_only};
use caracal_fv_tests::reference::Evaluator;
use tempfile::TempDir;

const CONVERGENCE: Duration = Duration::from_secs(20);

/// Leaves the first argument alone to be written to, of all files, and two capabilities for what follows it.
const CONFINE: &str = r#"
mount --bind "$1" "$1" && mount -o remount,ro,bind / && shift &&
exec setpriv --bounding-set=-all,+net_admin,+net_raw --inh-caps=-all --no-new-privs "$@"
"#;

#[test]
fn two_capabilities_and_one_directory_are_enough() -> anyhow::Result<()> {
    let cluster = client_only()?;
    let run = TempDir::new()?;
    let writable = run.path().to_str().context("a path is text")?;
    let socket = format!("{writable}/admin.sock");
    let wrapper = ["unshare", "--mount", "sh", "-c", CONFINE, "confine", writable];
    let arguments = ["agent", "--datastore", &datastore(&cluster), "--node", NODE, "--admin-socket", &socket];
    let agent = Process::start_within(&cluster, &wrapper, &arguments)?;
    agree(&cluster, &Evaluator, CONVERGENCE).with_context(|| agent.log().unwrap_or_default())?;
    cluster.write("policy.yaml", ONLY_FRIENDS)?;
    agree(&cluster, &Evaluator, CONVERGENCE).with_context(|| agent.log().unwrap_or_default())?;
    let log = agent.log()?;
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    assert!(run.path().join("admin.sock").exists());
    agent.stop()
}
