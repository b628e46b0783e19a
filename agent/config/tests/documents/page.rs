//! The page about the parameters.

use caracal_config::{Disposition, Kind, PARAMETERS, Param, Scope};

const INTRODUCTION: &str = "\
# Configuration

The agent is configured by Felix's parameters, all of which it knows. `caracal config` lists them with the value that counts, where
that comes from, and what this build makes of it: of the running agent, or, with `--datastore`, of a directory of manifests.
This page is made of the same table; a test compares the two.

## Where values come from

Of each parameter the highest source that has a value counts:

| number | source | where it is written |
|---|---|---|
| 6 | internal override | the command line (`--node`) |
| 5 | environment variable | `FELIX_NAME`, and `CARACAL_NAME`, which wins; for `FelixHostname` also `NODENAME`, which wins over `FELIX_FELIXHOSTNAME`; if they differ, that is a problem to be told |
| 4 | config file | `--config-file`, or `/etc/calico/felix.cfg` if it is there: `Name = value` lines; sections mean nothing |
| 3 | datastore (per host) | the FelixConfiguration `node.NAME` |
| 2 | datastore (per selector) | of the FelixConfigurations whose `nodeSelector` selects this node's labels the oldest, or the first by name |
| 1 | datastore (global) | the FelixConfiguration `default`, and ClusterInformation |
| 0 | default | the table below; the host's name for `FelixHostname` |

- Names are taken in any case.
- An empty text says nothing: the next lower source counts.
- The text `none` is a value: no, zero, nothing. A parameter that must have a value refuses it.
- A switch is `true`, `1`, `yes`, `y`, `t`, or `false`, `0`, `no`, `n`, `f`, in any case. Times in files, variables and annotations are
  seconds, with a fraction if need be; in the fields of a FelixConfiguration they are durations such as `1m30s`.
- An annotation `config.projectcalico.org/NAME` on a FelixConfiguration sets a parameter as a text, and wins over the field.
- What the datastore says of a parameter that only the node can set does not count.
- A name that no parameter has is passed on to the data half, and to an external driver, as it is; it is told as a problem. The variables
  that Kubernetes sets for a service of the agent's namespace, such as `FELIX_METRICS_SVC_SERVICE_HOST` for `felix-metrics-svc`, are no such names.
- `FELIX_EARLYLOGSEVERITYSCREEN`, or `CARACAL_EARLYLOGSEVERITYSCREEN`, is the log level until the configuration is read; then `LogSeverityScreen` counts.

## Changes, and bad values

A change of a parameter is followed while the agent runs; nothing restarts. The file is looked at every ten seconds; while it cannot
be used, what it last said counts. On SIGHUP, at which Felix restarts, the file is read at once, and so are all manifests, those too
whose changes nobody announces. The environment of a program does not change while it runs. Of `InterfacePrefix` all prefixes are followed; the names that pods' interfaces are expected to have are
made of the first one. Another one gives every pod's endpoint another name, also to those that run: the network plugin names an interface once.
A driver that only the datastore names (`UseInternalDataplaneDriver`, `DataplaneDriver`) replaces the internal one, which starts first,
as soon as the datastore was read ([external-driver.md](external-driver.md)).

A value that cannot be read does not count: the last good value of the same source does, or, if there never was one, the next lower
source. (Felix takes its default, or ends.) The log says so once, `caracal status` and `caracal config` as long as it is so, with what is in force
instead; the metric `caracal_configuration_problems` counts such values, `caracal_configuration_parameter_problems` by parameter. It is
gone when the value is mended.

While the ClusterInformation `default` says `datastoreReady: false`, nothing that the datastore says is put into force, and what is in
force stays; `caracal status` says so. `ServiceLoopPrevention` guards the prefixes that the BGPConfiguration `default` announces.

## What this build makes of them

**acted on**: it does what the parameter says, and follows a change while it runs; what it does otherwise than Felix is said here. **ignored**: it reads the value, passes it on, and does nothing, for the reason given.
**refused**: a value other than the default asks for what it cannot do; one is told as a problem.
";

/// The whole page.
pub(super) fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let count = |word| PARAMETERS.iter().filter(|p| p.disposition.word() == word).count();
    let [acted, ignored, refused] = ["acted on", "ignored", "refused"].map(count);
    let all = PARAMETERS.len();
    page += &format!("\nOf {all} parameters {acted} are acted on, {ignored} ignored and {refused} refused.\n\n");
    page += "| parameter | field of FelixConfiguration | value | default | this build |\n|---|---|---|---|---|\n";
    for parameter in &PARAMETERS {
        page += &row(parameter);
    }
    page
}

fn row(parameter: &Param) -> String {
    let Param { name, field, kind, default, scope, required, disposition, note } = parameter;
    let field = match (field, scope) {
        (Some(field), _) => format!("`{field}`"),
        (None, Scope::Local) => "none: only the node itself can set it".to_owned(),
        (None, Scope::Anywhere) => "none: by annotation".to_owned(),
    };
    let value = if *required { format!("{}; not `none`", value_of(kind)) } else { value_of(kind) };
    let default = if default.is_empty() { "–".to_owned() } else { code(default) };
    let build = match disposition {
        Disposition::ActedOn if note.is_empty() => "acted on".to_owned(),
        Disposition::ActedOn => format!("acted on: {note}"),
        Disposition::Ignored(reason) | Disposition::Refused(reason) => format!("{}: {reason}", disposition.word()),
    };
    let ours = if is_ours(name) { format!("; `{name}` is ours, Felix has no such parameter") } else { String::new() };
    format!("| `{name}` | {field} | {value} | {default} | {build}{ours} |\n")
}

/// Whether Felix does not have it.
fn is_ours(name: &str) -> bool {
    !include_str!("../data/felix-parameters.tsv").lines().any(|line| line.split('\t').next() == Some(name))
}

/// A text as it is, within a table.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

fn value_of(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "yes or no".to_owned(),
        Kind::Integer { min: i64::MIN, max: i64::MAX } => "a whole number".to_owned(),
        Kind::Integer { min, max: i64::MAX } => format!("a whole number from {min}"),
        Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
        Kind::Seconds => "seconds".to_owned(),
        Kind::Milliseconds => "milliseconds".to_owned(),
        Kind::OneOf(options) => options.iter().map(|option| format!("`{option}`")).collect::<Vec<_>>().join(", "),
        Kind::MarkMask => "a 32-bit mask with two bits or more".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Pattern(pattern) => format!("text that {} matches", code(pattern)),
        Kind::Regex => "a regular expression".to_owned(),
        Kind::InterfacePatterns => "interface names, and regular expressions between slashes".to_owned(),
        Kind::KeyValues => "`key=value`, with commas".to_owned(),
        Kind::KeyDurations => "`key=duration`, with commas".to_owned(),
        Kind::Ipv4 => "an IPv4 address".to_owned(),
        Kind::Ipv6 => "an IPv6 address".to_owned(),
        Kind::Cidrs => "CIDRs, with commas".to_owned(),
        Kind::ProtocolPorts => "`[tcp:\\|udp:][cidr:]port`, with commas".to_owned(),
        Kind::PortRange => "a port or `first:last`".to_owned(),
        Kind::PortRanges => "ports and `first:last`, with commas".to_owned(),
        Kind::TableRanges { count: 1, max } => format!("`first-last` up to {max}"),
        Kind::TableRanges { count: _, max } => format!("`first-last` up to {max}, with commas"),
    }
}
