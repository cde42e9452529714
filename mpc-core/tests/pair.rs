//! The pair layer through its public surface: what comes out, what is refused, and that nothing panics.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field operations wrap by definition"
)]
#![expect(
    clippy::expect_used,
    clippy::unwrap_in_result,
    reason = "a helper of a test fails it by panicking"
)]

use mpc_core::codec::{DecodeError, Problem, Reader, Writer};
use mpc_core::group::{LazySum, Residue, Scalar, Secp256k1};
use mpc_core::id::{NodeId, PairId, SessionId};
use mpc_core::pair::extension::{self, CheckFailed, Direction, Nonce};
use mpc_core::pair::vole::{self, Context, ReceiverOutput, SenderOutput, VoleError};
use mpc_core::pair::{ReceiverSeeds, SenderSeeds};
use mpc_core::testing::{bytes, deal_seeds, rng};
use proptest::prelude::*;
use subtle::Choice;

/// The order of secp256k1, big-endian.
const ORDER: [u8; 32] = [
    0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE,
    0xBA, 0xAE, 0xDC, 0xE6, 0xAF, 0x48, 0xA0, 0x3B, 0xBF, 0xD2, 0x5E, 0x8C, 0xD0, 0x36, 0x41, 0x41,
];

/// Two nodes with a setup, and the public values of one session.
struct Pair {
    receiver: ReceiverSeeds,
    sender: SenderSeeds,
    direction: Direction,
    nonce: Nonce,
    session: SessionId,
}

fn direction() -> Direction {
    Direction {
        receiver: NodeId::from_bytes([1; 32]),
        sender: NodeId::from_bytes([2; 32]),
        pair: PairId::from_bytes([3; 32]),
    }
}

impl Pair {
    fn new(seed: u64) -> Self {
        let (receiver, sender) = deal_seeds(&mut rng(seed));
        let direction = direction();
        Self {
            receiver,
            sender,
            direction,
            nonce: Nonce::new(&SessionId::from_bytes([4; 32]), &[5; 32], &direction),
            session: SessionId::from_bytes([6; 32]),
        }
    }

    fn context(&self, extension: &extension::MessageHash) -> Context {
        Context::new(&self.session, &self.direction, extension)
    }

    fn first(&self, seed: u64) -> (extension::Receiver, Vec<u8>) {
        let (receiver, message) =
            extension::receive(&self.receiver, &self.nonce, &self.direction, &mut rng(seed));
        let mut writer = Writer::default();
        message.write(&mut writer);
        (receiver, writer.finish())
    }

    fn second(&self, first: &[u8], seed: u64) -> Result<(SenderOutput, Vec<u8>), CheckFailed> {
        let message = extension::Message::read(&mut Reader::new(first)).expect("the right length");
        let sender = extension::send(&self.sender, &self.nonce, &self.direction, &message)?;
        let context = self.context(&sender.message_hash());
        let (output, message) = vole::send(sender, &context, vole::Factors::random(&mut rng(seed)));
        let mut writer = Writer::default();
        message.write(&mut writer);
        Ok((output, writer.finish()))
    }

    fn third(
        &self,
        receiver: extension::Receiver,
        second: &[u8],
    ) -> Result<ReceiverOutput, VoleError> {
        let message = vole::Message::read(&mut Reader::new(second)).expect("the right length");
        let context = self.context(&receiver.message_hash());
        vole::receive(receiver, &context, &message)
    }

    fn run(&self, seed: u64) -> (SenderOutput, ReceiverOutput) {
        let (receiver, first) = self.first(seed);
        let (sender, second) = self.second(&first, !seed).expect("an honest receiver");
        (
            sender,
            self.third(receiver, &second).expect("an honest sender"),
        )
    }
}

