//! Shamir polynomials, their public commitments, and Lagrange coefficients.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use std::collections::{BTreeMap, BTreeSet};

use rand_core::CryptoRng;

use crate::Misuse;
use crate::group::{EncodedPoint, Group, Point, Scalar};
use crate::id::PartyIndex;
use crate::secret::SecretScalar;

/// A secret polynomial `f`, lowest coefficient first. Wiped when dropped.
#[derive(Debug)]
pub struct SecretPolynomial<G: Group>(Vec<SecretScalar<G>>);

impl<G: Group> SecretPolynomial<G> {
    /// `threshold` uniform coefficients, zero included: degree below `threshold`.
    #[must_use]
    pub fn random(threshold: u16, rng: &mut impl CryptoRng) -> Self {
        Self((0..threshold).map(|_| SecretScalar::random(rng)).collect())
    }

    /// As [`Self::random`], but with a given value at 0.
    #[must_use]
    pub fn with_constant(
        constant: &SecretScalar<G>,
        threshold: u16,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let mut first = *constant.expose_secret();
        let higher = (1..threshold).map(|_| SecretScalar::random(rng));
        Self(
            core::iter::once(SecretScalar::take(&mut first))
                .chain(higher)
                .collect(),
        )
    }

    /// The polynomial with these coefficients.
    #[cfg(test)]
    pub(crate) const fn from_coefficients(coefficients: Vec<SecretScalar<G>>) -> Self {
        Self(coefficients)
    }

    /// `f(index)`, in constant time.
    #[must_use]
    pub fn evaluate(&self, index: PartyIndex) -> SecretScalar<G> {
        let x = Scalar::from_index(index);
        let mut value = Scalar::zero();
        for coefficient in self.0.iter().rev() {
            value = value * x + *coefficient.expose_secret();
        }
        SecretScalar::take(&mut value)
    }

    /// The coefficients times the generator.
    #[must_use]
    pub fn commit(&self) -> Commitment<G> {
        Commitment(
            self.0
                .iter()
                .map(|coefficient| EncodedPoint::new(coefficient.mul_base()))
                .collect(),
        )
    }

    /// The coefficients, lowest first.
    #[must_use]
    pub fn coefficients(&self) -> &[SecretScalar<G>] {
        &self.0
    }
}

/// A dealer's polynomial in the exponent: one point for each coefficient, lowest first. Public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitment<G: Group>(Vec<EncodedPoint<G>>);

impl<G: Group> Commitment<G> {
    /// Takes the points as they are; their number is the caller's to check.
    #[must_use]
    pub const fn new(points: Vec<EncodedPoint<G>>) -> Self {
        Self(points)
    }

    /// The points, lowest coefficient first.
    #[must_use]
    pub fn points(&self) -> &[EncodedPoint<G>] {
        &self.0
    }

    /// The points side by side, in their fixed encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.0
            .iter()
            .flat_map(EncodedPoint::as_slice)
            .copied()
            .collect()
    }

    /// `f(0)` in the exponent; the identity if there are no points.
    #[must_use]
    pub fn constant(&self) -> Point<G> {
        self.0
            .first()
            .map_or_else(Point::identity, |point| *point.point())
    }

    /// `f(index)` in the exponent. About ten point additions per coefficient.
    #[must_use]
    pub fn evaluate_vartime(&self, index: PartyIndex) -> Point<G> {
        horner_vartime(self.0.iter().map(EncodedPoint::point), index)
    }
}

/// The sum of dealers' polynomials in the exponent. Public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicPolynomial<G: Group>(Vec<Point<G>>);

impl<G: Group> PublicPolynomial<G> {
    /// The sum of commitments of one length, coefficient by coefficient.
    ///
    /// # Errors
    /// [`Misuse::InvalidKey`] when the lengths differ or there is nothing to add.
    pub fn sum<'a>(
        commitments: impl IntoIterator<Item = &'a Commitment<G>>,
    ) -> Result<Self, Misuse> {
        let mut commitments = commitments.into_iter();
        let first = commitments
            .next()
            .ok_or(Misuse::InvalidKey("no commitments to add"))?;
        let mut total: Vec<Point<G>> = first.0.iter().map(|point| *point.point()).collect();
        for commitment in commitments {
            if commitment.0.len() != total.len() {
                return Err(Misuse::InvalidKey("commitments of different length"));
            }
            for (sum, point) in total.iter_mut().zip(&commitment.0) {
                *sum = *sum + *point.point();
            }
        }
        Ok(Self(total))
    }

    /// `f(0)` in the exponent; the identity if there are no points.
    #[must_use]
    pub fn constant(&self) -> Point<G> {
        self.0.first().copied().unwrap_or_else(Point::identity)
    }

    /// `f(index)` in the exponent. About ten point additions per coefficient.
    #[must_use]
    pub fn evaluate_vartime(&self, index: PartyIndex) -> Point<G> {
        horner_vartime(self.0.iter(), index)
    }
}

fn horner_vartime<'a, G: Group>(
    points: impl DoubleEndedIterator<Item = &'a Point<G>>,
    index: PartyIndex,
) -> Point<G> {
    points.rev().fold(Point::identity(), |value, point| {
        value.mul_small_vartime(index.get()) + *point
    })
}

/// The Lagrange coefficients at 0 of a set of parties: `f(0) = sum of coefficient * f(index)`.
///
/// One field inversion for the whole set. Variable time in the indices, which are public.
///
/// # Errors
/// [`Misuse::InvalidSigners`] for an empty set.
pub fn lagrange_at_zero<G: Group>(
    parties: &BTreeSet<PartyIndex>,
) -> Result<BTreeMap<PartyIndex, Scalar<G>>, Misuse> {
    lagrange_at(parties, Scalar::zero())
}

