//! Proofs of knowledge of a logarithm, and of equality of two logarithms, bound to a context.
//!
//! ```text
//! DL     r; T = r*G;       e = Hs(tag; ctx.., u16 i, G, A, T);            z = r + e*a;   z*G == T + e*A
//! DLEQ   r; T_b = r*P_b;   e = Hs(tag; ctx.., u16 i, P.., Q.., T..);      z = r + e*a;   z*P_b == T_b + e*Q_b
//! ```
//! The challenge covers the statement, the prover's index and the caller's context (session, position), so a proof cannot
//! be moved. Nonces are hedged: `r = Hs("nonce"; 32 random bytes, secret, ctx..)`. (Protocol notes, section 2.)
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use rand_core::CryptoRng;

use crate::codec::{DecodeError, Reader, Writer};
use crate::group::{Group, Point, PointBytes, Scalar};
use crate::id::PartyIndex;
use crate::secret::{SecretBytes, SecretScalar};
use crate::transcript::{self, Tag};

/// What a proof is bound to.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The statement's tag.
    pub tag: Tag,
    /// Further fields: session, position. Their number is fixed by the tag.
    pub fields: &'a [&'a [u8]],
    /// Who proves.
    pub prover: PartyIndex,
}

impl Context<'_> {
    fn challenge<G: Group>(&self, statement: &[&[u8]]) -> Scalar<G> {
        transcript::wide(self.tag)
            .fields(self.fields)
            .u16(self.prover.get())
            .fields(statement)
            .scalar()
    }

    fn nonce<G: Group>(
        &self,
        secret: &SecretScalar<G>,
        rng: &mut impl CryptoRng,
    ) -> SecretScalar<G> {
        let fresh = SecretBytes::<32>::random(rng);
        let transcript = transcript::wide(Tag::NONCE)
            .field(fresh.expose_secret())
            .scalar_field(secret.expose_secret());
        SecretScalar::new(
            transcript
                .field(self.tag.as_str())
                .fields(self.fields)
                .u16(self.prover.get())
                .scalar(),
        )
    }
}

/// Knowledge of `a` in `A = a*G`. Encoded as `T || z`: 64 bytes, 65 on secp256k1.
///
/// `T` is kept as bytes: the verifier recomputes it from valid points and compares encodings, so it need not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogProof<G: Group> {
    commitment: PointBytes<G>,
    response: Scalar<G>,
}

impl<G: Group> LogProof<G> {
    /// Length of the encoding in bytes.
    pub const BYTES: usize = G::POINT_BYTES + 32;

    /// Proves knowledge of `secret` where `public = secret * G`. Constant time in `secret`.
    #[must_use]
    pub fn prove(
        context: &Context<'_>,
        secret: &SecretScalar<G>,
        public: &Point<G>,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let nonce = context.nonce(secret, rng);
        let commitment = nonce.mul_base().encode();
        let challenge = Self::challenge(context, public, &commitment);
        Self {
            commitment,
            response: *nonce.expose_secret() + challenge * *secret.expose_secret(),
        }
    }

    fn challenge(
        context: &Context<'_>,
        public: &Point<G>,
        commitment: &PointBytes<G>,
    ) -> Scalar<G> {
        let (base, public) = (Point::<G>::generator().encode(), public.encode());
        context.challenge(&[base.as_slice(), public.as_slice(), commitment.as_slice()])
    }

    /// Whether the proof holds for `public`. Variable time; everything is public. The identity has no proof.
    #[must_use]
    pub fn verify(&self, context: &Context<'_>, public: &Point<G>) -> bool {
        let challenge = Self::challenge(context, public, &self.commitment);
        let commitment = Point::double_mul_vartime(&-challenge, public, &self.response);
        !public.is_identity() && !commitment.is_identity() && commitment.encode() == self.commitment
    }

