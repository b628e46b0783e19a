//! The harness itself: without an agent, packets flow where routes lead and nowhere else.

use std::time::Duration;

use caracal_fv_tests::cluster::Cluster;
use caracal_fv_tests::matrix::{Flow, Reference, Verdicts, agree, flows, observe};
use caracal_fv_tests::pod::{interface_name, pod};
use caracal_fv_tests::wiring;

struct Always(bool);

impl Reference for Always {
    fn judge(&self, _: &Cluster, flows: &[Flow]) -> anyhow::Result<Verdicts> {
        Ok(flows.iter().map(|flow| (flow.clone(), self.0)).collect())
    }
}

fn two_pods() -> anyhow::Result<Cluster> {
    let mut cluster = Cluster::new()?;
    cluster.namespace("default", &[])?;
    cluster.start_pods([pod("default/a", &[]), pod("default/b", &[])])?;
    Ok(cluster)
}

/// What the agent does for a pod's interface, by hand.
fn route(cluster: &Cluster) -> anyhow::Result<()> {
    for peer in cluster.peers.values().filter(|peer| peer.is_pod) {
        let (namespace, name) = peer.name.split_once('/').expect("a pod's full name");
        let interface = interface_name(namespace, name);
        cluster.node.run(|| {
            for (path, value) in [
                ("ipv4/ip_forward".to_owned(), "1"),
                ("ipv6/conf/all/forwarding".to_owned(), "1"),
                (format!("ipv4/conf/{interface}/proxy_arp"), "1"),
                (format!("ipv4/neigh/{interface}/proxy_delay"), "0"),
            ] {
                std::fs::write(format!("/proc/sys/net/{path}"), value)?;
            }
            std::io::Result::Ok(())
        })??;
        let addrs = peer.addrs.clone();
        wiring::configure(&cluster.node, async |net| {
            for addr in addrs {
                net.route((addr, if addr.is_ipv4() { 32 } else { 128 }), None, &interface).await?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn nothing_arrives_without_routes_and_everything_with_them() -> anyhow::Result<()> {
    let cluster = two_pods()?;
    agree(&cluster, &Always(false), Duration::ZERO)?;
    route(&cluster)?;
    agree(&cluster, &Always(true), Duration::from_secs(5))?;
    Ok(())
}

#[test]
fn a_disagreement_is_seen() -> anyhow::Result<()> {
    let cluster = two_pods()?;
    let expected = Always(true).judge(&cluster, &flows(&cluster))?;
    let observed = observe(&cluster, &expected)?;
    assert!(observed.values().all(|arrived| !arrived), "{observed:?}");
    assert!(agree(&cluster, &Always(true), Duration::ZERO).is_err());
    Ok(())
}
