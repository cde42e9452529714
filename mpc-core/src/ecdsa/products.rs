//! The check that every other signer multiplied what it is committed to: its nonce and its public key share.
//!
//! All equations are checked at once, each multiplied by a weight that nobody else can predict. If one of them does not hold, neither
//! does the sum, except with probability 2^-128. Only then is every equation looked at by itself, to say whose it is.
//! (Protocol notes, sections 7.2, S2 check 3, and 11.5.)
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use super::{Point, Scalar, SecretScalar};
use crate::id::NodeId;
use crate::transcript::{self, Tag};
use crate::{Abort, Error, Fault};

/// `product * G == factor * committed - masked` must hold.
pub(super) struct Equation {
    /// Who is convicted by it.
    pub(super) peer: NodeId,
    /// The name of the value that the peer masked.
    pub(super) value: &'static str,
    pub(super) product: SecretScalar,
    pub(super) factor: SecretScalar,
    pub(super) committed: Point,
    pub(super) masked: Point,
}

impl Equation {
    /// Constant time, except for the answer.
    fn holds(&self) -> bool {
        self.product.mul_base() == self.committed * self.factor.expose_secret() - self.masked
    }
}

/// What the weights come from: everything that is checked, and a secret of this signature only.
pub(super) struct Seed<'a> {
    pub(super) openings: [u8; 32],
    pub(super) secret: &'a SecretScalar,
}

impl Seed<'_> {
    /// The weight of an equation after the first: 128 bits.
    fn weight(&self, number: u32) -> Scalar {
        let hash = transcript::hash(Tag::SIG_WEIGHT).field(self.openings);
        let hash = hash.scalar_field(self.secret.expose_secret()).u32(number);
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(hash.digest().as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        let [low, high, ..] = words;
        Scalar::weight(low, high)
    }
}

/// Checks all equations.
///
/// # Errors
/// [`Fault::ProductCheck`] for the first one that does not hold.
pub(super) fn check(equations: &[Equation], seed: &Seed<'_>) -> Result<(), Error> {
    if hold_together(equations, seed) {
        return Ok(());
    }
    let guilty = equations.iter().find(|equation| !equation.holds());
    let Some(Equation { peer, value, .. }) = guilty else {
        return Err(Error::Unreachable("a sum of true equations is wrong"));
    };
    Err(Abort::local(*peer, Fault::ProductCheck { value }).into())
}

/// The sum of all equations, the first one as it is and every other one by its weight. The weights are not secret any more when the
/// points they multiply are known.
fn hold_together(equations: &[Equation], seed: &Seed<'_>) -> bool {
    let Some((first, rest)) = equations.split_first() else {
        return true;
    };
    let mut product = SecretScalar::new(*first.product.expose_secret());
    let mut factors = vec![(
        SecretScalar::new(*first.factor.expose_secret()),
        first.committed,
    )];
    let mut masked = Vec::new();
    for (number, equation) in (1..).zip(rest) {
        let weight = seed.weight(number);
        let weighted = |secret: &SecretScalar| SecretScalar::new(*secret.expose_secret() * weight);
        product = SecretScalar::new(
            *product.expose_secret() + *weighted(&equation.product).expose_secret(),
        );
        factors.push((weighted(&equation.factor), equation.committed));
        masked.push((weight, equation.masked));
    }
    let masked = first.masked + Point::multi_mul_vartime(&masked);
    product.mul_base() == Point::multi_mul(&factors) - masked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rng;

    const VALUES: [&str; 2] = ["gk", "gx"];

    fn equations(peers: u8) -> Vec<Equation> {
        let rng = &mut rng(u64::from(peers));
        let mut equations = Vec::new();
        for (peer, value) in (0..peers).flat_map(|peer| VALUES.map(|value| (peer, value))) {
            let [product, factor] = [(); 2].map(|()| SecretScalar::random(rng));
            let committed = SecretScalar::random(rng).mul_base();
            equations.push(Equation {
                peer: NodeId::from_bytes([peer; 32]),
                value,
                masked: committed * factor.expose_secret() - product.mul_base(),
                product,
                factor,
                committed,
            });
        }
        equations
    }

    fn seed(secret: &SecretScalar) -> Seed<'_> {
        Seed {
            openings: [7; 32],
            secret,
        }
    }

    fn blamed(equations: &[Equation]) -> Option<(NodeId, &'static str)> {
        let secret = SecretScalar::random(&mut rng(99));
        match check(equations, &seed(&secret)) {
            Ok(()) => None,
            Err(Error::Aborted(abort)) => match abort.fault {
                Fault::ProductCheck { value } => abort.poisons().map(|peer| (peer, value)),
                fault => panic!("another fault: {fault:?}"),
            },
            Err(error) => panic!("another error: {error:?}"),
        }
    }

    #[test]
    fn true_equations_hold_together() {
        for peers in [0, 1, 2, 9] {
            assert_eq!(blamed(&equations(peers)), None);
        }
    }

    #[test]
    fn a27_one_false_product_among_many_is_found_and_its_author_named() {
        let offset = Point::generator();
        for peers in [1, 3, 9] {
            for number in 0..2 * usize::from(peers) {
                type Change = fn(&mut Equation, Point);
                let changes: [Change; 4] = [
                    |equation, offset| equation.masked = equation.masked + offset,
                    |equation, offset| equation.committed = equation.committed - offset,
                    |equation, _| {
                        let one = SecretScalar::new(-Scalar::one());
                        equation.product = equation.product.minus(&one);
                    },
                    |equation, _| {
                        equation.factor =
                            SecretScalar::new(*equation.factor.expose_secret() + Scalar::one());
                    },
                ];
                for change in changes {
                    let mut equations = equations(peers);
                    change(&mut equations[number], offset);
                    let expected = (equations[number].peer, equations[number].value);
                    assert_eq!(blamed(&equations), Some(expected));
                }
            }
        }
    }

    /// Errors of one peer, or of two that work together, that would cancel out in a sum without weights.
    #[test]
    fn a27_errors_that_cancel_each_other_out_are_found() {
        let offset = Point::generator();
        for (one, other) in [(0, 1), (0, 3), (2, 3), (1, 5)] {
            let mut equations = equations(3);
            equations[one].masked = equations[one].masked + offset;
            equations[other].masked = equations[other].masked - offset;
            let first = &equations[one.min(other)];
            assert_eq!(blamed(&equations), Some((first.peer, first.value)));
        }
    }

    #[test]
    fn weights_depend_on_everything() {
        let [one, other] = [98, 99].map(|number| SecretScalar::random(&mut rng(number)));
        let [one, other] = [seed(&one), seed(&other)];
        let third = Seed {
            openings: [8; 32],
            ..one
        };
        let mut seen = vec![Scalar::one().encode()];
        for seed in [&one, &other, &third] {
            seen.extend((1..20).map(|number| seed.weight(number).encode()));
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 58);
    }
}
