//! What must hold of any configuration at all. Driven by the fuzz target beside
//! this crate, and by the test that replays its corpus.

use serde_json::Value as Json;

use crate::parameter::Disposition;
use crate::resolve::Resolved;
use crate::source::{ConfigSources, Source};

/// Takes the bytes as up to three parts between lines of `---`: a file of
/// parameters, the `spec` of a FelixConfiguration as JSON, and `NAME=TEXT` lines
/// of the environment. Asserts what must hold of what they say together.
///
/// # Panics
/// If something does not hold.
pub fn fuzz_one(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut parts = text.split("\n---\n");
    let mut sources = ConfigSources::new();
    // What is no file says nothing.
    let _ = sources.set_file(parts.next().unwrap_or_default());
    if let Some(Ok(Json::Object(spec))) = parts.next().map(serde_json::from_str) {
        sources.set_resource(Source::Global, &spec, []);
    }
    let variables = parts.next().unwrap_or_default().lines().filter_map(|line| line.split_once('='));
    sources.set_environment(variables.map(|(name, text)| (name.to_owned(), text.to_owned())));

    let resolved = sources.resolve();
    check(&resolved);
    assert_eq!(sources.resolve_after(Some(&resolved)), resolved, "nothing changed");
    let sent = Resolved::from_config_map(&resolved.to_config_map());
    assert_eq!(sent.settings(), resolved.settings(), "what is sent is what is meant");
    forgets_nothing(&resolved);
}

fn check(resolved: &Resolved) {
    for (parameter, effective) in resolved.iter() {
        let name = parameter.name;
        match effective.source {
            Source::Default => assert_eq!(effective.value, parameter.default_value(), "{name}"),
            _ => assert_eq!(Ok(&effective.value), parameter.parse(&effective.text).as_ref(), "{name}"),
        }
        let said = resolved.warnings().iter().filter(|warning| warning.name == name).count();
        let differs = effective.value != parameter.default_value();
        if differs && matches!(parameter.disposition, Disposition::Refused(_)) {
            assert!(said > 0, "{name} cannot be done, and nobody says so");
        }
    }
    for warning in resolved.warnings() {
        assert!(warning.to_string().starts_with(&warning.name));
    }
}

/// The same sources with nothing in them that can be read keep what counts.
fn forgets_nothing(resolved: &Resolved) {
    /// A regular expression and most texts may be anything else.
    const NEVER_READ: &str = "\u{1}(";
    let mut sources = ConfigSources::new();
    for layer in resolved.layers() {
        let bad = layer
            .texts
            .keys()
            .filter(|name| crate::parameter(name).is_some_and(|parameter| parameter.parse(NEVER_READ).is_err()));
        sources.set(layer.source, bad.map(|name| (name.as_str(), NEVER_READ)));
    }
    let after = sources.resolve_after(Some(resolved));
    for ((parameter, before), (_, after)) in resolved.iter().zip(after.iter()) {
        if before.source != Source::Default && parameter.parse(NEVER_READ).is_err() {
            assert_eq!(after, before, "{}", parameter.name);
        }
    }
}
