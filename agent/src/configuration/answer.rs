//! What is said of the configuration, to commands and in `caracal status`.

use caracal_config::{Effective, Param, Reason, Warning};
use caracal_proto::admin::{ConfigResponse, Parameter, Problem};

use super::Configuration;

/// Every parameter, and what is wrong.
#[must_use]
pub fn answer(configuration: &Configuration) -> ConfigResponse {
    ConfigResponse {
        node: configuration.node().to_string(),
        parameters: configuration.parameters().map(parameter).collect(),
        problems: configuration.problems().iter().map(problem).collect(),
    }
}

fn parameter((parameter, effective): (&Param, &Effective)) -> Parameter {
    Parameter {
        name: parameter.name.into(),
        value: effective.text.clone(),
        source: effective.source.to_string(),
        disposition: parameter.disposition.word().into(),
        reason: parameter.remark().into(),
    }
}

/// A value that does not count, or not as it might seem.
#[must_use]
pub fn problem(warning: &Warning) -> Problem {
    let Warning { name, source, value, reason, in_force } = warning;
    let (field, reason) = match reason {
        Reason::Field { field, reason } => (format!("spec.{field}"), reason.to_string()),
        Reason::Text(_)
        | Reason::Unknown { .. }
        | Reason::LocalOnly
        | Reason::Refused(_)
        | Reason::EnvironmentsDiffer
        | Reason::Unusable(_)
        | Reason::Repeated => (String::new(), reason.to_string()),
    };
    Problem {
        source: "configuration".into(),
        subject: name.clone(),
        place: source.to_string(),
        field,
        reason,
        in_force: in_force.as_ref().map(ToString::to_string).unwrap_or_default(),
        value: value.clone(),
    }
}
