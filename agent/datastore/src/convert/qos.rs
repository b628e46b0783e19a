//! Limits and marks on a workload's traffic.
//!
//! The annotations, their ranges and what depends on what are those of Calico
//! ("QoS controls"): a value out of range is brought into it, one that cannot
//! be read is as if it were absent, and so is one whose base is absent.

use std::ops::RangeInclusive;

use caracal_model::{Qos, QosLimits};
use tracing::warn;

use crate::resource::{ObjectMeta, QosControls};

/// Bits per second.
const BANDWIDTH: RangeInclusive<i64> = 1_000..=1_000_000_000_000_000;
/// Bits.
const BURST: RangeInclusive<i64> = 1_000..=34_359_738_360;
/// Bits.
const DEFAULT_BURST: i64 = 4 << 30;
/// Bits per second.
const PEAKRATE: RangeInclusive<i64> = 1_010..=1_010_000_000_000_000;
/// Bytes.
const MINBURST: RangeInclusive<i64> = 1_000..=100_000_000;
/// Packets per second.
const PACKET_RATE: RangeInclusive<i64> = 1..=10_000;
/// Packets.
const PACKET_BURST: RangeInclusive<i64> = 1..=10_000;
/// Packets.
const DEFAULT_PACKET_BURST: i64 = 5;
const MAX_CONNECTIONS: RangeInclusive<i64> = 1..=4_294_967_295;

const POD: &str = "Pod";

const DSCP: &str = "qos.projectcalico.org/dscp";
const LARGEST_DSCP: u8 = 63;

/// Names of code points (RFC 2474, RFC 2597, RFC 3246).
const DSCP_NAMES: [(&str, u8); 22] = [
    ("DF", 0),
    ("CS0", 0),
    ("CS1", 8),
    ("AF11", 10),
    ("AF12", 12),
    ("AF13", 14),
    ("CS2", 16),
    ("AF21", 18),
    ("AF22", 20),
    ("AF23", 22),
    ("CS3", 24),
    ("AF31", 26),
    ("AF32", 28),
    ("AF33", 30),
    ("CS4", 32),
    ("AF41", 34),
    ("AF42", 36),
    ("AF43", 38),
    ("CS5", 40),
    ("EF", 46),
    ("CS6", 48),
    ("CS7", 56),
];

/// What a pod's annotations say.
pub(super) fn of_pod(meta: &ObjectMeta) -> Qos {
    let limits = |direction: &str| {
        let own = |name: &str, range| limit(meta, &format!("qos.projectcalico.org/{direction}{name}"), range);
        let kubernetes = || limit(meta, &format!("kubernetes.io/{direction}-bandwidth"), BANDWIDTH);
        dependent(QosLimits {
            bandwidth: own("Bandwidth", BANDWIDTH).or_else(kubernetes).unwrap_or(0),
            burst: own("Burst", BURST).unwrap_or(DEFAULT_BURST),
            peakrate: own("Peakrate", PEAKRATE).unwrap_or(0),
            minburst: own("Minburst", MINBURST).unwrap_or(0),
            packet_rate: own("PacketRate", PACKET_RATE).unwrap_or(0),
            packet_burst: own("PacketBurst", PACKET_BURST).unwrap_or(DEFAULT_PACKET_BURST),
            max_connections: own("MaxConnections", MAX_CONNECTIONS).unwrap_or(0),
        })
    };
    Qos { ingress: limits("ingress"), egress: limits("egress"), dscp: mark(POD, meta) }
}

/// What the annotation of a HostEndpoint says of the packets that it sends. Felix
/// reads no other annotation there.
pub(super) fn of_host_endpoint(meta: &ObjectMeta) -> Option<u8> {
    mark("HostEndpoint", meta)
}

fn mark(kind: &str, meta: &ObjectMeta) -> Option<u8> {
    let text = meta.annotations.get(DSCP)?;
    let point = code_point(text);
    if point.is_none() {
        ignored(kind, meta, DSCP, text);
    }
    point
}

/// What a WorkloadEndpoint says: somebody else made it of annotations.
pub(super) fn of_resource(controls: &QosControls) -> Qos {
    Qos {
        ingress: QosLimits {
            bandwidth: controls.ingress_bandwidth,
            burst: controls.ingress_burst,
            peakrate: controls.ingress_peakrate,
            minburst: controls.ingress_minburst,
            packet_rate: controls.ingress_packet_rate,
            packet_burst: controls.ingress_packet_burst,
            max_connections: controls.ingress_max_connections,
        },
        egress: QosLimits {
            bandwidth: controls.egress_bandwidth,
            burst: controls.egress_burst,
            peakrate: controls.egress_peakrate,
            minburst: controls.egress_minburst,
            packet_rate: controls.egress_packet_rate,
            packet_burst: controls.egress_packet_burst,
            max_connections: controls.egress_max_connections,
        },
        dscp: controls.dscp.as_ref().and_then(|dscp| code_point(&dscp.to_string())),
    }
}

/// A burst means nothing without the rate that it is above.
fn dependent(limits: QosLimits) -> QosLimits {
    let QosLimits { bandwidth, burst, peakrate, minburst, packet_rate, packet_burst, max_connections } = limits;
    let peakrate = if bandwidth == 0 || peakrate <= bandwidth { 0 } else { peakrate };
    QosLimits {
        bandwidth,
        burst: if bandwidth == 0 { 0 } else { burst },
        peakrate,
        minburst: if peakrate == 0 { 0 } else { minburst },
        packet_rate,
        packet_burst: if packet_rate == 0 { 0 } else { packet_burst },
        max_connections,
    }
}

