mod precedence;
mod rows;

use serde_json::json;

use super::*;
use crate::kind::Kind;
use crate::parameter::parameter_of_field;

const ALL_SOURCES: [Source; 7] = [
    Source::Default,
    Source::Global,
    Source::Selector,
    Source::Node,
    Source::File,
    Source::Environment,
    Source::Override,
];

/// What a source says: texts by name.
type Said = (Source, &'static [(&'static str, &'static str)]);

/// What all sources say, the text and the source that count then, and what the warnings say is in force.
type State = (&'static [Said], (&'static str, Source), &'static [&'static str]);

/// What each source says, and what counts then.
fn resolve(layers: &[(Source, &[(&str, &str)])]) -> Resolved {
    let mut sources = ConfigSources::new();
    for (source, texts) in layers {
        sources.set(*source, texts.iter().copied());
    }
    sources.resolve()
}

fn environment(variables: &[(&str, &str)]) -> Resolved {
    let mut sources = ConfigSources::new();
    sources.set_environment(variables.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())));
    sources.resolve()
}

fn text_and_source<'r>(resolved: &'r Resolved, name: &str) -> (&'r str, Source) {
    let effective = resolved.get(name).unwrap_or_else(|| panic!("no parameter {name}"));
    (&effective.text, effective.source)
}

fn warnings(resolved: &Resolved) -> Vec<String> {
    resolved.warnings().iter().map(ToString::to_string).collect()
}

#[test]
fn the_table_is_sound() {
    for parameter in &PARAMETERS {
        let Param { name, default, .. } = parameter;
        if !default.is_empty() {
            let value = parameter.kind.parse(default);
            assert_eq!(value.as_ref(), Ok(&parameter.default_value()), "{name}");
        }
        let same_name = PARAMETERS.iter().filter(|p| p.name.eq_ignore_ascii_case(name)).count();
        assert_eq!(same_name, 1, "{name}");
        if let Some(field) = parameter.field {
            assert_eq!(parameter_of_field(field).map(|p| p.name), Some(*name), "{field}");
        }
        if let Kind::Pattern(pattern) = parameter.kind {
            assert!(regex_lite::Regex::new(pattern).is_ok(), "{name}: {pattern}");
        }
        let upper = name.to_uppercase();
        assert_eq!(crate::parameter(&upper).map(|p| p.name), Some(*name), "{upper}");
    }
    assert_eq!(PARAMETERS.len(), 211);
    let local = PARAMETERS.iter().filter(|p| p.scope == Scope::Local).count();
    assert_eq!(local, 19);
}

#[test]
fn every_parameter_takes_its_own_default_from_anywhere() {
    let said: Vec<(&str, &str)> =
        PARAMETERS.iter().filter(|p| !p.default.is_empty()).map(|p| (p.name, p.default)).collect();
    let resolved = resolve(&[(Source::Environment, &said)]);
    assert_eq!(warnings(&resolved), [""; 0]);
    for (parameter, effective) in resolved.iter() {
        assert_eq!(effective.value, parameter.default_value(), "{}", parameter.name);
    }
}

#[test]
fn a_later_source_wins() {
    for (i, &lower) in ALL_SOURCES.iter().enumerate() {
        for &higher in &ALL_SOURCES[i + 1..] {
            let resolved = resolve(&[(higher, &[("LogPrefix", "high")]), (lower, &[("LogPrefix", "low")])]);
            assert_eq!(text_and_source(&resolved, "LogPrefix"), ("high", higher), "over {lower}");
        }
        assert_eq!(lower.number() as usize, i);
    }
    let nothing = resolve(&[]);
    assert_eq!(text_and_source(&nothing, "LogPrefix"), ("calico-packet", Source::Default));
}

