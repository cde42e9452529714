//! A share that waits for its certificate, and the certificate.
//!
//! From the moment a party has signed, its share must not be lost until it holds the certificate: another party may hold
//! all signatures already and use the key. No timeout and no abort deletes a pending share.

use core::fmt;
use std::collections::BTreeMap;

use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::DkgOutput;
use super::certificate::{Form, Holding, Message, Outcome, Verdict};
use super::round3;
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::envelope::{Envelope, Kind, MAX_ENVELOPE, Recipient};
use crate::id::{Attempt, Epoch, KeyId, MAX_PARTIES, NodeId};
use crate::keys::KeyShare;
use crate::pair::{PairRecord, RECORD_BYTES};
use crate::roster::Roster;
use crate::{Error, Rejection};

const VERSION: u8 = 1;
const MAX_SHARE: usize = 1 << 16;

/// The signatures of all parties over one transcript: proof that a key exists and that every party has stored its share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DkgCertificate {
    transcript: [u8; 32],
    parts: BTreeMap<NodeId, Vec<u8>>,
}

impl DkgCertificate {
    /// Puts the signed round-3 messages of all parties together.
    ///
    /// # Errors
    /// A [`Rejection`] when a part is not a certificate of a member, parts disagree, or one is missing.
    pub fn from_parts<T: AsRef<[u8]>>(
        roster: &Roster,
        parts: impl IntoIterator<Item = T>,
    ) -> Result<Self, Rejection> {
        let (mut collected, mut common) = (BTreeMap::new(), None);
        let mut holdings = BTreeMap::new();
        for part in parts {
            let envelope = Envelope::open(roster, part.as_ref())?;
            let (transcript, holding) = signed_certificate(roster, &envelope)?;
            holdings.insert(envelope.header().from, holding);
            let session = envelope.header().session;
            if *common.get_or_insert((session, transcript)) != (session, transcript) {
                return Err(Rejection::InvalidCertificate(
                    "two parts certify different transcripts",
                ));
            }
            collected.insert(envelope.header().from, envelope.as_bytes().to_vec());
        }
        match common {
            Some((_, transcript)) if collected.len() == roster.len() => {
                if disagreeing_pair(roster, &holdings).is_some() {
                    return Err(Rejection::InvalidCertificate(
                        "two members name different setups for their pair",
                    ));
                }
                Ok(Self {
                    transcript,
                    parts: collected,
                })
            }
            _ => Err(Rejection::InvalidCertificate("a part is missing")),
        }
    }

    /// Parts that a session has checked one by one.
    pub(super) const fn collected(transcript: [u8; 32], parts: BTreeMap<NodeId, Vec<u8>>) -> Self {
        Self { transcript, parts }
    }

    /// Checks the certificate against a roster.
    ///
    /// # Errors
    /// As [`Self::from_parts`].
    pub fn verify(&self, roster: &Roster) -> Result<(), Rejection> {
        let again = Self::from_parts(roster, self.parts.values())?;
        if again == *self {
            Ok(())
        } else {
            Err(Rejection::InvalidCertificate(
                "a part belongs to another member",
            ))
        }
    }

    /// The name of the certified key.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        round3::key_id(&self.transcript)
    }

    /// The signed round-3 messages, by node.
    #[must_use]
    pub const fn parts(&self) -> &BTreeMap<NodeId, Vec<u8>> {
        &self.parts
    }

    /// `u8 1 | T 32 | u16 n | n times (u32be length, part)`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(VERSION)
            .bytes(&self.transcript)
            .u16(u16::try_from(self.parts.len()).unwrap_or(u16::MAX));
        for part in self.parts.values() {
            out.var(part);
        }
        out.finish()
    }

    /// Decodes and checks a certificate.
    ///
    /// # Errors
    /// As [`Self::from_parts`], and `Malformed`.
    pub fn decode(roster: &Roster, bytes: &[u8]) -> Result<Self, Rejection> {
        let (transcript, parts) = Self::read(bytes).map_err(Rejection::Malformed)?;
        let certificate = Self::from_parts(roster, &parts)?;
        if certificate.transcript == transcript && certificate.parts.values().eq(&parts) {
            Ok(certificate)
        } else {
            Err(Rejection::InvalidCertificate(
                "the parts are not in canonical form",
            ))
        }
    }

    fn read(bytes: &[u8]) -> Result<([u8; 32], Vec<Vec<u8>>), DecodeError> {
        let mut reader = Reader::new(bytes);
        read_version(&mut reader)?;
        let transcript = reader.array("transcript")?;
        let count = reader.u16("parts")?;
        if count > MAX_PARTIES {
            return Err(DecodeError::new("parts", Problem::Length));
        }
        let read = |_| reader.var("part", MAX_ENVELOPE).map(<[u8]>::to_vec);
        let parts = (0..count).map(read).collect::<Result<_, _>>()?;
        reader.finish("certificate")?;
        Ok((transcript, parts))
    }
}

/// Two members that do not name the same setup for their pair.
pub(crate) fn disagreeing_pair(
    roster: &Roster,
    holdings: &BTreeMap<NodeId, Holding>,
) -> Option<(NodeId, NodeId)> {
    for (one, holding) in holdings {
        for (other, reverse) in holdings {
            if one < other && holding.pair(roster, one, other) != reverse.pair(roster, other, one) {
                return Some((*one, *other));
            }
        }
    }
    None
}

