//! Every field of every message changed by its author: who notices, who is named, which setup is poisoned. And what a relay or a
//! third party can do: nothing.

use std::collections::{BTreeMap, BTreeSet};

use mpc_core::ecdsa::{self, Payload, PoolEntry, SigningRequest};
use mpc_core::envelope::{Envelope, Kind, Recipient};
use mpc_core::group::{Point, Scalar, Secp256k1};
use mpc_core::hd::DerivationPath;
use mpc_core::id::{NodeId, Purpose};
use mpc_core::testing::{Letter, Signers, rng};
use mpc_core::{Abort, Error, Fault, Strength, evidence};

use crate::signing::verify;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Bytes,
    Scalar,
    Point,
}

/// A field of a body: its name, where it is, what it holds.
#[derive(Clone, Copy, Debug)]
struct Field {
    name: &'static str,
    start: usize,
    len: usize,
    holds: Holds,
}

/// The fields of a body for so many signers, as the catalogue of messages has them.
fn fields(kind: Kind, signers: usize) -> Vec<Field> {
    use Holds::{Bytes, Point, Scalar};
    type Part = (&'static str, usize, Holds);
    let three = signers > 2;
    let (head, list): (&[Part], &[Part]) = match kind {
        Kind::EcdsaCommit if three => (
            &[("n", 32, Bytes), ("com", 32, Bytes)],
            &[("cz", 32, Bytes)],
        ),
        Kind::EcdsaCommit => (&[("n", 32, Bytes), ("com", 32, Bytes)], &[]),
        Kind::EcdsaExtend => {
            let parts: &[Part] = &[
                ("pid", 32, Bytes),
                ("U", 14_336, Bytes),
                ("xt", 16, Bytes),
                ("hV", 32, Bytes),
                ("a", 32, Scalar),
            ];
            (&parts[..if three { 5 } else { 4 }], &[])
        }
        Kind::EcdsaMultiply => (
            &[
                ("echo", 32, Bytes),
                ("Q", 73_728, Scalar),
                ("hu", 32, Bytes),
                ("v", 32, Scalar),
            ],
            &[],
        ),
        Kind::EcdsaOpen => {
            let list: &[Part] = &[
                ("gk", 32, Scalar),
                ("gx", 32, Scalar),
                ("Gk", 33, Point),
                ("Gx", 33, Point),
                ("psi", 32, Scalar),
                ("Z", 33, Point),
            ];
            (
                &[
                    ("hreq", 32, Bytes),
                    ("echo", 32, Bytes),
                    ("R", 33, Point),
                    ("rho", 32, Bytes),
                ],
                &list[..if three { 6 } else { 4 }],
            )
        }
        Kind::EcdsaRespond => (
            &[
                ("u", 32, Scalar),
                ("w", 32, Scalar),
                ("echo", 32, Bytes),
                ("R", 33, Point),
            ],
            &[],
        ),
        kind => panic!("{kind} is no message of a signature"),
    };
    let lists = (1..signers).flat_map(|_| list);
    let mut start = 0;
    head.iter()
        .chain(lists)
        .map(|(name, len, holds)| {
            let field = Field {
                name,
                start,
                len: *len,
                holds: *holds,
            };
            start += len;
            field
        })
        .collect()
}

/// How a field is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// To another valid value.
    Other,
    /// To a value that does not decode.
    Invalid,
    /// The body is one byte shorter.
    Shorter,
    /// The body is one byte longer.
    Longer,
}

fn apply(body: &mut Vec<u8>, field: &Field, change: Change) {
    let range = field.start..field.start + field.len;
    match (change, field.holds) {
        (Change::Shorter, _) => {
            body.pop();
        }
        (Change::Longer, _) => body.push(0),
        (Change::Invalid, Holds::Scalar) => body[field.start..field.start + 32].fill(0xFF),
        (Change::Invalid, Holds::Point) => body[range].fill(0),
        (_, Holds::Bytes) => body[field.start] ^= 1,
        (Change::Other, Holds::Scalar) => {
            let range = field.start..field.start + 32;
            let old = Scalar::<Secp256k1>::decode("old", &body[range.clone()]).unwrap();
            body[range].copy_from_slice(&(old + Scalar::one()).encode());
        }
        (Change::Other, Holds::Point) => {
            let old = Point::<Secp256k1>::decode("old", &body[range.clone()]).unwrap();
            body[range].copy_from_slice((old + Point::generator()).encode().as_slice());
        }
    }
}

