//! Felix's parameters as the nftables driver's settings.

use std::io;

use caracal_config::{DenyAction, EndpointToHostAction, NatExclusions, ServiceLoops, Settings};
use caracal_nftables::{self as nftables, NftablesDriver};
use caracal_program::{DriverError, Failsafes};

use crate::data_half::ConfiguredDriver;

/// The nftables driver's settings that follow from Felix's parameters.
///
/// # Errors
/// When a parameter has a value that the driver cannot work with.
pub fn nftables_settings(settings: &Settings) -> Result<nftables::Settings, nftables::SettingsError> {
    let mut rules = nftables::Settings::default()
        .with_interface_prefixes(&settings.interface_prefixes)?
        .with_mark_mask(settings.nftables_mark_mask)?
        .with_log_prefix(&settings.log_prefix);
    rules.deny = match settings.filter_deny_action {
        DenyAction::Drop => nftables::DenyAction::Drop,
        DenyAction::Reject => nftables::DenyAction::Reject,
    };
    rules.endpoint_to_host = match settings.endpoint_to_host_action {
        EndpointToHostAction::Drop => nftables::EndpointToHost::Drop,
        EndpointToHostAction::Return => nftables::EndpointToHost::Return,
        EndpointToHostAction::Accept => nftables::EndpointToHost::Accept,
    };
    rules.invalid = if settings.disable_conntrack_invalid_check {
        nftables::InvalidPackets::Judge
    } else {
        nftables::InvalidPackets::Drop
    };
    rules.revocation = if settings.revoke_established { nftables::Revocation::On } else { nftables::Revocation::Off };
    rules.flow_logs = if settings.flow_logs { nftables::FlowLogs::On } else { nftables::FlowLogs::Off };
    rules.ipip_from_workloads = encapsulated(settings.ipip_from_workloads);
    rules.vxlan_from_workloads = encapsulated(settings.vxlan_from_workloads);
    rules.vxlan_port = settings.vxlan_port;
    rules.nat = nftables::NatOutgoing {
        address: settings.nat_address,
        ports: settings.nat_ports,
        exclusions: match settings.nat_exclusions {
            NatExclusions::Pools => nftables::NatExclusions::Pools,
            NatExclusions::PoolsAndHosts => nftables::NatExclusions::PoolsAndHosts,
        },
        interface: nftables::InterfaceFilter::parse(&settings.nat_interface)?,
    };
    rules.log_rate = match settings.log_rate.as_str() {
        "" => None,
        text => Some(text.parse::<nftables::Rate>()?.with_burst(settings.log_burst)),
    };
    rules.service_loops = match settings.service_loops {
        ServiceLoops::Drop => nftables::ServiceLoops::Drop,
        ServiceLoops::Reject => nftables::ServiceLoops::Reject,
        ServiceLoops::Forward => nftables::ServiceLoops::Forward,
    };
    rules.largest_set = settings.max_ipset_size;
    rules.events = if settings.nftables_events { nftables::Events::Heard } else { nftables::Events::Ignored };
    rules.failsafes = Failsafes::new(&settings.failsafe_inbound, &settings.failsafe_outbound);
    rules.ipv6 = if settings.ipv6 { nftables::Ipv6::On } else { nftables::Ipv6::Off };
    Ok(rules)
}

const fn encapsulated(is_allowed: bool) -> nftables::Encapsulated {
    if is_allowed { nftables::Encapsulated::Judge } else { nftables::Encapsulated::Drop }
}

