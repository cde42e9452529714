//! Making the store of a new node.

use std::path::Path;

use mpc_core::identity::{ExchangeKey, IdentityKey};
use policy::id::ClusterId;
use rand_core::UnwrapErr;
use zeroize::Zeroizing;

use crate::config::Unlock;
use crate::seal::{Effort, Kind, Label, Owner, SealError, Secret, Vault};
use crate::store::{Change, Contents, Store, StoreError};

/// The public keys of a new node, as `cluster.toml` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublicIdentity {
    /// Ed25519 identity key, 32 bytes.
    pub identity: [u8; 32],
    /// Exchange key, an encoded ristretto255 point, 32 bytes.
    pub exchange: [u8; 32],
}

/// Why no store was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The secret that unlocks the store is missing or unusable.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The file could not be written, or is there already.
    #[error(transparent)]
    Store(#[from] StoreError),
}

const IDENTITY: Label = Label::new(Kind::Identity, [0; 32], 0, 0);
const EXCHANGE: Label = Label::new(Kind::Exchange, [0; 32], 0, 0);

/// Makes a store with a fresh identity; the secret keys exist nowhere else.
///
/// # Errors
/// [`InitError`]; an existing file is never touched.
pub fn create_store(
    path: &Path,
    unlock: &Unlock,
    cluster: &ClusterId,
) -> Result<PublicIdentity, InitError> {
    let secret = Secret::read(unlock)?;
    let mut rng = UnwrapErr(getrandom::SysRng);
    let identity = IdentityKey::generate(&mut rng);
    let exchange = ExchangeKey::generate(&mut rng);
    let owner = Owner::new(cluster.as_str(), *identity.public().node_id().as_bytes());
    let (vault, wrapped) = Vault::create(&secret, owner, Effort::default())?;
    Store::create(
        path,
        &vault,
        &wrapped,
        &seal_node(&vault, &identity, &exchange)?,
    )?;
    Ok(PublicIdentity {
        identity: *identity.public().as_bytes(),
        exchange: exchange.public(),
    })
}

/// The records of a node's own keys.
pub(crate) fn seal_node(
    vault: &Vault,
    identity: &IdentityKey,
    exchange: &ExchangeKey,
) -> Result<Vec<Change>, SealError> {
    let seal = |label: Label, secret: &[u8]| {
        let record = vault.seal(&label, secret)?;
        Ok(Change::Seal { label, record })
    };
    Ok(vec![
        seal(IDENTITY, identity.dangerous_to_seed().as_slice())?,
        seal(EXCHANGE, exchange.dangerous_to_bytes().as_slice())?,
    ])
}

/// Opens the seed of the identity key of a store.
pub(crate) fn open_identity(
    contents: &Contents,
    vault: &Vault,
) -> Result<Zeroizing<[u8; 32]>, StoreError> {
    open(contents, vault, &IDENTITY)
}

/// Opens the export key of a store.
pub(crate) fn open_exchange(contents: &Contents, vault: &Vault) -> Result<ExchangeKey, StoreError> {
    let bytes = open(contents, vault, &EXCHANGE)?;
    ExchangeKey::dangerous_from_bytes(&bytes)
        .map_err(|_| StoreError::Seal(SealError::Malformed(EXCHANGE.to_string())))
}

fn open(
    contents: &Contents,
    vault: &Vault,
    label: &Label,
) -> Result<Zeroizing<[u8; 32]>, StoreError> {
    let missing = || StoreError::Damaged {
        table: "sealed",
        row: 0,
        what: format!("the record {label} is missing"),
    };
    let record = contents.sealed(label).ok_or_else(missing)?;
    let bytes = vault.open(label, record)?;
    let mut secret = Zeroizing::new([0; 32]);
    if bytes.len() != secret.len() {
        return Err(StoreError::Seal(SealError::Malformed(label.to_string())));
    }
    secret.copy_from_slice(&bytes);
    Ok(secret)
}