    /// Appends the encoding.
    pub fn write(&self, out: &mut Writer) {
        out.bytes(self.commitment.as_slice())
            .bytes(&self.response.encode());
    }

    /// Reads an encoding.
    ///
    /// # Errors
    /// `Length`, or `NotCanonical` for the response; `field` is the name to report.
    pub fn read(field: &'static str, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let commitment = PointBytes::from_slice(field, reader.bytes(field, G::POINT_BYTES)?)?;
        let response = Scalar::decode(field, reader.bytes(field, 32)?)?;
        Ok(Self {
            commitment,
            response,
        })
    }
}

/// Bases and images of an equality proof: `images[b] = a * bases[b]`.
#[derive(Clone, Copy, Debug)]
pub struct EqualityStatement<G: Group> {
    /// Two points whose relation nobody but the prover may know.
    pub bases: [Point<G>; 2],
    /// The same multiple of each.
    pub images: [Point<G>; 2],
}

/// Equality of the logarithms of two images. Encoded as `T_1 || T_2 || z`: 96 bytes for 32-byte points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EqualityProof<G: Group> {
    commitments: [PointBytes<G>; 2],
    response: Scalar<G>,
}

impl<G: Group> EqualityProof<G> {
    /// Length of the encoding in bytes.
    pub const BYTES: usize = 2 * G::POINT_BYTES + 32;

    /// Proves that both images are `secret` times their base. Constant time in `secret`.
    #[must_use]
    pub fn prove(
        context: &Context<'_>,
        secret: &SecretScalar<G>,
        statement: &EqualityStatement<G>,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let nonce = context.nonce(secret, rng);
        let commitments = statement
            .bases
            .map(|base| (base * nonce.expose_secret()).encode());
        let challenge = Self::challenge(context, statement, &commitments);
        Self {
            commitments,
            response: *nonce.expose_secret() + challenge * *secret.expose_secret(),
        }
    }

    fn challenge(
        context: &Context<'_>,
        statement: &EqualityStatement<G>,
        commitments: &[PointBytes<G>; 2],
    ) -> Scalar<G> {
        let [p1, p2] = statement.bases.map(|point| point.encode());
        let [q1, q2] = statement.images.map(|point| point.encode());
        let [t1, t2] = commitments;
        context.challenge(&[&p1, &p2, &q1, &q2, t1, t2].map(PointBytes::as_slice))
    }

    /// Whether the proof holds. Variable time; everything is public.
    #[must_use]
    pub fn verify(&self, context: &Context<'_>, statement: &EqualityStatement<G>) -> bool {
        let challenge = -Self::challenge(context, statement, &self.commitments);
        let holds = |base: &Point<G>, image: &Point<G>, commitment: &PointBytes<G>| {
            let expected = Point::multi_mul_vartime(&[(self.response, *base), (challenge, *image)]);
            !image.is_identity() && !expected.is_identity() && expected.encode() == *commitment
        };
        let ([p1, p2], [q1, q2], [t1, t2]) =
            (&statement.bases, &statement.images, &self.commitments);
        holds(p1, q1, t1) && holds(p2, q2, t2)
    }

    /// Appends the encoding.
    pub fn write(&self, out: &mut Writer) {
        let [t1, t2] = &self.commitments;
        out.bytes(t1.as_slice())
            .bytes(t2.as_slice())
            .bytes(&self.response.encode());
    }

    /// Reads an encoding.
    ///
    /// # Errors
    /// `Length`, or `NotCanonical` for the response; `field` is the name to report.
    pub fn read(field: &'static str, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let t1 = PointBytes::from_slice(field, reader.bytes(field, G::POINT_BYTES)?)?;
        let t2 = PointBytes::from_slice(field, reader.bytes(field, G::POINT_BYTES)?)?;
        let response = Scalar::decode(field, reader.bytes(field, 32)?)?;
        Ok(Self {
            commitments: [t1, t2],
            response,
        })
    }
}
