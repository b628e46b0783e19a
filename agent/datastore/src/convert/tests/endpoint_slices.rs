//! Slices of services' endpoints.

use caracal_model::{EndpointSlice, Object};

use super::{converted, object};
use crate::convert::Converted;

fn manifest(labels: &str, fields: &str) -> String {
    format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: db-1, namespace: shop, labels: {labels}}}, {fields}}}"
    )
}

const OF_DB: &str = "{kubernetes.io/service-name: db}";

fn slice(fields: &str) -> EndpointSlice {
    match object(&manifest(OF_DB, fields)) {
        Object::EndpointSlice(key, slice) => {
            assert_eq!((key.namespace.as_str(), key.name.as_str()), ("shop", "db-1"));
            assert_eq!((slice.service.namespace.as_str(), slice.service.name.as_str()), ("shop", "db"));
            slice
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn addresses_whatever_their_condition() {
    for (fields, addresses) in [
        (
            "addressType: IPv4, endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2]}]",
            &["10.0.0.1", "10.0.0.2"][..],
        ),
        (
            "addressType: IPv4, endpoints: [{addresses: [10.0.0.1], conditions: {ready: false, terminating: true}}]",
            &["10.0.0.1"],
        ),
        ("addressType: IPv6, endpoints: [{addresses: ['fd00::1']}]", &["fd00::1"]),
        ("addressType: FQDN, endpoints: [{addresses: [db.example.org]}]", &[]),
        ("addressType: IPv4", &[]),
    ] {
        let found: Vec<_> = slice(fields).addresses.iter().map(ToString::to_string).collect();
        assert_eq!(found, addresses, "{fields}");
    }
}

#[test]
fn ports_with_a_number() {
    for (ports, numbers) in [
        ("[{port: 80}]", &["tcp:80"][..]),
        ("[{name: a, port: 53, protocol: UDP}, {name: b, port: 9, protocol: SCTP}]", &["udp:53", "sctp:9"]),
        ("[{name: all}]", &[]),
        ("null", &[]),
    ] {
        let found: Vec<_> = slice(&format!("addressType: IPv4, ports: {ports}"))
            .ports
            .iter()
            .map(|(protocol, port)| format!("{protocol}:{port}"))
            .collect();
        assert_eq!(found, numbers, "{ports}");
    }
}

#[test]
fn a_slice_of_no_service_is_nothing() {
    for labels in ["{}", "{kubernetes.io/service-name: ''}", "{app: db}"] {
        assert_eq!(converted(&manifest(labels, "addressType: IPv4")), Converted::Nothing, "{labels}");
    }
}