#[test]
fn names_in_any_case() {
    let resolved = resolve(&[(Source::File, &[("healthport", "1")]), (Source::Environment, &[("HEALTHPORT", "2")])]);
    assert_eq!(text_and_source(&resolved, "hEALTHpORT"), ("2", Source::Environment));
    let twice = resolve(&[(Source::File, &[("healthport", "1"), ("HealthPort", "2")])]);
    assert_eq!(text_and_source(&twice, "HealthPort"), ("2", Source::File));
    assert_eq!(
        warnings(&twice),
        ["HealthPort \"1\" from config file: set more than once; \"2\" from config file is in force"]
    );
}

#[test]
fn empty_says_nothing() {
    let resolved =
        resolve(&[(Source::Global, &[("InterfacePrefix", "tap")]), (Source::Environment, &[("InterfacePrefix", "")])]);
    assert_eq!(text_and_source(&resolved, "InterfacePrefix"), ("tap", Source::Global));
    assert_eq!(warnings(&resolved), [""; 0]);
}

#[test]
fn none_is_the_zero_value() {
    for (name, value) in [
        ("EndpointStatusPathPrefix", Value::Unset),
        ("HealthEnabled", Value::Bool(false)),
        ("RemoveExternalRoutes", Value::Bool(false)),
        ("VXLANEnabled", Value::Unset),
        ("HealthPort", Value::Integer(0)),
        ("RouteRefreshInterval", Value::Duration(std::time::Duration::ZERO)),
        ("FailsafeInboundHostPorts", Value::Unset),
        ("FlowLogsPolicyEvaluationMode", Value::Text("None".into())),
    ] {
        let resolved = resolve(&[(Source::File, &[(name, "None")])]);
        assert_eq!(resolved.get(name).map(|e| &e.value), Some(&value), "{name}");
        assert_eq!(warnings(&resolved), [""; 0]);
    }
    let required = resolve(&[(Source::File, &[("InterfacePrefix", "none")])]);
    assert_eq!(text_and_source(&required, "InterfacePrefix"), ("cali", Source::Default));
    assert_eq!(
        warnings(&required),
        ["InterfacePrefix \"none\" from config file: none is not allowed here; the default \"cali\" is in force"]
    );
}

#[test]
fn a_bad_text_leaves_the_next_source_in_force() {
    let resolved = resolve(&[
        (Source::Global, &[("HealthPort", "9100")]),
        (Source::File, &[("HealthPort", "http")]),
        (Source::Environment, &[("HealthPort", "70000"), ("Ipv6Support", "maybe")]),
    ]);
    assert_eq!(text_and_source(&resolved, "HealthPort"), ("9100", Source::Global));
    assert_eq!(text_and_source(&resolved, "Ipv6Support"), ("true", Source::Default));
    assert_eq!(
        warnings(&resolved),
        [
            "HealthPort \"http\" from config file: expected a whole number from 0 to 65535; \
             \"9100\" from datastore (global) is in force",
            "HealthPort \"70000\" from environment variable: expected a whole number from 0 to 65535; \
             \"9100\" from datastore (global) is in force",
            "Ipv6Support \"maybe\" from environment variable: expected true or false; the default \"true\" is in force",
        ]
    );
}

#[test]
fn the_datastore_does_not_say_which_node_this_is() {
    for source in ALL_SOURCES {
        let resolved = resolve(&[(source, &[("FelixHostname", "elsewhere")])]);
        let warnings = warnings(&resolved);
        if source.is_datastore() {
            assert_eq!(text_and_source(&resolved, "FelixHostname").0, "");
            let warning = format!(
                "FelixHostname \"elsewhere\" from {source}: only the node itself can set it; the default \"\" is in force"
            );
            assert_eq!(warnings, [warning]);
        } else {
            assert_eq!(text_and_source(&resolved, "FelixHostname").0, "elsewhere");
            assert_eq!(warnings, [""; 0]);
        }
    }
}

