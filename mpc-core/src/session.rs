//! Protocols as state machines without I/O, and the rule "write before you send" as types.
//!
//! A driver hands a session what arrived and what time it is; the session answers with a [`Step`]. If something has to be
//! durable before the step may take effect, the messages are inside a [`Held`] that opens only with the receipt of exactly
//! that write:
//! ```
//! # use mpc_core::{Error, session::{Effects, Ready, Step, Write, Durable}};
//! # struct Store; impl Store { fn commit(&mut self, write: Write) -> Result<Durable, Error> { Ok(write.stored()) } }
//! # fn drive<O>(step: Step<O>, store: &mut Store) -> Result<Effects<O>, Error> {
//! let effects = match step.split() {
//!     Ready::Now(effects) => effects,
//!     Ready::AfterWrite(write, held) => held.release(store.commit(write)?)?,
//! };
//! # Ok(effects) }
//! ```
//! [`Durable`] is an attestation, not magic: it puts the promise at one call that can be reviewed.

use core::fmt;
use std::collections::BTreeSet;

use zeroize::Zeroizing;

pub use crate::envelope::Recipient;
use crate::id::NodeId;
use crate::transcript;
use crate::{Error, Misuse};

/// Bytes that arrived. `from` is the authenticated peer of the channel, never read from the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Inbound {
    /// The peer.
    pub from: NodeId,
    /// An encoded envelope.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inbound({:?}, {} bytes)", self.from, self.bytes.len())
    }
}

/// Bytes to send. A broadcast goes to every other member, not to this node itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Outbound {
    /// For whom.
    pub to: Recipient,
    /// An encoded envelope.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbound({:?}, {} bytes)", self.to, self.bytes.len())
    }
}

/// A protocol run of one node. After `Aborted` or `TimedOut` every call answers with the same error.
pub trait Session {
    /// What the run is for.
    type Output;

    /// Takes one message.
    ///
    /// # Errors
    /// `Rejected` leaves the session as it was; `Aborted` and `TimedOut` end it.
    fn handle(&mut self, input: Inbound, now_ms: u64) -> Result<Step<Self::Output>, Error>;

    /// Tells the time. Call it at [`Self::deadline_ms`] or later.
    ///
    /// # Errors
    /// `TimedOut` when the deadline has passed, `Aborted` when the session had to send its last words first.
    fn tick(&mut self, now_ms: u64) -> Result<Step<Self::Output>, Error>;

    /// When to call [`Self::tick`] next, in Unix milliseconds; `None` once there is nothing to wait for.
    fn deadline_ms(&self) -> Option<u64>;

    /// Whose message the session is waiting for.
    fn waiting_for(&self) -> BTreeSet<NodeId>;
}

/// What follows from an input: perhaps a write, then effects.
#[must_use = "a step that is not split sends nothing"]
#[derive(Debug)]
pub struct Step<O> {
    write: Option<Write>,
    effects: Effects<O>,
}

impl<O> Step<O> {
    /// A step without effects.
    pub const fn idle() -> Self {
        Self::now(Effects {
            send: Vec::new(),
            output: None,
        })
    }

    /// A step that needs nothing durable.
    pub const fn now(effects: Effects<O>) -> Self {
        Self {
            write: None,
            effects,
        }
    }

    /// A step whose effects wait for `write`.
    pub const fn after(write: Write, effects: Effects<O>) -> Self {
        Self {
            write: Some(write),
            effects,
        }
    }

    /// The same step of a session around this one. What this one gives out is not passed on.
    pub(crate) fn without_output<P>(self) -> Step<P> {
        Step {
            write: self.write,
            effects: Effects {
                send: self.effects.send,
                output: None,
            },
        }
    }

    /// The same step of a party that keeps nothing: there is nothing to lose, so nothing has to be durable.
    pub(crate) fn without_write(self) -> Self {
        Self::now(self.effects)
    }

    /// The same step with another form of its output.
    pub(crate) fn try_map<P>(
        self,
        map: impl FnOnce(O) -> Result<P, Error>,
    ) -> Result<Step<P>, Error> {
        Ok(Step {
            write: self.write,
            effects: Effects {
                send: self.effects.send,
                output: self.effects.output.map(map).transpose()?,
            },
        })
    }

