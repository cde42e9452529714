//! The blame round: whoever spoils a signature that passes every other check is named, with evidence; nobody else ever is.

use std::collections::{BTreeMap, BTreeSet};

use mpc_core::ecdsa::blame::{Verdict, blame};
use mpc_core::ecdsa::{self, Payload, Responded, SigningRequest};
use mpc_core::envelope::{Envelope, Header};
use mpc_core::evidence::{self, EvidenceError};
use mpc_core::group::{Scalar, Secp256k1};
use mpc_core::hd::DerivationPath;
use mpc_core::id::{NodeId, Purpose, SessionId};
use mpc_core::testing::{Signers, rng};
use mpc_core::{Error, Fault, Misuse, Strength};

/// The signed messages of one signing session, and who can still explain itself.
struct Run {
    signers: Signers,
    set: BTreeSet<NodeId>,
    request: SigningRequest,
    entry: SessionId,
    openings: Vec<Vec<u8>>,
    responses: Vec<Vec<u8>>,
    states: BTreeMap<NodeId, Responded>,
}

/// The same message with another body, signed by its author.
fn rewrite(signers: &Signers, bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let envelope = Envelope::open(&signers.committee.roster, bytes).unwrap();
    let header: Header = *envelope.header();
    let mut body = envelope.body().to_vec();
    change(&mut body);
    let identity = signers.committee.identity_of(&header.from);
    Envelope::seal(identity, &header, &body)
}

/// Adds one to the scalar at an offset.
fn bump(body: &mut [u8], at: usize) {
    let scalar = Scalar::<Secp256k1>::decode("scalar", &body[at..at + 32]).unwrap();
    body[at..at + 32].copy_from_slice(&(scalar + Scalar::one()).encode());
}

impl Run {
    /// A session of the first `threshold` nodes with a child key; openings and responses may be changed by their authors.
    fn new(
        threshold: u16,
        path: &[u32],
        opening: impl Fn(&Signers, usize, Vec<u8>) -> Vec<u8>,
        response: impl Fn(&Signers, usize, Vec<u8>) -> Vec<u8>,
    ) -> Self {
        let signers = Signers::deal(Purpose::Ecdsa, threshold, threshold, 7);
        let set = signers.set(&(1..=threshold).collect::<Vec<_>>());
        let path = DerivationPath::new(path.to_vec()).unwrap();
        let request = signers.request(&set, &path, &Payload::DoubleSha256(b"message"));
        let entries = signers.preprocess(&set, 5);
        let entry = entries.values().next().unwrap().name();
        let mut opened = BTreeMap::new();
        let mut openings = Vec::new();
        for (number, (node, pool_entry)) in entries.into_iter().enumerate() {
            let mut source = rng(number as u64);
            let (state, bytes) = signers
                .open(&node, pool_entry, &request, &mut source)
                .unwrap();
            opened.insert(node, state);
            openings.push(bytes);
        }
        // A liar keeps its own, and shows the others something else.
        let shown: Vec<_> = openings
            .iter()
            .enumerate()
            .map(|(number, bytes)| opening(&signers, number, bytes.clone()))
            .collect();
        let roster = &signers.committee.roster;
        let mut responses = Vec::new();
        let mut states = BTreeMap::new();
        for (number, (node, state)) in opened.into_iter().enumerate() {
            let identity = signers.committee.identity_of(&node);
            let mut given = shown.clone();
            given[number] = openings[number].clone();
            let (bytes, state) = state.respond_accountably(roster, identity, &given).unwrap();
            states.insert(node, state);
            responses.push(bytes);
        }
        let honest = (0..openings.len()).find(|number| shown[*number] == openings[*number]);
        let honest = Envelope::open(roster, &responses[honest.unwrap()]).unwrap();
        for (number, bytes) in responses.iter_mut().enumerate() {
            // A liar vouches for what the others have seen.
            if shown[number] != openings[number] {
                *bytes = rewrite(&signers, bytes, |body| {
                    body[64..96].copy_from_slice(&honest.body()[64..96]);
                });
            }
            *bytes = response(&signers, number, bytes.clone());
        }
        Self {
            set,
            request,
            entry,
            openings: shown,
            responses,
            states,
            signers,
        }
    }

