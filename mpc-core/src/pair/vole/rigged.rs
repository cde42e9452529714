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
) -> (Message, Rows) {
    let factors = factors();
    let mut pads = Pads::new(&context.0);
    let (mut corrections, mut zero) = (Vec::new(), Vec::new());
    for (number, [row, other]) in (0_u16..).zip(sender.transfers()) {
        let pad = pad_row(&mut pads, row, number);
        let other = pad_row(&mut pads, other, number);
        for c in 0..WIDTH {
            let mut correction = pad[c] - other[c] + factors[c];
            if wrong.contains(&usize::from(number)) {
                correction += deviation[c];
            }
            corrections.extend_from_slice(&correction.encode());
        }
        zero.push(pad);
    }
    let challenges = Challenges::new(context, &corrections);
    let mut combined = Vec::new();
    for (number, row) in zero.iter().enumerate() {
        let mut sum = challenges.combine(row);
        if guess && wrong.contains(&number) {
            sum += challenges.combine(deviation);
        }
        combined.extend_from_slice(&sum.encode());
    }
    let message = Message {
        check: challenges.check(context, &combined),
        factors: challenges.combine(&factors).encode(),
        corrections,
    };
    (message, Rows(zero))
}

fn choices(receiver: &Receiver) -> Vec<bool> {
    let transfers = receiver.transfers();
    transfers.map(|(choice, _)| bool::from(choice)).collect()
}

fn outcome(receiver: Receiver, context: &Context, message: &Message) -> Result<(), VoleError> {
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
    let [k, x] = weigh(&gadget, &zero);
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
    let reference = challenges.gadget(&context, &[3; 32], &[4; 32]);
    assert_eq!(reference.len(), ROWS);
    assert_ne!(reference, challenges.gadget(&context, &[5; 32], &[4; 32]));
    assert_ne!(reference, challenges.gadget(&context, &[3; 32], &[5; 32]));
    let other = Context([2; 32]);
    assert_ne!(reference, challenges.gadget(&other, &[3; 32], &[4; 32]));
    corrections[Message::CORRECTIONS - 1] ^= 1;
    let other = Challenges::new(&context, &corrections);
    assert_ne!(other.chi, challenges.chi);
    assert_ne!(reference, other.gadget(&context, &[3; 32], &[4; 32]));
}

#[test]
fn a22_no_two_pads_of_a_multiplication_are_equal() {
    let (_, sender, context) = extended(500);
    let mut pads = Pads::new(&context.0);
    let mut seen = std::collections::BTreeSet::new();
    for (number, rows) in (0_u16..).zip(sender.transfers()) {
        for row in rows {
            for pad in pad_row(&mut pads, row, number) {
                assert!(seen.insert(pad.encode()));
            }
        }
    }
    assert_eq!(seen.len(), 4608);
    // The same row in another place, and in another multiplication, has other pads.
    let [a, b] = [0, 1].map(|number| pad_row(&mut pads, 7, number));
    assert!(a.iter().all(|pad| !b.contains(pad)));
    let other = pad_row(&mut Pads::new(&[9; 32]), 7, 0);
    assert!(a.iter().all(|pad| !other.contains(pad)));
}
