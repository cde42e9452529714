//! A sender that deviates with changed code: what the receiver's check finds, and what it gives away.

use super::*;
use crate::id::{NodeId, PairId};
use crate::pair::extension::{self, Nonce};
use crate::testing::{deal_seeds, rng};

fn direction() -> Direction {
    Direction {
        receiver: NodeId::from_bytes([1; 32]),
        sender: NodeId::from_bytes([2; 32]),
        pair: PairId::from_bytes([3; 32]),
    }
}

fn extended(seed: u64) -> (Receiver, Sender, Context) {
    let mut rng = rng(seed);
    let (ours, theirs) = deal_seeds(&mut rng);
    let nonce = Nonce::new(&SessionId::from_bytes([4; 32]), &[5; 32], &direction());
    let (receiver, message) = extension::receive(&ours, &nonce, &direction(), &mut rng);
    let sender = extension::send(&theirs, &nonce, &direction(), &message).unwrap();
    let session = SessionId::from_bytes([6; 32]);
    let context = Context::new(&session, &direction(), &receiver.message_hash());
    (receiver, sender, context)
}

/// The factors of a rigged sender.
fn factors() -> [Scalar; WIDTH] {
    [11, 12, 13].map(Scalar::from_u64)
}

/// Which factors a cheating sender uses in one row, as an addition to the honest ones.
type Deviation = [Scalar; WIDTH];

fn deviation(small: [u64; WIDTH]) -> Deviation {
    small.map(Scalar::from_u64)
}

/// A sender that adds `deviation` to its factors in the rows `wrong` and computes the check to fit, as if all choices of those
/// rows were `guess`. Its pads of choice 0 come too.
fn cheat(
    sender: &Sender,
    context: &Context,
    wrong: &[usize],
    deviation: &Deviation,
    guess: bool,
) -> (Message<'static>, Rows) {
    let factors = factors();
    let zero = Rows::pads(context, sender.rows());
    let others = sender.rows().iter().map(|row| row ^ sender.delta());
    let one = Rows::pads(context, &others.collect::<Vec<_>>());
    let mut corrections = Vec::new();
    for (number, (zero, one)) in zero.0.iter().zip(&one.0).enumerate() {
        for c in 0..WIDTH {
            let mut correction = zero[c].scalar() - one[c].scalar() + factors[c];
            if wrong.contains(&number) {
                correction += deviation[c];
            }
            corrections.extend_from_slice(&correction.encode());
        }
    }
    let challenges = Challenges::new(context, &corrections);
    let mut combined = Vec::new();
    let residues = |scalars: &[Scalar; WIDTH]| scalars.each_ref().map(Residue::from);
    for (number, row) in zero.0.iter().enumerate() {
        let mut sum = challenges.combine(row).scalar();
        if guess && wrong.contains(&number) {
            sum += challenges.combine(&residues(deviation)).scalar();
        }
        combined.extend_from_slice(&sum.encode());
    }
    let message = Message {
        check: challenges.check(context, &combined),
        factors: challenges.combine(&residues(&factors)).encode(),
        corrections: corrections.into(),
    };
    (message, zero)
}

fn choices(receiver: &Receiver) -> Vec<bool> {
    receiver.choices().map(bool::from).collect()
}

fn outcome(receiver: Receiver, context: &Context, message: &Message<'_>) -> Result<(), VoleError> {
    receive(receiver, context, message).map(drop)
}

#[test]
fn a27_one_inconsistent_row_is_found_exactly_if_its_choice_was_guessed_wrong() {
    let (mut found, tried) = (0, 96_usize);
    for number in 0..tried {
        let (receiver, sender, context) = extended(number as u64);
        let row = number * 8 % ROWS;
        let deviation = deviation([[1, 0, 0], [0, 1, 0], [0, 0, 1]][number % 3]);
        let guess = number % 2 == 1;
        let (message, _) = cheat(&sender, &context, &[row], &deviation, guess);
        // A wrong factor shows where it is used: with choice 1. The factors in the message are the honest ones, so a guess of 1
        // is a row of which the sender says that it was used.
        let right = choices(&receiver)[row] == guess;
        let expected = if right {
            Ok(())
        } else {
            Err(VoleError::CheckFailed)
        };
        let outcome = outcome(receiver, &context, &message);
        assert_eq!(outcome, expected, "row {row}, guess {guess}");
        found += usize::from(!right);
    }
    assert!(
        (27..=69).contains(&found),
        "about half of {tried}, got {found}"
    );
}

