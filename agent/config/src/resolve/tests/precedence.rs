//! Each place where a value may come from, as it is written there; and which one wins.

use serde_json::json;

use crate::resolve::Effective;
use crate::source::{ConfigSources, Source};

/// A place in which `RouteRefreshInterval` and `LogPrefix` are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    GlobalField,
    GlobalAnnotation,
    SelectorField,
    SelectorAnnotation,
    NodeField,
    NodeAnnotation,
    File,
    FelixVariable,
    CaracalVariable,
    CommandLine,
}

impl Place {
    /// From the lowest to the highest.
    const ALL: [Self; 10] = [
        Self::GlobalField,
        Self::GlobalAnnotation,
        Self::SelectorField,
        Self::SelectorAnnotation,
        Self::NodeField,
        Self::NodeAnnotation,
        Self::File,
        Self::FelixVariable,
        Self::CaracalVariable,
        Self::CommandLine,
    ];

    const fn source(self) -> Source {
        match self {
            Self::GlobalField | Self::GlobalAnnotation => Source::Global,
            Self::SelectorField | Self::SelectorAnnotation => Source::Selector,
            Self::NodeField | Self::NodeAnnotation => Source::Node,
            Self::File => Source::File,
            Self::FelixVariable | Self::CaracalVariable => Source::Environment,
            Self::CommandLine => Source::Override,
        }
    }

    /// What is written there, in seconds: its own number.
    fn text(self) -> String {
        (1 + self as usize).to_string()
    }
}

/// What counts when something is written in these places, in any order of setting them.
fn written(places: &[Place]) -> Effective {
    let seconds = |place: Place| places.contains(&place).then(|| place.text());
    let mut sources = ConfigSources::new();
    sources.set(Source::Override, seconds(Place::CommandLine).map(|text| ("RouteRefreshInterval", text)));
    let variables = [
        ("FELIX_ROUTEREFRESHINTERVAL", Place::FelixVariable),
        ("CARACAL_RouteRefreshInterval", Place::CaracalVariable),
    ];
    let variables = variables.into_iter().filter_map(|(name, place)| Some((name.to_owned(), seconds(place)?)));
    sources.set_environment(variables);
    let file = seconds(Place::File).map(|text| format!("[any]\nrouterefreshinterval = {text}\n"));
    sources.set_file(&file.unwrap_or_default()).expect("an INI file");
    for (source, field, annotation) in [
        (Source::Node, Place::NodeField, Place::NodeAnnotation),
        (Source::Selector, Place::SelectorField, Place::SelectorAnnotation),
        (Source::Global, Place::GlobalField, Place::GlobalAnnotation),
    ] {
        let spec = seconds(field).map(|text| ("routeRefreshInterval".to_owned(), json!(format!("{text}s"))));
        let annotation = seconds(annotation);
        let annotations =
            annotation.iter().map(|text| ("config.projectcalico.org/RouteRefreshInterval", text.as_str()));
        sources.set_resource(source, &spec.into_iter().collect(), annotations);
    }
    sources.resolve().get("RouteRefreshInterval").expect("it is in the table").clone()
}

#[test]
fn the_highest_place_wins() {
    let nowhere = written(&[]);
    assert_eq!((nowhere.text.as_str(), nowhere.source), ("90", Source::Default));
    for (i, &highest) in Place::ALL.iter().enumerate() {
        let alone = written(&[highest]);
        assert_eq!((alone.text, alone.source), (highest.text(), highest.source()), "{highest:?} alone");
        for &lower in &Place::ALL[..i] {
            let two = written(&[highest, lower]);
            assert_eq!((two.text, two.source), (highest.text(), highest.source()), "{highest:?} over {lower:?}");
        }
        let all_below = written(&Place::ALL[..=i]);
        assert_eq!(all_below.text, highest.text(), "{highest:?} over everything below it");
    }
}

/// A text that says something about what `none` and nothing mean.
type Case = (&'static str, &'static str, &'static str);

#[test]
fn an_empty_text_is_passed_over_and_none_is_a_value() {
    // The global source says 7; what does the one above it make of that?
    let cases: [Case; 4] = [("", "7", "global"), ("none", "none", "own"), ("NONE", "NONE", "own"), ("0", "0", "own")];
    for (text, counts, whose) in cases {
        for source in [Source::Selector, Source::Node, Source::File, Source::Environment, Source::Override] {
            let mut sources = ConfigSources::new();
            sources.set(Source::Global, [("RouteRefreshInterval", "7")]);
            sources.set(source, [("RouteRefreshInterval", text)]);
            let resolved = sources.resolve();
            let effective = resolved.get("RouteRefreshInterval").expect("it is in the table");
            let expected = if whose == "own" { source } else { Source::Global };
            assert_eq!((effective.text.as_str(), effective.source), (counts, expected), "{text:?} from {source}");
            let off = resolved.settings().route_refresh_interval.is_none();
            assert_eq!(off, whose == "own", "{text:?} from {source}");
            assert_eq!(resolved.warnings(), []);
        }
    }
}

#[test]
fn annotations_replace_fields_and_add_to_them() {
    let annotated = |annotations: &[(&str, &str)]| {
        let spec = json!({ "logPrefix": "field", "failsafeInboundHostPorts": [{"port": 22}] });
        let mut sources = ConfigSources::new();
        let spec = spec.as_object().expect("an object");
        sources.set_resource(Source::Global, spec, annotations.iter().copied());
        sources.resolve()
    };
    // No field stands for it: an annotation is the resource's only way to set it.
    let name = "config.projectcalico.org/RevokeEstablishedConnections";
    for (annotations, prefix, ports, revoke) in [
        (&[][..], "field", 1, true),
        (&[("config.projectcalico.org/LogPrefix", "annotation")][..], "annotation", 1, true),
        (&[("config.projectcalico.org/LOGPREFIX", "annotation")][..], "annotation", 1, true),
        (&[("config.projectcalico.org/FailsafeInboundHostPorts", "none")][..], "field", 0, true),
        (&[("projectcalico.org/LogPrefix", "annotation"), ("LogPrefix", "annotation")][..], "field", 1, true),
        (&[(name, "false")][..], "field", 1, false),
    ] {
        let resolved = annotated(annotations);
        let settings = resolved.settings();
        assert_eq!(settings.log_prefix, prefix, "{annotations:?}");
        assert_eq!(settings.failsafe_inbound.len(), ports, "{annotations:?}");
        assert_eq!(settings.revoke_established, revoke, "{annotations:?}");
        assert_eq!(resolved.warnings(), [], "{annotations:?}");
    }
}

#[test]
fn spellings_of_yes_and_no() {
    for (texts, expected) in [
        (&["true", "1", "yes", "y", "t", "TRUE", "Yes", "T"][..], true),
        (&["false", "0", "no", "n", "f", "False", "NO", "none"][..], false),
    ] {
        for text in texts {
            let mut sources = ConfigSources::new();
            sources.set(Source::File, [("Ipv6Support", *text)]);
            let resolved = sources.resolve();
            assert_eq!((resolved.settings().ipv6, resolved.warnings()), (expected, &[][..]), "{text}");
        }
    }
}
