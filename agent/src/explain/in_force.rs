//! What a running agent has in force where its manifests say something else: of a
//! refused object an earlier version stays, and while the datastore is not ready everything.

use caracal_program::{
    Direction, Packet, PolicyStore, ProgramError, Verdict, WorkloadId, evaluate_endpoint, trace_endpoint,
};
use caracal_proto::felix;
use serde::Serialize;
use serde_json::Value;

use super::Explained;
use super::answer::{Side, text as as_text, verdict, verdict_text};
use super::cluster::{Cluster, JudgeError};
use super::question::Question;
use super::text::reason;

/// What the policy of one end says of a packet, by the manifests.
#[derive(Clone, Debug)]
pub struct Judged {
    workload: WorkloadId,
    direction: Direction,
    packet: Packet,
    verdict: Verdict,
}

/// What is in force, and is not what the manifests say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `NAMESPACE/NAME`.
    workload: String,
    #[serde(serialize_with = "as_text")]
    direction: Direction,
    #[serde(serialize_with = "verdict")]
    verdict: Verdict,
    /// The reason in words.
    why: String,
}

/// What the policies of both ends say.
pub(super) fn judge(cluster: &Cluster, question: &Question) -> Result<Vec<Judged>, JudgeError> {
    let (from, to, packet) = cluster.resolve(question)?;
    if from.is_same_workload(to) {
        return Ok(Vec::new());
    }
    let judged = [(from, Direction::Egress), (to, Direction::Ingress)].into_iter().filter_map(|(end, direction)| {
        let endpoint = end.workload?;
        let verdict = evaluate_endpoint(endpoint, direction, cluster.store(), &packet).verdict;
        Some(Judged { workload: endpoint.id.clone(), direction, packet, verdict })
    });
    Ok(judged.collect())
}

/// Where what is in force on a node decides otherwise. `held` is a snapshot of it.
///
/// # Errors
/// If the snapshot cannot be understood.
pub fn differences(judged: &[Judged], held: &[felix::ToDataplane]) -> Result<Vec<Difference>, ProgramError> {
    let mut store = PolicyStore::new();
    for message in held {
        store.apply(message)?;
    }
    let differences = judged.iter().filter_map(|Judged { workload, direction, packet, verdict }| {
        // Those of other nodes are not there.
        let endpoint = store.workload(workload)?;
        let (decision, steps) = trace_endpoint(endpoint, *direction, &store, packet);
        let side = Side::decided(decision, steps);
        (side.verdict != *verdict).then(|| Difference {
            workload: workload.workload.to_string(),
            direction: *direction,
            verdict: side.verdict,
            why: reason(&side),
        })
    });
    Ok(differences.collect())
}

impl Explained {
    /// Says first what is in force otherwise; `None` if that cannot be told now.
    #[must_use]
    pub fn with_differences(mut self, differences: Option<&[Difference]>) -> Self {
        let notice = match differences {
            None => "changes wait to be put in force: what follows may not be in force yet\n\n".to_owned(),
            Some([]) => return self,
            Some(differences) => {
                let lines = differences.iter().map(|Difference { workload, direction, verdict, why }| {
                    format!("  {direction} of {workload}: {}, {why}\n", verdict_text(*verdict))
                });
                let lines: String = lines.collect();
                format!("in force is not what the manifests say; `caracal status` names what is not taken:\n{lines}\n")
            }
        };
        self.text.insert_str(0, &notice);
        if let (Ok(mut value), Some(differences)) = (serde_json::from_str::<Value>(&self.json), differences)
            && let Ok(differences) = serde_json::to_value(differences)
        {
            value["inForce"] = differences;
            self.json = format!("{value}\n");
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use caracal_calc_graph::Locality;
    use caracal_datastore::{ConfigEvent, FileSource, Report, Sink, Source as _};
    use caracal_model::Event;

    use super::*;
    use crate::configuration::Configuration;
    use crate::control::Calculator;
    use crate::explain::explain;

    struct Node(Calculator);

    impl Sink for Node {
        fn event(&mut self, event: Event) {
            self.0.on_event(event);
        }
        fn config(&mut self, event: ConfigEvent) {
            self.0.on_config(event);
        }
        fn report(&mut self, _: Report) {}
        fn settled(&mut self) {}
        fn synced(&mut self, _: &str) {}
    }

    /// An agent of node2, where the database is, that has read the manifests.
    fn agent(directory: &std::path::Path) -> Calculator {
        let configuration = Configuration::load(None, Some("node2")).expect("it can be used");
        let settings = configuration.convert_settings();
        let mut node = Node(Calculator::new(Locality::Node("node2".into()), configuration));
        let mut source = FileSource::open(directory, settings).expect("the directory can be read");
        source.list(&mut node).expect("the directory can be read");
        node.0
    }

    #[test]
    fn what_is_in_force_otherwise_is_said_first() {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |text: &str| fs::write(directory.path().join("shop.yaml"), text).expect("a file");
        write(super::super::tests::SHOP);
        let mut agent = agent(directory.path());
        assert_eq!(agent.held(), None, "it has told nothing");
        agent.flush(&mut |_| {});
        let held = agent.held().expect("everything was told");
        let question = Question::from_line(r#"{"from": "shop/api", "to": "shop/db", "port": "5432/tcp"}"#);
        let question = question.expect("a question");
        let ask = || {
            let explained = explain(directory.path(), None, &question).expect("an answer");
            let differences = differences(&explained.judged, &held).expect("it is understood");
            explained.with_differences(Some(&differences))
        };
        let same = ask();
        assert!(same.text.starts_with("ALLOW  shop/api"), "{}", same.text);
        assert!(!same.json.contains("inForce"), "{}", same.json);

        // As after a refusal: the manifests lack what the agent goes on with.
        write(&super::super::tests::SHOP.replace("matchLabels: {app: api}", "matchLabels: {app: nothing}"));
        let otherwise = ask();
        let start = "in force is not what the manifests say; `caracal status` names what is not taken:\n  \
                     ingress of shop/db: allow, by rule 0 of ";
        assert!(otherwise.text.starts_with(start), "{}", otherwise.text);
        let json: Value = serde_json::from_str(&otherwise.json).expect("JSON");
        assert_eq!(json["inForce"][0]["direction"], "ingress");
        assert_eq!((&json["verdict"], &json["inForce"][0]["verdict"]), (&"deny".into(), &"allow".into()));
    }
}