/// A committee, one of whose signers cheats: the first one by name.
struct Stage {
    signers: Signers,
    set: BTreeSet<NodeId>,
    cheater: NodeId,
    request: SigningRequest,
}

impl Stage {
    fn new(threshold: u16) -> Self {
        let signers = Signers::deal(Purpose::Ecdsa, threshold, threshold + 1, 70);
        let set = signers.set(&(1..=threshold).collect::<Vec<_>>());
        let path = DerivationPath::new([5]).unwrap();
        let request = signers.request(&set, &path, &Payload::Sha256(b"matrix"));
        let cheater = *set.first().unwrap();
        Self {
            signers,
            set,
            cheater,
            request,
        }
    }

    fn honest(&self) -> impl Iterator<Item = NodeId> {
        self.set
            .iter()
            .copied()
            .filter(|node| *node != self.cheater)
    }

    /// The cheater signs a changed body.
    fn change(&self, bytes: &[u8], field: &Field, change: Change) -> Vec<u8> {
        let committee = &self.signers.committee;
        committee.reseal(bytes, |_, body| apply(body, field, change))
    }

    fn kind(&self, bytes: &[u8]) -> Kind {
        let envelope = Envelope::open(&self.signers.committee.roster, bytes).unwrap();
        envelope.header().kind
    }

    /// Runs preprocessing in which the cheater changes a field for `audience`; what honest nodes end with.
    fn preprocess(
        &self,
        kind: Kind,
        field: &Field,
        change: Change,
        audience: &BTreeSet<NodeId>,
    ) -> BTreeMap<NodeId, Option<Result<PoolEntry, Error>>> {
        let results = self.signers.preprocess_with(&self.set, 1, |mut letter| {
            if letter.from == self.cheater
                && self.kind(&letter.bytes) == kind
                && audience.contains(&letter.to)
            {
                letter.bytes = self.change(&letter.bytes, field, change);
            }
            vec![letter]
        });
        results
            .into_iter()
            .filter(|(node, _)| *node != self.cheater)
            .collect()
    }

    /// Runs the online rounds in which the cheater changes a field of its opening or response for everybody else; what honest nodes
    /// and the one who combines end with.
    fn sign(&self, kind: Kind, field: &Field, change: Change) -> Vec<Result<(), Error>> {
        let entries = self.signers.preprocess(&self.set, 1);
        let name = entries.values().next().unwrap().name();
        let roster = &self.signers.committee.roster;
        let (mut states, mut openings) = (BTreeMap::new(), BTreeMap::new());
        for (number, (node, entry)) in (0_u64..).zip(entries) {
            let (state, opening) = self
                .signers
                .open(&node, entry, &self.request, &mut rng(number))
                .unwrap();
            states.insert(node, state);
            openings.insert(node, opening);
        }
        let original: Vec<_> = openings.values().cloned().collect();
        if kind == Kind::EcdsaOpen {
            let opening = openings.get_mut(&self.cheater).unwrap();
            *opening = self.change(opening, field, change);
        }
        let shown: Vec<_> = openings.values().cloned().collect();
        let (mut outcomes, mut responses) = (Vec::new(), Vec::new());
        for (node, state) in states {
            let identity = self.signers.committee.identity_of(&node);
            let cheats = node == self.cheater;
            match state.respond(roster, identity, if cheats { &original } else { &shown }) {
                Ok(response) if cheats && kind == Kind::EcdsaRespond => {
                    responses.push(self.change(&response, field, change));
                }
                Ok(response) => responses.push(response),
                Err(error) => outcomes.push(Err(error)),
            }
        }
        if outcomes.is_empty() {
            let combined = ecdsa::combine(roster, &self.request, &name, &shown, &responses);
            outcomes.push(combined.map(drop));
        }
        outcomes
    }

