//! What becomes of a FelixConfiguration that is edited while everything runs.

use caracal_config::{Disposition, HttpListener, LogSeverity, PARAMETERS, Scope, Settings};
use caracal_proto::admin::{ConfigResponse, Problem, StatusResponse};
use serde_json::{Value, json};

use super::*;
use crate::metrics::Scrapes;
use crate::{configuration, status};

impl Loop {
    /// Replaces the resource.
    fn edit(&self, name: &str, selector: &str, spec: Value) {
        let Value::Object(spec) = spec else { panic!("a spec is an object") };
        let resource = FelixConfiguration {
            name: name.into(),
            node_selector: selector.to_owned(),
            spec,
            ..FelixConfiguration::default()
        };
        self.source.send(vec![News::Config(ConfigEvent::Apply(resource))]);
        self.settle();
    }

    fn asked<T: Send + 'static>(&self, question: impl FnOnce(&Insight<'_>) -> T + Send + 'static) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(self.inbox.ask(question)).expect("it answers")
    }

    fn settings(&self) -> Settings {
        self.asked(|insight| insight.calculator.configuration().settings())
    }

    fn config(&self) -> ConfigResponse {
        self.asked(|insight| configuration::answer::answer(insight.calculator.configuration()))
    }

    fn status(&self) -> StatusResponse {
        self.asked(|insight| status::answer::status(insight, String::new(), &[], &[]))
    }

    /// What the metrics page says of the problems.
    fn counted(&self) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let page = runtime.block_on(Scrapes::new(self.inbox.clone()).page());
        let line = page.lines().find_map(|line| line.strip_prefix("caracal_configuration_problems "));
        line.expect("the page has the number").to_owned()
    }

    fn health_port(&self) -> u16 {
        self.settings();
        self.followers.health_listener.borrow().port
    }
}

#[test]
fn a_value_that_goes_bad_keeps_the_last_good_one_and_is_told_until_it_is_mended() {
    let control = Loop::start();
    control.list();
    let check = |spec: Value, port: u16, problem: Option<Problem>| {
        control.edit("default", "", spec.clone());
        assert_eq!(control.health_port(), port, "{spec}");
        assert_eq!(control.status().problems, Vec::from_iter(problem.clone()), "{spec}");
        assert_eq!(control.config().problems, Vec::from_iter(problem.clone()), "{spec}");
        assert_eq!(control.counted(), problem.iter().count().to_string(), "{spec}");
    };
    let problem = |value: &str, in_force: &str| Problem {
        source: "configuration".into(),
        subject: "HealthPort".into(),
        place: "datastore (global)".into(),
        value: value.into(),
        reason: "expected a whole number from 0 to 65535".into(),
        in_force: in_force.into(),
        ..Problem::default()
    };
    let kept = "the last good value \"9100\"";
    check(json!({"healthPort": 70000}), 9099, Some(problem("70000", "the default \"9099\"")));
    check(json!({"healthPort": 9100}), 9100, None);
    check(json!({"healthPort": 70000, "logPrefix": "x"}), 9100, Some(problem("70000", kept)));
    check(json!({"healthPort": -1}), 9100, Some(problem("-1", kept)));
    check(json!({"healthPort": 9200}), 9200, None);
    check(json!({}), 9099, None);
    control.end().expect("it was told to stop");
}