#[test]
fn unknown_names_are_reported_and_passed_on() {
    let resolved = resolve(&[
        (Source::Global, &[("MyDriverOption", "low"), ("ClusterGUID", "1")]),
        (Source::File, &[("InterfacePrefx", "cali"), ("MyDriverOption", "high")]),
    ]);
    assert_eq!(
        warnings(&resolved),
        [
            "MyDriverOption \"low\" from datastore (global): no parameter has this name",
            "InterfacePrefx \"cali\" from config file: no parameter has this name, InterfacePrefix has",
            "MyDriverOption \"high\" from config file: no parameter has this name",
        ]
    );
    let map = resolved.to_config_map();
    let expected = [("ClusterGUID", "1"), ("InterfacePrefx", "cali"), ("MyDriverOption", "high")];
    let expected = expected.map(|(n, t)| (n.to_owned(), t.to_owned()));
    assert_eq!(map, BTreeMap::from(expected));
}

/// What starts Felix in a pod sets `FELIX_FELIXHOSTNAME` from `NODENAME`.
#[test]
fn the_pod_says_which_node_it_is_on() {
    for (variables, host, problems) in [
        (&[("NODENAME", "a")][..], "a", 0),
        (&[("NODENAME", "a"), ("FELIX_FELIXHOSTNAME", "a")], "a", 0),
        (&[("NODENAME", "a"), ("FELIX_FELIXHOSTNAME", "b")], "a", 1),
        (&[("NODENAME", "a"), ("CARACAL_FELIXHOSTNAME", "b")], "b", 1),
        (&[("NODENAME", ""), ("FELIX_FELIXHOSTNAME", "b")], "b", 0),
    ] {
        let resolved = environment(variables);
        assert_eq!(text_and_source(&resolved, "FelixHostname"), (host, Source::Environment), "{variables:?}");
        assert_eq!(warnings(&resolved).len(), problems, "{variables:?}");
    }
}

#[test]
fn our_variables_win_over_felix_ones() {
    let resolved = environment(&[
        ("FELIX_HEALTHPORT", "1"),
        ("CARACAL_HealthPort", "2"),
        ("felix_HealthHost", "::1"),
        ("FELIX_IPV6SUPPORT", "false"),
        ("CARACAL_IPV6SUPPORT", "false"),
        ("FELIX_LOGPREFIX", "kept"),
        ("CARACAL_LOGPREFIX", ""),
        ("PATH", "/bin"),
        ("FELI", "x"),
    ]);
    for (name, text) in [("HealthPort", "2"), ("HealthHost", "::1"), ("Ipv6Support", "false"), ("LogPrefix", "kept")] {
        assert_eq!(text_and_source(&resolved, name), (text, Source::Environment));
    }
    assert_eq!(
        warnings(&resolved),
        ["HealthPort \"1\" from environment variable: another variable for the same differs; \
          \"2\" from environment variable is in force"]
    );
}

/// A pod in the namespace of a service has these, whatever it asks for.
#[test]
fn variables_about_services_are_no_parameters() {
    let resolved = environment(&[
        ("FELIX_METRICS_SVC_SERVICE_HOST", "10.96.0.9"),
        ("FELIX_METRICS_SVC_SERVICE_PORT", "9091"),
        ("FELIX_METRICS_SVC_SERVICE_PORT_METRICS", "9091"),
        ("FELIX_METRICS_SVC_PORT", "tcp://10.96.0.9:9091"),
        ("FELIX_METRICS_SVC_PORT_9091_TCP", "tcp://10.96.0.9:9091"),
        ("FELIX_METRICS_SVC_PORT_9091_TCP_PROTO", "tcp"),
        ("FELIX_METRICS_SVC_PORT_9091_TCP_PORT", "9091"),
        ("FELIX_METRICS_SVC_PORT_9091_TCP_ADDR", "10.96.0.9"),
        ("FELIX_HEALTHPORT", "1"),
        ("FELIX_HEALTH_PORT", "2"),
    ]);
    assert_eq!(text_and_source(&resolved, "HealthPort"), ("1", Source::Environment));
    let [only] = &warnings(&resolved)[..] else { panic!("{:?}", warnings(&resolved)) };
    assert!(only.starts_with("HEALTH_PORT \"2\" from environment variable: no parameter has this name"), "{only}");
}