    /// Takes the step apart.
    pub fn split(self) -> Ready<O> {
        match self.write {
            None => Ready::Now(self.effects),
            Some(write) => {
                let held = Held {
                    id: write.id,
                    value: self.effects,
                };
                Ready::AfterWrite(write, held)
            }
        }
    }
}

/// A step, ready to be carried out.
#[derive(Debug)]
pub enum Ready<O> {
    /// Nothing has to be stored first.
    Now(Effects<O>),
    /// Store the write, then release the effects with its receipt.
    AfterWrite(Write, Held<Effects<O>>),
}

/// Messages to send, and the result once there is one.
#[derive(Debug)]
pub struct Effects<O> {
    /// In this order.
    pub send: Vec<Outbound>,
    /// The result; at most once per session.
    pub output: Option<O>,
}

/// What a write is, so that a store can put it in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum WriteKind {
    /// The certificate of a key: the pending share it belongs to may be used from now on. Public.
    Certificate,
    /// The name of an entry of preprocessing and of the request it is spent on: refuse the write if the entry is there already. Public.
    Entry,
    /// The name of a session that this node joins: refuse the write if it is there already.
    Replay,
    /// A share that is not certified yet. Secret. Keep it until the certificate is there, whatever happens to the session.
    Share,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WriteId([u8; 32]);

/// Bytes that have to be durable before a step takes effect. May be secret; wiped when dropped.
#[must_use = "the step's effects wait until this is stored"]
pub struct Write {
    kind: WriteKind,
    id: WriteId,
    bytes: Zeroizing<Vec<u8>>,
}

impl Write {
    /// A write of `bytes`.
    pub fn new(kind: WriteKind, bytes: Zeroizing<Vec<u8>>) -> Self {
        let id = transcript::body_digest(&bytes);
        let tagged = transcript::body_digest(&[&id[..], &[kind as u8]].concat());
        Self {
            kind,
            id: WriteId(tagged),
            bytes,
        }
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> WriteKind {
        self.kind
    }

    /// What to store.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A value that waits for this write.
    pub(crate) const fn hold<T>(&self, value: T) -> Held<T> {
        Held { id: self.id, value }
    }

    /// Attests that the bytes are durable. Call it only after the store has synced them.
    pub fn stored(self) -> Durable {
        Durable(self.id)
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Write({:?}, {} bytes)", self.kind, self.bytes.len())
    }
}

/// The receipt of one write.
#[must_use = "a receipt is there to release what waits for it"]
#[derive(Debug)]
pub struct Durable(WriteId);

/// A value that waits for a write.
#[must_use = "held messages are not sent until they are released"]
pub struct Held<T> {
    id: WriteId,
    value: T,
}

impl<T> Held<T> {
    /// Gives the value for the receipt of its write.
    ///
    /// # Errors
    /// [`Misuse::WrongReceipt`] for the receipt of another write; the value is lost with it.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a receipt is good for one release"
    )]
    pub fn release(self, receipt: Durable) -> Result<T, Error> {
        if receipt.0 == self.id {
            Ok(self.value)
        } else {
            Err(Misuse::WrongReceipt.into())
        }
    }
}

impl<T> fmt::Debug for Held<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(kind: WriteKind, byte: u8) -> Write {
        Write::new(kind, Zeroizing::new(vec![byte]))
    }

    fn step(write: Write) -> Step<()> {
        Step::after(
            write,
            Effects {
                send: Vec::new(),
                output: Some(()),
            },
        )
    }

    #[test]
    fn effects_come_out_with_the_right_receipt_only() {
        let Ready::AfterWrite(first, held) = step(write(WriteKind::Share, 1)).split() else {
            panic!("a write is due")
        };
        assert_eq!((first.kind(), first.bytes()), (WriteKind::Share, &[1][..]));
        assert_eq!(held.release(first.stored()).unwrap().output, Some(()));

        for other in [write(WriteKind::Share, 2), write(WriteKind::Replay, 1)] {
            let Ready::AfterWrite(_, held) = step(write(WriteKind::Share, 1)).split() else {
                panic!("a write is due")
            };
            assert_eq!(
                held.release(other.stored()).map(|_| ()),
                Err(Misuse::WrongReceipt.into())
            );
        }
    }

    #[test]
    fn printing_a_write_shows_no_content() {
        assert_eq!(
            format!("{:?}", write(WriteKind::Share, 0xAB)),
            "Write(Share, 1 bytes)"
        );
    }
}
