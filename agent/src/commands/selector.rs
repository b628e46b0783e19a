//! `caracal selector`.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use caracal_selector::Selector;
use serde::{Deserialize, Serialize};

use super::finished;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    selector: String,
    #[serde(default)]
    labels: Vec<BTreeMap<String, String>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Valid {
        valid: bool,
        canonical: String,
        id: String,
        matches: Vec<bool>,
    },
    Invalid {
        valid: bool,
        error: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        column: Option<usize>,
    },
}

/// Answers each line with one line, in order.
pub(super) fn run(input: impl BufRead, output: impl Write) -> anyhow::Result<()> {
    finished(answer_lines(input, output))
}

fn answer_lines(input: impl BufRead, mut output: impl Write) -> anyhow::Result<()> {
    for line in input.split(b'\n') {
        let line = line?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        serde_json::to_writer(&mut output, &answer(&line))?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
    Ok(())
}

fn answer(line: &[u8]) -> Answer {
    let invalid = |error: String, column| Answer::Invalid { valid: false, error, column };
    let question: Question = match serde_json::from_slice(line) {
        Ok(question) => question,
        Err(error) => return invalid(format!("not a question: {error}"), None),
    };
    match Selector::parse(&question.selector) {
        Ok(selector) => Answer::Valid {
            valid: true,
            canonical: selector.canonical().to_owned(),
            id: selector.id(),
            matches: question.labels.iter().map(|labels| selector.matches(labels)).collect(),
        },
        Err(error) => invalid(error.message(), Some(error.column())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: impl AsRef<[u8]>, want: &[&str]) {
        let mut output = Vec::new();
        run(input.as_ref(), &mut output).expect("the lines are read");
        let text = String::from_utf8(output).expect("JSON is text");
        assert_eq!(text.lines().collect::<Vec<_>>(), want);
    }

    #[test]
    fn each_line_has_its_answer() {
        check(
            concat!(
                r#"{"selector": "a=='b'", "labels": [{"a": "b"}, {}]}"#,
                "\n\n",
                r#"{"selector": "a = 'b'", "labels": []}"#,
                "\n",
                r#"{"selector": ""}"#,
            ),
            &[
                r#"{"valid":true,"canonical":"a == \"b\"","id":"s:flMh0m0X_BowkAK_W3j3MgH8oQOsj3WxGDoXCQ","matches":[true,false]}"#,
                r#"{"valid":false,"error":"a single '=', write \"==\"","column":3}"#,
                r#"{"valid":true,"canonical":"all()","id":"s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug","matches":[]}"#,
            ],
        );
    }

    #[test]
    fn a_line_that_is_no_question_has_an_answer_too() {
        check(
            "nonsense\n{\"selector\": \"all()\", \"lables\": []}\n",
            &[
                r#"{"valid":false,"error":"not a question: expected ident at line 1 column 2"}"#,
                r#"{"valid":false,"error":"not a question: unknown field `lables`, expected `selector` or `labels` at line 1 column 30"}"#,
            ],
        );
        check(
            b"{\"selector\": \"\xff\"}\n{}\n",
            &[
                r#"{"valid":false,"error":"not a question: invalid unicode code point at line 1 column 15"}"#,
                r#"{"valid":false,"error":"not a question: missing field `selector` at line 1 column 2"}"#,
            ],
        );
    }
}
