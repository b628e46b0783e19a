//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use datastore::{Datastore, DatastoreError};

use crate::admin::DEFAULT_SOCKET;
use crate::explain::{EXPLAIN_HELP, ExplainArgs};

mod datastore;

/// Network policy for the workloads of one node.
///
/// Caracal reads Kubernetes and Calico policies from a datastore, calculates
/// the rules of each workload of a node, and programs them into the kernel with
/// nftables. `caracal agent` does all of it in one process; `caracal control`
/// and `caracal dataplane` are its two halves with fewer rights each. The other
/// commands read and change nothing.
#[derive(Debug, Parser)]
#[command(name = "caracal", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// What applies to every command.
    #[command(flatten)]
    pub global: Global,
}

const AFTER_HELP: &str = "\
Exit status: 0 done, 1 failed (the reason is on standard error), 2 wrong usage, 3 answered, but \
something is wrong.

Configuration: Felix's parameters, from FelixConfiguration resources, --config-file, FELIX_* and \
CARACAL_* variables; later ones win.";

/// What applies to every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The least severe messages to log: error, warn, info, debug, trace, or a filter such as
    /// `info,caracal_dataplane=debug`. Without it, LogSeverityScreen decides
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "CARACAL_LOG",
        hide_env_values = true,
        help_heading = "General"
    )]
    pub log_level: Option<String>,

    /// A file of Felix parameters, `Name = value` lines. Without it, /etc/calico/felix.cfg if it is
    /// there
    #[arg(long, global = true, value_name = "FILE", help_heading = "General")]
    pub config_file: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Enforce policy on this node: both halves in one process
    #[command(after_help = "\
Examples:
  caracal agent --datastore file:/etc/caracal/manifests
  caracal agent --datastore file:./manifests --node worker-1 --log-level debug

It needs CAP_NET_ADMIN, and CAP_NET_RAW to tell pods where their gateway is. On SIGTERM it ends and leaves its \
rules in the kernel; started again it adopts them.")]
    Agent(AgentArgs),

    /// The half that knows the cluster: calculates, and serves the data half on a unix socket
    #[command(after_help = "\
Examples:
  caracal control --datastore file:/etc/caracal/manifests --socket /run/caracal/sync.sock

It needs no capability. One data half at a time is served; it may come and go.")]
    Control(ControlArgs),

    /// The half that knows the kernel: programs what the control half calculates
    #[command(after_help = "\
Examples:
  caracal dataplane --socket /run/caracal/sync.sock

It needs CAP_NET_ADMIN, and CAP_NET_RAW to tell pods where their gateway is. It opens no other socket to the \
outside. While there is no control half, what it has programmed stays in force.")]
    Dataplane(DataplaneArgs),

    /// Print what the control half would send to the data half, as JSON lines
    #[command(after_help = "\
Examples:
  caracal calc --datastore file:./manifests --node worker-1
  caracal calc --datastore file:./manifests --node worker-1 | jq -c '.activePolicyUpdate // empty'
  caracal calc --datastore file:./manifests --node worker-1 --follow

Each line is one felix.ToDataplane message in canonical proto3 JSON, in the order in which it would be \
sent; the last one is inSync. Objects that are refused are named on standard error, and the rest goes on.

With --follow the output goes on with every change, until SIGTERM. When the file DIR/.sync appears or \
changes, a line {\"caracal\":{\"synced\":\"CONTENT\"}} follows once everything done to DIR before is printed.")]
    Calc(CalcArgs),

    /// Print the ruleset that the data half would program, in nft's own syntax
    #[command(after_help = "\
Examples:
  caracal render --datastore file:./manifests --node worker-1 --dataplane nftables
  caracal render --datastore file:./manifests --node worker-1 | nft -c -f -
  diff <(caracal render --datastore file:old --node n) <(caracal render --datastore file:new --node n)")]
    Render(RenderArgs),

    /// Say whether everything is in force on this node, and what is not
    #[command(after_help = "\
Examples:
  caracal status
  caracal status --output json | jq '.problems[] | {subject, place, field, reason}'

It asks the running agent. Exit status: 0 everything is in force, 1 the agent cannot be reached, \
3 something is wrong or the agent is not ready.")]
    Status(AskArgs),

    /// List the endpoints of this node, and what the kernel acknowledged for each
    #[command(after_help = "\
Examples:
  caracal endpoints
  caracal endpoints --output json | jq -r '.endpoints[] | select(.outcome != \"programmed\") | .id'

REVISION is the one that the kernel holds for the endpoint, SINCE when its outcome became what it is. \
Exit status: 0 every endpoint is programmed, 1 the agent cannot be reached, 3 some are not.")]
    Endpoints(AskArgs),

    /// Look at this node's kernel for what keeps policy from being in force
    #[command(after_help = "\
Examples:
  caracal doctor
  caracal doctor --output json | jq '.findings[] | select(.severity != \"note\")'

It needs CAP_NET_ADMIN and no running agent, and changes nothing. Exit status: 0 nothing is wrong, \
1 the kernel cannot be asked, 3 there are warnings or errors.")]
    Doctor(DoctorArgs),

    /// Remove everything of ours from this node, and nothing else
    #[command(after_help = "\
Examples:
  caracal cleanup --dry-run
  caracal cleanup

Stop the agent first. It needs CAP_NET_ADMIN, and the same configuration as the agent. Removed are the table \
inet caracal, routes of our protocol into workload interfaces, endpoint status files and policy sync sockets. \
Sysctls stay as they are: what they were before is not known.")]
    Cleanup(CleanupArgs),

    /// List the policies that apply to endpoints of this node, in the order of evaluation
    #[command(after_help = "\
Examples:
  caracal policies
  caracal policies --output json | jq '.policies[] | select(.endpoints == 0)'