fn assert_product(sender: &SenderOutput, receiver: &ReceiverOutput) {
    let beta = *receiver.beta.expose_secret();
    for (alpha, t, r) in [
        (&sender.alpha_k, &sender.t_k, &receiver.r_k),
        (&sender.alpha_x, &sender.t_x, &receiver.r_x),
    ] {
        let sum = *t.expose_secret() + *r.expose_secret();
        assert_eq!(sum, *alpha.expose_secret() * beta);
    }
}

#[test]
fn the_shares_add_up_to_the_products() {
    for seed in 0..24 {
        let (sender, receiver) = Pair::new(seed).run(seed + 1000);
        assert_product(&sender, &receiver);
    }
}

#[test]
fn one_setup_serves_many_multiplications_with_unrelated_results() {
    let pair = Pair::new(30);
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..8 {
        let (sender, receiver) = pair.run(seed);
        assert_product(&sender, &receiver);
        for value in [
            sender.alpha_k,
            sender.alpha_x,
            sender.t_k,
            sender.t_x,
            receiver.beta,
            receiver.r_k,
            receiver.r_x,
        ] {
            assert!(seen.insert(value.expose_secret().encode()));
        }
    }
}

#[test]
fn no_bit_of_any_output_is_biased() {
    const RUNS: u64 = 256;
    let mut set = [[0_u32; 256]; 7];
    for seed in 0..RUNS {
        // Every fourth run has a new setup.
        let (sender, receiver) = Pair::new(seed / 4).run(seed);
        let values = [
            sender.alpha_k,
            sender.alpha_x,
            sender.t_k,
            sender.t_x,
            receiver.beta,
            receiver.r_k,
            receiver.r_x,
        ];
        for (set, value) in set.iter_mut().zip(&values) {
            let bytes = value.expose_secret().encode();
            for (bit, count) in set.iter_mut().enumerate() {
                *count += u32::from((bytes[bit / 8] >> (bit % 8)) & 1);
            }
        }
    }
    // 1792 counts of 256 fair coins: 8 is the standard deviation, six of them happen once in 280 000 tries.
    for (value, counts) in set.iter().enumerate() {
        for (bit, count) in counts.iter().enumerate() {
            assert!(
                (80..=176).contains(count),
                "value {value}, bit {bit}: {count} of 256"
            );
        }
        let total: u32 = counts.iter().sum();
        assert!(
            (31_700..=33_836).contains(&total),
            "value {value}: {total} of 65536"
        );
    }
}

#[test]
fn a17_a42_every_field_of_the_extension_message_is_checked() {
    let pair = Pair::new(40);
    let (_, message) = pair.first(1);
    assert!(pair.second(&message, 2).is_ok());
    // Every column of U once, and every byte of xt and hV.
    let columns = (0..128).map(|column| column * 112 + (column * 37) % 112);
    for place in columns.chain(14_336..extension::Message::BYTES) {
        for bit in [0, 7] {
            let mut changed = message.clone();
            changed[place] ^= 1 << bit;
            assert_eq!(
                pair.second(&changed, 2).map(drop),
                Err(CheckFailed),
                "byte {place}, bit {bit}"
            );
        }
    }
}

#[test]
fn a27_a42_every_field_of_the_multiplication_message_is_checked() {
    let pair = Pair::new(50);
    let (_, first) = pair.first(1);
    let (_, message) = pair.second(&first, 2).expect("an honest receiver");
    assert!(pair.third(pair.first(1).0, &message).is_ok());
    // Entries of every column all over Q, and every byte of hu and v. The lowest byte of a scalar, so that it stays canonical.
    let corrections = (0..2304).step_by(37).map(|entry| entry * 32 + 31);
    for place in corrections.chain(73_728..vole::Message::BYTES) {
        let mut changed = message.clone();
        changed[place] ^= 1;
        let outcome = pair.third(pair.first(1).0, &changed).map(drop);
        assert_eq!(outcome, Err(VoleError::CheckFailed), "byte {place}");
    }
}

