//! Chains, addresses, assets and transfer kinds by their names in a policy.

mod place;

use core::fmt;

pub use self::place::{Address, BitcoinAddress, BitcoinScript};

/// A chain that wallets live on.
///
/// The chain is part of the wallet. An Ethereum transaction names its chain id, which must be the wallet's. Transactions on
/// Solana and Bitcoin name no network, so the policy refuses two wallets with one key on two networks of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Chain {
    /// `bitcoin:mainnet`, `bitcoin:regtest`, `bitcoin:signet`, `bitcoin:testnet`
    Bitcoin(Network),
    /// `ethereum:<chain id>`: every chain with Ethereum's transactions, by its EIP-155 chain id.
    Ethereum(u64),
    /// `solana:devnet`
    SolanaDevnet,
    /// `solana:localnet`
    SolanaLocalnet,
    /// `solana:mainnet`
    SolanaMainnet,
}

/// A Bitcoin network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// The one with value.
    Mainnet,
    /// Each user's own, for tests.
    Regtest,
    /// Blocks are signed.
    Signet,
    /// Public and reset now and then.
    Testnet,
}

/// Chains whose transactions have one form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Bitcoin's networks.
    Bitcoin,
    /// Ethereum and whatever copies its transactions.
    Ethereum,
    /// Solana's clusters.
    Solana,
}

/// What a transfer moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asset {
    /// An ERC-20 token by the 20 bytes of its contract: `erc20:<address>`.
    Erc20([u8; 20]),
    /// The coin of the chain, in which fees are paid: `native`.
    Native,
    /// An SPL token by the 32 bytes of its mint: `spl:<base58>`.
    SplMint([u8; 32]),
}

/// What sort of movement a transfer is, as wallets and rules name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A call whose effect the decoder does not know; a rule must name contract and selector: `contract_call`.
    ContractCall,
    /// Leave for somebody else to move an ERC-20 token; counts as spending all of it: `erc20_approve`.
    Erc20Approve,
    /// Movement of an ERC-20 token: `erc20_transfer`.
    Erc20Transfer,
    /// Movement of an SPL token: `spl_transfer`.
    SplTransfer,
    /// Movement of the native coin: `transfer`.
    Transfer,
}

/// The first four bytes of the data of a call, by which a contract tells its functions apart; shown as `0x` and 8 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector(pub [u8; 4]);

/// Why a text is not a chain, address, asset or kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The text is no address of a chain.
    #[error(
        "address must be base58 of 32 bytes (Solana), 0x and 40 digits in the case of EIP-55 (Ethereum), or a Bitcoin address in lower case"
    )]
    BadAddress,
    /// The text names no asset.
    #[error(
        "asset must be \"native\", \"spl:<mint in base58>\" or \"erc20:<contract address in the case of EIP-55>\""
    )]
    BadAsset,
    /// The text names no chain.
    #[error(
        "chain must be one of \"solana:mainnet|devnet|localnet\", \"ethereum:<chain id>\", \"bitcoin:mainnet|testnet|signet|regtest\""
    )]
    BadChain,
    /// The text is no selector.
    #[error("selector must be 0x and 8 lower-case hexadecimal digits")]
    BadSelector,
    /// The text names no kind.
    #[error(
        "kind must be \"transfer\", \"spl_transfer\", \"erc20_transfer\", \"erc20_approve\" or \"contract_call\""
    )]
    BadKind,
}

impl Network {
    /// Every network.
    pub const ALL: [Self; 4] = [Self::Mainnet, Self::Regtest, Self::Signet, Self::Testnet];

    /// The name, such as `regtest`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Regtest => "regtest",
            Self::Signet => "signet",
            Self::Testnet => "testnet",
        }
    }
}

impl Chain {
    /// Reads a name such as `solana:mainnet`, `ethereum:1` or `bitcoin:regtest`; each chain has one.
    ///
    /// # Errors
    /// [`ChainError::BadChain`] for any other text.
    pub fn parse(text: &str) -> Result<Self, ChainError> {
        let (family, name) = text.split_once(':').ok_or(ChainError::BadChain)?;
        match (family, name) {
            ("solana", "devnet") => Ok(Self::SolanaDevnet),
            ("solana", "localnet") => Ok(Self::SolanaLocalnet),
            ("solana", "mainnet") => Ok(Self::SolanaMainnet),
            ("bitcoin", _) => Network::ALL
                .into_iter()
                .find(|network| network.as_str() == name)
                .map(Self::Bitcoin)
                .ok_or(ChainError::BadChain),
            ("ethereum", _) => name
                .parse()
                .ok()
                .filter(|id: &u64| *id > 0 && id.to_string() == name)
                .map(Self::Ethereum)
                .ok_or(ChainError::BadChain),
            _ => Err(ChainError::BadChain),
        }
    }

