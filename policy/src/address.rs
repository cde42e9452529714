//! The address of a public key, as its chain writes it.
//!
//! | chain | scheme | address |
//! |---|---|---|
//! | `ethereum:*` | `ecdsa` | last 20 bytes of Keccak-256 of the point, in hex with the case of EIP-55 |
//! | `bitcoin:*` | `ecdsa` | P2WPKH, bech32 (BIP 173) |
//! | `bitcoin:*` | `bip340` | P2TR spent by key alone, bech32m (BIP 350); the tweak of BIP 341 is applied here |
//! | `solana:*` | `ed25519` | the 32 bytes in base58 |

use alloy_primitives::Address as EthereumAddress;
use bitcoin::{
    CompressedPublicKey,
    hashes::Hash as _,
    key::TapTweak as _,
    secp256k1::{PublicKey, Secp256k1},
};

use crate::chain::{Address, BitcoinAddress, BitcoinScript, Chain, Family};
use crate::transaction::Scheme;

/// Why a key has no address on a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The chain's name is none that is known here.
    #[error(
        "no such chain; use ethereum:<chain id>, bitcoin:mainnet|testnet|signet|regtest or solana:mainnet|devnet|localnet"
    )]
    Chain,
    /// The bytes are no key of the scheme.
    #[error("the public key is not one of this scheme")]
    Key,
    /// The chain takes no signatures of this scheme.
    #[error(
        "this chain takes no signatures of this scheme; ethereum takes ecdsa, bitcoin ecdsa or bip340, solana ed25519"
    )]
    Scheme,
}

/// The text of the address of a key on a chain, both by their names. The key is SEC1 compressed (33 bytes) for `ecdsa` and
/// `bip340`, 32 bytes for `ed25519`.
///
/// # Errors
/// [`AddressError`].
pub fn of(chain: &str, scheme: &str, public_key: &[u8]) -> Result<String, AddressError> {
    let chain = Chain::parse(chain).map_err(|_| AddressError::Chain)?;
    let scheme = Scheme::parse(scheme).ok_or(AddressError::Scheme)?;
    at(chain, scheme, public_key).map(|address| address.to_string())
}

/// The address of a key on a chain.
///
/// # Errors
/// [`AddressError::Key`] or [`AddressError::Scheme`].
pub fn at(chain: Chain, scheme: Scheme, public_key: &[u8]) -> Result<Address, AddressError> {
    match (chain.family(), scheme, chain) {
        (Family::Bitcoin, Scheme::Bip340 | Scheme::Ecdsa, Chain::Bitcoin(network)) => {
            let script = output(scheme, public_key)?;
            Ok(Address::Bitcoin(BitcoinAddress::new(network, script)))
        }
        (Family::Ethereum, Scheme::Ecdsa, _) => {
            let point = point(public_key)?.serialize_uncompressed();
            let raw = point.get(1..).ok_or(AddressError::Key)?;
            let address = EthereumAddress::from_raw_public_key(raw);
            Ok(Address::Ethereum(address.into_array()))
        }
        (Family::Solana, Scheme::Ed25519, _) => {
            let key = <[u8; 32]>::try_from(public_key).map_err(|_| AddressError::Key)?;
            Ok(Address::Solana(key))
        }
        _ => Err(AddressError::Scheme),
    }
}

/// The output that pays a key on Bitcoin: P2TR for BIP 340 keys, P2WPKH for ECDSA keys.
pub(crate) fn output(scheme: Scheme, public_key: &[u8]) -> Result<BitcoinScript, AddressError> {
    let point = point(public_key)?;
    match scheme {
        Scheme::Bip340 => {
            let internal = point.x_only_public_key().0;
            let (output, _) = internal.tap_tweak(&Secp256k1::verification_only(), None);
            Ok(BitcoinScript::P2tr(output.serialize()))
        }
        Scheme::Ecdsa => {
            let hash = CompressedPublicKey(point).wpubkey_hash();
            Ok(BitcoinScript::P2wpkh(hash.to_byte_array()))
        }
        Scheme::Ed25519 => Err(AddressError::Scheme),
    }
}

/// A SEC1 compressed point.
fn point(public_key: &[u8]) -> Result<PublicKey, AddressError> {
    if public_key.len() != 33 {
        return Err(AddressError::Key);
    }
    PublicKey::from_slice(public_key).map_err(|_| AddressError::Key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(chain: &str, scheme: &str, key: &str) -> Result<String, AddressError> {
        of(chain, scheme, &hex::decode(key).unwrap_or_default())
    }

    /// The points of the secret keys 1 and 2.
    const ONE: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    const TWO: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

    #[test]
    fn published_addresses() {
        for (chain, scheme, key, expected) in [
            (
                "ethereum:1",
                "ecdsa",
                ONE,
                "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf",
            ),
            (
                "ethereum:31337",
                "ecdsa",
                TWO,
                "0x2B5AD5c4795c026514f8317c7a215E218DcCD6cF",
            ),
            // BIP 84 and BIP 86, first receiving address of each.
            (
                "bitcoin:mainnet",
                "ecdsa",
                "0330d54fd0dd420a6e5f8d3624f5f3482cae350f79d5f0753bf5beef9c2d91af3c",
                "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu",
            ),
            (
                "bitcoin:mainnet",
                "bip340",
                "02cc8a4bc64d897bddc5fbc2f670f7a8ba0b386779106cf1223c6fc5d7cd6fc115",
                "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
            ),
            // BIP 173's example of a test network.
            (
                "bitcoin:testnet",
                "ecdsa",
                ONE,
                "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
            ),
        ] {
            assert_eq!(address(chain, scheme, key).as_deref(), Ok(expected));
        }
        assert!(
            address("bitcoin:regtest", "ecdsa", ONE).is_ok_and(|a| a.starts_with("bcrt1q")),
            "the regression test network has a prefix of its own"
        );
    }

    #[test]
    fn an_odd_point_has_the_taproot_address_of_its_even_twin() {
        let odd = ONE.replacen("02", "03", 1);
        assert_eq!(
            address("bitcoin:mainnet", "bip340", &odd),
            address("bitcoin:mainnet", "bip340", ONE)
        );
        assert_ne!(
            address("ethereum:1", "ecdsa", &odd),
            address("ethereum:1", "ecdsa", ONE)
        );
    }

    #[test]
    fn a104_no_address_for_a_wrong_chain_scheme_or_key() {
        for chain in [
            "ethereum",
            "ethereum:",
            "ethereum:0",
            "ethereum:01",
            "ethereum:+1",
            "bitcoin:main",
            "dogecoin:mainnet",
            "",
        ] {
            assert_eq!(address(chain, "ecdsa", ONE), Err(AddressError::Chain));
        }
        for (chain, scheme) in [
            ("ethereum:1", "bip340"),
            ("ethereum:1", "ed25519"),
            ("bitcoin:mainnet", "ed25519"),
            ("solana:devnet", "ecdsa"),
        ] {
            assert_eq!(address(chain, scheme, ONE), Err(AddressError::Scheme));
        }
        let uncompressed = "04".repeat(65);
        let not_on_the_curve = format!("02{}", "ff".repeat(32));
        let short = ONE.replacen("02", "", 1);
        for key in ["", &short, &uncompressed, &not_on_the_curve] {
            assert_eq!(address("ethereum:1", "ecdsa", key), Err(AddressError::Key));
        }
    }
}
