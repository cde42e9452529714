//! What every chain's decoder makes of raw bytes: movements, a fee, words for people, and what has to be signed.
//!
//! Nobody hands a digest to a signer. [`decode`] computes from the raw bytes what each signature is over, in the same pass
//! that computes what moves (attack A100), and [`assemble`] puts the signatures where the chain wants them.

mod verify;

use crate::amount::Amount;
use crate::chain::{Address, Asset, Chain, Kind, Selector};
use crate::conflict::ConflictKey;
use crate::{bitcoin, ethereum, solana};

/// The most steps of a wallet's path and of what a transaction adds to it, together.
pub const MAX_PATH: usize = 16;

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// BIP 340 signatures on secp256k1.
    Bip340,
    /// ECDSA on secp256k1.
    Ecdsa,
    /// Ed25519.
    Ed25519,
}

/// How the message of a task becomes what ECDSA signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hash {
    /// SHA-256 twice.
    DoubleSha256,
    /// Keccak-256.
    Keccak256,
    /// The scheme takes the message as it is.
    None,
}

/// What is added to the key before it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tweak {
    /// Nothing.
    None,
    /// The tweak of BIP 341 for an output without scripts.
    TaprootKeyPath,
}

/// One signature that a transaction needs. Only [`decode`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Task {
    /// What the key signs.
    pub scheme: Scheme,
    /// Which child of the stored key signs, from the stored key down.
    pub path: Vec<u32>,
    /// How the message is hashed.
    pub hash: Hash,
    /// What is signed: for ECDSA the preimage, for BIP 340 the 32 bytes of BIP 341's digest, for Ed25519 the message.
    pub message: Vec<u8>,
    /// What is added to the key.
    pub tweak: Tweak,
}

/// One movement out of a wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// What sort of movement.
    pub kind: Kind,
    /// What moves.
    pub asset: Asset,
    /// The account that is debited: the wallet, or a token account under the wallet's authority.
    pub from: Address,
    /// Who is credited: an address, a token account, the spender of an approval, or the contract of a call.
    pub to: Address,
    /// How much, in base units.
    pub amount: Amount,
    /// The index of the instruction (Solana) or of the output (Bitcoin), from 0; 0 on Ethereum.
    pub instruction: usize,
    /// The first four bytes of the data, for a [`Kind::ContractCall`] and for nothing else.
    pub selector: Option<Selector>,
}

/// Everything a decision needs to know about a transaction. Only [`decode`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transaction {
    /// The movements, in the order of the transaction; at least one.
    pub transfers: Vec<Transfer>,
    /// The most the chain can take as fee, in base units of its coin.
    pub fee_max: Amount,
    /// What it uses up on its chain; another transaction that uses any of it can never be confirmed beside it.
    pub conflicts: Vec<ConflictKey>,
    /// The transaction in plain words, printable ASCII, one line each.
    pub rendering: Vec<String>,
    /// The signatures it needs, in its order; at least one.
    pub tasks: Vec<Task>,
}

/// The public side of the key that a wallet's `key_id` stands for: the deciding party's own record of it.
pub trait WalletKeys {
    /// What the key signs; `None` for a key whose purpose is not transactions, which no wallet may use.
    fn scheme(&self) -> Option<Scheme>;

    /// The public key at a path below the stored key: 32 bytes for Ed25519, 33 bytes SEC1 for secp256k1 (for BIP 340 before
    /// any tweak). `None` where there is none.
    fn public_key_at(&self, path: &[u32]) -> Option<Vec<u8>>;
}

/// A key without children: for tools that have nothing but a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootKey {
    /// What it signs.
    pub scheme: Scheme,
    /// The public key.
    pub public_key: Vec<u8>,
}

impl WalletKeys for RootKey {
    fn scheme(&self) -> Option<Scheme> {
        Some(self.scheme)
    }

    fn public_key_at(&self, path: &[u32]) -> Option<Vec<u8>> {
        path.is_empty().then(|| self.public_key.clone())
    }
}

/// Why a transaction is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// By the decoder of Bitcoin transactions.
    #[error(transparent)]
    Bitcoin(#[from] bitcoin::Refusal),
    /// By the decoder of Ethereum transactions.
    #[error(transparent)]
    Ethereum(#[from] ethereum::Refusal),
    /// The wallet's key is of a scheme that the chain does not take, or there is no key at the wallet's path.
    #[error("the wallet's key is not one of this chain, or has no child at the wallet's path")]
    Key,
    /// By the decoder of Solana messages.
    #[error(transparent)]
    Solana(#[from] solana::Refusal),
}

/// Why signatures and a transaction do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// Another number of signatures than the transaction needs.
    #[error("the transaction needs {needed} signatures and {got} were given")]
    Count {
        /// How many it needs.
        needed: usize,
        /// How many there are.
        got: usize,
    },
    /// The transaction is not one that would have been signed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A signature is not of the form that the chain takes.
    #[error("signature {index} is not one that the chain takes: {why}")]
    Signature {
        /// Which, from 0.
        index: usize,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Scheme {
    /// The name: `bip340`, `ecdsa` or `ed25519`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bip340 => "bip340",
            Self::Ecdsa => "ecdsa",
            Self::Ed25519 => "ed25519",
        }
    }

    /// Reads a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Bip340, Self::Ecdsa, Self::Ed25519]
            .into_iter()
            .find(|scheme| scheme.as_str() == text)
    }
}

