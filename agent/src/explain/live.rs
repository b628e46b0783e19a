//! The answer of a running agent: with what the kernel holds for its own endpoints.

use std::io::Write;

use caracal_proto::admin::{Endpoint, ExplainResponse};
use serde_json::Value;

use crate::cli::Output;

/// Prints what an agent answered.
pub(super) fn print(format: Output, answer: &ExplainResponse, mut output: impl Write) -> anyhow::Result<()> {
    let ExplainResponse { text, json, endpoints } = answer;
    match format {
        Output::Text => {
            output.write_all(text.as_bytes())?;
            for Endpoint { id, interface, outcome, revision, reason, .. } in endpoints {
                let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                writeln!(output, "\nin the kernel  {id} on {interface}: {outcome}, revision {revision}{reason}")?;
            }
        }
        Output::Json => {
            let mut value: Value = serde_json::from_str(json)?;
            value["endpoints"] = serde_json::to_value(endpoints)?;
            serde_json::to_writer(&mut output, &value)?;
            writeln!(output)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_holds_follows_the_answer() {
        let endpoint = Endpoint {
            id: "k8s/shop/db/eth0".to_owned(),
            interface: "cali1".to_owned(),
            outcome: "programmed".to_owned(),
            revision: 7,
            ..Endpoint::default()
        };
        let answer = ExplainResponse {
            text: "DENY\n".to_owned(),
            json: r#"{"verdict": "deny"}"#.to_owned(),
            endpoints: vec![endpoint],
        };
        let printed = |format| {
            let mut output = Vec::new();
            print(format, &answer, &mut output).expect("a vector takes everything");
            String::from_utf8(output).expect("text")
        };
        let want = "DENY\n\nin the kernel  k8s/shop/db/eth0 on cali1: programmed, revision 7\n";
        assert_eq!(printed(Output::Text), want);
        let json: Value = serde_json::from_str(&printed(Output::Json)).expect("JSON");
        assert_eq!((&json["verdict"], &json["endpoints"][0]["id"]), (&"deny".into(), &"k8s/shop/db/eth0".into()));
    }
}
