//! The reference evaluator's answers, from the cluster's manifests alone.

use anyhow::bail;

use crate::cluster::Cluster;
use crate::matrix::{Flow, Reference, Verdicts};
use crate::oracle::explain::{Question, batch};

/// Judges by the program's own reference evaluator (`caracal explain --batch -`).
pub struct Evaluator;

impl Reference for Evaluator {
    fn judge(&self, cluster: &Cluster, flows: &[Flow]) -> anyhow::Result<Verdicts> {
        let questions: Vec<_> = flows
            .iter()
            .map(|flow| Question {
                from: flow.from_addr.to_string(),
                to: flow.to_addr.to_string(),
                port: flow.port.to_string(),
            })
            .collect();
        let answers = batch(cluster.manifests(), &questions)?;
        flows
            .iter()
            .zip(answers)
            .map(|(flow, answer)| match answer.as_str() {
                "allow" => Ok((flow.clone(), true)),
                "deny" => Ok((flow.clone(), false)),
                other => bail!("caracal explain answered {other:?} to {flow:?}"),
            })
            .collect()
    }
}
