//! The 128 base transfers of one direction of a pair setup, in two messages.
//!
//! McQuoid, Rosulek and Roy 2021 with the two-choice function of Masny and Rindal, over ristretto255 (protocol notes,
//! section 4.1). The base sender ends with both seeds of every column and later *receives* extended transfers; the base
//! receiver chooses 128 fresh bits, which become its `delta`, and later *sends* extended transfers.
//!
//! ```text
//! A = a*B     phi_(l,1-b) random     phi_(l,b) = beta*B - Hg("bot/popf"; ctx, l, b, phi_(l,1-b))
//! seed (l,b) = first 16 bytes of H("bot/key"; ctx, l, b, A, phi_(l,0), phi_(l,1), beta*A)
//! ```
//! Nothing is verified here: a wrong message only makes seeds differ, which the first use on throw-away values shows before
//! the setup counts.
//!
//! # Timing
//! Constant time in choices, seeds and exponents. Points of the messages are decoded in variable time; they are public.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "group operations wrap by definition; columns are fewer than 2^16"
)]

use rand_core::CryptoRng;
use subtle::{Choice, ConditionallySelectable};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{COLUMNS, ReceiverSeeds, SEED_BYTES, SenderSeeds};
use crate::codec::{DecodeError, Reader};
use crate::group::{EncodedPoint, Multiples, Point, Ristretto255};
use crate::id::{NodeId, SessionId};
use crate::secret::SecretScalar;
use crate::transcript::{self, Tag};

/// What every hash of one run is bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) session: SessionId,
    /// The base sender.
    pub(crate) sender: NodeId,
    /// The base receiver.
    pub(crate) receiver: NodeId,
}

impl Run {
    fn popf(&self, column: u16, choice: u8, other: &[u8; 32]) -> Point<Ristretto255> {
        transcript::wide(Tag::BOT_POPF)
            .field(self.session)
            .field(self.sender)
            .field(self.receiver)
            .u16(column)
            .u8(choice)
            .field(other)
            .ristretto()
    }

    fn seed(
        &self,
        column: u16,
        choice: u8,
        offer: &[u8],
        [zero, one]: [&[u8; 32]; 2],
        agreed: &Point<Ristretto255>,
    ) -> [u8; SEED_BYTES] {
        let mut digest = transcript::hash(Tag::BOT_KEY)
            .field(self.session)
            .field(self.sender)
            .field(self.receiver)
            .u16(column)
            .u8(choice)
            .field(offer)
            .field(zero)
            .field(one)
            .point(agreed)
            .digest();
        let mut seed = [0; SEED_BYTES];
        seed.iter_mut()
            .zip(&digest)
            .for_each(|(slot, byte)| *slot = *byte);
        digest.zeroize();
        seed
    }
}

/// The base sender between its message and the reply. One exponent for one peer and one session.
#[derive(Debug)]
pub(crate) struct Offer {
    secret: SecretScalar<Ristretto255>,
    public: EncodedPoint<Ristretto255>,
}

impl Offer {
    pub(crate) fn new(rng: &mut impl CryptoRng) -> Self {
        let secret = SecretScalar::random(rng);
        let public = EncodedPoint::new(secret.mul_base());
        Self { secret, public }
    }

    /// `A`.
    pub(crate) const fn public(&self) -> &EncodedPoint<Ristretto255> {
        &self.public
    }

    /// Both seeds of every column.
    pub(crate) fn complete(&self, run: &Run, reply: &Reply) -> ReceiverSeeds {
        let mut seeds = Box::new([[[0; SEED_BYTES]; 2]; COLUMNS]);
        for (column, (out, (encoded, points))) in (0..).zip(
            seeds
                .iter_mut()
                .zip(reply.encoded.iter().zip(&reply.points)),
        ) {
            let [zero, one] = encoded;
            let others = [one, zero];
            let choices = (0..).zip(out.iter_mut().zip(points.iter().zip(others)));
            for (choice, (out, (point, other))) in choices {
                let shared = *point + run.popf(column, choice, other);
                let agreed = shared * self.secret.expose_secret();
                *out = run.seed(column, choice, self.public.as_slice(), [zero, one], &agreed);
            }
        }
        ReceiverSeeds::new(seeds)
    }
}

