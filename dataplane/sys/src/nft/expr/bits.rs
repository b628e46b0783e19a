//! Bit sets inside expressions.

use std::ops::BitOr;

/// A set of bits with the kernel's values.
macro_rules! bits {
    ($(#[$doc:meta])* $type:ident { $($(#[$bit_doc:meta])* $bit:ident = $value:expr,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(u32);

        impl $type {
            $($(#[$bit_doc])* pub const $bit: Self = Self($value);)+

            /// The bits.
            #[must_use]
            pub const fn bits(self) -> u32 {
                self.0
            }

            /// Bits as the kernel gave them, also unknown ones.
            #[must_use]
            pub const fn from_bits(bits: u32) -> Self {
                Self(bits)
            }
        }

        impl BitOr for $type {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }
    };
}

bits! {
    /// States of a connection as [`super::CtKey::State`] loads them
    /// (`NF_CT_STATE_BIT` of `linux/netfilter/nf_conntrack_common.h`).
    CtState {
        /// Belongs to no connection and cannot open one.
        INVALID = 1,
        /// Of a connection that was answered.
        ESTABLISHED = 2,
        /// Opens a connection that an established one announced, or is an ICMP error about one.
        RELATED = 4,
        /// Opens a connection.
        NEW = 8,
        /// Kept out of connection tracking.
        UNTRACKED = 64,
    }
}

bits! {
    /// Properties of a connection as [`super::CtKey::Status`] loads them
    /// (`enum ip_conntrack_status`).
    CtStatus {
        /// Was answered.
        SEEN_REPLY = 1 << 1,
        /// Its first packet has left the machine.
        CONFIRMED = 1 << 3,
        /// Its source is translated.
        SNAT = 1 << 4,
        /// Its destination is translated.
        DNAT = 1 << 5,
        /// Is about to be removed.
        DYING = 1 << 9,
    }
}

bits! {
    /// What of a packet a route lookup uses (`enum nft_fib_flags`).
    FibInput {
        /// The source address.
        SOURCE = 1 << 0,
        /// The destination address.
        DESTINATION = 1 << 1,
        /// The mark.
        MARK = 1 << 2,
        /// The interface it came in by.
        IIF = 1 << 3,
        /// The interface it leaves by.
        OIF = 1 << 4,
        /// Only whether there is a route: the result is one byte, 0 or 1.
        PRESENT = 1 << 5,
    }
}

bits! {
    /// How an address is translated (`NF_NAT_RANGE_*` of `linux/netfilter/nf_nat.h`).
    /// Newer kernels add the first two themselves, so that a rule that lacks them
    /// is listed with them.
    NatFlags {
        /// An address is given.
        MAP_IPS = 1 << 0,
        /// Ports are given.
        PROTO_SPECIFIED = 1 << 1,
        /// The port is drawn at random, even where the old one is free.
        RANDOM_FULLY = 1 << 4,
    }
}
