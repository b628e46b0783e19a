//! Names of nftables objects, and texts on them.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use smol_str::SmolStr;

/// A text cannot be what it was meant for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what} of nftables: {shape}")]
pub struct TextError {
    text: String,
    what: &'static str,
    shape: &'static str,
}

macro_rules! text {
    ($(#[$doc:meta])* $type:ident, $what:literal, $lengths:expr, $shape:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(SmolStr);

        impl $type {
            /// Checks a text.
            ///
            /// # Errors
            /// When it is too long or has a NUL inside.
            pub fn new(text: impl Into<SmolStr>) -> Result<Self, TextError> {
                let text = text.into();
                if !$lengths.contains(&text.len()) || text.contains('\0') {
                    return Err(TextError { text: text.to_string(), what: $what, shape: $shape });
                }
                Ok(Self(text))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<&str> for $type {
            type Error = TextError;

            fn try_from(text: &str) -> Result<Self, TextError> {
                Self::new(text)
            }
        }

        impl Deref for $type {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

text! {
    /// The name of a table, chain, set, map or object (`NFT_NAME_MAXLEN`).
    Name, "a name", (1..=255), "1 to 255 bytes without NUL"
}

text! {
    /// A comment that `nft list` prints (`NFTNL_UDATA_COMMENT_MAXLEN`).
    Comment, "a comment", (0..=127), "at most 127 bytes without NUL"
}

text! {
    /// What a log message starts with (`NF_LOG_PREFIXLEN`).
    LogPrefix, "a log prefix", (1..=126), "1 to 126 bytes without NUL"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_as_long_as_the_kernel_and_nft_allow() {
        assert_eq!(Name::new("x".repeat(255)).expect("a long name").len(), 255);
        assert_eq!(Comment::new("").expect("an empty comment").as_str(), "");
        Comment::new("x".repeat(127)).expect("a long comment");
        LogPrefix::new("x".repeat(126)).expect("a long prefix");
        for bad in [String::new(), "a\0b".to_owned(), "x".repeat(256)] {
            Name::new(bad.clone()).expect_err(&bad);
        }
        for bad in ["a\0b".to_owned(), "x".repeat(128)] {
            Comment::new(bad.clone()).expect_err(&bad);
        }
        for bad in [String::new(), "a\0b".to_owned(), "x".repeat(127)] {
            LogPrefix::new(bad.clone()).expect_err(&bad);
        }
    }
}
