use caracal_config::{ConfigSources, PARAMETERS, Source};
use serde_json::{Value, json};

use super::*;
use crate::configuration::Configuration;

/// A configuration with a value from each kind of source, some of them bad.
fn configuration() -> Configuration {
    let mut sources = ConfigSources::new();
    sources.set(Source::Override, [("FelixHostname", "worker-1")]);
    sources.set_file("HealthPort = http\nIpv6Support = no\n").expect("an INI file");
    sources.set_environment([("FELIX_LOGPREFIX".to_owned(), "mine".to_owned())]);
    let spec = json!({"healthPort": 9100, "bpfEnabled": true, "netlinkTimeout": {"s": 1}, "interfacePrefx": "x"});
    sources.set_resource(Source::Global, spec.as_object().expect("an object"), []);
    Configuration::of(sources).expect("the node has a name")
}

fn printed(format: Output) -> String {
    let mut output = Vec::new();
    print(format, &answer(&configuration()), &mut output).expect("a vector takes everything");
    String::from_utf8(output).expect("text")
}

#[test]
fn people_get_a_row_for_each_parameter_and_a_line_for_each_problem() {
    let text = printed(Output::Text);
    let (table, problems) = text.split_once("\n\nproblems: 4\n").expect("the problems follow the table");
    assert_eq!(table.lines().count(), 1 + PARAMETERS.len());
    for (name, cells) in [
        ("PARAMETER", "VALUE SOURCE THIS BUILD REMARK"),
        ("FelixHostname", "worker-1 internal override acted on -"),
        ("HealthPort", "9100 datastore (global) acted on -"),
        (
            "Ipv6Support",
            "no config file acted on off, IPv6 of workloads is dropped; \
             Felix has no rules for it then, and lets it pass",
        ),
        ("LogPrefix", "mine environment variable acted on -"),
        ("HealthHost", "localhost default acted on -"),
        ("PolicySyncPathPrefix", "- default acted on -"),
        ("BPFEnabled", "true datastore (global) refused this build has no eBPF dataplane; nftables enforces policy"),
        ("GoMaxProcs", "-1 default ignored this program has no Go runtime"),
    ] {
        let row = table.lines().find(|line| line.split_whitespace().next() == Some(name)).expect(name);
        assert_eq!(row.split_whitespace().skip(1).collect::<Vec<_>>().join(" "), cells, "{name}");
    }
    let expected = "  \
  [configuration] config file: HealthPort: \"http\": expected a whole number from 0 to 65535; \
\"9100\" from datastore (global) is in force
  [configuration] datastore (global): NetlinkTimeoutSecs: spec.netlinkTimeout: \"{\\\"s\\\":1}\": \
expected no object; the default \"10\" is in force
  [configuration] datastore (global): BPFEnabled: \"true\": \
this build has no eBPF dataplane; nftables enforces policy
  [configuration] datastore (global): interfacePrefx: \"x\": \
no parameter has this name, InterfacePrefix has
";
    assert_eq!(problems, expected);
}

#[test]
fn programs_get_the_same() {
    let answer: Value = serde_json::from_str(&printed(Output::Json)).expect("JSON");
    let parameters = answer["parameters"].as_array().expect("a list");
    assert_eq!((parameters.len(), &answer["node"]), (PARAMETERS.len(), &json!("worker-1")));
    let of = |name: &str| parameters.iter().find(|parameter| parameter["name"] == name).expect(name);
    let health = json!({
        "name": "HealthPort", "value": "9100", "source": "datastore (global)", "disposition": "acted on", "reason": "",
    });
    assert_eq!(of("HealthPort"), &health);
    assert_eq!(of("WireguardEnabled")["disposition"], "refused");
    let problem = json!({
        "source": "configuration", "subject": "HealthPort", "place": "config file", "field": "", "value": "http",
        "reason": "expected a whole number from 0 to 65535", "inForce": "\"9100\" from datastore (global)",
    });
    assert_eq!((&answer["problems"][0], answer["problems"].as_array().map(Vec::len)), (&problem, Some(4)));
    let kinds = ["acted on", "ignored", "refused"].map(|kind| {
        let said = parameters.iter().filter(|parameter| parameter["disposition"] == kind).count();
        let meant = PARAMETERS.iter().filter(|parameter| parameter.disposition.word() == kind).count();
        assert!(said == meant && said > 0, "{kind}: {said} of {meant}");
        said
    });
    assert_eq!(kinds.iter().sum::<usize>(), PARAMETERS.len());
}