    /// No honest node is accused, no setup between honest nodes is poisoned, and what is called proven is.
    fn check_justice(&self, error: &Error) {
        assert!(
            error
                .culprits()
                .iter()
                .all(|culprit| *culprit == self.cheater),
            "{error:?}"
        );
        let Error::Aborted(abort) = error else {
            panic!("every change ends a session: {error:?}")
        };
        assert!(abort.poisons().is_none_or(|peer| peer == self.cheater));
        for (culprit, strength) in &abort.culprits {
            if *strength == Strength::Transferable {
                let bytes = abort.evidence.as_ref().unwrap().encode();
                let (convicted, _) =
                    evidence::verify(&self.signers.committee.roster, &bytes).unwrap();
                assert_eq!(convicted, *culprit);
            }
        }
    }
}

/// What must come of a change at those who see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Named to this node only, the setup with it poisoned.
    Poisoned,
    /// Named, with evidence.
    Proven,
    /// Named to this node only.
    Named,
    /// Nobody is named.
    Nobody,
}

fn outcome(abort: &Abort) -> Outcome {
    match (abort.poisons(), abort.culprits.first()) {
        (Some(_), Some((_, Strength::Local))) => Outcome::Poisoned,
        (None, Some((_, Strength::Transferable))) => Outcome::Proven,
        (None, Some((_, Strength::Local))) => Outcome::Named,
        (None, None) => Outcome::Nobody,
        other => panic!("no such outcome: {other:?}"),
    }
}

fn fault(error: &Error) -> (&Fault, Outcome) {
    match error {
        Error::Aborted(abort) => (&abort.fault, outcome(abort)),
        error => panic!("not an abort: {error:?}"),
    }
}

/// What the catalogue of attacks expects of a changed field.
fn expected(kind: Kind, field: &Field, change: Change) -> Outcome {
    use Outcome::{Named, Nobody, Poisoned, Proven};
    if matches!(change, Change::Shorter | Change::Longer) {
        return Proven;
    }
    match (kind, field.name, change) {
        // A commitment that no point opens is as wrong as one that another point opens.
        (Kind::EcdsaOpen, "R" | "Z" | "rho", _) => Proven,
        (Kind::EcdsaRespond, "R", _) => Named,
        (_, _, Change::Invalid) if field.holds != Holds::Bytes => Proven,
        (Kind::EcdsaCommit, "n", _) => Poisoned,
        (Kind::EcdsaCommit, "cz", _) | (Kind::EcdsaExtend, "a", _) => Proven,
        (Kind::EcdsaExtend, "U" | "xt" | "hV", _) => Poisoned,
        (Kind::EcdsaMultiply, "Q" | "hu" | "v", _) => Poisoned,
        (Kind::EcdsaOpen, "gk" | "gx" | "Gk" | "Gx", _) => Poisoned,
        (Kind::EcdsaCommit, "com", _)
        | (Kind::EcdsaExtend, "pid", _)
        | (_, "echo" | "hreq" | "psi" | "u" | "w", _) => Nobody,
        other => panic!("no expectation for {other:?}"),
    }
}

const CHANGES: [Change; 4] = [
    Change::Other,
    Change::Invalid,
    Change::Shorter,
    Change::Longer,
];

fn changes(field: &Field) -> impl Iterator<Item = Change> {
    // Lengths are of the whole body: once is enough.
    let first = field.start == 0;
    CHANGES.into_iter().filter(move |change| match change {
        Change::Other => true,
        Change::Invalid => field.holds != Holds::Bytes,
        Change::Shorter | Change::Longer => first,
    })
}