/// Decodes what the wallet at `path` of a key on a chain is asked to sign.
///
/// | chain | raw bytes |
/// |---|---|
/// | Solana | the serialised message |
/// | Ethereum | the signing payload: `0x02 ‖ rlp`, `0x01 ‖ rlp`, or the nine fields of EIP-155 |
/// | Bitcoin | a PSBT, version 0 or 2, without signatures |
///
/// Total on any bytes.
///
/// # Errors
/// [`Refusal`], the first reason found.
pub fn decode(
    chain: Chain,
    raw: &[u8],
    keys: &dyn WalletKeys,
    path: &[u32],
) -> Result<Transaction, Refusal> {
    let scheme = keys.scheme().ok_or(Refusal::Key)?;
    match (chain, scheme) {
        (Chain::Bitcoin(network), Scheme::Bip340 | Scheme::Ecdsa) => {
            let plan = bitcoin::plan(raw, network, scheme, keys, path)?;
            Ok(plan.transaction)
        }
        (Chain::Ethereum(chain_id), Scheme::Ecdsa) => {
            let key = keys.public_key_at(path).ok_or(Refusal::Key)?;
            Ok(ethereum::decode(raw, chain_id, &key, path)?)
        }
        (Chain::SolanaDevnet | Chain::SolanaLocalnet | Chain::SolanaMainnet, Scheme::Ed25519) => {
            let key = keys.public_key_at(path).ok_or(Refusal::Key)?;
            let key = <[u8; 32]>::try_from(key).map_err(|_| Refusal::Key)?;
            let decoded = solana::decode(raw, &key)?;
            Ok(Transaction {
                transfers: decoded.transfers,
                fee_max: decoded.fee_max,
                conflicts: Vec::new(),
                rendering: decoded.rendering,
                tasks: vec![Task {
                    scheme,
                    path: path.to_vec(),
                    hash: Hash::None,
                    message: raw.to_vec(),
                    tweak: Tweak::None,
                }],
            })
        }
        _ => Err(Refusal::Key),
    }
}

/// The transaction that goes to the chain, ready to be sent. `signatures` are in the order of the tasks: 64 bytes each, and
/// 65 with the recovery id as the last for Ethereum. Whether they verify is for who made them.
///
/// # Errors
/// [`AssembleError`].
pub fn assemble(
    chain: Chain,
    raw: &[u8],
    keys: &dyn WalletKeys,
    path: &[u32],
    signatures: &[Vec<u8>],
) -> Result<Vec<u8>, AssembleError> {
    let decoded = decode(chain, raw, keys, path)?;
    let (needed, got) = (decoded.tasks.len(), signatures.len());
    if needed != got {
        return Err(AssembleError::Count { needed, got });
    }
    match (chain, signatures) {
        (Chain::Bitcoin(network), _) => {
            let scheme = keys.scheme().ok_or(Refusal::Key)?;
            let plan = bitcoin::plan(raw, network, scheme, keys, path).map_err(Refusal::from)?;
            plan.assemble(signatures)
        }
        (Chain::Ethereum(_), [signature]) => ethereum::assemble(raw, signature),
        (_, [signature]) => {
            let signature = signature.as_slice().try_into();
            let signature = signature.map_err(|_| AssembleError::Signature {
                index: 0,
                why: "it does not have 64 bytes",
            })?;
            Ok(solana::assemble(raw, signature))
        }
        _ => Err(AssembleError::Count { needed, got }),
    }
}

/// An integer with its decimal point moved `places` to the left, without superfluous zeros: exact, no floating point.
pub(crate) fn decimal(amount: Amount, places: u8) -> String {
    let digits = format!(
        "{amount:0>width$}",
        amount = amount.to_string(),
        width = usize::from(places).saturating_add(1)
    );
    let (whole, fraction) = digits
        .split_at_checked(digits.len().saturating_sub(usize::from(places)))
        .unwrap_or((&digits, ""));
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

/// A path as people write it: `m/0/5`.
pub(crate) fn path_text(path: &[u32]) -> String {
    path.iter().fold("m".to_owned(), |mut text, index| {
        text.push_str(&format!("/{index}"));
        text
    })
}