/// Status and metrics name the parameter, whichever it is.
#[test]
fn a_bad_value_of_any_parameter_is_told_by_its_name() {
    let control = Loop::start();
    control.list();
    let edit = |parameter: &str, text: &str| {
        let annotations = [(format!("config.projectcalico.org/{parameter}").into(), text.to_owned())].into();
        let resource = FelixConfiguration { name: "default".into(), annotations, ..FelixConfiguration::default() };
        control.source.send(vec![News::Config(ConfigEvent::Apply(resource))]);
        control.settle();
    };
    let mut told = 0;
    for parameter in PARAMETERS.iter().filter(|parameter| parameter.scope == Scope::Anywhere) {
        let name = parameter.name;
        let Some(bad) = ["%(", "/x", "none"].into_iter().find(|text| parameter.parse(text).is_err()) else { continue };
        edit(name, parameter.default);
        edit(name, bad);
        let in_force = match parameter.default {
            "" => "the default \"\"".to_owned(),
            default => format!("the last good value {default:?}"),
        };
        let problems = control.status().problems;
        let told_of: Vec<_> = problems
            .iter()
            .map(|problem| (problem.subject.as_str(), problem.value.as_str(), problem.in_force.as_str()))
            .collect();
        assert_eq!(told_of, [(name, bad, in_force.as_str())]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let page = runtime.block_on(Scrapes::new(control.inbox.clone()).page());
        let line = format!("caracal_configuration_parameter_problems{{parameter=\"{name}\"}} 1");
        assert!(page.lines().any(|found| found == line), "{line}");
        told += 1;
    }
    assert!(told > 150, "{told}");
    control.end().expect("it was told to stop");
}

#[test]
fn the_data_half_is_told_the_last_good_value() {
    let control = Loop::start();
    control.list();
    control.edit("default", "", json!({"logPrefix": "first"}));
    let mut peer = control.attach(1);
    peer.welcome();
    assert_eq!(peer.revision().messages[0], "config first");
    peer.ack(1);
    // What is wrong with one field takes nothing from the others.
    control.edit("default", "", json!({"logPrefix": {"a": 1}, "healthPort": 1}));
    assert_eq!(peer.revision().messages, ["config first"]);
    assert_eq!(control.health_port(), 1);
    control.end().expect("it was told to stop");
}

#[test]
fn followers_follow_each_place_of_the_datastore_and_the_labels_of_the_node() {
    let control = Loop::start();
    control.list();
    control.edit("default", "", json!({"healthPort": 1, "healthEnabled": true, "policySyncPathPrefix": "/a"}));
    assert_eq!(control.health_port(), 1);
    assert_eq!(control.followers.policysync_prefix.borrow().as_deref(), Some("/a".as_ref()));
    control.edit("racks", "zone == 'z1'", json!({"healthPort": 2}));
    assert_eq!(control.health_port(), 1, "nothing is known of the node");
    control.node("node-a", 1);
    assert_eq!(control.health_port(), 2, "the node has the label");
    control.edit("node.node-a", "", json!({"healthPort": 3}));
    assert_eq!(control.health_port(), 3);
    let wanted = HttpListener { enabled: true, host: "localhost".into(), port: 3, tls: None };
    assert_eq!(*control.followers.health_listener.borrow(), wanted);
    control.source.send(vec![News::Config(ConfigEvent::Delete("node.node-a".into()))]);
    assert_eq!(control.health_port(), 2);
    control.no_node("node-a");
    assert_eq!(control.health_port(), 1, "the node is gone, and its labels with it");
    control.edit("default", "", json!({"logSeverityScreen": "Debug"}));
    assert_eq!(control.settings().log_severity_screen, Some(LogSeverity::Debug));
    control.end().expect("it was told to stop");
}

/// Texts of which each parameter that is acted on can read two that mean different things.
const SAMPLES: [&str; 14] = [
    "true",
    "false",
    "1",
    "2",
    "0xff00",
    "0xff0000",
    "a",
    "b",
    "a=1s",
    "a=2s",
    "1/second",
    "2/second",
    "192.0.2.1",
    "192.0.2.2",
];

#[test]
fn every_parameter_that_is_acted_on_changes_while_everything_runs() {
    let control = Loop::start();
    control.list();
    let edited = |name: &str, text: &str| {
        let key = |name| format!("config.projectcalico.org/{name}").into();
        let others = [("UseInternalDataplaneDriver", "false"), ("PrometheusMetricsCertFile", "/certificate")];
        let annotations = others.into_iter().chain([(name, text)]).map(|(name, text)| (key(name), text.to_owned()));
        let annotations = annotations.collect();
        let resource = FelixConfiguration { name: "default".into(), annotations, ..FelixConfiguration::default() };
        control.source.send(vec![News::Config(ConfigEvent::Apply(resource))]);
        control.settings()
    };
    let mut changed = 0;
    for parameter in PARAMETERS.iter().filter(|parameter| parameter.disposition == Disposition::ActedOn) {
        // Which node this is cannot change while it runs, and the datastore has no say in it.
        if parameter.scope == Scope::Local {
            continue;
        }
        let options = match parameter.kind {
            caracal_config::Kind::OneOf(options) => options,
            _ => &SAMPLES,
        };
        let seen: Vec<Settings> = options
            .iter()
            .filter(|text| parameter.parse(text).is_ok())
            .map(|text| edited(parameter.name, text))
            .collect();
        assert!(seen.windows(2).any(|two| two[0] != two[1]), "{} changes nothing", parameter.name);
        changed += 1;
    }
    assert!(changed >= 30, "{changed} parameters");
    control.end().expect("it was told to stop");
}