#[test]
fn a17_a27_a28_a42_every_field_of_preprocessing_is_checked_and_only_its_author_named() {
    let mut tried = 0;
    for threshold in [2, 3] {
        let stage = Stage::new(threshold);
        let audience: BTreeSet<_> = stage.honest().collect();
        for kind in [Kind::EcdsaCommit, Kind::EcdsaExtend, Kind::EcdsaMultiply] {
            for field in fields(kind, stage.set.len()) {
                for change in changes(&field) {
                    tried += 1;
                    let what = format!("{threshold} signers, {kind}, {field:?}, {change:?}");
                    let results = stage.preprocess(kind, &field, change, &audience);
                    let errors: Vec<_> = results
                        .values()
                        .filter_map(|result| result.as_ref()?.as_ref().err())
                        .collect();
                    assert!(!errors.is_empty(), "nobody noticed: {what}");
                    assert!(
                        results
                            .values()
                            .all(|result| !matches!(result, Some(Ok(_)))),
                        "an entry came of it: {what}"
                    );
                    let mut worst = Outcome::Nobody;
                    for error in errors {
                        stage.check_justice(error);
                        let (_, outcome) = fault(error);
                        if outcome != Outcome::Nobody {
                            worst = outcome;
                        }
                    }
                    assert_eq!(worst, expected(kind, &field, change), "{what}");
                }
            }
        }
    }
    assert_eq!(tried, 18 + 22, "all fields in all ways");
}

#[test]
fn a27_a35_a42_every_field_of_the_online_rounds_is_checked_and_only_its_author_named() {
    let mut tried = 0;
    for threshold in [2, 3] {
        let stage = Stage::new(threshold);
        for kind in [Kind::EcdsaOpen, Kind::EcdsaRespond] {
            for field in fields(kind, stage.set.len()) {
                for change in changes(&field) {
                    tried += 1;
                    let what = format!("{threshold} signers, {kind}, {field:?}, {change:?}");
                    let outcomes = stage.sign(kind, &field, change);
                    let mut worst = Outcome::Nobody;
                    for result in &outcomes {
                        let error = result.as_ref().expect_err(&what);
                        stage.check_justice(error);
                        let (_, outcome) = fault(error);
                        if outcome != Outcome::Nobody {
                            worst = outcome;
                        }
                    }
                    assert_eq!(worst, expected(kind, &field, change), "{what}");
                }
            }
        }
    }
    assert!(tried > 50, "all fields in all ways, {tried}");
}

#[test]
fn a10_a19_a_change_that_one_signer_sees_never_sets_honest_signers_against_each_other() {
    let stage = Stage::new(3);
    for victim in stage.honest() {
        for kind in [Kind::EcdsaCommit, Kind::EcdsaExtend, Kind::EcdsaMultiply] {
            for field in fields(kind, stage.set.len()) {
                let audience = BTreeSet::from([victim]);
                let results = stage.preprocess(kind, &field, Change::Other, &audience);
                for result in results.values().flatten() {
                    if let Err(error) = result {
                        stage.check_justice(error);
                    }
                }
                assert!(
                    !results.values().all(|result| matches!(result, Some(Ok(_)))),
                    "{field:?}"
                );
            }
        }
    }
}

#[test]
fn a10_two_signed_commitments_convict_their_author() {
    let stage = Stage::new(3);
    let victim = stage.honest().last().unwrap();
    let field = fields(Kind::EcdsaCommit, 3)[0];
    let results = stage.signers.preprocess_with(&stage.set, 1, |letter| {
        if letter.from == stage.cheater
            && letter.to == victim
            && stage.kind(&letter.bytes) == Kind::EcdsaCommit
        {
            let bytes = stage.change(&letter.bytes, &field, Change::Other);
            return vec![letter.clone(), Letter { bytes, ..letter }];
        }
        vec![letter]
    });
    let Some(Err(error)) = &results[&victim] else {
        panic!("two commitments were taken")
    };
    stage.check_justice(error);
    let message = Kind::EcdsaCommit;
    assert_eq!(
        fault(error),
        (&Fault::Equivocated { message }, Outcome::Proven)
    );
}