It asks the running agent. With counters in the kernel, what each rule has matched follows it.")]
    Policies(AskArgs),

    /// List what rules decided about the flows of this node, one a line
    #[command(after_help = "\
Examples:
  caracal flows --follow
  caracal flows --output json | jq -c 'select(.action == \"deny\") | {source, destination, decider}'

It asks the running agent, which keeps the last 8192 records while FlowLogsLocalReporter is Enabled. There is \
one record for each direction of a new connection; denied packets of one flow are one record every 15 seconds. \
Ends that are pods of this node bear their names.")]
    Flows(FlowsArgs),

    /// List the parameters: value, where it comes from, and whether this build acts on it
    #[command(after_help = "\
Examples:
  caracal config
  caracal config --output json | jq '.parameters[] | select(.source != \"default\")'
  caracal config --datastore file:./manifests --node worker-1

With --datastore it reads that, the configuration file and the environment as the agent would, and asks no \
agent. Exit status: 0 every value counts, 1 there is no answer, 3 some values do not.")]
    Config(ConfigArgs),

    /// Say what happens to a packet, and why
    #[command(after_help = EXPLAIN_HELP)]
    Explain(ExplainArgs),

    /// Check selectors and match them against labels: JSON lines in, JSON lines out
    #[command(after_help = "\
Examples:
  echo '{\"selector\": \"role == \\\"db\\\"\", \"labels\": [{\"role\": \"db\"}, {}]}' | caracal selector

Each line of input is {\"selector\": TEXT, \"labels\": [{KEY: VALUE, ...}, ...]}; `labels` may be left out. \
The answer is one line, {\"valid\": true, \"canonical\": TEXT, \"id\": TEXT, \"matches\": [true, false]} or \
{\"valid\": false, \"error\": TEXT, \"column\": N}.")]
    Selector,

    /// Print the version
    #[command(after_help = "\
Examples:
  caracal version
  caracal version --output json")]
    Version(VersionArgs),
}

/// Where the cluster's objects come from, and for which node.
#[derive(Clone, Debug, Args)]
pub struct SourceArgs {
    /// Where policy and endpoints come from: `file:DIR`, a directory of manifests (YAML or JSON,
    /// subfolders too), watched for changes
    #[arg(long, value_name = "URL")]
    pub datastore: Datastore,

    /// The node to calculate for. Without it, FelixHostname or this host's name in lower case
    #[arg(long, value_name = "NAME", value_parser = node_name)]
    pub node: Option<String>,
}

/// Where the admin API is.
#[derive(Clone, Debug, Args)]
pub struct AdminArgs {
    /// The unix socket on which a running agent answers `caracal status` and the like; it is made
    /// with mode 0600
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub admin_socket: PathBuf,
}

/// A command that asks the running agent.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// The agent.
    #[command(flatten)]
    pub admin: AdminArgs,

    /// How to print the answer
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
}

/// `caracal flows`.
#[derive(Debug, Args)]
pub struct FlowsArgs {
    /// The agent, and the form of the answer.
    #[command(flatten)]
    pub ask: AskArgs,

    /// Go on with every later record
    #[arg(long)]
    pub follow: bool,
}

/// `caracal doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// How to print the findings
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
}

/// `caracal cleanup`.
#[derive(Debug, Args)]
pub struct CleanupArgs {
    /// Only list what would be removed
    #[arg(long)]
    pub dry_run: bool,

    /// How to print what is removed
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
}

/// `caracal agent`.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// The datastore and the node.
    #[command(flatten)]
    pub source: SourceArgs,

    /// Where to answer questions.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// `caracal control`.
#[derive(Debug, Args)]
pub struct ControlArgs {
    /// The datastore and the node.
    #[command(flatten)]
    pub source: SourceArgs,

    /// The unix socket to serve the data half on; it is made with mode 0600
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,

    /// Where to answer questions.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// `caracal dataplane`.
#[derive(Debug, Args)]
pub struct DataplaneArgs {
    /// The unix socket of the control half; it need not be there yet
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
}

/// `caracal calc`.
#[derive(Debug, Args)]
pub struct CalcArgs {
    /// The datastore and the node.
    #[command(flatten)]
    pub source: SourceArgs,

    /// Go on with every later change
    #[arg(long)]
    pub follow: bool,
}

/// `caracal render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// The datastore and the node.
    #[command(flatten)]
    pub source: SourceArgs,

    /// The dataplane to render for
    #[arg(long, value_enum, default_value_t = DataplaneKind::Nftables, value_name = "NAME")]
    pub dataplane: DataplaneKind,
}

/// A dataplane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DataplaneKind {
    /// The kernel's nf_tables.
    Nftables,
}

/// `caracal config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Where FelixConfigurations come from: `file:DIR`, a directory of manifests (YAML or JSON,
    /// subfolders too). Without it, the running agent is asked
    #[arg(long, value_name = "URL")]
    pub datastore: Option<Datastore>,

    /// The node whose configuration it is. Without it, FelixHostname or this host's name in lower
    /// case
    #[arg(long, value_name = "NAME", requires = "datastore", value_parser = node_name)]
    pub node: Option<String>,

    /// The agent to ask if no datastore is named.
    #[command(flatten)]
    pub admin: AdminArgs,

    /// How to print the answer
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
}

/// `caracal version`.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// How to print it
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
}

/// A node's name, as `FelixHostname` takes it; an empty one says nothing. Who slips here must not
/// enforce what is meant for another node.
fn node_name(text: &str) -> Result<String, &'static str> {
    let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if is_name { Ok(text.to_owned()) } else { Err("a node's name has letters, digits, \"_\", \".\" and \"-\" only") }
}

/// How to print an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[cfg(test)]
mod tests;
