//! The live connections of an acceptor: counted, capped, and closed when their certificate stops being acceptable.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use super::{
    event::{Closed, Event, Events, Refusal},
    identity::{Peer, SpkiPin},
};

/// The certificates a peer presented: leaf first, never empty.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) leaf: CertificateDer<'static>,
    pub(crate) rest: Vec<CertificateDer<'static>>,
    /// Last second of the leaf's validity.
    pub(crate) not_after: u64,
}

#[derive(Debug)]
struct Entry {
    peer: Peer,
    chain: Arc<Chain>,
    close: CancellationToken,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    live: BTreeMap<u64, Entry>,
}

/// Every live connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry(Arc<Mutex<Inner>>);

/// One place in the registry; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Registry,
    id: u64,
    pub(crate) close: CancellationToken,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.lock().live.remove(&self.id);
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every critical section below leaves the map whole, even if it panicked half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a connection that has proved its key.
    pub(crate) fn register(
        &self,
        peer: Peer,
        chain: Arc<Chain>,
        total: usize,
        per_identity: usize,
    ) -> Result<Registration, Refusal> {
        let mut inner = self.lock();
        if inner.live.len() >= total {
            return Err(Refusal::TooManyInTotal);
        }
        let same = inner
            .live
            .values()
            .filter(|entry| entry.peer.pin == peer.pin)
            .count();
        if same >= per_identity {
            return Err(Refusal::TooManyOfIdentity(peer.pin));
        }
        let id = inner.next;
        inner.next = inner.next.wrapping_add(1);
        let close = CancellationToken::new();
        inner.live.insert(
            id,
            Entry {
                peer,
                chain,
                close: close.clone(),
            },
        );
        Ok(Registration {
            registry: self.clone(),
            id,
            close,
        })
    }

    pub(crate) fn peers(&self) -> Vec<Peer> {
        self.lock()
            .live
            .values()
            .map(|entry| entry.peer.clone())
            .collect()
    }

    /// Closes every connection whose chain `judge` refuses.
    pub(crate) fn sweep(&self, events: &Events, judge: impl Fn(&Chain) -> Result<(), Refusal>) {
        // Judged outside the lock: verifying signatures must not hold up new connections.
        let entries: Vec<_> = {
            let inner = self.lock();
            let open = inner
                .live
                .values()
                .filter(|entry| !entry.close.is_cancelled());
            open.map(|entry| (entry.peer.clone(), entry.chain.clone(), entry.close.clone()))
                .collect()
        };
        for (peer, chain, close) in entries {
            if let Err(refusal) = judge(&chain) {
                close.cancel();
                events.emit(Event::ConnectionClosed {
                    peer,
                    why: Closed::NoLongerAdmitted(refusal),
                });
            }
        }
    }

    /// Closes every connection of one key; returns how many there were.
    pub(crate) fn close(&self, pin: SpkiPin, events: &Events) -> usize {
        let inner = self.lock();
        let mut count = 0_usize;
        for entry in inner
            .live
            .values()
            .filter(|entry| entry.peer.pin == pin && !entry.close.is_cancelled())
        {
            entry.close.cancel();
            events.emit(Event::ConnectionClosed {
                peer: entry.peer.clone(),
                why: Closed::OnRequest,
            });
            count = count.saturating_add(1);
        }
        count
    }
}
