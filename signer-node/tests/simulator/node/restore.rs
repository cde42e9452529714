//! Backups of a node, and coming back from one: nothing is signed before peers have confirmed the sharing.
//!
//! A backup has the active shares and what is public of their history. What was only prepared, what was let go and what was seen is
//! not in it, so from the moment a node may sign again all that its limits allow counts as used up.

use std::collections::BTreeSet;

use mpc_core::id::{KeyId, Purpose};
use mpc_core::lineage::Sharing;
use policy::amount::Amount;
use policy::chain::Asset;
use policy::id::WalletId;
use policy::ledger::{Debit, Entry};

use super::reshare::row_of;
use super::{Context, Memory, Node, Out, Then, ledger};
use crate::bug::Bug;
use crate::disk::{Change, Image, Table};
use crate::memo;
use crate::treasury::{LIMIT, chain_of};
use crate::wire::{Address, Body};

/// What a backup of this disk has: a disk that a node comes back with.
pub(crate) fn backup(disk: &Image) -> Image {
    let mut image = Image::default();
    for (request, bytes) in disk.rows(Table::Pending) {
        let Some(certificate) = disk.get(Table::Certified, request) else {
            continue;
        };
        let pending =
            mpc_core::dkg::Pending::dangerous_from_bytes(bytes).expect("what was written");
        let key = pending.key_id();
        let is_active = disk
            .get(Table::Lineage, key.as_bytes())
            .is_none_or(|row| memo::lineage(row).2.chain().is_empty());
        if !is_active {
            continue;
        }
        let share = memo::born(bytes, certificate);
        let lineage = mpc_core::lineage::Lineage::new(share.public().clone(), true);
        let mut row = request.to_vec();
        row.push(1);
        row.extend(lineage.encode());
        image.put(Table::Pending, request, bytes);
        image.put(Table::Certified, request, certificate);
        image.put(Table::Lineage, key.as_bytes(), &row);
    }
    for (key, row) in disk.rows(Table::Lineage) {
        let (request, _, mut lineage) = (*memo::lineage(row)).clone();
        let active = lineage.sharing();
        if lineage.chain().is_empty() || !lineage.holds_active() {
            continue;
        }
        let others: Vec<Sharing> = lineage
            .held()
            .iter()
            .filter(|held| **held != active)
            .copied()
            .collect();
        others.iter().for_each(|other| lineage.lose(other));
        let name = row_of(&lineage.key_id(), &active);
        let Some(share) = disk.get(Table::Shares, &name) else {
            continue;
        };
        image.put(Table::Shares, &name, share);
        let mut row = request.to_vec();
        row.push(1);
        row.extend(lineage.encode());
        image.put(Table::Lineage, key, &row);
    }
    image
}

impl Node {
    /// Asks the peers, as long as there is a key that they have not confirmed.
    pub(super) fn ask_peers(&mut self, context: &mut Context<'_>) {
        let cluster = std::rc::Rc::clone(&self.cluster);
        let (me, memory) = (self.place, self.memory.as_ref().expect("a running node"));
        for (id, key) in memory.keys.iter().filter(|(_, key)| key.unconfirmed) {
            for peer in cluster
                .members_of(key.lineage.active())
                .into_iter()
                .filter(|peer| *peer != me)
            {
                let body = Body::Attest {
                    key: *id,
                    challenge: memory.boot,
                };
                context.out.push(Out::Send(Address::Node(peer), body));
            }
        }
    }

    /// Says to a peer that came back what this node knows.
    pub(super) fn on_attest(
        &mut self,
        from: usize,
        key: KeyId,
        challenge: [u8; 16],
        context: &mut Context<'_>,
    ) {
        let Some(known) = self.memory().keys.get(&key).filter(|key| !key.unconfirmed) else {
            return;
        };
        let body = Body::Attested {
            key,
            challenge,
            sharing: known.lineage.sharing(),
        };
        let ahead = known
            .lineage
            .chain()
            .iter()
            .map(|certificate| Body::Activate {
                key,
                certificate: certificate.encode(),
            });
        for body in std::iter::once(body).chain(ahead) {
            context.out.push(Out::Send(Address::Node(from), body));
        }
    }

    /// A peer's word: as many others as sign must know the same sharing. That one claims to know a higher one proves nothing; its
    /// certificate, which it sends along, does.
    pub(super) fn on_attested(
        &mut self,
        from: usize,
        (key_id, challenge): (KeyId, [u8; 16]),
        sharing: Sharing,
        context: &mut Context<'_>,
    ) {
        let (peer, bug, now) = (self.cluster.nodes[from], self.bug, self.now_ms);
        let memory = self.memory();
        if challenge != memory.boot {
            return;
        }
        let Some(key) = memory.keys.get_mut(&key_id).filter(|key| key.unconfirmed) else {
            return;
        };
        let active = key.lineage.active();
        key.said.insert(peer, sharing);
        let own = Sharing::of(active);
        let agree = |said: &(&mpc_core::id::NodeId, &Sharing)| {
            *said.1 == own && active.index_of(said.0).is_some()
        };
        let agreeing: BTreeSet<_> = key
            .said
            .iter()
            .filter(agree)
            .map(|(node, _)| *node)
            .collect();
        let needed = usize::from(active.params().threshold()).min(active.nodes().len() - 1);
        if agreeing.len() < needed {
            return;
        }
        let purpose = active.purpose();
        key.unconfirmed = false;
        let mut changes = vec![key.change()];
        if bug != Bug::ForgetsWindows {
            changes.push(memory.use_up_windows(now, purpose));
        }
        context.say("peers have confirmed what came out of the backup");
        self.submit(changes, None, Then::Nothing);
    }
}

/// A debit of all that may leave within a window.
fn everything(at_ms: u64, purpose: Purpose) -> Entry {
    Entry {
        at_ms,
        raw_digest: [0; 32],
        debits: vec![Debit {
            wallet: WalletId::parse("hot").expect("a wallet"),
            chain: chain_of(purpose),
            destination: None,
            asset: Asset::Native,
            amount: Amount::from_u64(LIMIT),
        }],
    }
}

impl Memory {
    /// Whatever was let go before the disk was lost is unknown: the windows of limits count as used up.
    pub(super) fn use_up_windows(&mut self, now_ms: u64, purpose: Purpose) -> Change {
        let entry = everything(now_ms, purpose);
        let digest = self.boot.repeat(2).try_into().expect("32 bytes");
        let row = ledger::row_key(&digest, &[0; 32]);
        let change = Change::Put(Table::Ledger, row, ledger::encode(&entry));
        self.ledger.record(digest, entry);
        change
    }

    /// Whether peers have to be asked.
    pub(super) fn is_catching_up(&self) -> bool {
        self.keys.values().any(|key| key.unconfirmed)
    }
}