#[test]
fn a42_scalars_at_or_above_the_order_are_malformed_not_failed() {
    let pair = Pair::new(51);
    let (_, first) = pair.first(1);
    let (_, message) = pair.second(&first, 2).expect("an honest receiver");
    let entries = [0, 1, 2, 1151, 2303].map(|entry| (entry * 32, "Q"));
    for (place, field) in entries.into_iter().chain([(73_760, "v")]) {
        for value in [ORDER, [0xFF; 32]] {
            let mut changed = message.clone();
            changed[place..place + 32].copy_from_slice(&value);
            let expected = DecodeError::new(field, Problem::NotCanonical);
            assert_eq!(
                pair.third(pair.first(1).0, &changed).map(drop),
                Err(VoleError::Malformed(expected)),
                "{field} at {place}"
            );
        }
    }
}

#[test]
fn short_messages_are_refused_by_field() {
    for (len, field) in [
        (0, "U"),
        (14_335, "U"),
        (14_336, "xt"),
        (14_351, "xt"),
        (14_383, "hV"),
    ] {
        let error = extension::Message::read(&mut Reader::new(&vec![0; len]));
        assert_eq!(
            error,
            Err(DecodeError::new(field, Problem::Length)),
            "{len} bytes"
        );
    }
    for (len, field) in [(0, "Q"), (73_727, "Q"), (73_759, "hu"), (73_791, "v")] {
        let short = vec![0; len];
        let error = vole::Message::read(&mut Reader::new(&short));
        assert_eq!(
            error,
            Err(DecodeError::new(field, Problem::Length)),
            "{len} bytes"
        );
    }
}

#[test]
fn what_is_read_is_written_again() {
    let body = bytes(1, extension::Message::BYTES + 1);
    let mut reader = Reader::new(&body);
    let message = extension::Message::read(&mut reader).expect("long enough");
    reader.u8("rest").expect("one byte is left");
    reader.finish("rest").expect("and no more");
    let mut writer = Writer::default();
    message.write(&mut writer);
    assert_eq!(writer.finish(), body[..extension::Message::BYTES]);
    let body = bytes(2, vole::Message::BYTES);
    let message = vole::Message::read(&mut Reader::new(&body)).expect("long enough");
    let mut writer = Writer::default();
    message.write(&mut writer);
    assert_eq!(writer.finish(), body);
}

#[test]
fn a23_the_nonce_of_an_extension_depends_on_everything() {
    let (session, contribution) = (SessionId::from_bytes([4; 32]), [5; 32]);
    let (node, pair) = (NodeId::from_bytes([9; 32]), PairId::from_bytes([9; 32]));
    let base = direction();
    let others = [
        (SessionId::from_bytes([9; 32]), contribution, base),
        (session, [9; 32], base),
        (
            session,
            contribution,
            Direction {
                receiver: node,
                ..base
            },
        ),
        (
            session,
            contribution,
            Direction {
                sender: node,
                ..base
            },
        ),
        (session, contribution, Direction { pair, ..base }),
        (
            session,
            contribution,
            Direction {
                receiver: base.sender,
                sender: base.receiver,
                ..base
            },
        ),
    ];
    let reference = Nonce::new(&session, &contribution, &base);
    for (session, contribution, direction) in others {
        assert_ne!(Nonce::new(&session, &contribution, &direction), reference);
    }
}

#[test]
fn a22_a23_the_pads_of_a_multiplication_depend_on_everything() {
    let (session, base) = (SessionId::from_bytes([6; 32]), direction());
    let pair = Pair::new(60);
    let [hash, other_hash] = [1, 2].map(|seed| pair.first(seed).0.message_hash());
    assert_ne!(hash, other_hash);
    let (node, setup) = (NodeId::from_bytes([9; 32]), PairId::from_bytes([9; 32]));
    let others = [
        (SessionId::from_bytes([9; 32]), base, hash),
        (
            session,
            Direction {
                receiver: node,
                ..base
            },
            hash,
        ),
        (
            session,
            Direction {
                sender: node,
                ..base
            },
            hash,
        ),
        (
            session,
            Direction {
                pair: setup,
                ..base
            },
            hash,
        ),
        (session, base, other_hash),
    ];
    let reference = Context::new(&session, &base, &hash);
    for (session, direction, hash) in others {
        assert_ne!(Context::new(&session, &direction, &hash), reference);
    }
}

