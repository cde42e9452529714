//! Chains, addresses, assets and transfer kinds by their names in a policy.

use core::fmt;

/// A chain that wallets live on. The chain is part of the wallet; a transaction carries no chain id of its own on Solana,
/// which is why the intent and every approval name the wallet and the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Chain {
    /// `solana:devnet`
    SolanaDevnet,
    /// `solana:localnet`
    SolanaLocalnet,
    /// `solana:mainnet`
    SolanaMainnet,
}

/// What a transfer moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asset {
    /// The coin of the chain, in which fees are paid: `native`.
    Native,
    /// An SPL token by the 32 bytes of its mint: `spl:<base58>`.
    SplMint([u8; 32]),
}

/// A Solana account: 32 bytes, shown in base58. Compared by all its bytes, never by a prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address([u8; 32]);

/// What sort of movement a transfer is, as wallets and rules name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Movement of an SPL token: `spl_transfer`.
    SplTransfer,
    /// Movement of the native coin: `transfer`.
    Transfer,
}

/// Why a text is not a chain, address, asset or kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The text is not the base58 form of 32 bytes.
    #[error("address must be 32 bytes in base58")]
    BadAddress,
    /// The text names no asset.
    #[error("asset must be \"native\" or \"spl:<mint in base58>\"")]
    BadAsset,
    /// The text names no chain.
    #[error("chain must be one of \"solana:mainnet\", \"solana:devnet\", \"solana:localnet\"")]
    BadChain,
    /// The text names no kind.
    #[error("kind must be \"transfer\" or \"spl_transfer\"")]
    BadKind,
}

impl Chain {
    /// Every chain.
    pub const ALL: [Self; 3] = [
        Self::SolanaDevnet,
        Self::SolanaLocalnet,
        Self::SolanaMainnet,
    ];

    /// The name, such as `solana:mainnet`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SolanaDevnet => "solana:devnet",
            Self::SolanaLocalnet => "solana:localnet",
            Self::SolanaMainnet => "solana:mainnet",
        }
    }

    /// Reads a name.
    ///
    /// # Errors
    /// [`ChainError::BadChain`] for any other text.
    pub fn parse(text: &str) -> Result<Self, ChainError> {
        Self::ALL
            .into_iter()
            .find(|chain| chain.as_str() == text)
            .ok_or(ChainError::BadChain)
    }
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::SplTransfer, Self::Transfer];

    /// The name, such as `transfer`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SplTransfer => "spl_transfer",
            Self::Transfer => "transfer",
        }
    }

    /// Reads a name.
    ///
    /// # Errors
    /// [`ChainError::BadKind`] for any other text.
    pub fn parse(text: &str) -> Result<Self, ChainError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(ChainError::BadKind)
    }
}

impl Address {
    /// The address of those 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads base58 of exactly 32 bytes.
    ///
    /// # Errors
    /// [`ChainError::BadAddress`] for any other text.
    pub fn parse(text: &str) -> Result<Self, ChainError> {
        // 32 bytes take at most 44 characters; the bound keeps hostile text from being converted at all.
        if text.len() > 44 {
            return Err(ChainError::BadAddress);
        }
        let mut bytes = [0; 32];
        match bs58::decode(text).onto(&mut bytes) {
            Ok(32) => Ok(Self(bytes)),
            _ => Err(ChainError::BadAddress),
        }
    }
}

impl Asset {
    /// Reads `native` or `spl:<base58>`.
    ///
    /// # Errors
    /// [`ChainError::BadAsset`] for any other text.
    pub fn parse(text: &str) -> Result<Self, ChainError> {
        if text == "native" {
            return Ok(Self::Native);
        }
        let mint = text.strip_prefix("spl:").ok_or(ChainError::BadAsset)?;
        Address::parse(mint)
            .map(|address| Self::SplMint(address.0))
            .map_err(|_| ChainError::BadAsset)
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native => f.write_str("native"),
            Self::SplMint(mint) => write!(f, "spl:{}", Address(*mint)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.0).into_string())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, Asset, Chain, ChainError, Kind};

    #[test]
    fn names_round_trip() {
        for chain in Chain::ALL {
            assert_eq!(Chain::parse(chain.as_str()), Ok(chain));
        }
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Ok(kind));
        }
        for asset in [Asset::Native, Asset::SplMint([7; 32])] {
            assert_eq!(Asset::parse(&asset.to_string()), Ok(asset));
        }
        assert_eq!(Chain::parse("solana:Mainnet"), Err(ChainError::BadChain));
        assert_eq!(Kind::parse("Transfer"), Err(ChainError::BadKind));
    }

    #[test]
    fn a104_an_address_is_all_of_its_32_bytes() {
        let system = "11111111111111111111111111111111";
        assert_eq!(Address::parse(system), Ok(Address::from_bytes([0; 32])));
        let long = "1".repeat(33);
        let huge = "z".repeat(4096);
        for text in [
            "",
            "1111111111111111111111111111111",
            &long,
            &huge,
            "0OIl",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        ] {
            assert_eq!(
                Address::parse(text),
                Err(ChainError::BadAddress),
                "{text:?}"
            );
        }
        for text in ["Native", "", "spl:", "spl:native", "erc20:0xa0b8"] {
            assert_eq!(Asset::parse(text), Err(ChainError::BadAsset), "{text:?}");
        }
    }
}
