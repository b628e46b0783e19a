//! Pods on other nodes that come, go and change all the time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use caracal_fv_tests::cluster::Cluster;
use serde_json::json;

/// Pods on other nodes.
const PODS: usize = 200;

/// The pause between two writes: about 500 a second.
const PAUSE: Duration = Duration::from_millis(2);

/// A thread that writes manifests until it is dropped. Ten writes go to each pod
/// in turn: the first makes it new, every other time with a label that a rule
/// selects by, which the second takes away; seven change nothing that matters;
/// the last removes it.
pub(crate) struct Churn {
    ended: Arc<AtomicBool>,
    writer: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Churn {
    pub(crate) fn start(cluster: &Cluster) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let (stop, dir) = (Arc::clone(&ended), cluster.manifests().to_owned());
        let writer = std::thread::spawn(move || {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                step(&dir, n)?;
                n += 1;
                std::thread::sleep(PAUSE);
            }
            (0..PODS).filter_map(|pod| std::fs::remove_file(file(&dir, pod)).err()).for_each(drop);
            Ok(())
        });
        Self { ended, writer: Some(writer) }
    }

    /// Ends the churn.
    ///
    /// # Errors
    /// When it could not be kept up.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.ended.store(true, Ordering::Relaxed);
        let ended = self.writer.take().map(JoinHandle::join);
        ended.map_or(Ok(()), |ended| ended.map_err(|_| anyhow::anyhow!("the churn panicked"))?)
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

fn step(dir: &Path, n: usize) -> anyhow::Result<()> {
    let pod = n / 10 % PODS;
    if n % 10 == 9 {
        return Ok(std::fs::remove_file(file(dir, pod))?);
    }
    let friend = if n.is_multiple_of(10) && (n / (10 * PODS)).is_multiple_of(2) { "yes" } else { "no" };
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": "bench", "name": format!("far-{pod}"),
            "labels": {"friend": friend}, "annotations": {"write": n.to_string()},
        },
        "spec": {"nodeName": "node2", "containers": [{"name": "main", "image": "main"}]},
        "status": {"phase": "Running", "podIPs": [{"ip": format!("10.66.0.{pod}")}]},
    });
    let hidden = dir.join(".far.new");
    std::fs::write(&hidden, object.to_string())?;
    Ok(std::fs::rename(&hidden, file(dir, pod))?)
}

fn file(dir: &Path, pod: usize) -> PathBuf {
    dir.join(format!("far-{pod}.json"))
}
