//! Where money goes: the addresses of every chain, compared by all their bytes and never by a prefix.

use core::{fmt, str::FromStr};

use alloy_primitives::Address as Ethereum;
use bitcoin::{Network as BitcoinNetwork, Script, ScriptBuf, address::NetworkUnchecked};

use super::{Chain, ChainError, Network};

/// An address, or on Solana any account. Each has one text, which [`Display`](fmt::Display) writes and [`parse`](Self::parse)
/// reads back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A Bitcoin address.
    Bitcoin(BitcoinAddress),
    /// An Ethereum account: 20 bytes, shown in hexadecimal digits with the case of EIP-55.
    Ethereum([u8; 20]),
    /// A Solana account: 32 bytes, shown in base58.
    Solana([u8; 32]),
}

/// A Bitcoin address: what an output locks to, and the networks whose prefix its text has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BitcoinAddress {
    prefix: Prefix,
    script: BitcoinScript,
}

/// Which networks write an address like this one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Prefix {
    Mainnet,
    /// `bcrt1…`
    Regtest,
    /// `tb1…`, and the base58 addresses of every network but the main one.
    Tests,
}

/// The forms of output that an address can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BitcoinScript {
    /// Pay to public key hash.
    P2pkh([u8; 20]),
    /// Pay to script hash.
    P2sh([u8; 20]),
    /// Pay to taproot output key.
    P2tr([u8; 32]),
    /// Pay to witness public key hash.
    P2wpkh([u8; 20]),
    /// Pay to witness script hash.
    P2wsh([u8; 32]),
}

impl Address {
    /// The Solana account of those 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self::Solana(bytes)
    }

    /// The 32 bytes of a Solana account.
    #[must_use]
    pub const fn solana(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Solana(bytes) => Some(bytes),
            Self::Bitcoin(_) | Self::Ethereum(_) => None,
        }
    }

    /// Reads the one text of an address.
    ///
    /// # Errors
    /// [`ChainError::BadAddress`] for any other text, a wrong checksum and upper-case bech32 included.
    pub fn parse(text: &str) -> Result<Self, ChainError> {
        // No address is longer; the bound keeps hostile text from being converted at all.
        if text.len() > 90 {
            return Err(ChainError::BadAddress);
        }
        let read = if let Some(digits) = text.strip_prefix("0x") {
            let mut bytes = [0; 20];
            hex::decode_to_slice(digits, &mut bytes)
                .ok()
                .map(|()| Self::Ethereum(bytes))
        } else {
            solana(text).or_else(|| BitcoinAddress::read(text).map(Self::Bitcoin))
        };
        // EIP-55's case, bech32's case: one address, one text.
        read.filter(|address| address.to_string() == text)
            .ok_or(ChainError::BadAddress)
    }

    /// Whether the address can be on the chain.
    #[must_use]
    pub fn is_on(&self, chain: Chain) -> bool {
        match (self, chain) {
            (Self::Bitcoin(address), Chain::Bitcoin(network)) => {
                BitcoinAddress::new(network, address.script) == *address
            }
            (Self::Ethereum(_), Chain::Ethereum(_)) => true,
            (
                Self::Solana(_),
                Chain::SolanaDevnet | Chain::SolanaLocalnet | Chain::SolanaMainnet,
            ) => true,
            _ => false,
        }
    }
}

fn solana(text: &str) -> Option<Address> {
    // 32 bytes take at most 44 characters.
    if text.len() > 44 {
        return None;
    }
    let mut bytes = [0; 32];
    match bs58::decode(text).onto(&mut bytes) {
        Ok(32) => Some(Address::Solana(bytes)),
        _ => None,
    }
}

impl BitcoinAddress {
    /// The address of such an output on a network.
    #[must_use]
    pub const fn new(network: Network, script: BitcoinScript) -> Self {
        let bech32 = matches!(
            script,
            BitcoinScript::P2tr(_) | BitcoinScript::P2wpkh(_) | BitcoinScript::P2wsh(_)
        );
        let prefix = match network {
            Network::Mainnet => Prefix::Mainnet,
            Network::Regtest if bech32 => Prefix::Regtest,
            Network::Regtest | Network::Signet | Network::Testnet => Prefix::Tests,
        };
        Self { prefix, script }
    }

    /// What it locks to.
    #[must_use]
    pub const fn script(&self) -> &BitcoinScript {
        &self.script
    }

    fn read(text: &str) -> Option<Self> {
        let unchecked = bitcoin::Address::<NetworkUnchecked>::from_str(text).ok()?;
        let network = [
            (BitcoinNetwork::Bitcoin, Network::Mainnet),
            (BitcoinNetwork::Testnet, Network::Testnet),
            (BitcoinNetwork::Regtest, Network::Regtest),
        ]
        .into_iter()
        .find(|(network, _)| unchecked.is_valid_for_network(*network))?
        .1;
        let script = BitcoinScript::read(&unchecked.assume_checked().script_pubkey())?;
        Some(Self::new(network, script))
    }
}

