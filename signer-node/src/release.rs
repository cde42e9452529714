//! The one place where this node's contribution to a signature leaves it.
//!
//! What it takes is what must be true: a verdict that only the policy can give, nonces that exist once, and the store's
//! receipt for the row that records this very share. For ECDSA the contribution is the opening of a pool entry; what is signed
//! is taken from the verdict here, by the number of the task, and from nowhere else.

use std::collections::BTreeSet;

use mpc_core::ecdsa::{self, Opened, Payload, PoolEntry};
use mpc_core::frost::{self, Nonces, Package, wire};
use mpc_core::hd::DerivationPath;
use mpc_core::id::{Attempt, NodeId, RequestId, SessionId};
use mpc_core::identity::IdentityKey;
use mpc_core::keys::KeyShare;
use mpc_core::session::{Held, Write};
use policy::evaluate::Approved;
use policy::transaction::{Hash, Scheme, Task};
use rand_core::UnwrapErr;
use sha2::{Digest as _, Sha256};

use crate::codec::Writer;
use crate::engine::ledger;
use crate::failure::Refusal;
use crate::store::{Change, Receipt, Table};

/// Names a package: which signature of its request it is for, key, epoch, path, message and the exact list of commitments. 32 bytes.
pub(crate) fn package_digest(task: u32, package: &Package) -> [u8; 32] {
    let mut writer = Writer::new()
        .bytes(b"quorate/package/v1")
        .u32(task)
        .fixed(package.key_id().as_bytes())
        .u32(package.epoch().0)
        .bytes(package.request().path().to_string().as_bytes())
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
    (approved, task): (&Approved, u32),
    nonces: Nonces,
    share: &KeyShare,
    package: &Package,
    attempt: Attempt,
    receipt: &Receipt,
) -> Result<Vec<u8>, Refusal> {
    let row = ledger::row_key(approved.digest(), &package_digest(task, package));
    if !receipt.wrote(Table::Ledger, &row) {
        return Err(Refusal::internal("the receipt is not for this share"));
    }
    let asked = task_of(approved, task)?;
    let request = package.request();
    if asked.message != request.message() || asked.path != request.path().indices() {
        return Err(Refusal::internal(
            "the package is not for the approved message",
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

/// The signature of a request that a call names.
pub(crate) fn task_of(approved: &Approved, task: u32) -> Result<&Task, Refusal> {
    usize::try_from(task)
        .ok()
        .and_then(|task| approved.tasks().get(task))
        .ok_or_else(|| Refusal::malformed("the request does not need that many signatures"))
}

/// What an entry is spent on: the exact request that an approved task makes.
///
/// # Errors
/// [`Refusal`] if the task is not one for ECDSA, or not one of this key and these signers.
pub(crate) fn ecdsa_request(
    approved: &Approved,
    task: u32,
    share: &KeyShare,
    signers: &BTreeSet<NodeId>,
) -> Result<ecdsa::SigningRequest, Refusal> {
    let task = task_of(approved, task)?;
    let payload = match (task.scheme, task.hash) {
        (Scheme::Ecdsa, Hash::DoubleSha256) => Payload::DoubleSha256(&task.message),
        (Scheme::Ecdsa, Hash::Keccak256) => Payload::Keccak256(&task.message),
        _ => return Err(Refusal::malformed("this signature is not an ECDSA one")),
    };
    let path = DerivationPath::new(task.path.clone()).map_err(Refusal::malformed)?;
    let id = RequestId::from_bytes(*approved.digest());
    ecdsa::SigningRequest::new(share.public(), signers, &path, &payload, id)
        .map_err(Refusal::malformed)
}

/// A spent entry whose opening waits for the disk.
pub(crate) struct Spend {
    write: Write,
    held: Held<(Opened, Vec<u8>)>,
    ledger_row: Vec<u8>,
}

/// Names an opening in the ledger: the entry and the request. 32 bytes.
pub(crate) fn opening_digest(entry: &SessionId, request: &ecdsa::SigningRequest) -> [u8; 32] {
    let bytes = Writer::new()
        .bytes(b"quorate/opening/v1")
        .fixed(entry.as_bytes())
        .fixed(request.name())
        .finish();
    Sha256::digest(bytes).into()
}

/// Spends an entry on an approved task. The entry is gone afterwards, whatever the outcome.
///
/// # Errors
/// [`Refusal`] if the pieces do not belong together, which would be a fault of this node.
pub(crate) fn spend(
    identity: &IdentityKey,
    (approved, task): (&Approved, u32),
    entry: PoolEntry,
    share: &KeyShare,
) -> Result<Spend, Refusal> {
    let request = ecdsa_request(approved, task, share, entry.signers())?;
    let ledger_row = ledger::row_key(approved.digest(), &opening_digest(&entry.name(), &request));
    let rng = &mut UnwrapErr(getrandom::SysRng);
    let opened = ecdsa::open(entry, share, request, identity, rng);
    let (write, held) = opened.map_err(Refusal::internal)?;
    Ok(Spend {
        write,
        held,
        ledger_row,
    })
}

impl Spend {
    /// The row that makes the entry unusable for ever.
    pub(crate) fn burn(&self) -> Change {
        let (entry, request) = self.write.bytes().split_at_checked(32).unwrap_or_default();
        Change::Append {
            table: Table::Entries,
            key: entry.to_vec(),
            body: request.to_vec(),
        }
    }

    /// Gives the opening out, for the receipt of the commit that wrote both the burn and the debit.
    ///
    /// # Errors
    /// [`Refusal`] if the receipt is for another commit, which would be a fault of this node.
    pub(crate) fn release(self, receipt: &Receipt) -> Result<(Opened, Vec<u8>), Refusal> {
        let entry = self.write.bytes().get(..32).unwrap_or_default();
        if !receipt.wrote(Table::Entries, entry) || !receipt.wrote(Table::Ledger, &self.ledger_row)
        {
            return Err(Refusal::internal("the receipt is not for this opening"));
        }
        self.held
            .release(self.write.stored())
            .map_err(Refusal::internal)
    }
}
