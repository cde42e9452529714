//! What is known of key generations while the coordinator runs, and who listens to which.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use mpc_core::{id::KeyId, keys::PublicKeyPackage};
use prost::bytes::Bytes;
use proto::v1;
use tokio::sync::mpsc;

use super::PROGRESS;
use crate::store::{KeyRow, KeyStage};

pub(super) type Heard = (u16, v1::DkgProgress);

/// Every key generation that was ever asked for, and the ears of those under way.
#[derive(Debug, Default)]
pub(in crate::engine) struct Ceremonies {
    rows: Mutex<BTreeMap<[u8; 32], KeyRow>>,
    ears: Mutex<BTreeMap<[u8; 32], Ear>>,
}

/// Where a generation under way is listened to.
#[derive(Debug)]
struct Ear {
    sender: mpsc::Sender<Heard>,
    /// The starts of the nodes that its sessions live in; a node that has restarted since has lost its session.
    boots: BTreeMap<u16, [u8; 16]>,
}

impl Ceremonies {
    pub(super) fn rows(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], KeyRow>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ears(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Ear>> {
        self.ears.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a generation of this name was ever asked for.
    pub(in crate::engine) fn has(&self, request_id: &[u8; 32]) -> bool {
        self.rows().contains_key(request_id)
    }

    /// Whether a generation of this name needs nothing that the history of its key could tell: it is stored as ended or certified, or
    /// its nodes are at work and somebody waits for them.
    pub(in crate::engine) fn is_cared_for(&self, request_id: &[u8; 32]) -> bool {
        let stage = self.rows().get(request_id).map(|row| row.stage);
        match stage {
            None => false,
            Some(KeyStage::Running) => {
                let ears = self.ears();
                ears.get(request_id)
                    .is_some_and(|ear| !ear.boots.is_empty())
            }
            Some(KeyStage::Certified | KeyStage::Active | KeyStage::Aborted) => true,
        }
    }

    /// Takes a row's new state in.
    pub(in crate::engine) fn note(&self, row: KeyRow) {
        self.rows().insert(row.request_id, row);
    }

    /// Takes in what a node says about a generation; about unknown ones nothing is kept.
    pub(in crate::engine) fn hear(&self, index: u16, progress: v1::DkgProgress) {
        let Ok(request_id) = <[u8; 32]>::try_from(progress.request_id.as_ref()) else {
            return;
        };
        let ear = self.ears().get(&request_id).map(|ear| ear.sender.clone());
        if ear.is_some_and(|ear| ear.try_send((index, progress)).is_err()) {
            tracing::warn!(
                node = index,
                "a progress message of a key generation was dropped"
            );
        }
    }

    pub(super) fn open(
        &self,
        request_id: [u8; 32],
        boots: BTreeMap<u16, [u8; 16]>,
    ) -> mpsc::Receiver<Heard> {
        let (sender, receiver) = mpsc::channel(PROGRESS);
        self.ears().insert(request_id, Ear { sender, boots });
        receiver
    }

    /// Nobody listens to it any more.
    pub(in crate::engine) fn close(&self, request_id: &[u8; 32]) {
        self.ears().remove(request_id);
    }

    /// The generations that have a session on this node which is not in this start of it.
    pub(super) fn lost(&self, index: u16, boot_id: Option<&[u8; 16]>) -> Vec<[u8; 32]> {
        let ears = self.ears();
        let lost = ears.iter().filter(|(_, ear)| {
            ear.boots
                .get(&index)
                .is_some_and(|boot| Some(boot) != boot_id)
        });
        lost.map(|(request_id, _)| *request_id).collect()
    }
}

/// A generation under way.
pub(super) struct Ceremony {
    pub(super) row: KeyRow,
    pub(super) parts: BTreeMap<u16, Bytes>,
    pub(super) packages: BTreeMap<u16, Bytes>,
    pub(super) certified: Option<KeyId>,
    out: mpsc::Sender<v1::DkgProgress>,
}

impl Ceremony {
    pub(super) fn new(row: KeyRow, out: mpsc::Sender<v1::DkgProgress>) -> Self {
        let parts = row.parts.clone();
        Self {
            row,
            parts,
            packages: BTreeMap::new(),
            certified: None,
            out,
        }
    }

    /// Tells whoever asked; somebody who does not listen is not waited for.
    pub(super) fn tell(&self, mut progress: v1::DkgProgress) {
        progress.request_id = Bytes::copy_from_slice(&self.row.request_id);
        let _unheard = self.out.try_send(progress);
    }

    /// A package that enough nodes report for the certified key.
    pub(super) fn agreed(&self) -> Option<Bytes> {
        let certified = self.certified?;
        let enough = usize::from(self.row.threshold);
        let mut votes: BTreeMap<&Bytes, usize> = BTreeMap::new();
        for package in self.packages.values() {
            let count = votes.entry(package).or_default();
            *count = count.saturating_add(1);
        }
        let (package, _) = votes.into_iter().find(|(_, count)| *count >= enough)?;
        let decoded = PublicKeyPackage::decode(package).ok()?;
        (decoded.key_id() == certified).then(|| package.clone())
    }
}
