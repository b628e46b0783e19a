//! How often a Log rule may write.

use std::str::FromStr;

/// A number of packets in a period, and how many may come at once (Felix's
/// `LogActionRateLimit` and `LogActionRateLimitBurst`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Packets in a period.
    pub count: u32,
    /// The period.
    pub period: RatePeriod,
    /// Packets above the rate at once. The kernel takes 0 for [`Rate::BURST`].
    pub burst: u32,
}

/// A period of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RatePeriod {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
}

/// A text is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a rate such as 10/minute; name a number above 0, and second, minute, hour or day")]
pub struct RateError(String);

impl Rate {
    /// What the kernel allows at once if nobody says (`NFT_LIMIT_PKT_BURST_DEFAULT`).
    pub const BURST: u32 = 5;

    /// The rate with another burst; 0 stands for the default.
    #[must_use]
    pub const fn with_burst(mut self, burst: u32) -> Self {
        self.burst = if burst == 0 { Self::BURST } else { burst };
        self
    }
}

impl RatePeriod {
    const ALL: [Self; 4] = [Self::Second, Self::Minute, Self::Hour, Self::Day];

    /// The period's length in seconds.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 60 * 60,
            Self::Day => 24 * 60 * 60,
        }
    }

    /// The period as nft and Felix spell it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

impl FromStr for Rate {
    type Err = RateError;

    /// Reads `10/minute`.
    fn from_str(text: &str) -> Result<Self, RateError> {
        let error = || RateError(text.to_owned());
        let (count, period) = text.split_once('/').ok_or_else(error)?;
        let count = count.parse().ok().filter(|count| *count > 0).ok_or_else(error)?;
        let period = RatePeriod::ALL.into_iter().find(|known| known.word() == period).ok_or_else(error)?;
        Ok(Self { count, period, burst: Self::BURST })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_felix_writes_them() {
        let rate = |count, period| Ok(Rate { count, period, burst: 5 });
        for (text, wanted) in [
            ("1/second", rate(1, RatePeriod::Second)),
            ("10/minute", rate(10, RatePeriod::Minute)),
            ("9999/hour", rate(9999, RatePeriod::Hour)),
            ("2/day", rate(2, RatePeriod::Day)),
        ] {
            assert_eq!(text.parse(), wanted, "{text}");
        }
        for bad in ["", "10", "0/second", "-1/second", "x/second", "1/week"] {
            assert_eq!(bad.parse::<Rate>(), Err(RateError(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn no_burst_is_the_kernels_own() {
        let rate: Rate = "1/second".parse().expect("a rate");
        assert_eq!([0, 1, 9999].map(|burst| rate.with_burst(burst).burst), [5, 1, 9999]);
    }
}