#[test]
fn a23_messages_of_another_session_direction_or_setup_fail() {
    let pair = Pair::new(61);
    let (_, first) = pair.first(1);
    let mut elsewhere = Pair::new(61);
    elsewhere.nonce = Nonce::new(&SessionId::from_bytes([7; 32]), &[5; 32], &pair.direction);
    assert_eq!(elsewhere.second(&first, 2).map(drop), Err(CheckFailed));
    let mut turned = Pair::new(61);
    turned.direction = Direction {
        receiver: pair.direction.sender,
        sender: pair.direction.receiver,
        ..pair.direction
    };
    assert_eq!(turned.second(&first, 2).map(drop), Err(CheckFailed));
    assert_eq!(Pair::new(62).second(&first, 2).map(drop), Err(CheckFailed));

    let (_, second) = pair.second(&first, 2).expect("an honest receiver");
    let mut elsewhere = Pair::new(61);
    elsewhere.session = SessionId::from_bytes([8; 32]);
    let outcome = elsewhere.third(pair.first(1).0, &second).map(drop);
    assert_eq!(outcome, Err(VoleError::CheckFailed));
    // A second answer to the same session does not fit a fresh extension.
    let outcome = pair.third(pair.first(3).0, &second).map(drop);
    assert_eq!(outcome, Err(VoleError::CheckFailed));
}

#[test]
fn a22_the_same_setup_and_choices_in_another_session_share_no_byte_pattern() {
    let pair = Pair::new(63);
    let (_, one) = pair.first(1);
    let mut later = Pair::new(63);
    later.nonce = Nonce::new(&SessionId::from_bytes([7; 32]), &[5; 32], &pair.direction);
    let (_, two) = later.first(1);
    // Same seeds and same choices: were the columns equal too, the difference of the corrections would be zero.
    let equal = one.iter().zip(&two).filter(|(a, b)| a == b).count();
    assert!(
        equal < 120,
        "14 384 bytes agree by chance in about 56 places, got {equal}"
    );
}

#[test]
fn a80_secrets_of_the_pair_layer_do_not_print() {
    let pair = Pair::new(64);
    let (receiver, first) = pair.first(1);
    assert_eq!(format!("{receiver:?}"), "Receiver(..)");
    assert_eq!(
        format!("{:?} {:?}", pair.receiver, pair.sender),
        "ReceiverSeeds(..) SenderSeeds(..)"
    );
    let (sender, second) = pair.second(&first, 2).expect("an honest receiver");
    let receiver = pair.third(receiver, &second).expect("an honest sender");
    let text = format!("{sender:?} {receiver:?}");
    assert_eq!(text.matches("SecretScalar(..)").count(), 7);
    assert!(!text.chars().any(|c| c.is_ascii_digit()), "{text}");
}

/// Residues at the edges, canonical or not.
fn edges() -> Vec<Residue> {
    let mut above = ORDER;
    above[31] += 1;
    let mut below = ORDER;
    below[31] -= 1;
    let mut middle = [0; 32];
    middle[16..].fill(0xFF);
    let values = [[0; 32], below, ORDER, above, [0xFF; 32], middle, [0x80; 32]];
    values.iter().map(Residue::from_be_bytes).collect()
}

