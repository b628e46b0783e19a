//! What a source tells that may not be put into force yet; and what the cluster tells its routers.

use caracal_datastore::{BgpConfiguration, ClusterInformation, convert};

use super::*;
use crate::status;

impl Loop {
    fn cluster(&self, datastore_ready: Option<bool>) {
        let information = ClusterInformation { datastore_ready, ..ClusterInformation::default() };
        self.source.send(vec![News::Config(ConfigEvent::Cluster(Some(information)))]);
        self.settle();
    }

    fn converts(&self, prefix: &str) {
        self.source.send(vec![News::Converts(convert::Settings { interface_prefix: prefix.into() })]);
        self.settle();
    }

    fn bgp(&self, prefix: Option<&str>) {
        let configuration = prefix.map(|prefix| BgpConfiguration {
            service_cluster: vec![prefix.parse().expect("a prefix")],
            ..BgpConfiguration::default()
        });
        self.source.send(vec![News::Config(ConfigEvent::Bgp(configuration))]);
        self.settle();
    }

    /// The fields that are problems, and how the datastore is.
    fn told(&self) -> (Vec<String>, String) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let asked = self.inbox.ask(|insight| status::answer::status(insight, String::new(), &[], &[]));
        let answer = runtime.block_on(asked).expect("it answers");
        let fields = answer.problems.into_iter().map(|problem| problem.field).collect();
        (fields, answer.datastore.expect("there is one").state)
    }
}

#[test]
fn nothing_is_put_into_force_while_the_datastore_is_not_ready() {
    let control = Loop::start();
    control.list();
    control.cluster(Some(false));
    let mut peer = control.attach(1);
    peer.welcome();
    peer.nothing();
    assert_eq!(control.told(), (vec!["spec.datastoreReady".to_owned()], "not ready".to_owned()));
    control.cluster(None);
    assert_eq!(peer.revision(), snapshot(1, &["config ", "tunnels", "in sync"]));
    peer.ack(1);
    // What changes meanwhile is told in one go.
    control.cluster(Some(false));
    control.node("n1", 1);
    control.settle();
    control.node("n2", 2);
    control.settle();
    peer.nothing();
    control.cluster(Some(true));
    assert_eq!(peer.revision(), delta(2, 1, &["+n1", "+n2"]));
    assert_eq!(control.told(), (vec![], "in sync".to_owned()));
    control.end().expect("it was told to stop");
}

#[test]
fn a_revision_waits_until_all_of_it_is_converted_as_the_configuration_says() {
    let control = Loop::start();
    let mut peer = control.attach(1);
    peer.welcome();
    control.converts("tap");
    control.list();
    control.settle();
    peer.nothing();
    control.converts("cali");
    assert_eq!(peer.revision(), snapshot(1, &["config ", "tunnels", "in sync"]));
    control.end().expect("it was told to stop");
}

#[test]
fn the_prefixes_of_services_are_told_before_services_and_only_when_they_change() {
    let control = Loop::start();
    control.list();
    control.bgp(Some("10.96.0.0/12"));
    let mut peer = control.attach(1);
    peer.welcome();
    let told = |prefixes: &[&str]| {
        let service_cluster_cidrs = prefixes.iter().map(ToString::to_string).collect();
        let update = felix::GlobalBgpConfigUpdate { service_cluster_cidrs, ..felix::GlobalBgpConfigUpdate::default() };
        format!("{:?}", Payload::GlobalBgpConfigUpdate(update))
    };
    assert_eq!(peer.revision(), snapshot(1, &["config ", "tunnels", &told(&["10.96.0.0/12"]), "in sync"]));
    peer.ack(1);
    control.bgp(Some("10.96.0.0/12"));
    peer.nothing();
    control.bgp(Some("10.97.0.0/16"));
    assert_eq!(peer.revision(), delta(2, 0, &[&told(&["10.97.0.0/16"])]));
    peer.ack(2);
    control.bgp(None);
    assert_eq!(peer.revision(), delta(3, 0, &[&told(&[])]));
    control.end().expect("it was told to stop");
}
