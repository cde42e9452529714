//! Names: of nodes, parties, keys, sessions and requests, and the parameters of a key.

use core::fmt;
use core::num::NonZeroU16;

use crate::Misuse;
use crate::transcript::{self, Tag};

/// Largest committee. Small on purpose: known adaptive attacks on threshold Schnorr need committees far larger.
pub const MAX_PARTIES: u16 = 32;

macro_rules! name32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Takes the 32 bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

name32!(
    /// A node: the tagged hash of its identity key. One node holds at most one index of a key.
    NodeId
);
name32!(
    /// A key: the tagged hash of the transcript of the session that made it.
    KeyId
);
name32!(
    /// A session of a protocol, or its name before every party has contributed to it (protocol notes, section 1.5).
    SessionId
);
name32!(
    /// A pair setup: the tagged hash of the base transfers that two nodes ran with each other. Two nodes that hold
    /// different seeds hold different names.
    PairId
);
name32!(
    /// One sharing of a key: the hash of everything that the session that dealt it agreed on. Every epoch has its own.
    SharingId
);
name32!(
    /// What a preprocessing session is run for: 32 fresh bytes, never used twice.
    PoolId
);
name32!(
    /// What a session is run for: 32 fresh bytes chosen by whoever asks, never used twice.
    RequestId
);

impl RequestId {
    /// `H("key/rq"; request id, name)`: the request for a key, bound to the name that every later order about the key repeats. Nodes that
    /// were told different names make no key together.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        let digest = transcript::hash(Tag::KEY_REQUEST)
            .field(self)
            .field(name.as_bytes())
            .digest();
        Self(digest)
    }
}

/// The Shamir coordinate of a share, from 1. Assigned by the roster, never read from a peer as a scalar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartyIndex(NonZeroU16);

impl PartyIndex {
    /// # Errors
    /// [`Misuse::InvalidIndex`] unless `1 <= index <= MAX_PARTIES`.
    pub const fn new(index: u16) -> Result<Self, Misuse> {
        match NonZeroU16::new(index) {
            Some(value) if index <= MAX_PARTIES => Ok(Self(value)),
            _ => Err(Misuse::InvalidIndex { index }),
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for PartyIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PartyIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartyIndex({self})")
    }
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter!(
    /// How often the shares of a key have been replaced; 0 after key generation.
    Epoch
);
counter!(
    /// Which try at the same thing this is, from 0.
    Attempt
);

/// The curve of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// Twisted Edwards curve over 2^255 - 19, prime-order subgroup; 32-byte points, little-endian scalars.
    Ed25519,
    /// SEC 2 curve; 33-byte compressed points, big-endian scalars.
    Secp256k1,
}

impl Suite {
    /// The name that is hashed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Secp256k1 => "secp256k1",
        }
    }
}

/// The one thing a key is for. Fixed when the key is made; a request of another purpose is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Schnorr signatures of BIP 340, spending as BIP 341 key path.
    Bip340,
    /// ECDSA over secp256k1, of messages that every signer sees.
    Ecdsa,
    /// ECDSA over secp256k1, of digests whose messages nobody sees. For keys that hold no funds.
    EcdsaRaw,
    /// Ed25519 of RFC 8032.
    Ed25519,
}

impl Purpose {
    /// The name in configuration, hashes and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bip340 => "bip340",
            Self::Ecdsa => "ecdsa",
            Self::EcdsaRaw => "ecdsa-raw",
            Self::Ed25519 => "ed25519",
        }
    }

    /// The inverse of [`Self::as_str`].
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Bip340, Self::Ecdsa, Self::EcdsaRaw, Self::Ed25519]
            .into_iter()
            .find(|purpose| purpose.as_str() == name)
    }

    /// Whether the nodes that sign with keys of this purpose need setups with each other.
    #[must_use]
    pub const fn needs_pairs(self) -> bool {
        matches!(self, Self::Ecdsa | Self::EcdsaRaw)
    }

    /// The curve that keys of this purpose live on.
    #[must_use]
    pub const fn suite(self) -> Suite {
        match self {
            Self::Bip340 | Self::Ecdsa | Self::EcdsaRaw => Suite::Secp256k1,
            Self::Ed25519 => Suite::Ed25519,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many parties there are and how many must sign. Valid by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Params {
    threshold: u16,
    parties: u16,
}

impl Params {
    /// # Errors
    /// [`Misuse::InvalidParams`] unless `2 <= threshold <= parties <= MAX_PARTIES`.
    pub const fn new(threshold: u16, parties: u16) -> Result<Self, Misuse> {
        if 2 <= threshold && threshold <= parties && parties <= MAX_PARTIES {
            Ok(Self { threshold, parties })
        } else {
            Err(Misuse::InvalidParams { threshold, parties })
        }
    }

    /// How many must sign.
    #[must_use]
    pub const fn threshold(self) -> u16 {
        self.threshold
    }

    /// How many hold a share.
    #[must_use]
    pub const fn parties(self) -> u16 {
        self.parties
    }

    /// The indices 1 to [`Self::parties`].
    pub fn indices(self) -> impl Iterator<Item = PartyIndex> {
        (1..=self.parties).filter_map(|index| PartyIndex::new(index).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a16_parameter_edges_are_refused() {
        for (threshold, parties) in [
            (0, 3),
            (1, 3),
            (4, 3),
            (2, 1),
            (2, 33),
            (2, 256),
            (u16::MAX, u16::MAX),
            (0, 0),
        ] {
            assert_eq!(
                Params::new(threshold, parties),
                Err(Misuse::InvalidParams { threshold, parties })
            );
        }
        for (threshold, parties) in [(2, 2), (2, 3), (3, 3), (32, 32)] {
            assert!(Params::new(threshold, parties).is_ok());
        }
    }

    #[test]
    fn a1_index_zero_and_out_of_range_are_refused() {
        for index in [0, 33, 255, u16::MAX] {
            assert_eq!(PartyIndex::new(index), Err(Misuse::InvalidIndex { index }));
        }
        assert_eq!(PartyIndex::new(32).map(PartyIndex::get), Ok(32));
    }

    #[test]
    fn names_print_as_hex() {
        assert_eq!(NodeId::from_bytes([0xAB; 32]).to_string(), "ab".repeat(32));
        assert_eq!(
            format!("{:?}", KeyId::from_bytes([1; 32])),
            format!("KeyId({})", "01".repeat(32))
        );
    }

    #[test]
    fn purposes_round_trip_and_know_their_curve() {
        for purpose in [Purpose::Bip340, Purpose::Ecdsa, Purpose::Ed25519] {
            assert_eq!(Purpose::parse(purpose.as_str()), Some(purpose));
        }
        assert_eq!(Purpose::parse("BIP340"), None);
        assert_eq!(Purpose::Ecdsa.suite(), Suite::Secp256k1);
    }
}
