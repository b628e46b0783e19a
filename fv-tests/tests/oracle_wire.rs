//! `caracal explain` against the verdicts that real packets got under Calico Felix.

use std::path::Path;

use caracal_fv_tests::oracle::data;
use caracal_fv_tests::oracle::explain::{Question, batch, single};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Cluster {
    name: String,
    objects: Vec<Value>,
    flows: Vec<Flow>,
}

#[derive(Deserialize)]
struct Flow {
    from: String,
    to: String,
    allow: Vec<String>,
    deny: Vec<String>,
}

impl Flow {
    fn questions(&self) -> impl Iterator<Item = (Question, &'static str)> {
        let asked = |verdict: &'static str, ports: &'_ [String]| -> Vec<_> {
            let question =
                |port: &String| Question { from: self.from.clone(), to: self.to.clone(), port: port.clone() };
            ports.iter().map(|port| (question(port), verdict)).collect()
        };
        asked("allow", &self.allow).into_iter().chain(asked("deny", &self.deny))
    }
}

fn check(path: &Path) -> anyhow::Result<usize> {
    let cluster: Cluster = serde_json::from_slice(&std::fs::read(path)?)?;
    let dir = tempfile::tempdir()?;
    let documents: String = cluster.objects.iter().map(|object| format!("---\n{object}\n")).collect();
    std::fs::write(dir.path().join("all.yaml"), documents)?;
    let (questions, want): (Vec<_>, Vec<_>) = cluster.flows.iter().flat_map(Flow::questions).unzip();
    let wrong: Vec<_> = batch(dir.path(), &questions)?
        .into_iter()
        .zip(questions.iter().zip(&want))
        .filter(|(got, (_, want))| got != *want)
        .map(|(got, (asked, want))| {
            format!("{} -> {} {}: wire {want}, explain {got}", asked.from, asked.to, asked.port)
        })
        .collect();
    assert!(wrong.is_empty(), "{}: {} wrong:\n{}", cluster.name, wrong.len(), wrong.join("\n"));
    let middle = questions.len() / 2;
    assert_eq!(single(dir.path(), &questions[middle])?, want[middle], "{}: the long form", cluster.name);
    Ok(questions.len())
}

#[test]
fn every_recorded_packet() -> anyhow::Result<()> {
    let mut paths: Vec<_> =
        std::fs::read_dir(data("wire"))?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    paths.sort();
    let mut asked = 0;
    for path in &paths {
        asked += check(path)?;
    }
    assert_eq!((paths.len(), asked), (15, 7964), "none is left out unnoticed");
    Ok(())
}
