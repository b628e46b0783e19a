//! Transport ports and ranges of them.

use std::fmt;
use std::str::FromStr;

/// A transport port, 0–65535.
pub type Port = u16;

/// A text is not a port or a range of ports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Not a number, or not two numbers with a colon.
    #[error("{0:?} is not a port or a range of ports (0-65535, first:last)")]
    Syntax(String),
    /// The first port is above the last.
    #[error("port range {0}:{1} is inverted")]
    Inverted(u32, u32),
    /// A port above 65535.
    #[error("port {0} is above 65535")]
    TooBig(i64),
}

/// A range of ports; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    first: Port,
    last: Port,
}

impl PortRange {
    /// All ports.
    pub const ALL: Self = Self { first: 0, last: Port::MAX };

    /// Builds a range.
    ///
    /// # Errors
    /// [`PortError::Inverted`] if `first` is above `last`.
    pub fn new(first: Port, last: Port) -> Result<Self, PortError> {
        if first > last {
            return Err(PortError::Inverted(first.into(), last.into()));
        }
        Ok(Self { first, last })
    }

    /// The range of one port.
    #[must_use]
    pub const fn single(port: Port) -> Self {
        Self { first: port, last: port }
    }

    /// The lowest port.
    #[must_use]
    pub const fn first(&self) -> Port {
        self.first
    }

    /// The highest port.
    #[must_use]
    pub const fn last(&self) -> Port {
        self.last
    }

    /// Whether a port lies in the range.
    #[must_use]
    pub const fn contains(&self, port: Port) -> bool {
        self.first <= port && port <= self.last
    }
}

impl FromStr for PortRange {
    type Err = PortError;

    /// Parses `80` or `80:90`.
    fn from_str(text: &str) -> Result<Self, PortError> {
        let number = |t: &str| -> Result<Port, PortError> {
            if t.is_empty() || !t.bytes().all(|b| b.is_ascii_digit()) {
                return Err(PortError::Syntax(text.to_owned()));
            }
            let n: i64 = t.parse().map_err(|_| PortError::Syntax(text.to_owned()))?;
            Port::try_from(n).map_err(|_| PortError::TooBig(n))
        };
        match text.split_once(':') {
            Some((first, last)) => Self::new(number(first)?, number(last)?),
            None => Ok(Self::single(number(text)?)),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}:{}", self.first, self.last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms() {
        for text in ["0", "80", "80:90", "1:65535"] {
            assert_eq!(text.parse::<PortRange>().map(|r| r.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("90:80".parse::<PortRange>(), Err(PortError::Inverted(90, 80)));
        assert_eq!("70000".parse::<PortRange>(), Err(PortError::TooBig(70000)));
        for text in ["", ":", "80:", "a", "-1", "+80", "1-2"] {
            assert!(matches!(text.parse::<PortRange>(), Err(PortError::Syntax(_))), "{text}");
        }
    }
}