#[test]
fn a27_a_row_that_nobody_uses_changes_nothing() {
    let (receiver, sender, context) = extended(200);
    let unused = choices(&receiver).iter().position(|choice| !choice);
    let rows = [unused.unwrap()];
    let (message, zero) = cheat(&sender, &context, &rows, &deviation([1, 0, 0]), false);
    let challenges = Challenges::new(&context, &message.corrections);
    let gadget = challenges.gadget(&context, &message.check, &message.factors);
    let [k, x] = zero.weigh(&gadget);
    let output = receive(receiver, &context, &message).unwrap();
    let beta = *output.beta.expose_secret();
    assert_eq!(*output.r_k.expose_secret() - k, factors()[0] * beta);
    assert_eq!(*output.r_x.expose_secret() - x, factors()[1] * beta);
}

#[test]
fn a17_many_inconsistent_rows_are_always_found() {
    for seed in 300..316 {
        let (receiver, sender, context) = extended(seed);
        let rows: Vec<_> = (0..40).map(|number| number * 19).collect();
        let (message, _) = cheat(&sender, &context, &rows, &deviation([1, 2, 3]), false);
        let outcome = outcome(receiver, &context, &message);
        assert_eq!(outcome, Err(VoleError::CheckFailed));
    }
}

#[test]
fn a27_deviations_in_two_columns_do_not_cancel() {
    // +1 in the mask and -1 in another column would cancel if the columns were added without challenges.
    for column in [0, 1] {
        let (receiver, sender, context) = extended(400);
        let used = choices(&receiver).iter().position(|choice| *choice);
        let mut deviation = deviation([0, 0, 1]);
        deviation[column] = -Scalar::one();
        let (message, _) = cheat(&sender, &context, &[used.unwrap()], &deviation, false);
        let outcome = outcome(receiver, &context, &message);
        assert_eq!(outcome, Err(VoleError::CheckFailed), "column {column}");
    }
}

#[test]
fn a21_the_gadget_depends_on_everything_the_sender_says() {
    let context = Context([1; 32]);
    let mut corrections = vec![2; Message::CORRECTIONS];
    let challenges = Challenges::new(&context, &corrections);
    let gadget = |challenges: &Challenges, context, check, factors| {
        let gadget = challenges.gadget(context, check, factors);
        gadget.iter().map(Residue::encode).collect::<Vec<_>>()
    };
    let reference = gadget(&challenges, &context, &[3; 32], &[4; 32]);
    assert_eq!(reference.len(), ROWS);
    assert_ne!(reference, gadget(&challenges, &context, &[5; 32], &[4; 32]));
    assert_ne!(reference, gadget(&challenges, &context, &[3; 32], &[5; 32]));
    let other = Context([2; 32]);
    assert_ne!(reference, gadget(&challenges, &other, &[3; 32], &[4; 32]));
    corrections[Message::CORRECTIONS - 1] ^= 1;
    let other = Challenges::new(&context, &corrections);
    for (ours, theirs) in challenges.chi.iter().zip(&other.chi) {
        assert_ne!(ours.encode(), theirs.encode());
    }
    assert_ne!(reference, gadget(&other, &context, &[3; 32], &[4; 32]));
}

#[test]
fn a22_no_two_pads_of_a_multiplication_are_equal() {
    let (_, sender, context) = extended(500);
    let mut seen = std::collections::BTreeSet::new();
    let others = sender.rows().iter().map(|row| row ^ sender.delta());
    for rows in [sender.rows(), &others.collect::<Vec<_>>()] {
        let pads = Rows::pads(&context, rows);
        assert_eq!(pads.0.len(), ROWS);
        for pad in pads.0.as_flattened() {
            assert!(seen.insert(pad.encode()));
        }
    }
    assert_eq!(seen.len(), 4608);
    // One row in all places, in this multiplication and another: all pads differ.
    for context in [context, Context([9; 32])] {
        for pad in Rows::pads(&context, &[7; ROWS]).0.as_flattened() {
            assert!(seen.insert(pad.encode()));
        }
    }
}