/// The transcript and the signature in a signed round-3 message.
fn signed_certificate(
    roster: &Roster,
    envelope: &Envelope,
) -> Result<([u8; 32], Holding), Rejection> {
    let header = envelope.header();
    if (header.kind, header.round, header.to) != (Kind::DkgRound3, 3, Recipient::Everyone) {
        return Err(Rejection::Unexpected { kind: header.kind });
    }
    let Message {
        verdict: Verdict::Certificate(certificate),
        ..
    } = decode_any(roster, envelope.body()).map_err(Rejection::Malformed)?
    else {
        return Err(Rejection::InvalidCertificate("a part is a complaint"));
    };
    let outcome = Outcome {
        form: "dkg",
        transcript: certificate.transcript,
        epoch: Epoch(0),
        attempt: Attempt(0),
    };
    match certificate.holding {
        Some(holding) if holding.verify(&outcome, roster, &header.from) => {
            Ok((certificate.transcript, holding))
        }
        _ => Err(Rejection::BadSignature),
    }
}

/// A round-3 message of a key with or without pair setups: which it is, its length says.
fn decode_any(roster: &Roster, body: &[u8]) -> Result<Message, DecodeError> {
    let with_pairs = Form::of_new_key(roster.len().saturating_sub(1));
    Message::decode(Form::of_new_key(0), body).or_else(|_| Message::decode(with_pairs, body))
}

fn read_version(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    match reader.u8("version")? {
        VERSION => Ok(()),
        _ => Err(DecodeError::new("version", Problem::Unknown)),
    }
}

/// A stored share that is not certified yet. Secret; wiped when dropped.
pub struct Pending {
    roster: Roster,
    transcript: [u8; 32],
    part: Vec<u8>,
    share: KeyShare,
    pairs: Vec<PairRecord>,
}

impl Pending {
    /// Encodes what has to be durable before `part`, this node's signed round-3 message, may leave.
    pub(super) fn encode<'a>(
        roster: &Roster,
        transcript: &[u8; 32],
        part: &[u8],
        share: &KeyShare,
        pairs: impl Iterator<Item = &'a PairRecord>,
    ) -> Zeroizing<Vec<u8>> {
        let pairs: Vec<_> = pairs.map(PairRecord::dangerous_to_bytes).collect();
        let share = share.dangerous_to_bytes();
        // Reserved in full, so that growing leaves no copy of the secret behind.
        let capacity = 128_usize.saturating_add(roster.len().saturating_mul(66));
        let mut out = Writer::with_capacity(
            capacity
                .saturating_add(part.len())
                .saturating_add(share.len())
                .saturating_add(pairs.len().saturating_mul(RECORD_BYTES)),
        );
        out.u8(VERSION).bytes(transcript);
        roster.write(&mut out);
        out.var(part).var(&share);
        out.u16(u16::try_from(pairs.len()).unwrap_or(u16::MAX));
        for pair in &pairs {
            out.bytes(pair);
        }
        Zeroizing::new(out.finish())
    }

    /// Decodes the bytes of a [`crate::session::WriteKind::Share`] write.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn dangerous_from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        read_version(&mut reader)?;
        let transcript = reader.array("transcript")?;
        let roster = Roster::read(&mut reader)?;
        let part = reader.var("part", MAX_ENVELOPE)?.to_vec();
        let share = KeyShare::dangerous_from_bytes(reader.var("share", MAX_SHARE)?)?;
        let count = reader.u16("pairs")?;
        let pairs = (0..count)
            .map(|_| PairRecord::dangerous_from_bytes(reader.bytes("pair", RECORD_BYTES)?))
            .collect::<Result<Vec<_>, _>>()?;
        reader.finish("pending")?;
        // The certificate that releases the share proves nothing about a share of another key.
        let public = share.public();
        if public.key_id() != round3::key_id(&transcript)
            || !roster
                .by_index()
                .eq(public.nodes().iter().map(|(index, node)| (*index, *node)))
        {
            return Err(DecodeError::new("share", Problem::Unknown));
        }
        Ok(Self {
            roster,
            transcript,
            part,
            share,
            pairs,
        })
    }

    /// The pair setups that were made together with the key: prepared, and active with the certificate.
    #[must_use]
    pub fn pairs(&self) -> &[PairRecord] {
        &self.pairs
    }

    /// The key that waits. It must not be shown as usable before [`Self::finish`].
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        round3::key_id(&self.transcript)
    }

    /// The parties of the key.
    #[must_use]
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// This node's own part of the certificate, to be sent again to whoever misses it.
    #[must_use]
    pub fn own_part(&self) -> &[u8] {
        &self.part
    }

    /// Finishes with the parts of all parties, whoever delivered them. This node's own part may be left out.
    ///
    /// # Errors
    /// A [`Rejection`] when the parts are not the certificate of this share; the stored bytes stay valid.
    pub fn finish<T: AsRef<[u8]>>(
        self,
        parts: impl IntoIterator<Item = T>,
    ) -> Result<DkgOutput, Error> {
        let mut all: Vec<Vec<u8>> = parts
            .into_iter()
            .map(|part| part.as_ref().to_vec())
            .collect();
        all.push(self.part);
        let certificate = DkgCertificate::from_parts(&self.roster, &all)?;
        if certificate.transcript == self.transcript {
            Ok(DkgOutput {
                share: self.share,
                certificate,
                pairs: self.pairs,
            })
        } else {
            Err(Rejection::InvalidCertificate("the certificate is for another key").into())
        }
    }
}

impl ZeroizeOnDrop for Pending {}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("key_id", &self.key_id())
            .finish_non_exhaustive()
    }
}
