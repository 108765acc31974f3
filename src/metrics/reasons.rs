//! Why a connection ended, why one was refused before its upgrade, how a token check went. Each has its counter's label
//! and, for a close, its WebSocket code. Used by the shard, which decides, and by the metrics, which count.

macro_rules! labelled {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every value, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The label in the metrics, and the word in logs and events.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

labelled! {
    /// Why a connection ended.
    CloseReason {
        /// The client sent a close frame.
        Client = "client",
        /// The socket ended without a close frame.
        ConnectionLost = "connection_lost",
        /// No sign of life after a ping.
        PingTimeout = "ping_timeout",
        /// A frame that RFC 6455 forbids.
        ProtocolError = "protocol_error",
        /// A binary frame.
        UnsupportedData = "unsupported_data",
        /// Text that is not UTF-8.
        BadUtf8 = "bad_utf8",
        /// Over `limits.message_bytes`.
        MessageTooBig = "message_too_big",
        /// Ten malformed messages in a row.
        BadMessages = "bad_messages",
        /// A fault of the gateway's own.
        Internal = "internal",
        /// The node is draining.
        Drain = "drain",
        /// The node's outbound budget is spent.
        Overload = "overload",
        /// Three refused tokens.
        AuthFailed = "auth_failed",
        /// Closed by an operator or a service.
        Kicked = "kicked",
        /// No valid `connect` in time.
        ConnectTimeout = "connect_timeout",
        /// No complete request head in time.
        HandshakeTimeout = "handshake_timeout",
        /// Replaced or refused by the session policy.
        SessionPolicy = "session_policy",
        /// The token's time is over.
        TokenExpired = "token_expired",
        /// Its queue passed `limits.outbound_bytes`.
        SlowConsumer = "slow_consumer",
        /// Twenty messages in a row past `limits.messages_per_second`.
        RateLimited = "rate_limited",
    }
}

impl CloseReason {
    /// The WebSocket close code that goes with it (RFC 6455 section 7.4; 4xxx are longwire's own). 1006 is never sent:
    /// it stands in events for an end without a close frame.
    pub fn code(self) -> u16 {
        match self {
            Self::Client => 1000,
            Self::ConnectionLost | Self::HandshakeTimeout => 1006,
            Self::PingTimeout => 1001,
            Self::ProtocolError => 1002,
            Self::UnsupportedData => 1003,
            Self::BadUtf8 => 1007,
            Self::MessageTooBig => 1009,
            Self::BadMessages => 1008,
            Self::Internal => 1011,
            Self::Drain => 1012,
            Self::Overload => 1013,
            Self::AuthFailed => 4401,
            Self::Kicked => 4403,
            Self::ConnectTimeout => 4408,
            Self::SessionPolicy => 4409,
            Self::TokenExpired => 4410,
            Self::SlowConsumer => 4413,
            Self::RateLimited => 4429,
        }
    }
}

labelled! {
    /// Why a connection was refused before its upgrade.
    RefusalReason {
        /// `server.connections_max` is reached.
        Full = "full",
        /// The node is draining.
        Draining = "draining",
        /// `Origin` is not among `server.origins`.
        Origin = "origin",
        /// `limits.connections_per_ip` is reached.
        PerIp = "per_ip",
        /// Not a WebSocket upgrade request: 400, 405 or 426.
        BadRequest = "bad_request",
        /// Another path than `/ws`.
        NotFound = "not_found",
        /// A request head over 8 KiB.
        HeadTooLarge = "head_too_large",
        /// No descriptor was left.
        NoDescriptors = "no_descriptors",
    }
}

labelled! {
    /// How a token check went.
    AuthResult {
        /// Valid.
        Ok = "ok",
        /// A `connect` without a token.
        Missing = "token_missing",
        /// Malformed, wrongly signed, or with a claim that does not fit.
        Invalid = "token_invalid",
        /// Past its `exp`.
        Expired = "token_expired",
        /// Before its `nbf`.
        NotYetValid = "token_not_yet_valid",
        /// Valid, but of another user than the connection's.
        UserMismatch = "user_mismatch",
        /// Valid, but refused by the session policy.
        SessionPolicy = "too_many_connections",
    }
}