/// The Lagrange coefficients of a set of parties at any point `x`.
///
/// # Errors
/// [`Misuse::InvalidSigners`] for an empty set.
pub fn lagrange_at<G: Group>(
    parties: &BTreeSet<PartyIndex>,
    x: Scalar<G>,
) -> Result<BTreeMap<PartyIndex, Scalar<G>>, Misuse> {
    let fractions: Vec<(PartyIndex, Scalar<G>, Scalar<G>)> =
        parties.iter().map(|i| fraction(parties, *i, x)).collect();
    // Montgomery's trick: invert the product of all denominators, then peel them off from the back.
    let mut before = Vec::with_capacity(fractions.len());
    let mut product = Scalar::one();
    for (_, _, denominator) in &fractions {
        before.push(product);
        product = product * *denominator;
    }
    let mut inverse = product
        .invert()
        .ok_or(Misuse::InvalidSigners("indices are not distinct"))?;
    let mut coefficients = BTreeMap::new();
    for ((index, numerator, denominator), before) in fractions.into_iter().zip(before).rev() {
        coefficients.insert(index, numerator * inverse * before);
        inverse = inverse * denominator;
    }
    if coefficients.is_empty() {
        Err(Misuse::InvalidSigners("the set is empty"))
    } else {
        Ok(coefficients)
    }
}

fn fraction<G: Group>(
    parties: &BTreeSet<PartyIndex>,
    index: PartyIndex,
    x: Scalar<G>,
) -> (PartyIndex, Scalar<G>, Scalar<G>) {
    let own = Scalar::from_index(index);
    let others = parties
        .iter()
        .filter(|other| **other != index)
        .map(|other| Scalar::from_index(*other));
    let start = (Scalar::one(), Scalar::one());
    let (numerator, denominator) =
        others.fold(start, |(n, d), other| (n * (x - other), d * (own - other)));
    (index, numerator, denominator)
}

/// The value at `x` in the exponent of the polynomial through the given public shares.
///
/// # Errors
/// [`Misuse::InvalidSigners`] for an empty set.
pub fn interpolate_vartime<G: Group>(
    shares: &BTreeMap<PartyIndex, Point<G>>,
    x: Scalar<G>,
) -> Result<Point<G>, Misuse> {
    let coefficients = lagrange_at(&shares.keys().copied().collect(), x)?;
    let terms: Vec<_> = coefficients
        .into_values()
        .zip(shares.values().copied())
        .collect();
    Ok(Point::multi_mul_vartime(&terms))
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;
    use crate::group::{Ed25519, Secp256k1};

    fn index(value: u16) -> PartyIndex {
        PartyIndex::new(value).unwrap()
    }

    fn shares_interpolate<G: Group>() {
        let mut rng = ChaCha20Rng::from_seed([4; 32]);
        let f = SecretPolynomial::<G>::random(3, &mut rng);
        let commitment = f.commit();
        let total = PublicPolynomial::sum([&commitment]).unwrap();
        assert_eq!(total.constant(), f.coefficients()[0].mul_base());
        let set: BTreeSet<_> = [2, 5, 32].map(index).into();
        let coefficients = lagrange_at_zero::<G>(&set).unwrap();
        let secret: Scalar<G> = coefficients
            .iter()
            .map(|(i, c)| *c * *f.evaluate(*i).expose_secret())
            .sum();
        assert!(secret == *f.coefficients()[0].expose_secret());
        let public: BTreeMap<_, _> = set
            .iter()
            .map(|i| (*i, commitment.evaluate_vartime(*i)))
            .collect();
        for (i, point) in &public {
            assert_eq!(*point, f.evaluate(*i).mul_base());
        }
        assert_eq!(
            interpolate_vartime(&public, Scalar::zero()),
            Ok(total.constant())
        );
        assert_eq!(
            interpolate_vartime(&public, Scalar::from_u64(9)),
            Ok(total.evaluate_vartime(index(9)))
        );
    }

    #[test]
    fn any_threshold_of_shares_gives_the_secret() {
        shares_interpolate::<Ed25519>();
        shares_interpolate::<Secp256k1>();
    }

    #[test]
    fn an_empty_set_is_refused() {
        assert_eq!(
            lagrange_at_zero::<Ed25519>(&BTreeSet::new()).map(|_| ()),
            Err(Misuse::InvalidSigners("the set is empty"))
        );
    }

    #[test]
    fn commitments_of_different_length_do_not_add() {
        let mut rng = ChaCha20Rng::from_seed([5; 32]);
        let short = SecretPolynomial::<Ed25519>::random(2, &mut rng).commit();
        let long = SecretPolynomial::<Ed25519>::random(3, &mut rng).commit();
        assert!(PublicPolynomial::sum([&short, &long]).is_err());
        assert!(PublicPolynomial::<Ed25519>::sum([]).is_err());
    }

    #[test]
    fn a14_coefficients_include_every_low_byte() {
        let mut rng = ChaCha20Rng::from_seed([6; 32]);
        let mut counts = [0_u32; 256];
        for _ in 0..50 {
            for coefficient in SecretPolynomial::<Ed25519>::random(512, &mut rng).coefficients() {
                counts[usize::from(coefficient.expose_secret().encode()[0])] += 1;
            }
        }
        // 25600 samples in 256 cells: chi-square with 255 degrees of freedom stays below 380 except with chance 10^-6.
        let chi_square: f64 = counts
            .iter()
            .map(|count| (f64::from(*count) - 100.0).powi(2) / 100.0)
            .sum();
        assert!(chi_square < 380.0, "{chi_square}");
        assert!(counts[0] > 0);
    }
}
