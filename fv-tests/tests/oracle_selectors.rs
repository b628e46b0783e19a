//! `caracal selector` against Calico's own parser, on recorded selectors.

use std::io::Write;
use std::process::{Command, Stdio};

use caracal_fv_tests::agent::program;
use caracal_fv_tests::oracle::data;
use serde_json::{Value, json};

#[test]
fn every_recorded_selector() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(data("selectors.jsonl"))?;
    let vectors: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(vectors.len(), 150, "none is left out unnoticed");
    let questions: String = vectors
        .iter()
        .map(|vector| format!("{}\n", json!({"selector": vector["selector"], "labels": vector["labels"]})))
        .collect();
    let mut child = Command::new(program()?).arg("selector").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().expect("the child has a standard input");
    let writer = std::thread::spawn(move || stdin.write_all(questions.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().expect("the writer does not panic")?;
    assert!(output.status.success(), "{}", output.status);
    let answers = String::from_utf8(output.stdout)?;
    let answers: Vec<Value> = answers.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(answers.len(), vectors.len());
    for (want, got) in vectors.iter().zip(&answers) {
        let fields: &[&str] = if want["valid"] == true { &["valid", "canonical", "id", "matches"] } else { &["valid"] };
        for field in fields {
            assert_eq!(got[field], want[field], "{field} of {}", want["selector"]);
        }
    }
    Ok(())
}
