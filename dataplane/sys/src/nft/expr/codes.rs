//! The enumerations inside expressions, with their kernel numbers.

use libc::c_int;

/// An enumeration whose variants have the kernel's numbers.
macro_rules! codes {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:expr,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $type {
            /// Every variant.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub(crate) const fn code(self) -> u32 {
                let code: c_int = match self { $(Self::$variant => $code),+ };
                code.cast_unsigned()
            }

            /// `None` for a number that has no variant.
            pub(crate) fn from_code(code: u32) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.code() == code)
            }
        }
    };
}

codes! {
    /// Which header of a packet is read (`enum nft_payload_bases`).
    PayloadBase {
        /// The link layer's, in front of the network header.
        Link = libc::NFT_PAYLOAD_LL_HEADER,
        /// IPv4's or IPv6's.
        Network = libc::NFT_PAYLOAD_NETWORK_HEADER,
        /// TCP's, UDP's, ICMP's.
        Transport = libc::NFT_PAYLOAD_TRANSPORT_HEADER,
    }
}

codes! {
    /// What is known of a packet beside its bytes (`enum nft_meta_keys`).
    MetaKey {
        /// The packet's length, in the machine's order.
        Length = libc::NFT_META_LEN,
        /// The mark: 32 bits in the machine's order.
        Mark = libc::NFT_META_MARK,
        /// The index of the interface it came in by.
        Iif = libc::NFT_META_IIF,
        /// The index of the interface it leaves by.
        Oif = libc::NFT_META_OIF,
        /// The name of the interface it came in by: 16 bytes.
        IifName = libc::NFT_META_IIFNAME,
        /// The name of the interface it leaves by: 16 bytes.
        OifName = libc::NFT_META_OIFNAME,
        /// The user who owns the socket.
        SocketUser = libc::NFT_META_SKUID,
        /// One byte: whether the packet is traced.
        Trace = libc::NFT_META_NFTRACE,
        /// One byte: `NFPROTO_IPV4` or `NFPROTO_IPV6`.
        NfProto = libc::NFT_META_NFPROTO,
        /// One byte: the transport protocol, IPv6 extension headers skipped.
        L4Proto = libc::NFT_META_L4PROTO,
        /// One byte: unicast, broadcast, multicast.
        PacketType = libc::NFT_META_PKTTYPE,
        /// Four random bytes.
        Random = libc::NFT_META_PRANDOM,
    }
}

codes! {
    /// What is known of a packet's connection (`enum nft_ct_keys`).
    CtKey {
        /// A bit set, in the machine's order: see [`super::CtState`].
        State = libc::NFT_CT_STATE,
        /// One byte: 0 original, 1 reply.
        Direction = libc::NFT_CT_DIRECTION,
        /// A bit set, in the machine's order: see [`super::CtStatus`].
        Status = libc::NFT_CT_STATUS,
        /// The connection's mark.
        Mark = libc::NFT_CT_MARK,
        /// The connection's labels: 16 bytes, bit *n* in the word *n* / 32.
        Labels = libc::NFT_CT_LABELS,
        /// The zone: 16 bits in the machine's order.
        Zone = libc::NFT_CT_ZONE,
        /// One byte: the network protocol.
        L3Proto = libc::NFT_CT_L3PROTOCOL,
        /// One byte: the transport protocol.
        Protocol = libc::NFT_CT_PROTOCOL,
        /// The source port of a direction, big endian.
        SourcePort = libc::NFT_CT_PROTO_SRC,
        /// The destination port of a direction, big endian.
        DestinationPort = libc::NFT_CT_PROTO_DST,
        /// The IPv4 source of a direction.
        SourceV4 = libc::NFT_CT_SRC_IP,
        /// The IPv4 destination of a direction.
        DestinationV4 = libc::NFT_CT_DST_IP,
        /// The IPv6 source of a direction.
        SourceV6 = libc::NFT_CT_SRC_IP6,
        /// The IPv6 destination of a direction.
        DestinationV6 = libc::NFT_CT_DST_IP6,
    }
}

codes! {
    /// A direction of a connection (`enum ip_conntrack_dir`).
    CtDirection {
        /// From who opened it.
        Original = 0,
        /// Towards who opened it.
        Reply = 1,
    }
}

codes! {
    /// A comparison, byte by byte from the first (`enum nft_cmp_ops`).
    CmpOp {
        /// Equal.
        Eq = libc::NFT_CMP_EQ,
        /// Not equal.
        Ne = libc::NFT_CMP_NEQ,
        /// Below.
        Lt = libc::NFT_CMP_LT,
        /// Below or equal.
        Le = libc::NFT_CMP_LTE,
        /// Above.
        Gt = libc::NFT_CMP_GT,
        /// Above or equal.
        Ge = libc::NFT_CMP_GTE,
    }
}

codes! {
    /// Which side of a range matches (`enum nft_range_ops`).
    RangeOp {
        /// From the first value to the last, both included.
        Inside = libc::NFT_RANGE_EQ,
        /// All others.
        Outside = libc::NFT_RANGE_NEQ,
    }
}

codes! {
    /// What a limit counts (`enum nft_limit_type`).
    LimitUnit {
        /// Packets.
        Packets = libc::NFT_LIMIT_PKTS,
        /// Bytes.
        Bytes = libc::NFT_LIMIT_PKT_BYTES,
    }
}

codes! {
    /// What a limit lets on to the next expression (`enum nft_limit_flags`).
    LimitWhen {
        /// Packets within the rate.
        Within = 0,
        /// Packets above the rate.
        Above = libc::NFT_LIMIT_F_INV,
    }
}

codes! {
    /// Why a packet is rejected, in the words of its own family
    /// (`enum nft_reject_inet_code`).
    IcmpxCode {
        /// No route.
        NoRoute = libc::NFT_REJECT_ICMPX_NO_ROUTE,
        /// Port unreachable.
        PortUnreachable = libc::NFT_REJECT_ICMPX_PORT_UNREACH,
        /// Host unreachable.
        HostUnreachable = libc::NFT_REJECT_ICMPX_HOST_UNREACH,
        /// Administratively prohibited.
        AdminProhibited = libc::NFT_REJECT_ICMPX_ADMIN_PROHIBITED,
    }
}

codes! {
    /// What a route lookup yields (`enum nft_fib_result`).
    FibResult {
        /// The index of the interface: 4 bytes.
        Oif = 1,
        /// The name of the interface: 16 bytes.
        OifName = 2,
        /// The type of the address (`RTN_*`): 4 bytes in the machine's order.
        AddressType = 3,
    }
}

codes! {
    /// A stateful object (`NFT_OBJECT_*`).
    ObjectKind {
        /// A named counter.
        Counter = 1,
        /// A named quota.
        Quota = 2,
        /// A named limit.
        Limit = 4,
    }
}
