//! What was decoded once is not decoded again: a row or a message is shown to many, and what a decoder makes of bytes depends on nothing
//! else. Without this most of the time would go into reading the same public records.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use mpc_core::dkg::{DkgCertificate, Pending};
use mpc_core::keys::{KeyShare, PublicKeyPackage};
use mpc_core::lineage::Lineage;
use mpc_core::reshare::{Certificate, Prepared, Request};

type Memo<T> = RefCell<HashMap<Vec<u8>, T>>;
type Row = ([u8; 32], bool, Lineage);

/// A request for a reshare, and its digest.
pub(crate) type Asked = (Request, [u8; 32]);

#[derive(Default)]
struct Memos {
    /// Lives longer than a schedule: many begin with the same keys.
    born: Memo<Arc<KeyShare>>,
    requests: Memo<Option<Rc<Asked>>>,
    certificates: Memo<Result<Certificate, String>>,
    packages: Memo<Option<PublicKeyPackage>>,
    lineages: Memo<Rc<Row>>,
    prepared: Memo<Rc<Prepared>>,
    shares: Memo<Option<Arc<KeyShare>>>,
}

thread_local! {
    static MEMOS: Memos = Memos::default();
}

fn of<T: Clone>(memo: &Memo<T>, bytes: &[u8], read: impl FnOnce() -> T) -> T {
    if let Some(known) = memo.borrow().get(bytes) {
        return known.clone();
    }
    let made = read();
    memo.borrow_mut().insert(bytes.to_vec(), made.clone());
    made
}

/// The most entries that are kept from one schedule to the next.
const MAX_KEPT: usize = 2_000;

/// Forgets what other schedules have no use for, at the beginning of each.
pub(crate) fn forget() {
    MEMOS.with(|memos| {
        if memos.born.borrow().len() > MAX_KEPT || memos.packages.borrow().len() > MAX_KEPT {
            memos.born.borrow_mut().clear();
            memos.packages.borrow_mut().clear();
        }
        memos.requests.borrow_mut().clear();
        memos.certificates.borrow_mut().clear();
        memos.lineages.borrow_mut().clear();
        memos.prepared.borrow_mut().clear();
        memos.shares.borrow_mut().clear();
    });
}

pub(crate) fn request(bytes: &[u8]) -> Option<Rc<Asked>> {
    MEMOS.with(|memos| {
        of(&memos.requests, bytes, || {
            let request = Request::decode(bytes).ok()?;
            let digest = request.digest();
            Some(Rc::new((request, digest)))
        })
    })
}

/// A certificate, its signatures verified.
pub(crate) fn certificate(bytes: &[u8]) -> Result<Certificate, String> {
    MEMOS.with(|memos| {
        of(&memos.certificates, bytes, || {
            Certificate::decode(bytes).map_err(|error| error.to_string())
        })
    })
}

pub(crate) fn package(bytes: &[u8]) -> Option<PublicKeyPackage> {
    MEMOS.with(|memos| {
        of(&memos.packages, bytes, || {
            PublicKeyPackage::decode(bytes).ok()
        })
    })
}

/// The row of a lineage: the request that made the key, whether peers must confirm it first, and the lineage.
pub(crate) fn lineage(row: &[u8]) -> Rc<Row> {
    MEMOS.with(|memos| {
        of(&memos.lineages, row, || {
            let (request, rest) = row.split_first_chunk().expect("a request");
            let (flag, bytes) = rest.split_first().expect("a flag");
            let lineage = Lineage::decode(bytes).expect("what was written");
            Rc::new((*request, *flag == 1, lineage))
        })
    })
}

/// The share of a key that was made, once its certificate is there.
pub(crate) fn born(pending: &[u8], certificate: &[u8]) -> Arc<KeyShare> {
    let name = [pending, certificate].concat();
    MEMOS.with(|memos| {
        of(&memos.born, &name, || {
            let pending = Pending::dangerous_from_bytes(pending).expect("what was written");
            let certificate =
                DkgCertificate::decode(pending.roster(), certificate).expect("what was written");
            let output = pending.finish(certificate.parts().values());
            Arc::new(output.expect("a certificate of this share").share)
        })
    })
}

/// What was prepared for a sharing.
pub(crate) fn prepared(bytes: &[u8]) -> Rc<Prepared> {
    MEMOS.with(|memos| {
        of(&memos.prepared, bytes, || {
            Rc::new(Prepared::dangerous_from_bytes(bytes).expect("what was written"))
        })
    })
}

/// The share that was prepared, once its certificate is there.
pub(crate) fn share(bytes: &[u8], certificate: &Certificate) -> Option<Arc<KeyShare>> {
    let name = [bytes, certificate.sharing().id.as_bytes()].concat();
    MEMOS.with(|memos| {
        of(&memos.shares, &name, || {
            let prepared = Prepared::dangerous_from_bytes(bytes).expect("what was written");
            prepared.activate(certificate).ok()?.share.map(Arc::new)
        })
    })
}
