//! One session of several nodes over a network that a test controls message by message.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::TIMEOUT_MS;
use crate::Error;
use crate::envelope::Recipient;
use crate::id::NodeId;
use crate::session::{Inbound, Ready, Session, Step, WriteKind};

/// A message under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight {
    /// The authenticated sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// An encoded envelope.
    pub bytes: Vec<u8>,
}

/// One write of a node. Not printed: it may be a share.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// What it was.
    pub kind: WriteKind,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl core::fmt::Debug for Stored {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Stored({:?}, {} bytes)", self.kind, self.bytes.len())
    }
}

/// A session of several nodes.
#[derive(Debug)]
pub struct Stage<S: Session> {
    /// Who takes part.
    all: BTreeSet<NodeId>,
    /// Their sessions.
    pub sessions: BTreeMap<NodeId, S>,
    /// Messages under way, first in first out unless the test takes them in another order.
    pub network: VecDeque<Flight>,
    /// What every node has stored, in order.
    pub stores: BTreeMap<NodeId, Vec<Stored>>,
    /// How the session of a node ended.
    pub results: BTreeMap<NodeId, Result<S::Output, Error>>,
    /// The time.
    pub now_ms: u64,
}

impl<S: Session> Stage<S> {
    /// A session of these nodes that none of them has entered yet.
    #[must_use]
    pub fn new(all: impl IntoIterator<Item = NodeId>) -> Self {
        Self {
            all: all.into_iter().collect(),
            sessions: BTreeMap::new(),
            network: VecDeque::new(),
            stores: BTreeMap::new(),
            results: BTreeMap::new(),
            now_ms: 0,
        }
    }

    /// Lets a node enter with its first step.
    pub fn enter(&mut self, node: NodeId, session: S, step: Step<S::Output>) {
        self.sessions.insert(node, session);
        self.carry_out(node, step);
    }

    /// Stores and sends what a step asks for.
    fn carry_out(&mut self, node: NodeId, step: Step<S::Output>) {
        let effects = match step.split() {
            Ready::Now(effects) => effects,
            Ready::AfterWrite(write, held) => {
                let stored = Stored {
                    kind: write.kind(),
                    bytes: write.bytes().to_vec(),
                };
                self.stores.entry(node).or_default().push(stored);
                held.release(write.stored()).expect("the right receipt")
            }
        };
        for message in effects.send {
            let receivers: Vec<_> = match message.to {
                Recipient::Everyone => self.all.iter().copied().filter(|to| *to != node).collect(),
                Recipient::One(to) => vec![to],
            };
            let flights = receivers.into_iter().map(|to| Flight {
                from: node,
                to,
                bytes: message.bytes.clone(),
            });
            self.network.extend(flights);
        }
        if let Some(output) = effects.output {
            self.results.insert(node, Ok(output));
        }
    }

    /// Hands a message to its receiver. A rejection is returned; an error that ends the session goes to the results.
    ///
    /// # Errors
    /// The error of the session.
    pub fn deliver(&mut self, flight: Flight) -> Result<(), Error> {
        let (to, now_ms) = (flight.to, self.now_ms);
        let session = self.sessions.get_mut(&to).expect("a participant");
        let result = session.handle(
            Inbound {
                from: flight.from,
                bytes: flight.bytes,
            },
            now_ms,
        );
        let result = self.take(to, result);
        self.tick_due(to);
        result
    }

    fn take(&mut self, node: NodeId, result: Result<Step<S::Output>, Error>) -> Result<(), Error> {
        match result {
            Ok(step) => self.carry_out(node, step),
            Err(error) => {
                if !matches!(error, Error::Rejected(_)) {
                    self.results
                        .entry(node)
                        .or_insert_with(|| Err(error.clone()));
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn tick_due(&mut self, node: NodeId) {
        let now_ms = self.now_ms;
        loop {
            let session = self.sessions.get_mut(&node).expect("a participant");
            if session
                .deadline_ms()
                .is_none_or(|deadline| deadline > now_ms)
            {
                return;
            }
            let result = session.tick(now_ms);
            if self.take(node, result).is_err() {
                return;
            }
        }
    }

    /// Delivers everything in order, passing each message through `adversary` first, until nothing is under way.
    pub fn run_with(&mut self, mut adversary: impl FnMut(Flight) -> Vec<Flight>) {
        while let Some(flight) = self.network.pop_front() {
            for flight in adversary(flight) {
                // Rejections and failures are in the results or have no consequence.
                let _ = self.deliver(flight);
            }
        }
    }

    /// Delivers everything as it is.
    pub fn run(&mut self) {
        self.run_with(|flight| vec![flight]);
    }

    /// Lets the time of the current round run out everywhere.
    pub fn expire(&mut self) {
        self.now_ms = self.now_ms.saturating_add(TIMEOUT_MS);
        let nodes: Vec<_> = self.sessions.keys().copied().collect();
        for node in nodes {
            self.tick_due(node);
        }
    }
}
