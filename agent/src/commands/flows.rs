//! `caracal flows`.

use std::io::Write;
use std::time::Duration;

use caracal_proto::admin::{Flow, FlowEnd, FlowHit, FlowsRequest, FlowsResponse};

use tracing::warn;

use super::{finished, table};
use crate::admin::call;
use crate::cli::{FlowsArgs, Global, Output};
use crate::logging::{self, Reader};

/// The pause between two questions with `--follow`.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) fn run(global: &Global, args: &FlowsArgs, output: impl Write) -> anyhow::Result<()> {
    logging::start(global.log_level.as_deref(), Reader::Person)?;
    finished(write(args, output))
}

fn write(args: &FlowsArgs, mut output: impl Write) -> anyhow::Result<()> {
    let mut after = 0;
    let mut is_first = true;
    loop {
        let question = FlowsRequest { after };
        let answer = call(&args.ask.admin.admin_socket, |mut agent| async move { agent.flows(question).await })?;
        let FlowsResponse { enabled, flows, next, missed, more } = answer;
        if is_first && !enabled {
            warn!("no flow is recorded: FlowLogsLocalReporter is Disabled");
        }
        // What is older than the first answer was never asked for.
        if !is_first && missed > 0 {
            warn!("{missed} records came and went between two answers");
        }
        for flow in &flows {
            match args.ask.output {
                Output::Text => writeln!(output, "{}", line(flow))?,
                Output::Json => {
                    serde_json::to_writer(&mut output, flow)?;
                    writeln!(output)?;
                }
            }
        }
        output.flush()?;
        (after, is_first) = (next, false);
        match (more, args.follow) {
            (true, _) => {}
            (false, true) => std::thread::sleep(PAUSE),
            (false, false) => return Ok(()),
        }
    }
}

/// `12:00:03 outbound allow tcp shop/web 10.0.0.1:40000 > 10.0.0.2:80 by NetworkPolicy shop/web rule 0, 1 packet`.
fn line(flow: &Flow) -> String {
    let Flow {
        direction, action, source, destination, protocol, icmp_type, icmp_code, called, decider, packets, ..
    } = flow;
    let [source, destination] = [source, destination].map(|end| end.as_ref().map(text_of_end).unwrap_or_default());
    let icmp = match (icmp_type, icmp_code) {
        (Some(icmp_type), Some(code)) => format!(" type {icmp_type} code {code}"),
        _ => String::new(),
    };
    let called = if called.is_empty() { String::new() } else { format!(" (called {called})") };
    let decider = decider.as_ref().map(text_of_hit).unwrap_or_default();
    let time = table::time_of_day(flow.first);
    let plural = if *packets == 1 { "" } else { "s" };
    format!(
        "{time} {direction} {action} {protocol}{icmp} {source} > {destination}{called} by {decider}, {packets} packet{plural}"
    )
}

fn text_of_end(end: &FlowEnd) -> String {
    let FlowEnd { address, port, endpoint } = end;
    let address = match port {
        Some(port) if address.contains(':') => format!("[{address}]:{port}"),
        Some(port) => format!("{address}:{port}"),
        None => address.clone(),
    };
    if endpoint.is_empty() { address } else { format!("{endpoint} {address}") }
}

fn text_of_hit(hit: &FlowHit) -> String {
    let FlowHit { kind, namespace, name, tier: _, rule } = hit;
    match (kind.as_str(), rule) {
        ("EndOfTier", _) => format!("end of tier {name}"),
        ("NoMatch", _) => "no policy or profile".to_owned(),
        (_, Some(rule)) if namespace.is_empty() => format!("{kind} {name} rule {rule}"),
        (_, Some(rule)) => format!("{kind} {namespace}/{name} rule {rule}"),
        (_, None) => format!("{kind} {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(address: &str, port: Option<u32>, endpoint: &str) -> Option<FlowEnd> {
        Some(FlowEnd { address: address.into(), port, endpoint: endpoint.into() })
    }

    fn hit(kind: &str, namespace: &str, name: &str, rule: Option<u64>) -> Option<FlowHit> {
        Some(FlowHit { kind: kind.into(), namespace: namespace.into(), name: name.into(), rule, ..Default::default() })
    }

    #[test]
    fn a_line_says_who_may_do_what_and_why() {
        let allowed = Flow {
            direction: "outbound".into(),
            action: "allow".into(),
            source: end("10.0.0.1", Some(40000), "shop/web"),
            destination: end("fd00::2", Some(80), ""),
            protocol: "tcp".into(),
            called: "10.96.0.1:443".into(),
            decider: hit("NetworkPolicy", "shop", "web", Some(0)),
            packets: 1,
            first: 86_403.9,
            ..Flow::default()
        };
        let denied = Flow {
            direction: "inbound".into(),
            action: "deny".into(),
            source: end("10.0.0.1", None, ""),
            destination: end("10.0.0.2", None, ""),
            protocol: "icmp".into(),
            icmp_type: Some(8),
            icmp_code: Some(0),
            decider: hit("EndOfTier", "", "default", None),
            packets: 3,
            ..Flow::default()
        };
        let table = [
            (
                allowed,
                "00:00:03 outbound allow tcp shop/web 10.0.0.1:40000 > [fd00::2]:80 (called 10.96.0.1:443) by \
                 NetworkPolicy shop/web rule 0, 1 packet",
            ),
            (denied, "00:00:00 inbound deny icmp type 8 code 0 10.0.0.1 > 10.0.0.2 by end of tier default, 3 packets"),
        ];
        for (flow, text) in table {
            assert_eq!(line(&flow), text);
        }
        let of = |kind, name, rule| hit(kind, "", name, rule).map(|hit| text_of_hit(&hit));
        assert_eq!(of("NoMatch", "", None).as_deref(), Some("no policy or profile"));
        assert_eq!(of("Profile", "kns.shop", Some(1)).as_deref(), Some("Profile kns.shop rule 1"));
        assert_eq!(of("Unknown", "APE0|np/a", None).as_deref(), Some("Unknown APE0|np/a"));
    }
}
