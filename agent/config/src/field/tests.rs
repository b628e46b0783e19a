use serde_json::json;

use super::*;
use crate::parameter::parameter_of_field;

fn text_of(field: &str, value: &Json) -> Result<Option<String>, String> {
    let parameter = parameter_of_field(field).unwrap_or_else(|| panic!("no parameter has the field {field}"));
    let text = parameter.text_of_field(value).map_err(|e| e.to_string())?;
    if let Some(text) = &text {
        parameter.parse(text).unwrap_or_else(|e| panic!("{field}: {text}: {e}"));
    }
    Ok(text)
}

#[test]
fn texts_of_fields() {
    for (field, value, text) in [
        ("healthEnabled", json!(true), "true"),
        ("healthPort", json!(9099), "9099"),
        ("nftablesMarkMask", json!(4_294_901_760_u32), "4294901760"),
        ("logSeverityScreen", json!("Warning"), "Warning"),
        ("interfacePrefix", json!("cali,tap"), "cali,tap"),
        ("routeRefreshInterval", json!("1m30s"), "90"),
        ("netlinkTimeout", json!("500ms"), "0.5"),
        ("iptablesLockProbeInterval", json!("50ms"), "50"),
        ("iptablesLockProbeInterval", json!("1s"), "1000"),
        ("externalNodesList", json!(["10.0.0.0/8", "fd00::/8"]), "10.0.0.0/8,fd00::/8"),
        ("kubeNodePortRanges", json!([80, "30000:32767"]), "80,30000:32767"),
        ("natPortRange", json!("1000:2000"), "1000:2000"),
        ("natPortRange", json!(1000), "1000"),
        ("failsafeInboundHostPorts", json!([]), "none"),
        (
            "failsafeInboundHostPorts",
            json!([
                {"protocol": "TCP", "port": 22},
                {"protocol": "UDP", "port": 53, "net": "10.0.0.0/8"},
                {"protocol": "tcp", "port": 80, "net": "fd00::/8"},
                {"port": 1},
            ]),
            "tcp:22,udp:10.0.0.0/8:53,tcp:[fd00::/8]:80,tcp:1",
        ),
        ("routeTableRange", json!({"min": 1, "max": 250}), "1-250"),
        ("routeTableRanges", json!([{"min": 1, "max": 2}, {"min": 10, "max": 20}]), "1-2,10-20"),
        (
            "healthTimeoutOverrides",
            json!([{"name": "a", "timeout": "1m30s"}, {"name": "b", "timeout": "0s"}]),
            "a=1m30s,b=0s",
        ),
        ("bpfConntrackTimeouts", json!({"tcpSynSent": "1s", "udpTimeout": "Auto"}), "TCPSynSent=1s,UDPTimeout=Auto"),
        ("bpfLogFilters", json!({"all": "tcp"}), "all=tcp"),
    ] {
        assert_eq!(text_of(field, &value), Ok(Some(text.to_owned())), "{field}: {value}");
    }
}

#[test]
fn fields_that_say_nothing() {
    for (field, value) in [
        ("healthPort", json!(null)),
        ("interfacePrefix", json!("")),
        ("routeRefreshInterval", json!("")),
        ("externalNodesList", json!([])),
    ] {
        assert_eq!(text_of(field, &value), Ok(None), "{field}: {value}");
    }
}

#[test]
fn fields_without_a_text() {
    for (field, value, error) in [
        ("routeRefreshInterval", json!("90"), "expected a duration such as 1m30s"),
        ("interfacePrefix", json!({"a": "b"}), "expected no object"),
        ("externalNodesList", json!([true]), "expected a list of texts, numbers or objects"),
        ("failsafeInboundHostPorts", json!([{"protocol": "TCP"}]), "expected objects with a port"),
        ("failsafeInboundHostPorts", json!([{"protocol": "SCTP", "port": 22}]), "expected protocol TCP or UDP"),
        ("routeTableRange", json!({"min": 1}), "expected objects with min and max"),
        ("healthTimeoutOverrides", json!([{"name": "a"}]), "expected objects with name and timeout"),
        ("bpfLogFilters", json!({"all": 1}), "expected an object of texts"),
    ] {
        assert_eq!(text_of(field, &value), Err(error.to_owned()), "{field}: {value}");
    }
}
