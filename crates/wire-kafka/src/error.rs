//! What can be wrong with bytes that claim to be Kafka's.

use pluvio_foundation::ErrorKind;

/// Why bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end before the thing they should hold does.
    #[error("{what} ends early: it needs {needed} bytes, {have} are there")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes needed.
        needed: usize,
        /// Bytes present.
        have: usize,
    },
    /// A record batch of an old or unknown format.
    #[error("record batch has magic {0}, only 2 is stored; use a client of Kafka 0.11 or newer")]
    Magic(i8),
    /// The checksum does not match the bytes.
    #[error("record batch has CRC {stored:#010x}, its bytes give {computed:#010x}; send it again")]
    Crc {
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// Over a stated limit.
    #[error("{what} has {bytes} bytes, the limit is {bytes_max}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes, or the least it is known to have.
        bytes: usize,
        /// The limit in bytes.
        bytes_max: usize,
    },
    /// A compression that does not exist.
    #[error("compression {0} is unknown; use none, gzip, snappy, lz4 or zstd")]
    Compression(i16),
    /// Compressed bytes that do not decompress.
    #[error("{codec} data cannot be decompressed: {reason}")]
    Inflate {
        /// The codec.
        codec: &'static str,
        /// What the codec said.
        reason: String,
    },
    /// A rule of the protocol is broken.
    #[error("malformed {what}: {reason}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// The rule.
        reason: String,
    },
    /// An API key or version that is not served.
    #[error("API key {api_key} version {version} is not served")]
    ApiVersion {
        /// The API key.
        api_key: i16,
        /// The version asked for.
        version: i16,
    },
}

impl WireError {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Truncated { .. } | Self::Malformed { .. } | Self::Compression(_) => ErrorKind::Invalid,
            Self::Crc { .. } | Self::Inflate { .. } => ErrorKind::Corrupt,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Magic(_) | Self::ApiVersion { .. } => ErrorKind::Unsupported,
        }
    }

    pub(crate) fn malformed(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Malformed { what, reason: reason.into() }
    }
}