#[test]
fn files() {
    let mut sources = ConfigSources::new();
    let text = "LogPrefix = a b\n; a comment\n[global]\nHealthPort=1\n[log]\nLogSeverityScreen = debug\n[global]\n\
                healthenabled = yes\nMTUIfacePattern = ^eth\\d+$\nHealthHost: ::1\n";
    sources.set_file(text).expect("an INI file");
    let resolved = sources.resolve();
    for (name, text) in [
        ("LogPrefix", "a b"),
        ("HealthPort", "1"),
        ("LogSeverityScreen", "debug"),
        ("HealthEnabled", "yes"),
        ("MTUIfacePattern", "^eth\\d+$"),
        ("HealthHost", "::1"),
    ] {
        assert_eq!(text_and_source(&resolved, name), (text, Source::File));
    }
    assert_eq!(warnings(&resolved), [""; 0]);

    let error = sources.set_file("[global]\nHealthPort\nLogPrefix = x\n").expect_err("no value");
    assert_eq!(error.to_string(), "line 2: expected name = text, [section] or a comment");
    let error = sources.set_file("LogPrefix = x\nHealthHost = \"open\n").expect_err("no quote");
    assert!(error.to_string().starts_with("not an INI file: "), "{error}");
    assert_eq!(sources.resolve(), resolved, "the last good file counts");
}

#[test]
fn resources() {
    let spec = json!({
        "interfacePrefix": "tap",
        "routeRefreshInterval": "2m",
        "nodeSelector": "has(x)",
        "healthPort": null,
        "netlinkTimeout": "soon",
        "interfacePrefixes": ["x"],
    });
    let spec = spec.as_object().expect("an object");
    let annotations = [
        ("config.projectcalico.org/InterfacePrefix", "cali"),
        ("config.projectcalico.org/LogPrefix", "mine"),
        ("example.com/HealthPort", "1"),
    ];
    let mut sources = ConfigSources::new();
    sources.set_resource(Source::Node, spec, annotations);
    let resolved = sources.resolve();
    for (name, text) in [("InterfacePrefix", "cali"), ("RouteRefreshInterval", "120"), ("LogPrefix", "mine")] {
        assert_eq!(text_and_source(&resolved, name), (text, Source::Node));
    }
    assert_eq!(text_and_source(&resolved, "HealthPort"), ("9099", Source::Default));
    assert_eq!(
        warnings(&resolved),
        [
            "NetlinkTimeoutSecs \"soon\" from datastore (per host): spec.netlinkTimeout: \
             expected a duration such as 1m30s; the default \"10\" is in force",
            "interfacePrefixes \"[\\\"x\\\"]\" from datastore (per host): no parameter has this name, \
             InterfacePrefix has",
        ]
    );
}

#[test]
fn what_is_sent_resolves_to_the_same() {
    let resolved = resolve(&[
        (Source::Default, &[("FelixHostname", "node-1")]),
        (Source::Global, &[("HealthPort", "1"), ("Ipv6Support", "bad"), ("Other", "x")]),
        (Source::Environment, &[("HealthPort", "2"), ("LogPrefix", "calico-packet")]),
    ]);
    let sent = Resolved::from_config_map(&resolved.to_config_map());
    for ((parameter, ours), (_, theirs)) in resolved.iter().zip(sent.iter()) {
        assert_eq!(ours.value, theirs.value, "{}", parameter.name);
    }
    assert_eq!(sent.to_config_map(), resolved.to_config_map());
    let sources: Vec<Source> = resolved.layers().iter().map(|l| l.source).collect();
    assert_eq!(sources, [Source::Default, Source::Global, Source::Environment]);
    assert_eq!(resolved.layers()[1].texts["Ipv6Support"], "bad");
}