    fn node(&self, number: usize) -> NodeId {
        *self.set.iter().nth(number).unwrap()
    }

    fn combine(&self) -> Result<(), Error> {
        let roster = &self.signers.committee.roster;
        ecdsa::combine(
            roster,
            &self.request,
            &self.entry,
            &self.openings,
            &self.responses,
        )
        .map(|_| ())
    }

    /// Everybody's explanation by the rules; a liar's too.
    fn explain(&mut self) -> Vec<Vec<u8>> {
        let states = std::mem::take(&mut self.states);
        let roster = &self.signers.committee.roster;
        let explain = |(node, state): (NodeId, Responded)| {
            let identity = self.signers.committee.identity_of(&node);
            let (openings, responses) = (&self.openings, &self.responses);
            state.explain_unchecked(roster, identity, openings, responses, &mut rng(9))
        };
        states
            .into_iter()
            .map(explain)
            .map(Result::unwrap)
            .collect()
    }

    fn blame(&self, explanations: &[Vec<u8>]) -> Result<Verdict, Error> {
        blame(
            &self.signers.committee.roster,
            &self.request,
            &self.entry,
            &self.openings,
            &self.responses,
            explanations,
        )
    }

    /// Exactly this node is named, for this, and a stranger with the roster agrees.
    fn convicted(&self, verdict: &Verdict, node: NodeId, fault: &Fault) {
        let [abort] = &verdict.guilty[..] else {
            panic!("{} are guilty", verdict.guilty.len())
        };
        assert_eq!(&abort.fault, fault);
        assert_eq!(abort.culprits, [(node, Strength::Transferable)]);
        assert_eq!(abort.poisons(), None);
        let bytes = abort.evidence.as_ref().unwrap().encode();
        let judged = evidence::verify(&self.signers.committee.roster, &bytes).unwrap();
        assert_eq!(judged, (node, fault.clone()));
    }
}