impl BitcoinScript {
    /// The form of an output script; `None` if no address names it.
    #[must_use]
    pub fn read(script: &Script) -> Option<Self> {
        let bytes = script.as_bytes();
        let slice = |from: usize, to: usize| bytes.get(from..to);
        if script.is_p2wpkh() {
            slice(2, 22)?.try_into().ok().map(Self::P2wpkh)
        } else if script.is_p2tr() {
            slice(2, 34)?.try_into().ok().map(Self::P2tr)
        } else if script.is_p2wsh() {
            slice(2, 34)?.try_into().ok().map(Self::P2wsh)
        } else if script.is_p2pkh() {
            slice(3, 23)?.try_into().ok().map(Self::P2pkh)
        } else if script.is_p2sh() {
            slice(2, 22)?.try_into().ok().map(Self::P2sh)
        } else {
            None
        }
    }

    /// The output script.
    #[must_use]
    pub fn to_script(self) -> ScriptBuf {
        let parts: (&[u8], &[u8], &[u8]) = match &self {
            Self::P2pkh(hash) => (&[0x76, 0xa9, 20], hash, &[0x88, 0xac]),
            Self::P2sh(hash) => (&[0xa9, 20], hash, &[0x87]),
            Self::P2tr(key) => (&[0x51, 32], key, &[]),
            Self::P2wpkh(hash) => (&[0, 20], hash, &[]),
            Self::P2wsh(hash) => (&[0, 32], hash, &[]),
        };
        ScriptBuf::from_bytes([parts.0, parts.1, parts.2].concat())
    }
}

impl fmt::Display for BitcoinAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = match self.prefix {
            Prefix::Mainnet => BitcoinNetwork::Bitcoin,
            Prefix::Regtest => BitcoinNetwork::Regtest,
            Prefix::Tests => BitcoinNetwork::Testnet,
        };
        match bitcoin::Address::from_script(&self.script.to_script(), network) {
            Ok(address) => write!(f, "{address}"),
            // A taproot output key is written as it is, so there is no script of the five forms without an address.
            Err(_) => write!(f, "script {}", self.script.to_script().to_hex_string()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bitcoin(address) => write!(f, "{address}"),
            Self::Ethereum(bytes) => f.write_str(&Ethereum::from(*bytes).to_checksum(None)),
            Self::Solana(bytes) => f.write_str(&bs58::encode(bytes).into_string()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl fmt::Debug for BitcoinAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BitcoinAddress({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of every form on every network, with the chains they are addresses on.
    const GOOD: [(&str, &[&str]); 11] = [
        (
            "11111111111111111111111111111111",
            &["solana:devnet", "solana:mainnet"],
        ),
        (
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            &["ethereum:1", "ethereum:31337"],
        ),
        ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", &["bitcoin:mainnet"]),
        ("3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", &["bitcoin:mainnet"]),
        (
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
            &["bitcoin:mainnet"],
        ),
        (
            "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
            &["bitcoin:mainnet"],
        ),
        (
            "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3",
            &["bitcoin:mainnet"],
        ),
        (
            "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
            &["bitcoin:testnet", "bitcoin:signet", "bitcoin:regtest"],
        ),
        (
            "2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc",
            &["bitcoin:testnet", "bitcoin:signet", "bitcoin:regtest"],
        ),
        (
            "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
            &["bitcoin:testnet", "bitcoin:signet"],
        ),
        (
            "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
            &["bitcoin:regtest"],
        ),
    ];

    #[test]
    fn addresses_round_trip_and_know_their_chains() {
        let all: [&str; 8] = [
            "solana:devnet",
            "solana:mainnet",
            "ethereum:1",
            "ethereum:31337",
            "bitcoin:mainnet",
            "bitcoin:testnet",
            "bitcoin:signet",
            "bitcoin:regtest",
        ];
        for (text, chains) in GOOD {
            let address = Address::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(address.to_string(), text);
            for chain in all {
                let expected = chains.contains(&chain);
                assert_eq!(
                    address.is_on(Chain::parse(chain).unwrap()),
                    expected,
                    "{text} on {chain}"
                );
            }
            if let Address::Bitcoin(address) = address {
                let script = address.script().to_script();
                assert_eq!(BitcoinScript::read(&script), Some(*address.script()));
            }
        }
    }

    #[test]
    fn a104_an_address_is_all_of_its_bytes_in_its_one_text() {
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
            // Ethereum: no checksum, a wrong one, too short, too long.
            "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
            "0x5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeA",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed00",
            "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            // Bitcoin: upper case, a wrong checksum, bech32 for taproot, an unknown witness version.
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
            "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcs",
            "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs",
            "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3",
        ] {
            assert_eq!(
                Address::parse(text),
                Err(ChainError::BadAddress),
                "{text:?}"
            );
        }
    }
}