/// The base receiver's message, decoded. 8192 bytes, public.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    encoded: Box<[[[u8; 32]; 2]; COLUMNS]>,
    points: Vec<[Point<Ristretto255>; 2]>,
}

impl Reply {
    /// Reads the message and decodes every point.
    ///
    /// # Errors
    /// The first point that is none, or is the identity.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut encoded = Box::new([[[0; 32]; 2]; COLUMNS]);
        let mut points = Vec::with_capacity(COLUMNS);
        for pair in encoded.iter_mut() {
            *pair = [reader.array("phi")?, reader.array("phi")?];
            let [zero, one] = pair;
            points.push([Point::decode("phi", zero)?, Point::decode("phi", one)?]);
        }
        Ok(Self { encoded, points })
    }

    /// The message as one field.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.encoded.as_flattened().as_flattened().to_vec()
    }
}

/// What the base receiver draws for one peer and one session: choices, and an exponent and a random point for every column.
pub(crate) struct Draws {
    delta: Zeroizing<[u8; COLUMNS / 8]>,
    columns: Vec<(SecretScalar<Ristretto255>, Point<Ristretto255>)>,
}

impl Draws {
    pub(crate) fn random(rng: &mut impl CryptoRng) -> Self {
        let mut delta = Zeroizing::new([0; COLUMNS / 8]);
        rng.fill_bytes(delta.as_mut());
        let column = |_| {
            let exponent = SecretScalar::random(rng);
            let mut uniform = Zeroizing::new([0; 64]);
            rng.fill_bytes(uniform.as_mut());
            (exponent, Point::from_uniform(&uniform))
        };
        Self {
            delta,
            columns: (0..COLUMNS).map(column).collect(),
        }
    }
}

// Whoever knows which point was drawn knows the choice.
impl Drop for Draws {
    fn drop(&mut self) {
        self.columns
            .iter_mut()
            .for_each(|(_, point)| point.zeroize());
    }
}

impl ZeroizeOnDrop for Draws {}

impl core::fmt::Debug for Draws {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Draws(..)")
    }
}

/// The base receiver's side: answers, and keeps one seed of every column. Use the draws once.
pub(crate) fn choose(
    run: &Run,
    offer: &EncodedPoint<Ristretto255>,
    draws: &Draws,
) -> (SenderSeeds, Reply) {
    let delta = &draws.delta;
    let bits = delta
        .iter()
        .flat_map(|byte| (0..8).map(move |bit| (byte >> bit) & 1));
    let mut seeds = Box::new([[0; SEED_BYTES]; COLUMNS]);
    let mut encoded = Box::new([[[0; 32]; 2]; COLUMNS]);
    let mut points = Vec::with_capacity(COLUMNS);
    let columns = seeds.iter_mut().zip(encoded.iter_mut());
    let drawn = draws.columns.iter().zip(bits);
    let offered = Multiples::new(offer.point());
    for (column, ((drawn, bit), (seed, encoded))) in (0..).zip(drawn.zip(columns)) {
        let (exponent, other) = drawn;
        let other_bytes = bytes(other);
        let chosen = exponent.mul_base() - run.popf(column, bit, &other_bytes);
        let chosen_bytes = bytes(&chosen);
        let swap = Choice::from(bit);
        let [mut zero, mut one] = [chosen_bytes, other_bytes];
        <[u8; 32]>::conditional_swap(&mut zero, &mut one, swap);
        let agreed = offered.mul(exponent);
        *seed = run.seed(column, bit, offer.as_slice(), [&zero, &one], &agreed);
        *encoded = [zero, one];
        points.push(Point::select_pair([chosen, *other], swap));
    }
    let kept = SenderSeeds::new(**delta, seeds);
    (kept, Reply { encoded, points })
}

fn bytes(point: &Point<Ristretto255>) -> [u8; 32] {
    let mut out = [0; 32];
    out.iter_mut()
        .zip(point.encode().as_slice())
        .for_each(|(slot, byte)| *slot = *byte);
    out
}