impl ConfiguredDriver for NftablesDriver {
    fn configure(&mut self, settings: &Settings) -> Result<(), DriverError> {
        let rules = nftables_settings(settings).map_err(|error| DriverError::Unavailable {
            what: "a ruleset with these settings".to_owned(),
            source: io::Error::new(io::ErrorKind::InvalidInput, error),
        })?;
        self.set_settings(rules);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn settings(parameters: &[(&str, &str)]) -> Settings {
        let texts = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::from_config_map(&texts.collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn the_defaults_are_the_drivers() {
        let rules = nftables_settings(&settings(&[])).expect("the defaults can be used");
        assert_eq!(rules, nftables::Settings::default());
    }

    #[test]
    fn every_parameter_arrives() {
        let rules = nftables_settings(&settings(&[
            ("InterfacePrefix", "tap,cali"),
            ("NftablesMarkMask", "0xff00"),
            ("LogPrefix", "policy"),
            ("NftablesFilterDenyAction", "Reject"),
            ("DisableConntrackInvalidCheck", "true"),
            ("RevokeEstablishedConnections", "false"),
            ("FlowLogsLocalReporter", "Enabled"),
            ("MaxIpsetSize", "7"),
            ("NftablesEvents", "false"),
            ("DefaultEndpointToHostAction", "Return"),
            ("Ipv6Support", "false"),
            ("AllowIPIPPacketsFromWorkloads", "true"),
            ("AllowVXLANPacketsFromWorkloads", "true"),
            ("VXLANPort", "8472"),
            ("NATOutgoingAddress", "192.0.2.9"),
            ("NATOutgoingExclusions", "IPPoolsAndHostIPs"),
            ("NATPortRange", "20000:29999"),
            ("IptablesNATOutgoingInterfaceFilter", "eth+"),
            ("ServiceLoopPrevention", "Reject"),
            ("LogActionRateLimit", "10/minute"),
            ("LogActionRateLimitBurst", "7"),
            ("FailsafeInboundHostPorts", "none"),
            ("FailsafeOutboundHostPorts", "udp:[fd00::/8]:53"),
        ]));
        let rules = rules.expect("parameters that can be used");
        assert!(rules.is_workload("tap1") && rules.is_workload("cali1") && !rules.is_workload("eth0"));
        assert_eq!(rules.pass_mark().0, 0x100);
        assert_eq!(rules.log_prefix(), "policy");
        assert_eq!(rules.deny, nftables::DenyAction::Reject);
        assert_eq!(rules.invalid, nftables::InvalidPackets::Judge);
        assert_eq!(rules.revocation, nftables::Revocation::Off);
        assert_eq!(rules.flow_logs, nftables::FlowLogs::On);
        assert_eq!((rules.largest_set, rules.events), (Some(7), nftables::Events::Ignored));
        assert_eq!(rules.endpoint_to_host, nftables::EndpointToHost::Return);
        assert_eq!(rules.ipv6, nftables::Ipv6::Off);
        assert_eq!(rules.ipip_from_workloads, nftables::Encapsulated::Judge);
        assert_eq!((rules.vxlan_from_workloads, rules.vxlan_port), (nftables::Encapsulated::Judge, 8472));
        let nat = nftables::NatOutgoing {
            address: "192.0.2.9".parse().ok(),
            ports: "20000:29999".parse().ok(),
            exclusions: nftables::NatExclusions::PoolsAndHosts,
            interface: Some(nftables::InterfaceFilter::Prefix("eth".into())),
        };
        assert_eq!(rules.nat, nat);
        assert_eq!(rules.service_loops, nftables::ServiceLoops::Reject);
        let rate = nftables::Rate { count: 10, period: nftables::RatePeriod::Minute, burst: 7 };
        assert_eq!(rules.log_rate, Some(rate));
        assert_eq!(rules.failsafes, Failsafes::new(&[], &["udp:[fd00::/8]:53".parse().expect("a port")]));
    }

    #[test]
    fn a_parameter_that_the_driver_cannot_work_with_is_an_error() {
        let unusable = Settings { interface_prefixes: vec!["a/b".to_owned()], ..Settings::default() };
        let error = nftables_settings(&unusable).expect_err("not the beginning of a name");
        assert!(error.to_string().contains("a/b"), "{error}");
    }
}