    /// Which form its transactions have.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::Bitcoin(_) => Family::Bitcoin,
            Self::Ethereum(_) => Family::Ethereum,
            Self::SolanaDevnet | Self::SolanaLocalnet | Self::SolanaMainnet => Family::Solana,
        }
    }

    /// Whether a transaction for this chain could also be put on the other one.
    #[must_use]
    pub fn shares_transactions_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Ethereum(one), Self::Ethereum(two)) => one == two,
            _ => self.family() == other.family(),
        }
    }
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::ContractCall,
        Self::Erc20Approve,
        Self::Erc20Transfer,
        Self::SplTransfer,
        Self::Transfer,
    ];

    /// The name, such as `transfer`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ContractCall => "contract_call",
            Self::Erc20Approve => "erc20_approve",
            Self::Erc20Transfer => "erc20_transfer",
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

    /// Whether such a movement can be of the asset.
    #[must_use]
    pub const fn moves(self, asset: &Asset) -> bool {
        match self {
            Self::ContractCall | Self::Transfer => matches!(asset, Asset::Native),
            Self::Erc20Approve | Self::Erc20Transfer => matches!(asset, Asset::Erc20(_)),
            Self::SplTransfer => matches!(asset, Asset::SplMint(_)),
        }
    }
}

impl Asset {
    /// Reads `native`, `spl:<base58>` or `erc20:<address>`.
    ///
    /// # Errors
    /// [`ChainError::BadAsset`] for any other text.
    pub fn parse(text: &str) -> Result<Self, ChainError> {
        if text == "native" {
            return Ok(Self::Native);
        }
        let (kind, name) = text.split_once(':').ok_or(ChainError::BadAsset)?;
        match (kind, Address::parse(name)) {
            ("spl", Ok(Address::Solana(mint))) => Ok(Self::SplMint(mint)),
            ("erc20", Ok(Address::Ethereum(contract))) => Ok(Self::Erc20(contract)),
            _ => Err(ChainError::BadAsset),
        }
    }
}

impl Selector {
    /// Reads `0x` and 8 lower-case digits.
    ///
    /// # Errors
    /// [`ChainError::BadSelector`] for any other text.
    pub fn parse(text: &str) -> Result<Self, ChainError> {
        let digits = text.strip_prefix("0x").ok_or(ChainError::BadSelector)?;
        let mut bytes = [0; 4];
        match hex::decode_to_slice(digits, &mut bytes) {
            Ok(()) if hex::encode(bytes) == digits => Ok(Self(bytes)),
            _ => Err(ChainError::BadSelector),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bitcoin(network) => write!(f, "bitcoin:{}", network.as_str()),
            Self::Ethereum(id) => write!(f, "ethereum:{id}"),
            Self::SolanaDevnet => f.write_str("solana:devnet"),
            Self::SolanaLocalnet => f.write_str("solana:localnet"),
            Self::SolanaMainnet => f.write_str("solana:mainnet"),
        }
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
            Self::Erc20(contract) => write!(f, "erc20:{}", Address::Ethereum(*contract)),
            Self::Native => f.write_str("native"),
            Self::SplMint(mint) => write!(f, "spl:{}", Address::Solana(*mint)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Asset, Chain, ChainError, Family, Kind};

    #[test]
    fn names_round_trip() {
        for text in [
            "solana:devnet",
            "solana:localnet",
            "solana:mainnet",
            "ethereum:1",
            "ethereum:31337",
            "ethereum:18446744073709551615",
            "bitcoin:mainnet",
            "bitcoin:testnet",
            "bitcoin:signet",
            "bitcoin:regtest",
        ] {
            assert_eq!(Chain::parse(text).unwrap().to_string(), text);
        }
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Ok(kind));
        }
        for asset in [
            Asset::Native,
            Asset::SplMint([7; 32]),
            Asset::Erc20([7; 20]),
        ] {
            assert_eq!(Asset::parse(&asset.to_string()), Ok(asset));
        }
        for text in [
            "solana:Mainnet",
            "solana",
            "ethereum:",
            "ethereum:0",
            "ethereum:01",
            "ethereum:+1",
            "ethereum:0x1",
            "ethereum:18446744073709551616",
            "bitcoin:main",
            "eip155:1",
        ] {
            assert_eq!(Chain::parse(text), Err(ChainError::BadChain), "{text}");
        }
        assert_eq!(Kind::parse("Transfer"), Err(ChainError::BadKind));
    }

    #[test]
    fn a104_assets_have_one_name() {
        let token = Asset::Erc20([0xab; 20]).to_string();
        let lower = token.to_lowercase();
        assert_ne!(token, lower);
        for text in [
            "Native",
            "",
            "spl:",
            "spl:native",
            "erc20:0xa0b8",
            &lower,
            &token.replace("erc20", "spl"),
        ] {
            assert_eq!(Asset::parse(text), Err(ChainError::BadAsset), "{text:?}");
        }
    }

    #[test]
    fn only_an_ethereum_chain_id_keeps_networks_apart() {
        let parse = |text| Chain::parse(text).unwrap();
        let shares = |a, b| parse(a).shares_transactions_with(parse(b));
        assert!(shares("bitcoin:mainnet", "bitcoin:regtest"));
        assert!(shares("solana:mainnet", "solana:devnet"));
        assert!(shares("ethereum:1", "ethereum:1"));
        assert!(!shares("ethereum:1", "ethereum:5"));
        assert!(!shares("ethereum:1", "bitcoin:mainnet"));
        assert_eq!(parse("ethereum:5").family(), Family::Ethereum);
    }
}