#[test]
fn a19_two_private_messages_are_no_evidence_and_the_first_counts() {
    let stage = Stage::new(2);
    for kind in [Kind::EcdsaExtend, Kind::EcdsaMultiply] {
        let field = fields(kind, 2)[1];
        let results = stage.signers.preprocess_with(&stage.set, 1, |letter| {
            if letter.from == stage.cheater && stage.kind(&letter.bytes) == kind {
                let bytes = stage.change(&letter.bytes, &field, Change::Other);
                return vec![letter.clone(), Letter { bytes, ..letter }];
            }
            vec![letter]
        });
        assert!(
            results.values().all(|result| matches!(result, Some(Ok(_)))),
            "{kind}"
        );
    }
}

#[test]
fn a19_a_relay_that_changes_repeats_or_misdirects_poisons_nobody() {
    for threshold in [2, 3] {
        let stage = Stage::new(threshold);
        let nodes: Vec<_> = stage.set.iter().copied().collect();
        let mut number = 0_usize;
        let results = stage.signers.preprocess_with(&stage.set, 1, |letter| {
            number += 1;
            let mut letters = Vec::new();
            // A changed byte anywhere, a cut, a longer one, another sender's name, another receiver, then twice the original.
            for place in [
                0,
                letter.bytes.len() / 2,
                letter.bytes.len() - 1,
                number % letter.bytes.len(),
            ] {
                let mut changed = letter.clone();
                changed.bytes[place] ^= 0x40;
                letters.push(changed);
            }
            for bytes in [
                letter.bytes[..letter.bytes.len() - 1].to_vec(),
                [&letter.bytes[..], &[0]].concat(),
                Vec::new(),
            ] {
                letters.push(Letter {
                    bytes,
                    ..letter.clone()
                });
            }
            for node in &nodes {
                letters.push(Letter {
                    from: *node,
                    ..letter.clone()
                });
                let kind = stage.kind(&letter.bytes);
                if kind != Kind::EcdsaCommit && *node != letter.to {
                    letters.push(Letter {
                        to: *node,
                        ..letter.clone()
                    });
                }
            }
            letters.extend([letter.clone(), letter]);
            letters
        });
        let entries: BTreeMap<_, _> = results
            .into_iter()
            .map(|(node, result)| (node, result.expect("an end").expect("an entry")))
            .collect();
        verify(&stage.request, &stage.signers.sign(entries, &stage.request));
    }
}

#[test]
fn a38_order_of_arrival_does_not_matter() {
    let stage = Stage::new(3);
    let total = 3 * 2 * 3;
    let mut late = 0;
    for held in 0..total - 1 {
        let (mut number, mut waiting) = (0, None);
        let results = stage.signers.preprocess_with(&stage.set, 1, |letter| {
            number += 1;
            if number == held + 1 {
                waiting = Some(letter);
                return Vec::new();
            }
            // Two letters later, so that a message of the second round can come first.
            if number > held + 3 || number == total {
                let late = waiting.take();
                return late.into_iter().chain([letter]).rev().collect();
            }
            vec![letter]
        });
        let ended = results
            .values()
            .filter(|result| matches!(result, Some(Ok(_))))
            .count();
        if waiting.is_none() {
            assert_eq!(ended, 3, "letter {held} was late");
            late += 1;
        }
    }
    assert!(late > 10, "{late} letters were late");
}

#[test]
fn a40_records_of_another_generation_are_stale_not_poison() {
    // Two nodes that hold different records: one of them was restored from an old backup.
    let stage = Stage::new(2);
    let other = Signers::deal(Purpose::Ecdsa, 2, 3, 71);
    let pid = fields(Kind::EcdsaExtend, 2)[0];
    let [one, two] = [1, 2].map(|index| other.committee.node(index));
    let stale = other.pair(&one, &two).name();
    let results = stage.signers.preprocess_with(&stage.set, 1, |mut letter| {
        if stage.kind(&letter.bytes) == Kind::EcdsaExtend {
            let committee = &stage.signers.committee;
            letter.bytes = committee.reseal(&letter.bytes, |_, body| {
                body[pid.start..pid.start + pid.len].copy_from_slice(stale.as_bytes());
            });
        }
        vec![letter]
    });
    for (node, result) in results {
        let peer = *stage.set.iter().find(|other| **other != node).unwrap();
        let Some(Err(error)) = result else {
            panic!("a stale setup was used")
        };
        assert_eq!(fault(&error), (&Fault::StalePair { peer }, Outcome::Nobody));
    }
}

