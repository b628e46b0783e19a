//! `caracal explain` against the verdict tables of other policy engines.

use std::ffi::OsString;
use std::io::Read;

use caracal_fv_tests::oracle::data;
use caracal_fv_tests::oracle::explain::{Question, batch};
use flate2::read::GzDecoder;
use serde::Deserialize;

/// The files, each with the packets in it: none is left out unnoticed.
const PACKETS: [(&str, usize); 8] = [
    ("admin-v1alpha1-random", 1440),
    ("clusternetworkpolicy-random", 10_291),
    ("cyclonus-ipv4", 12_960),
    ("cyclonus-ipv6", 3600),
    ("knp-tables-clusternetworkpolicy", 121),
    ("knp-tables-networkpolicy", 153),
    ("knp-tables-v1alpha1", 121),
    ("networkpolicy-random", 13_050),
];

#[derive(Deserialize)]
struct Scenario {
    name: String,
    about: Option<String>,
    manifests: String,
    queries: Vec<Query>,
}

#[derive(Deserialize)]
struct Query {
    #[serde(flatten)]
    question: Question,
    expect: String,
}

fn check(source: &str) -> anyhow::Result<()> {
    let mut text = String::new();
    let file = std::fs::File::open(data("verdicts").join(format!("{source}.jsonl.gz")))?;
    GzDecoder::new(file).read_to_string(&mut text)?;
    let mut asked = 0;
    let mut wrong = Vec::new();
    for line in text.lines() {
        let scenario: Scenario = serde_json::from_str(line)?;
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("all.yaml"), &scenario.manifests)?;
        let questions: Vec<_> = scenario.queries.iter().map(|query| query.question.clone()).collect();
        asked += questions.len();
        for (query, got) in scenario.queries.iter().zip(batch(dir.path(), &questions)?) {
            if got != query.expect {
                let Question { from, to, port } = &query.question;
                wrong.push(format!(
                    "{} ({:?}): {from} -> {to} {port}: should be {}, is {got}",
                    scenario.name, scenario.about, query.expect
                ));
            }
        }
    }
    assert!(PACKETS.contains(&(source, asked)), "{source}: {asked} packets");
    wrong.truncate(20);
    assert!(wrong.is_empty(), "{source}:\n{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn policy_assistant_ipv4() -> anyhow::Result<()> {
    check("cyclonus-ipv4")
}

#[test]
fn policy_assistant_ipv6() -> anyhow::Result<()> {
    check("cyclonus-ipv6")
}

#[test]
fn random_network_policies() -> anyhow::Result<()> {
    check("networkpolicy-random")
}

#[test]
fn tables_of_kube_network_policies() -> anyhow::Result<()> {
    check("knp-tables-networkpolicy")
}

#[test]
fn random_policies_of_administrators() -> anyhow::Result<()> {
    check("clusternetworkpolicy-random")
}

#[test]
fn random_policies_of_administrators_in_the_first_version() -> anyhow::Result<()> {
    check("admin-v1alpha1-random")
}

#[test]
fn tables_of_kube_network_policies_on_administrators() -> anyhow::Result<()> {
    check("knp-tables-clusternetworkpolicy")
}

#[test]
fn tables_of_kube_network_policies_on_administrators_in_the_first_version() -> anyhow::Result<()> {
    check("knp-tables-v1alpha1")
}

#[test]
fn no_file_is_left_out() -> anyhow::Result<()> {
    let names = std::fs::read_dir(data("verdicts"))?.map(|entry| entry.map(|entry| entry.file_name()));
    let mut names: Vec<_> = names.collect::<Result<_, _>>()?;
    names.sort();
    assert_eq!(names, PACKETS.map(|(source, _)| OsString::from(format!("{source}.jsonl.gz"))));
    Ok(())
}
