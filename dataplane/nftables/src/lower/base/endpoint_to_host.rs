//! What workloads send to their own host, by what is set for all of them.

use caracal_net::Priority;

use super::{chain, each_workload, established, neighbour_discovery, unjudged};
use crate::ir::{Chain, Hook, Rule, Statement, Verdict, Via};
use crate::names;
use crate::settings::{EndpointToHost, Settings};

pub(super) fn endpoint_to_host(settings: &Settings) -> Chain {
    let verdict = match settings.endpoint_to_host {
        EndpointToHost::Drop => Verdict::Drop,
        EndpointToHost::Return => Verdict::Return,
        EndpointToHost::Accept => Verdict::Accept,
    };
    let mut rules: Vec<Rule> = unjudged(settings).into_iter().collect();
    rules.push(established());
    rules.extend(neighbour_discovery(settings));
    rules.extend(
        each_workload(Via::In, settings)
            .map(|rule| rule.then(Statement::Counter).verdict(verdict.clone()))
            .map(|rule| rule.comment(names::comment("workload to host"))),
    );
    chain(names::endpoint_to_host(), Hook::Input, Priority(1), rules)
}