#[test]
fn a32_a40_a41_signers_of_different_requests_part_without_consequences() {
    for threshold in [2, 3] {
        let stage = Stage::new(threshold);
        let path = DerivationPath::new([5]).unwrap();
        let mut sharing = stage.signers.public.encode();
        let other_message = stage
            .signers
            .request(&stage.set, &path, &Payload::Sha256(b"other"));
        let other_hash = stage
            .signers
            .request(&stage.set, &path, &Payload::Keccak256(b"matrix"));
        let root = DerivationPath::new([]).unwrap();
        let other_path = stage
            .signers
            .request(&stage.set, &root, &Payload::Sha256(b"matrix"));
        // Another sharing of the same key: the same shares, under another name.
        let old = [0x5A; 32];
        let place = sharing
            .windows(32)
            .position(|window| window == old)
            .unwrap();
        sharing[place] ^= 1;
        let other = mpc_core::keys::PublicKeyPackage::decode(&sharing).unwrap();
        let id = mpc_core::id::RequestId::from_bytes([3; 32]);
        let payload = Payload::Sha256(b"matrix");
        let other_sharing = SigningRequest::new(&other, &stage.set, &path, &payload, id).unwrap();
        for request in [other_message, other_hash, other_path, other_sharing] {
            assert_ne!(request.name(), stage.request.name());
            let entries = stage.signers.preprocess(&stage.set, 1);
            let roster = &stage.signers.committee.roster;
            let (mut states, mut openings) = (Vec::new(), Vec::new());
            for (node, entry) in entries {
                let request = if node == stage.cheater {
                    &request
                } else {
                    &stage.request
                };
                let opened = stage.signers.open(&node, entry, request, &mut rng(1));
                let (state, opening) = opened.unwrap();
                states.push((node, state));
                openings.push(opening);
            }
            for (node, state) in states {
                let identity = stage.signers.committee.identity_of(&node);
                let error = state.respond(roster, identity, &openings).unwrap_err();
                let (fault, outcome) = fault(&error);
                assert!(matches!(fault, Fault::RequestMismatch { .. }), "{fault:?}");
                assert_eq!(outcome, Outcome::Nobody);
            }
        }
    }
}

#[test]
fn a35_inconsistent_masks_give_no_signature_and_name_nobody() {
    // The one value of an opening that nothing checks before the end: a signer that lies about it consistently.
    let stage = Stage::new(3);
    let psi = fields(Kind::EcdsaOpen, 3)
        .into_iter()
        .find(|field| field.name == "psi")
        .unwrap();
    let echo = fields(Kind::EcdsaRespond, 3)
        .into_iter()
        .find(|field| field.name == "echo")
        .unwrap();
    let roster = &stage.signers.committee.roster;
    let entries = stage.signers.preprocess(&stage.set, 1);
    let name = entries.values().next().unwrap().name();
    let (mut states, mut openings) = (BTreeMap::new(), BTreeMap::new());
    for (node, entry) in entries {
        let (state, opening) = stage
            .signers
            .open(&node, entry, &stage.request, &mut rng(1))
            .unwrap();
        states.insert(node, state);
        openings.insert(node, opening);
    }
    let original: Vec<_> = openings.values().cloned().collect();
    let changed = stage.change(&openings[&stage.cheater], &psi, Change::Other);
    openings.insert(stage.cheater, changed);
    let shown: Vec<_> = openings.values().cloned().collect();
    let mut responses = BTreeMap::new();
    for (node, state) in states {
        let identity = stage.signers.committee.identity_of(&node);
        let view = if node == stage.cheater {
            &original
        } else {
            &shown
        };
        responses.insert(node, state.respond(roster, identity, view).unwrap());
    }
    // The cheater vouches for what it has sent.
    let honest = stage.honest().next().unwrap();
    let theirs = Envelope::open(roster, &responses[&honest]).unwrap();
    let range = echo.start..echo.start + echo.len;
    let echoed = theirs.body()[range.clone()].to_vec();
    let response = responses.get_mut(&stage.cheater).unwrap();
    *response = stage.signers.committee.reseal(response, |_, body| {
        body[range].copy_from_slice(&echoed);
    });
    let responses: Vec<_> = responses.into_values().collect();
    let error = ecdsa::combine(roster, &stage.request, &name, &shown, &responses).unwrap_err();
    assert_eq!(fault(&error), (&Fault::InvalidSignature, Outcome::Nobody));
}

