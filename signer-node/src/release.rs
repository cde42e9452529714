//! The one place where this node's contribution to a signature leaves it.
//!
//! What it takes is what must be true: a verdict that only the policy can give, nonces that exist once, and the store's
//! receipt for the row that records this very share.

use mpc_core::frost::{self, Nonces, Package, wire};
use mpc_core::id::{Attempt, RequestId};
use mpc_core::identity::IdentityKey;
use mpc_core::keys::KeyShare;
use policy::evaluate::Approved;
use sha2::{Digest as _, Sha256};

use crate::codec::Writer;
use crate::engine::ledger;
use crate::failure::Refusal;
use crate::store::{Receipt, Table};

/// Names a package: key, epoch, message and the exact list of commitments. 32 bytes.
pub(crate) fn package_digest(package: &Package) -> [u8; 32] {
    let mut writer = Writer::new()
        .bytes(b"quorate/package/v1")
        .fixed(package.key_id().as_bytes())
        .u32(package.epoch().0)
        .bytes(package.request().message());
    for index in package.signers().keys() {
        let commitment = package
            .commitment(*index)
            .map(|commitment| commitment.encode())
            .unwrap_or_default();
        writer = writer.u16(index.get()).bytes(&commitment);
    }
    Sha256::digest(writer.finish()).into()
}

/// Signs. The nonces are gone afterwards, whatever the outcome.
///
/// # Errors
/// [`Refusal`] if the receipt is for another row or the pieces do not belong together; both would be faults of this node.
pub(crate) fn release_share(
    identity: &IdentityKey,
    approved: &Approved,
    nonces: Nonces,
    share: &KeyShare,
    package: &Package,
    attempt: Attempt,
    receipt: &Receipt,
) -> Result<Vec<u8>, Refusal> {
    let row = ledger::row_key(approved.digest(), &package_digest(package));
    if !receipt.wrote(Table::Ledger, &row) {
        return Err(Refusal::internal("the receipt is not for this share"));
    }
    if !approved
        .tasks()
        .iter()
        .any(|task| task.message == package.request().message())
    {
        return Err(Refusal::internal(
            "the package is not for an approved message",
        ));
    }
    let signed = frost::sign(nonces, share, package).map_err(Refusal::internal)?;
    wire::seal_share(
        identity,
        package,
        RequestId::from_bytes(*approved.digest()),
        attempt,
        &signed,
    )
    .map_err(Refusal::internal)
}