fn as_it_is(_: &Signers, _: usize, bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

/// The cheat of one party in its response.
fn cheat_in_response(cheat: usize, at: usize) -> impl Fn(&Signers, usize, Vec<u8>) -> Vec<u8> {
    move |signers, number, bytes| {
        if number == cheat {
            rewrite(signers, &bytes, |body| bump(body, at))
        } else {
            bytes
        }
    }
}

fn invalid_signature() -> Result<(), Error> {
    Err(mpc_core::Abort::unattributed(Fault::InvalidSignature).into())
}

const NUMERATOR: usize = 32;
const DENOMINATOR: usize = 0;

#[test]
fn a_wrong_response_convicts_its_author_alone() {
    for threshold in [2, 3, 5] {
        for path in [&[][..], &[0, 7]] {
            for (cheat, at) in [(0, DENOMINATOR), (usize::from(threshold) - 1, NUMERATOR)] {
                let mut run = Run::new(threshold, path, as_it_is, cheat_in_response(cheat, at));
                assert_eq!(run.combine(), invalid_signature());
                let explanations = run.explain();
                let verdict = run.blame(&explanations).unwrap();
                assert!(verdict.unexplained.is_empty());
                run.convicted(&verdict, run.node(cheat), &Fault::InvalidSignatureShare);
            }
        }
    }
}

/// `psi` of the first entry of an opening for three or more signers.
const MASK: usize = 129 + 32 + 32 + 33 + 33;

#[test]
fn a_wrong_mask_convicts_its_author_alone() {
    for cheat in 0..3 {
        let opening = move |signers: &Signers, number, bytes: Vec<u8>| {
            if number == cheat {
                rewrite(signers, &bytes, |body| bump(body, MASK))
            } else {
                bytes
            }
        };
        let mut run = Run::new(3, &[], opening, as_it_is);
        assert_eq!(run.combine(), invalid_signature());
        let explanations = run.explain();
        let verdict = run.blame(&explanations).unwrap();
        run.convicted(&verdict, run.node(cheat), &Fault::InvalidSignatureShare);
    }
}

#[test]
fn two_cheats_are_both_named() {
    let response = |signers: &Signers, number: usize, bytes: Vec<u8>| {
        if number < 2 {
            rewrite(signers, &bytes, |body| bump(body, NUMERATOR))
        } else {
            bytes
        }
    };
    let mut run = Run::new(3, &[], as_it_is, response);
    let explanations = run.explain();
    let verdict = run.blame(&explanations).unwrap();
    let named: Vec<_> = verdict
        .guilty
        .iter()
        .map(|abort| abort.culprits[0].0)
        .collect();
    assert_eq!(named, [run.node(0), run.node(1)]);
}

#[test]
fn every_changed_field_of_an_explanation_convicts_its_author_alone() {
    // The cheat also lies in its explanation; and an honest-looking one with one changed field is no way out.
    let mut run = Run::new(3, &[], as_it_is, cheat_in_response(1, NUMERATOR));
    let explanations = run.explain();
    let factor = 3 * 33 + 3 * 33 + 32;
    let body = Envelope::open(&run.signers.committee.roster, &explanations[1]).unwrap();
    assert_eq!(
        body.body().len(),
        64 + 3 * factor,
        "the catalogue's lengths"
    );
    for number in 0..3 {
        let start = 64 + usize::from(number) * factor;
        let proof = Fault::InvalidProof {
            proof: "blame",
            number,
        };
        // Another valid point for every image, another commitment, another response of the proof.
        for at in [0, 33, 66, 99, 132, 165, 198] {
            let mut changed = explanations.clone();
            changed[1] = rewrite(&run.signers, &explanations[1], |body| match at {
                0 | 33 | 66 => body[start + at] ^= 1,
                99 | 132 | 165 => body[start + at + 5] ^= 1,
                _ => bump(body, start + at),
            });
            let verdict = run.blame(&changed).unwrap();
            run.convicted(&verdict, run.node(1), &proof);
        }
        // Not a point, the identity, a scalar out of range.
        for (at, bytes) in [(0, &[5; 33][..]), (33, &[0; 33]), (198, &[0xFF; 32])] {
            let mut changed = explanations.clone();
            changed[1] = rewrite(&run.signers, &explanations[1], |body| {
                body[start + at..start + at + bytes.len()].copy_from_slice(bytes);
            });
            let verdict = run.blame(&changed).unwrap();
            let [abort] = &verdict.guilty[..] else {
                panic!("one is guilty")
            };
            assert!(
                matches!(abort.fault, Fault::Malformed { .. }),
                "{}",
                abort.fault
            );
            run.convicted(&verdict, run.node(1), &abort.fault.clone());
        }
    }
    for cut in [0, 31, 64, body.body().len() - 1] {
        let mut changed = explanations.clone();
        changed[1] = rewrite(&run.signers, &explanations[1], |body| body.truncate(cut));
        let verdict = run.blame(&changed).unwrap();
        let fault = verdict.guilty[0].fault.clone();
        assert!(matches!(fault, Fault::Malformed { .. }));
        run.convicted(&verdict, run.node(1), &fault);
    }
}

#[test]
fn other_facts_are_seen_by_whoever_knows_the_key_and_convince_no_stranger() {
    let mut run = Run::new(2, &[], as_it_is, cheat_in_response(0, NUMERATOR));
    let mut explanations = run.explain();
    explanations[0] = rewrite(&run.signers, &explanations[0], |body| body[40] ^= 1);
    let verdict = run.blame(&explanations).unwrap();
    let [abort] = &verdict.guilty[..] else {
        panic!("one is guilty")
    };
    assert_eq!(abort.fault, Fault::ExplanationMismatch);
    assert_eq!(abort.culprits, [(run.node(0), Strength::Local)]);
    assert_eq!(abort.evidence, None);
}

#[test]
fn silence_and_explanations_of_something_else_explain_nothing() {
    let mut run = Run::new(3, &[], as_it_is, cheat_in_response(1, DENOMINATOR));
    let explanations = run.explain();
    let silent = [explanations[0].clone(), explanations[2].clone()];
    let verdict = run.blame(&silent).unwrap();
    assert!(verdict.guilty.is_empty());
    assert_eq!(verdict.unexplained, BTreeSet::from([run.node(1)]));

    // About other responses, or of another session.
    let about_others = rewrite(&run.signers, &explanations[1], |body| body[0] ^= 1);
    let envelope = Envelope::open(&run.signers.committee.roster, &explanations[1]).unwrap();
    let header = Header {
        session: SessionId::from_bytes([1; 32]),
        ..*envelope.header()
    };
    let identity = run.signers.committee.identity_of(&run.node(1));
    let elsewhere = Envelope::seal(identity, &header, envelope.body());
    for other in [about_others, elsewhere] {
        let given = [silent[0].clone(), other, silent[1].clone()];
        assert_eq!(run.blame(&given).unwrap(), verdict);
    }
    // Nobody else can explain in its name.
    let mut forged = explanations[1].clone();
    *forged.last_mut().unwrap() ^= 1;
    assert!(matches!(run.blame(&[forged]), Err(Error::Rejected(_))));
}

#[test]
fn nothing_is_explained_unless_a_signature_failed_over_ones_own_response() {
    let mut run = Run::new(2, &[], as_it_is, as_it_is);
    assert_eq!(run.combine(), Ok(()));
    let roster = run.signers.committee.roster.clone();
    let identity = std::sync::Arc::clone(run.signers.committee.identity_of(&run.node(0)));
    let state = run.states.remove(&run.node(0)).unwrap();
    let answer = state.explain(
        &roster,
        &identity,
        &run.openings,
        &run.responses,
        &mut rng(1),
    );
    assert_eq!(answer, Err(Misuse::NoFault.into()));
    assert_eq!(run.blame(&[]), Err(Misuse::NoFault.into()));

    // The relay cannot make a signer explain a response that is not its own.
    let mut run = Run::new(2, &[], as_it_is, cheat_in_response(0, NUMERATOR));
    let state = run.states.remove(&run.node(0)).unwrap();
    let answer = state.explain(
        &roster,
        &identity,
        &run.openings,
        &run.responses,
        &mut rng(1),
    );
    let own = Misuse::InvalidSigners("this signer's own message was changed");
    assert_eq!(answer, Err(own.into()));
    let state = run.states.remove(&run.node(1)).unwrap();
    let identity = run.signers.committee.identity_of(&run.node(1));
    state
        .explain(
            &roster,
            identity,
            &run.openings,
            &run.responses,
            &mut rng(1),
        )
        .unwrap();
}

#[test]
fn evidence_over_made_up_values_convicts_nobody() {
    let mut run = Run::new(2, &[], as_it_is, cheat_in_response(0, NUMERATOR));
    let explanations = run.explain();
    let verdict = run.blame(&explanations).unwrap();
    let evidence = verdict.guilty[0].evidence.as_ref().unwrap();
    let bytes = evidence.encode();
    let roster = &run.signers.committee.roster;
    // Every byte of the context: entry, request, digest, tweak, signers, shares.
    let context = 6;
    let length = u32::from_be_bytes(bytes[2..6].try_into().unwrap()) as usize;
    for at in context..context + length {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let refused = evidence::verify(roster, &changed);
        assert!(
            matches!(
                refused,
                Err(EvidenceError::NotProven(_) | EvidenceError::Malformed(_))
            ),
            "byte {at}: {refused:?}"
        );
    }
    // The honest explanation in the place of the other one.
    let accused = explanations[0].len();
    let mut swapped = bytes[..bytes.len() - accused].to_vec();
    swapped.extend(&explanations[1]);
    assert_eq!(
        evidence::verify(roster, &swapped),
        Err(EvidenceError::NotProven("the response is right"))
    );
}
