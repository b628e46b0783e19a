//! What the configuration of a node has to do with packets.

use caracal_config::{EndpointToHostAction, ServiceLoops, Settings};
use caracal_program::{EndpointToHost, Failsafes, Guarded, Guards, Ipv6};
use smol_str::SmolStr;

/// What a node asks of packets beside policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeSettings {
    pub(super) guards: Guards,
    pub(super) failsafes: Failsafes,
    /// How the names of workload interfaces begin.
    pub(super) workload_prefixes: Vec<SmolStr>,
}

impl From<&Settings> for NodeSettings {
    fn from(settings: &Settings) -> Self {
        let judged_if = |is_allowed: bool| if is_allowed { Guarded::Judged } else { Guarded::Refused };
        let guards = Guards {
            ipv6: if settings.ipv6 { Ipv6::On } else { Ipv6::Off },
            invalid: judged_if(settings.disable_conntrack_invalid_check),
            ipip: judged_if(settings.ipip_from_workloads),
            vxlan: judged_if(settings.vxlan_from_workloads),
            vxlan_port: settings.vxlan_port,
            endpoint_to_host: match settings.endpoint_to_host_action {
                EndpointToHostAction::Drop => EndpointToHost::Drop,
                EndpointToHostAction::Return => EndpointToHost::Return,
                EndpointToHostAction::Accept => EndpointToHost::Accept,
            },
            service_loops: match settings.service_loops {
                ServiceLoops::Drop | ServiceLoops::Reject => Guarded::Refused,
                ServiceLoops::Forward => Guarded::Judged,
            },
        };
        Self {
            guards,
            failsafes: Failsafes::new(&settings.failsafe_inbound, &settings.failsafe_outbound),
            workload_prefixes: settings.interface_prefixes.iter().map(SmolStr::from).collect(),
        }
    }
}