fn limit(meta: &ObjectMeta, annotation: &str, range: RangeInclusive<i64>) -> Option<i64> {
    let text = meta.annotations.get(annotation)?;
    let Some(value) = quantity(text) else {
        ignored(POD, meta, annotation, text);
        return None;
    };
    Some(value.clamp(*range.start(), *range.end()))
}

fn ignored(kind: &str, meta: &ObjectMeta, annotation: &str, text: &str) {
    let ObjectMeta { namespace, name, .. } = meta;
    let name = if namespace.is_empty() { name.to_string() } else { format!("{namespace}/{name}") };
    warn!("{kind} {name}: annotation {annotation} is ignored: {text:?} has no meaning");
}

fn code_point(text: &str) -> Option<u8> {
    let named = DSCP_NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    let numbered = || text.parse().ok().filter(|point| *point <= LARGEST_DSCP);
    named.map(|(_, point)| *point).or_else(numbered)
}

/// A Kubernetes quantity, rounded up to a whole number: `2M`, `1.5Gi`, `1e3`.
fn quantity(text: &str) -> Option<i64> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(number_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let places = u32::try_from(fraction.len()).ok()?;
    let (multiplier, divisor) = scale(suffix)?;
    let divisor = divisor.checked_mul(10_i128.checked_pow(places)?)?;
    let scaled = digits.checked_mul(multiplier)?;
    let rounded = scaled.div_euclid(divisor) + i128::from(scaled.rem_euclid(divisor) != 0);
    i64::try_from(rounded).ok()
}

/// What a suffix multiplies and divides by.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    let power = |base: i128, n: u32| base.checked_pow(n);
    if let Some(exponent) = suffix.strip_prefix(['e', 'E']).filter(|rest| !rest.is_empty()) {
        let exponent: i32 = exponent.parse().ok()?;
        let factor = power(10, exponent.unsigned_abs())?;
        return Some(if exponent < 0 { (1, factor) } else { (factor, 1) });
    }
    let (multiplier, divisor) = match suffix {
        "" => (1, 1),
        "n" => (1, power(1000, 3)?),
        "u" => (1, power(1000, 2)?),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (power(1000, 2)?, 1),
        "G" => (power(1000, 3)?, 1),
        "T" => (power(1000, 4)?, 1),
        "P" => (power(1000, 5)?, 1),
        "E" => (power(1000, 6)?, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => return None,
    };
    Some((multiplier, divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(annotations: &[(&str, &str)]) -> Qos {
        of_pod(&ObjectMeta {
            annotations: annotations.iter().map(|(name, text)| ((*name).into(), (*text).to_owned())).collect(),
            ..ObjectMeta::default()
        })
    }

    #[test]
    fn quantities() {
        for (text, want) in [
            ("0", Some(0)),
            ("1", Some(1)),
            ("2M", Some(2_000_000)),
            ("1.5Gi", Some(1_610_612_736)),
            ("1e3", Some(1000)),
            ("15E-1", Some(2)),
            ("100m", Some(1)),
            ("1E", Some(1_000_000_000_000_000_000)),
            ("-1.5", Some(-1)),
            ("+3k", Some(3000)),
            ("banana", None),
            ("", None),
            (".", None),
            ("1 M", None),
            ("1Mb", None),
            ("100E", None),
        ] {
            assert_eq!(quantity(text), want, "{text}");
        }
    }

    #[test]
    fn annotations() {
        let egress = |limits| Qos { egress: limits, ..Qos::default() };
        let ingress = |limits| Qos { ingress: limits, ..Qos::default() };
        let bandwidth = QosLimits { bandwidth: 2_000_000, burst: 4_294_967_296, ..QosLimits::default() };
        for (given, want) in [
            (vec![], Qos::default()),
            (vec![("kubernetes.io/egress-bandwidth", "2M")], egress(bandwidth)),
            (
                vec![("kubernetes.io/egress-bandwidth", "1M"), ("qos.projectcalico.org/egressBandwidth", "2M")],
                egress(bandwidth),
            ),
            (vec![("qos.projectcalico.org/ingressBandwidth", "banana")], Qos::default()),
            (
                vec![("qos.projectcalico.org/ingressBandwidth", "1"), ("qos.projectcalico.org/ingressBurst", "100G")],
                ingress(QosLimits { bandwidth: 1_000, burst: 34_359_738_360, ..QosLimits::default() }),
            ),
            (
                vec![("qos.projectcalico.org/ingressBurst", "1M"), ("qos.projectcalico.org/ingressPacketBurst", "9")],
                Qos::default(),
            ),
            (
                vec![
                    ("qos.projectcalico.org/ingressPacketRate", "100"),
                    ("qos.projectcalico.org/ingressMaxConnections", "7"),
                ],
                ingress(QosLimits { packet_rate: 100, packet_burst: 5, max_connections: 7, ..QosLimits::default() }),
            ),
            (
                vec![
                    ("qos.projectcalico.org/egressBandwidth", "2M"),
                    ("qos.projectcalico.org/egressPeakrate", "1M"),
                    ("qos.projectcalico.org/egressMinburst", "2k"),
                ],
                egress(bandwidth),
            ),
            (
                vec![
                    ("qos.projectcalico.org/egressBandwidth", "2M"),
                    ("qos.projectcalico.org/egressPeakrate", "3M"),
                    ("qos.projectcalico.org/egressMinburst", "2k"),
                ],
                egress(QosLimits { peakrate: 3_000_000, minburst: 2_000, ..bandwidth }),
            ),
            (vec![(DSCP, "ef")], Qos { dscp: Some(46), ..Qos::default() }),
            (vec![(DSCP, "20")], Qos { dscp: Some(20), ..Qos::default() }),
            (vec![(DSCP, "64")], Qos::default()),
        ] {
            assert_eq!(pod(&given), want, "{given:?}");
        }
    }
}
