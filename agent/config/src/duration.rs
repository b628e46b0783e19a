//! Durations in Go's form, which resources use.

use std::time::Duration;

/// Longer spellings stand before their own beginnings.
const UNITS: [(&str, f64); 8] =
    [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// Reads `1m30s`, `1.5h`, `250ms` or a bare `0`. No sign: nothing that is
/// configured lasts less than no time.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    let mut rest = text;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, each) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
        seconds += number * each;
        rest = &rest[unit.len()..];
        if rest.is_empty() {
            return Duration::try_from_secs_f64(seconds).ok();
        }
    }
}

/// A duration as a decimal number of units, so many per second.
pub(crate) fn decimal(duration: Duration, per_second: u32) -> String {
    (duration.as_secs_f64() * f64::from(per_second)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("90s", 90_000),
            ("1m30s123ms", 90_123),
            ("1h5m", 3_900_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("250000us", 250),
            ("1000µs", 1),
            ("5000000ns", 5),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "90", "s", "1 s", "-1s", "1m30", "1x", "1..5s", "1e3s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn decimals() {
        for (text, per_second, expected) in
            [("90s", 1, "90"), ("1m0.5s", 1, "60.5"), ("50ms", 1000, "50"), ("0", 1, "0")]
        {
            let duration = parse_duration(text).expect(text);
            assert_eq!(decimal(duration, per_second), expected);
        }
    }
}
