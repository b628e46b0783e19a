//! The connections that a node tracks.

use std::time::Duration;

use caracal_sys::conntrack::{Flow, Judgement, Progress, Review};
use caracal_sys::netns::NetNs;

/// How long one step of a review may take.
const STEP: Duration = Duration::from_secs(10);

/// Goes through all connections of the default zone, and does with each what `judge` says.
///
/// # Errors
/// If the kernel does not list them, or does not do it.
pub fn review(node: &NetNs, mut judge: impl FnMut(&Flow) -> Judgement + Send) -> anyhow::Result<()> {
    node.run(|| {
        let mut review = Review::open()?;
        while !matches!(review.step(STEP, &mut judge)?, Progress::Done(_)) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    })?
}

/// All of them.
///
/// # Errors
/// If the kernel does not list them.
pub fn tracked(node: &NetNs) -> anyhow::Result<Vec<Flow>> {
    let mut flows = Vec::new();
    review(node, |flow| {
        flows.push(*flow);
        Judgement::Leave
    })?;
    Ok(flows)
}
