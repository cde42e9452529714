//! Keys that were made before a schedule begins, by the same key generation without any trouble: one for each shape of a committee.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use mpc_core::dkg::Pending;
use mpc_core::id::Purpose;
use mpc_core::identity::IdentityKey;
use mpc_core::keys::PublicKeyPackage;
use mpc_core::session::WriteKind;
use mpc_core::testing::Simulator;

use crate::disk::{Image, Table};
use crate::treasury::Treasury;

/// A key, and what its members have on their disks.
pub(crate) struct MadeKey {
    pub(crate) identities: Vec<Arc<IdentityKey>>,
    pub(crate) request: [u8; 32],
    pub(crate) package: PublicKeyPackage,
    pub(crate) disks: Vec<Image>,
    pub(crate) parts: Vec<Vec<u8>>,
    pub(crate) treasury: Rc<Treasury>,
}

thread_local! {
    static KEYS: RefCell<BTreeMap<(u8, u16, u16), Rc<MadeKey>>> = const { RefCell::new(BTreeMap::new()) };
}

/// The key of this shape.
pub(crate) fn key(purpose: Purpose, threshold: u16, parties: u16) -> Rc<MadeKey> {
    let kind = (purpose.as_str().len() as u8, threshold, parties);
    let known = KEYS.with_borrow(|keys| keys.get(&kind).cloned());
    known.unwrap_or_else(|| {
        let made = Rc::new(make(purpose, threshold, parties));
        KEYS.with_borrow_mut(|keys| keys.insert(kind, Rc::clone(&made)));
        made
    })
}

fn make(purpose: Purpose, threshold: u16, parties: u16) -> MadeKey {
    let seed = u64::from(threshold) * 100 + u64::from(parties);
    let mut simulator = Simulator::start(purpose, threshold, parties, seed);
    simulator.run();
    let request = [parties as u8; 32];
    let (mut disks, mut parts) = (Vec::new(), Vec::new());
    for index in 1..=parties {
        let node = simulator.committee.node(index);
        let mut disk = Image::default();
        for stored in &simulator.stores[&node] {
            match stored.kind {
                WriteKind::Share => {
                    let pending = Pending::dangerous_from_bytes(&stored.bytes).expect("a share");
                    parts.push(pending.own_part().to_vec());
                    disk.put(Table::Pending, &request, &stored.bytes);
                }
                WriteKind::Certificate => disk.put(Table::Certified, &request, &stored.bytes),
                _ => disk.put(Table::Replay, &stored.bytes, &[]),
            }
        }
        disks.push(disk);
    }
    let package = simulator.output(1).share.public().clone();
    MadeKey {
        identities: simulator.committee.identities.clone(),
        request,
        treasury: Rc::new(Treasury::new(&package.key_id(), purpose)),
        package,
        disks,
        parts,
    }
}
