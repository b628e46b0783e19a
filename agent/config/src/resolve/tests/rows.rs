//! Each row of the table, one by one: its default, a good value, a bad one, `none`, and an annotation.

use serde_json::Map;

use super::*;
use crate::kind::BadText;

/// Texts of all kinds: every parameter can read one that is not its default.
const GOOD: [&str; 17] = [
    "true",
    "false",
    "7",
    "192.0.2.7",
    "fd00::7",
    "10.0.0.0/8",
    "seven",
    "k=1s",
    "tcp:7",
    "7:9",
    "7-9",
    "a:7",
    "http://a:7",
    "0xff00",
    "7/second",
    "EF",
    "all",
];

/// Texts that are hardly anything; `none` is nothing where there must be something.
const BAD: [&str; 3] = ["%(", "/x", "none"];

fn good(parameter: &Param) -> &'static str {
    let options = match parameter.kind {
        Kind::OneOf(options) => options,
        _ => &GOOD,
    };
    let is_good = |text: &&&str| parameter.parse(text).is_ok_and(|value| value != parameter.default_value());
    options.iter().find(is_good).unwrap_or_else(|| panic!("no good text for {}", parameter.name))
}

/// `None` if any text will do.
fn bad(parameter: &Param) -> Option<(&'static str, BadText)> {
    let found = BAD.iter().find_map(|text| Some((*text, parameter.parse(text).err()?)));
    let takes_anything = parameter.kind == Kind::Text && !parameter.required;
    assert_eq!(found.is_none(), takes_anything, "{}", parameter.name);
    found
}

/// A source that may set the parameter.
fn source_of(parameter: &Param) -> Source {
    match parameter.scope {
        Scope::Anywhere => Source::Global,
        Scope::Local => Source::File,
    }
}

/// What is wrong with values; that this build does not do what they ask for is another matter.
fn faults(resolved: &Resolved) -> Vec<&Warning> {
    resolved.warnings().iter().filter(|warning| !matches!(warning.reason, Reason::Refused(_))).collect()
}

fn said(parameter: &Param, text: &str) -> ConfigSources {
    let mut sources = ConfigSources::new();
    sources.set(source_of(parameter), [(parameter.name, text)]);
    sources
}

#[test]
fn a_bad_value_keeps_the_last_good_one_and_names_the_parameter() {
    for parameter in &PARAMETERS {
        let Param { name, default, .. } = parameter;
        let (good, source) = (good(parameter), source_of(parameter));
        let before = said(parameter, good).resolve();
        let value = parameter.parse(good).expect("it is good");
        let effective = Effective { value, text: good.to_owned(), source };
        assert_eq!((before.get(name), &faults(&before)[..]), (Some(&effective), &[][..]), "{name}");
        let Some((bad, reason)) = bad(parameter) else { continue };
        let warning = |in_force| Warning {
            name: (*name).to_owned(),
            source,
            value: bad.to_owned(),
            reason: Reason::Text(reason.clone()),
            in_force: Some(in_force),
        };
        // After a good one, and from the start.
        let after = said(parameter, bad).resolve_after(Some(&before));
        assert_eq!(after.get(name), Some(&effective), "{name}");
        assert_eq!(faults(&after), [&warning(InForce::LastGood(good.to_owned()))], "{name}");
        let first = said(parameter, bad).resolve();
        assert_eq!(first.get(name).map(|effective| &effective.value), Some(&parameter.default_value()), "{name}");
        let in_force = InForce::Said { text: (*default).to_owned(), source: Source::Default };
        assert_eq!(faults(&first), [&warning(in_force)], "{name}");
        // It is gone, and all is as it was by default.
        let gone = said(parameter, "").resolve_after(Some(&after));
        assert_eq!(gone.get(name).map(|effective| &effective.value), Some(&parameter.default_value()), "{name}");
        assert!(faults(&gone).is_empty(), "{name}");
    }
}

#[test]
fn none_is_nothing_where_there_may_be_nothing() {
    for parameter in &PARAMETERS {
        let resolved = said(parameter, "NONE").resolve();
        let value = &resolved.get(parameter.name).expect("it is in the table").value;
        let is_option = matches!(parameter.kind, Kind::OneOf(options) if options.contains(&"None"));
        match (parameter.required, is_option) {
            (_, true) => assert_eq!(*value, Value::Text("None".to_owned()), "{}", parameter.name),
            (false, false) => assert_eq!(*value, parameter.zero(), "{}", parameter.name),
            (true, false) => {
                assert_eq!(*value, parameter.default_value(), "{}", parameter.name);
                let reasons: Vec<_> = faults(&resolved).iter().map(|warning| warning.reason.clone()).collect();
                let is_refused = matches!(reasons[..], [Reason::Text(_)]);
                assert!(is_refused, "{}: {reasons:?}", parameter.name);
            }
        }
    }
}

#[test]
fn an_annotation_sets_whatever_the_datastore_may_say() {
    for parameter in &PARAMETERS {
        let Param { name, scope, .. } = parameter;
        let (good, key) = (good(parameter), format!("config.projectcalico.org/{name}"));
        let mut sources = ConfigSources::new();
        sources.set_resource(Source::Global, &Map::new(), [(key.as_str(), good)]);
        let resolved = sources.resolve();
        let found = resolved.get(name).map(|effective| (effective.text.as_str(), effective.source));
        let reasons: Vec<_> = faults(&resolved).iter().map(|warning| &warning.reason).collect();
        match scope {
            Scope::Anywhere => assert_eq!((found, &reasons[..]), (Some((good, Source::Global)), &[][..]), "{name}"),
            Scope::Local => {
                assert_eq!(found, Some((parameter.default, Source::Default)), "{name}");
                assert_eq!(reasons, [&Reason::LocalOnly], "{name}");
            }
        }
    }
}
