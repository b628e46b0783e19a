//! Packets to addresses of services that no service proxy has translated. A
//! router that was told of the service's prefix would send them back here.

use caracal_net::Priority;

use super::chain;
use super::network::{Network, NetworkChains, families};
use crate::ir::{Hook, Match, Op, Rule, Side, Statement, Verdict};
use crate::names;
use crate::settings::{ServiceLoops, Settings};

/// Behind all that judges forwarded packets by policy, as in Felix.
const PRIORITY: Priority = Priority(3);

pub(super) fn add(network: &Network<'_>, settings: &Settings, out: &mut NetworkChains) {
    let refusal = match settings.service_loops {
        ServiceLoops::Drop => Statement::Verdict(Verdict::Drop),
        ServiceLoops::Reject => Statement::Reject,
        ServiceLoops::Forward => return,
    };
    let mut rules = Vec::new();
    for family in families(settings) {
        let services = out.nets(names::service_prefixes(*family), *family, network.services.iter().copied());
        rules.extend(services.map(|set| {
            let rule = Rule::new().when(Match::AddrIn(Side::Dst, Op::Is, *family, set)).then(Statement::Counter);
            rule.then(refusal.clone()).comment(names::comment("no service has this address"))
        }));
    }
    if !rules.is_empty() {
        out.chains.push(chain(names::service_loops(), Hook::Forward, PRIORITY, rules));
    }
}