#[test]
fn a_source_whose_value_goes_bad_keeps_its_last_good_one() {
    const NAME: &str = "RouteRefreshInterval";
    const GLOBAL: Source = Source::Global;
    const NODE: Source = Source::Node;
    let states: [State; 10] = [
        (&[(GLOBAL, &[(NAME, "x")])], ("90", Source::Default), &["the default \"90\""]),
        (&[(GLOBAL, &[(NAME, "7")])], ("7", GLOBAL), &[]),
        (&[(GLOBAL, &[(NAME, "x")])], ("7", GLOBAL), &["the last good value \"7\""]),
        (&[(GLOBAL, &[(NAME, "y")])], ("7", GLOBAL), &["the last good value \"7\""]),
        // What is hidden while it goes bad is not forgotten, nor what goes bad while it is hidden.
        (&[(GLOBAL, &[(NAME, "y")]), (NODE, &[(NAME, "8")])], ("8", NODE), &["\"8\" from datastore (per host)"]),
        (&[(GLOBAL, &[(NAME, "y")])], ("7", GLOBAL), &["the last good value \"7\""]),
        (&[(GLOBAL, &[(NAME, "9")]), (NODE, &[(NAME, "8")])], ("8", NODE), &[]),
        (&[(GLOBAL, &[(NAME, "z")]), (NODE, &[(NAME, "8")])], ("8", NODE), &["\"8\" from datastore (per host)"]),
        (&[(GLOBAL, &[(NAME, "z")])], ("9", GLOBAL), &["the last good value \"9\""]),
        // Silence is no value that went bad.
        (&[], ("90", Source::Default), &[]),
    ];
    let mut held: Option<Resolved> = None;
    for (i, (layers, expected, in_force)) in states.into_iter().enumerate() {
        let mut sources = ConfigSources::new();
        for (source, texts) in layers {
            sources.set(*source, texts.iter().copied());
        }
        let resolved = sources.resolve_after(held.as_ref());
        assert_eq!(text_and_source(&resolved, NAME), expected, "state {i}");
        let told: Vec<String> =
            resolved.warnings().iter().filter_map(|w| Some(w.in_force.as_ref()?.to_string())).collect();
        assert_eq!(told, in_force, "state {i}");
        held = Some(resolved);
    }
}

#[test]
fn a_field_that_goes_bad_keeps_its_last_good_value() {
    let after = |previous: Option<&Resolved>, value: serde_json::Value| {
        let mut sources = ConfigSources::new();
        let spec = json!({ "routeRefreshInterval": value });
        sources.set_resource(Source::Global, spec.as_object().expect("an object"), []);
        sources.resolve_after(previous)
    };
    let good = after(None, json!("7s"));
    let bad = after(Some(&good), json!({ "seconds": 8 }));
    assert_eq!(text_and_source(&bad, "RouteRefreshInterval"), ("7", Source::Global));
    let [warning] = &warnings(&bad)[..] else { panic!("one warning") };
    assert!(warning.starts_with("RouteRefreshInterval \"{"), "{warning}");
    assert!(warning.ends_with("; the last good value \"7\" is in force"), "{warning}");
}

#[test]
fn what_this_build_cannot_do_is_warned_about() {
    assert_eq!(warnings(&resolve(&[(Source::Global, &[("BPFEnabled", "false")])])), [""; 0]);
    let [warning] = &warnings(&resolve(&[(Source::Global, &[("BPFEnabled", "true")])]))[..] else {
        panic!("one warning");
    };
    assert!(warning.starts_with("BPFEnabled \"true\" from datastore (global): this build has no eBPF"), "{warning}");
}

/// To compare it with every name, letter by letter, would take minutes and a gigabyte.
#[test]
fn a_name_as_long_as_a_file_costs_its_length() {
    let name = "x".repeat(8 << 20);
    let [warning] = &warnings(&resolve(&[(Source::File, &[(&name, "true")])]))[..] else {
        panic!("one warning");
    };
    assert!(warning.ends_with("no parameter has this name"), "{}", warning.len());
}