/// The name of a setup of two nodes: `H("bot/pid"; nid_lo, nid_hi, u32 generation, H("bot/digest"; ..))` over the four messages
/// of both directions.
pub(crate) fn pair_id(
    generation: u32,
    one: (NodeId, &EncodedPoint<Ristretto255>, &Reply),
    other: (NodeId, &EncodedPoint<Ristretto255>, &Reply),
) -> crate::id::PairId {
    let (low, high) = if one.0 < other.0 {
        (one, other)
    } else {
        (other, one)
    };
    let messages = transcript::hash(Tag::BOT_DIGEST)
        .field(low.0)
        .field(high.0)
        .field(low.1)
        .field(high.2.to_bytes())
        .field(high.1)
        .field(low.2.to_bytes())
        .digest();
    let name = transcript::hash(Tag::BOT_PID)
        .field(low.0)
        .field(high.0)
        .u32(generation)
        .field(messages)
        .digest();
    crate::id::PairId::from_bytes(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rng;

    fn run() -> Run {
        Run {
            session: SessionId::from_bytes([1; 32]),
            sender: NodeId::from_bytes([2; 32]),
            receiver: NodeId::from_bytes([3; 32]),
        }
    }

    fn read(reply: &Reply) -> Reply {
        let bytes = reply.to_bytes();
        let mut reader = Reader::new(&bytes);
        let read = Reply::read(&mut reader).unwrap();
        reader.finish("reply").unwrap();
        read
    }

    #[test]
    fn the_receiver_has_the_seed_of_its_choice_and_not_the_other() {
        let offer = Offer::new(&mut rng(1));
        let (sender, reply) = choose(&run(), offer.public(), &Draws::random(&mut rng(2)));
        let receiver = offer.complete(&run(), &read(&reply));
        for (column, (both, one)) in receiver
            .expose_secret()
            .iter()
            .zip(sender.expose_secret())
            .enumerate()
        {
            let bit = usize::from((sender.delta()[column / 8] >> (column % 8)) & 1);
            assert_eq!(both[bit], *one, "column {column}");
            assert_ne!(both[1 - bit], *one, "column {column}");
        }
    }

    /// Session, roles and column are inside every hash: nothing can be moved.
    #[test]
    fn a23_seeds_of_another_session_or_role_are_others() {
        let offer = Offer::new(&mut rng(1));
        let (sender, reply) = choose(&run(), offer.public(), &Draws::random(&mut rng(2)));
        let reply = read(&reply);
        let other_session = Run {
            session: SessionId::from_bytes([9; 32]),
            ..run()
        };
        let other_roles = Run {
            sender: run().receiver,
            receiver: run().sender,
            ..run()
        };
        for moved in [other_session, other_roles] {
            let receiver = offer.complete(&moved, &reply);
            let equal = receiver
                .expose_secret()
                .iter()
                .zip(sender.expose_secret())
                .filter(|(both, one)| both.contains(one))
                .count();
            assert_eq!(equal, 0);
        }
    }

    #[test]
    fn a24_points_that_are_none_or_the_identity_are_refused() {
        let offer = Offer::new(&mut rng(1));
        let (_, reply) = choose(&run(), offer.public(), &Draws::random(&mut rng(2)));
        let bytes = reply.to_bytes();
        for (column, bad) in [(0, [0; 32]), (77, [0xFF; 32]), (255, [0; 32])] {
            let mut changed = bytes.clone();
            changed[column * 32..][..32].copy_from_slice(&bad);
            assert!(Reply::read(&mut Reader::new(&changed)).is_err());
        }
        assert!(Reply::read(&mut Reader::new(&bytes[1..])).is_err());
    }

    #[test]
    fn the_name_of_a_setup_does_not_depend_on_who_computes_it() {
        let (low, high) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
        let [one, two] = [Offer::new(&mut rng(1)), Offer::new(&mut rng(2))];
        let (_, to_one) = choose(&run(), one.public(), &Draws::random(&mut rng(3)));
        let (_, to_two) = choose(&run(), two.public(), &Draws::random(&mut rng(4)));
        let a = (low, one.public(), &to_two);
        let b = (high, two.public(), &to_one);
        assert_eq!(pair_id(1, a, b), pair_id(1, b, a));
        assert_ne!(pair_id(1, a, b), pair_id(2, a, b));
        let swapped = (low, one.public(), &to_one);
        assert_ne!(pair_id(1, a, b), pair_id(1, swapped, b));
    }
}