#[test]
fn a36_responses_of_two_signatures_do_not_mix() {
    let stage = Stage::new(2);
    let roster = &stage.signers.committee.roster;
    let mut runs = Vec::new();
    for seed in [1, 2] {
        let entries = stage.signers.preprocess(&stage.set, seed);
        let name = entries.values().next().unwrap().name();
        let (mut states, mut openings) = (Vec::new(), Vec::new());
        for (node, entry) in entries {
            let (state, opening) = stage
                .signers
                .open(&node, entry, &stage.request, &mut rng(1))
                .unwrap();
            states.push((node, state));
            openings.push(opening);
        }
        let mut responses = Vec::new();
        for (node, state) in states {
            let identity = stage.signers.committee.identity_of(&node);
            responses.push(state.respond(roster, identity, &openings).unwrap());
        }
        runs.push((name, openings, responses));
    }
    let [
        (name, openings, responses),
        (_, other_openings, other_responses),
    ] = &runs[..]
    else {
        panic!("two runs")
    };
    let combine = |openings: &[Vec<u8>], responses: &[Vec<u8>]| {
        ecdsa::combine(roster, &stage.request, name, openings, responses)
    };
    assert!(combine(openings, responses).is_ok());
    for (openings, responses) in [
        (openings, other_responses),
        (other_openings, responses),
        (
            openings,
            &vec![responses[0].clone(), other_responses[1].clone()],
        ),
    ] {
        let error = combine(openings, responses).unwrap_err();
        assert!(matches!(fault(&error).0, Fault::RequestMismatch { .. }));
    }
    // Too few, twice the same, and a message of another kind.
    for responses in [
        vec![responses[0].clone()],
        vec![responses[0].clone(), responses[0].clone()],
        openings.clone(),
    ] {
        let error = combine(openings, &responses).unwrap_err();
        assert!(
            matches!(error, Error::Misuse(_) | Error::Rejected(_)),
            "{error:?}"
        );
    }
}

#[test]
fn every_body_has_the_length_of_the_catalogue() {
    for threshold in [2, 3, 4] {
        let stage = Stage::new(threshold);
        let len = |kind| {
            let fields = fields(kind, stage.set.len());
            fields.iter().map(|field| field.len).sum::<usize>()
        };
        let roster = &stage.signers.committee.roster;
        let check = |bytes: &[u8]| {
            let envelope = Envelope::open(roster, bytes).unwrap();
            assert_eq!(envelope.body().len(), len(envelope.header().kind));
            let broadcast = envelope.header().to == Recipient::Everyone;
            let private = matches!(
                envelope.header().kind,
                Kind::EcdsaExtend | Kind::EcdsaMultiply
            );
            assert!(broadcast != private);
        };
        let results = stage.signers.preprocess_with(&stage.set, 1, |letter| {
            check(&letter.bytes);
            vec![letter]
        });
        let entries = results
            .into_iter()
            .map(|(node, result)| (node, result.unwrap().unwrap()));
        let each = |_: &NodeId, messages: Vec<Vec<u8>>| {
            messages.iter().for_each(|bytes| check(bytes));
            messages
        };
        let last = |messages: Vec<Vec<u8>>| {
            messages.iter().for_each(|bytes| check(bytes));
            messages
        };
        stage
            .signers
            .sign_with(entries.collect(), &stage.request, each, last)
            .unwrap();
    }
}