#[test]
fn residues_at_the_edges_compute_like_scalars() {
    let all = edges();
    for a in &all {
        assert_eq!(a.scalar().encode(), {
            let mut sum = LazySum::new();
            sum.add(a);
            sum.reduce().encode()
        });
        for b in &all {
            let [x, y] = [a, b].map(Residue::scalar);
            for choice in [0, 1] {
                let expected = if choice == 1 { x + y } else { x };
                let choice = Choice::from(choice);
                assert_eq!(a.add_if(b, choice).encode(), expected.encode());
            }
            for c in &all {
                let z = c.scalar();
                assert_eq!(a.correct(b, c).encode(), (x - y + z).encode());
                let mut sum = LazySum::new();
                sum.add_product(a, b);
                sum.add(c);
                assert_eq!(sum.reduce().encode(), (x * y + z).encode());
            }
        }
    }
}

#[test]
fn long_sums_do_not_overflow() {
    let largest = Residue::from_be_bytes(&[0xFF; 32]);
    let scalar = largest.scalar();
    let mut sum = LazySum::new();
    for count in 1..=4 {
        sum.add_product(&largest, &largest);
        sum.add(&largest);
        let expected = (scalar * scalar + scalar) * Scalar::from_u64(count);
        assert_eq!(sum.reduce_few().encode(), expected.encode());
    }
    let mut sum = LazySum::new();
    for _ in 0..10_000 {
        sum.add_product(&largest, &largest);
        sum.add(&largest);
    }
    let expected = (scalar * scalar + scalar) * Scalar::from_u64(10_000);
    assert_eq!(sum.reduce().encode(), expected.encode());
}

#[test]
fn a1_only_canonical_residues_are_decoded() {
    let mut below = ORDER;
    below[31] -= 1;
    assert!(Residue::decode(&below).is_some());
    for bytes in [ORDER, [0xFF; 32]] {
        assert!(Residue::decode(&bytes).is_none());
    }
    for place in 0..32 {
        let mut bytes = ORDER;
        let smaller = bytes[place].checked_sub(1);
        if let Some(byte) = smaller {
            bytes[place] = byte;
            bytes[place + 1..].fill(0xFF);
            assert!(Residue::decode(&bytes).is_some(), "byte {place}");
        }
    }
}

#[test]
fn reduction_of_32_bytes_subtracts_the_order_at_most_once() {
    let mut one = ORDER;
    one[31] += 1;
    assert!(Scalar::from_be_reduced(&ORDER).is_zero());
    assert_eq!(Scalar::from_be_reduced(&one), Scalar::one());
    assert!(Scalar::from_be_reduced(&[0; 32]).is_zero());
    let mut wide = [0; 64];
    wide[32..].fill(0xFF);
    assert_eq!(
        Scalar::from_be_reduced(&[0xFF; 32]),
        Scalar::<Secp256k1>::from_wide_be(&wide)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lazy_sums_agree_with_reducing_each_time(seed: u64, count in 1_usize..40) {
        let (mut lazy, mut plain) = (LazySum::new(), Scalar::zero());
        for terms in bytes(seed, 96 * count).as_chunks().0.as_chunks::<3>().0 {
            let [a, b, c] = terms.each_ref().map(Residue::from_be_bytes);
            lazy.add_product(&a, &b);
            lazy.add(&c);
            plain += a.scalar() * b.scalar() + c.scalar();
            prop_assert_eq!(
                a.correct(&b, &c).encode(),
                (a.scalar() - b.scalar() + c.scalar()).encode()
            );
        }
        prop_assert_eq!(lazy.reduce().encode(), plain.encode());
        if count <= 4 {
            prop_assert_eq!(lazy.reduce_few().encode(), plain.encode());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(seed: u64) {
        let pair = Pair::new(70);
        let first = bytes(seed, extension::Message::BYTES);
        prop_assert_eq!(pair.second(&first, 1).map(drop), Err(CheckFailed));
        let mut second = bytes(seed, vole::Message::BYTES);
        // Canonical scalars, so that the check is reached.
        second.chunks_exact_mut(32).for_each(|scalar| scalar[0] &= 0x7F);
        let outcome = pair.third(pair.first(1).0, &second).map(drop);
        prop_assert_eq!(outcome, Err(VoleError::CheckFailed));
    }
}
