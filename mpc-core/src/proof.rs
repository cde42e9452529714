//! Proofs of knowledge of a logarithm, and of equality of several, bound to a context.
//!
//! ```text
//! DL     r; T = r*G;       e = Hs(tag; ctx.., u16 i, G, A, T);            z = r + e*a;   z*G == T + e*A
//! DLEQ   r; T_b = r*P_b;   e = Hs(tag; ctx.., u16 i, P.., Q.., T..);      z = r + e*a;   z*P_b == T_b + e*Q_b
//! ```
//! The challenge covers the statement, the prover's index and the caller's context (session, position), so a proof cannot
//! be moved. Nonces are hedged: `r = Hs("nonce"; 32 random bytes, secret, tag, (ctx) list, i, (statement) list)`. Two proofs
//! share a nonce only if they are the same proof, so one draw of 32 bytes serves a whole session.
//! (Protocol notes, section 2.)
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use crate::codec::{DecodeError, Reader, Writer};
use crate::group::{EncodedPoint, Group, Point, PointBytes, Scalar};
use crate::id::{NodeId, PartyIndex};
use crate::secret::{SecretBytes, SecretScalar};
use crate::transcript::{self, Tag};

/// What a proof is bound to.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a, P: Prover = PartyIndex> {
    /// The statement's tag.
    pub tag: Tag,
    /// Further fields: session, position. Their number is fixed by the tag.
    pub fields: &'a [&'a [u8]],
    /// Who proves.
    pub prover: P,
}

/// What names a prover: an index among the holders of a key, or a node.
pub trait Prover {
    /// The field that is hashed.
    fn field(&self) -> Vec<u8>;
}

impl Prover for PartyIndex {
    fn field(&self) -> Vec<u8> {
        self.get().to_be_bytes().to_vec()
    }
}

impl Prover for NodeId {
    fn field(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
}

impl<P: Prover> Context<'_, P> {
    fn challenge<G: Group>(&self, statement: &[&[u8]]) -> Scalar<G> {
        transcript::wide(self.tag)
            .fields(self.fields)
            .field(self.prover.field())
            .fields(statement)
            .scalar()
    }

    fn nonce<G: Group>(
        &self,
        hedge: &SecretBytes<32>,
        secret: &SecretScalar<G>,
        statement: &[&[u8]],
    ) -> SecretScalar<G> {
        let transcript = transcript::wide(Tag::NONCE)
            .field(hedge.expose_secret())
            .scalar_field(secret.expose_secret());
        let transcript = transcript
            .field(self.tag.as_str())
            .list(self.fields)
            .field(self.prover.field())
            .list(statement);
        SecretScalar::new(transcript.scalar())
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
    ///
    /// `hedge` comes from the random source and stays secret.
    #[must_use]
    pub fn prove(
        context: &Context<'_, impl Prover>,
        hedge: &SecretBytes<32>,
        secret: &SecretScalar<G>,
        public: &EncodedPoint<G>,
    ) -> Self {
        let nonce = context.nonce(hedge, secret, &[public.as_slice()]);
        let commitment = nonce.mul_base().encode();
        let challenge = Self::challenge(context, public, &commitment);
        Self {
            commitment,
            response: *nonce.expose_secret() + challenge * *secret.expose_secret(),
        }
    }

    fn challenge(
        context: &Context<'_, impl Prover>,
        public: &EncodedPoint<G>,
        commitment: &PointBytes<G>,
    ) -> Scalar<G> {
        let base = Point::<G>::generator_bytes();
        context.challenge(&[base.as_slice(), public.as_slice(), commitment.as_slice()])
    }

    /// Whether the proof holds for `public`. Variable time; everything is public. The identity has no proof.
    #[must_use]
    pub fn verify(&self, context: &Context<'_, impl Prover>, public: &EncodedPoint<G>) -> bool {
        let challenge = Self::challenge(context, public, &self.commitment);
        let commitment = Point::double_mul_vartime(&-challenge, public.point(), &self.response);
        !public.point().is_identity()
            && !commitment.is_identity()
            && commitment.encode() == self.commitment
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
pub struct EqualityStatement<G: Group, const N: usize = 2> {
    /// Points whose relations nobody but the prover may know.
    pub bases: [Point<G>; N],
    /// The same multiple of each.
    pub images: [Point<G>; N],
}

impl<G: Group, const N: usize> EqualityStatement<G, N> {
    /// Bases, then images.
    fn encode(&self) -> Vec<PointBytes<G>> {
        let points = self.bases.iter().chain(&self.images);
        points.map(Point::encode).collect()
    }
}

/// Equality of the logarithms of `N` images. Encoded as `T_1 || .. || T_N || z`: 96 bytes for two 32-byte points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EqualityProof<G: Group, const N: usize = 2> {
    commitments: [PointBytes<G>; N],
    response: Scalar<G>,
}

impl<G: Group, const N: usize> EqualityProof<G, N> {
    /// Length of the encoding in bytes.
    pub const BYTES: usize = N * G::POINT_BYTES + 32;

    /// Proves that every image is `secret` times its base. Constant time in `secret`.
    ///
    /// `hedge` comes from the random source and stays secret.
    #[must_use]
    pub fn prove(
        context: &Context<'_, impl Prover>,
        hedge: &SecretBytes<32>,
        secret: &SecretScalar<G>,
        statement: &EqualityStatement<G, N>,
    ) -> Self {
        let encoded = statement.encode();
        let fields: Vec<&[u8]> = encoded.iter().map(PointBytes::as_slice).collect();
        let nonce = context.nonce(hedge, secret, &fields);
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
        context: &Context<'_, impl Prover>,
        statement: &EqualityStatement<G, N>,
        commitments: &[PointBytes<G>; N],
    ) -> Scalar<G> {
        let encoded = statement.encode();
        let fields = encoded.iter().chain(commitments);
        context.challenge(&fields.map(PointBytes::as_slice).collect::<Vec<_>>())
    }

    /// Whether the proof holds. Variable time; everything is public.
    #[must_use]
    pub fn verify(
        &self,
        context: &Context<'_, impl Prover>,
        statement: &EqualityStatement<G, N>,
    ) -> bool {
        let challenge = -Self::challenge(context, statement, &self.commitments);
        let holds = |((base, image), commitment): ((&Point<G>, &Point<G>), &PointBytes<G>)| {
            let expected = Point::multi_mul_vartime(&[(self.response, *base), (challenge, *image)]);
            !image.is_identity() && !expected.is_identity() && expected.encode() == *commitment
        };
        let pairs = statement.bases.iter().zip(&statement.images);
        pairs.zip(&self.commitments).all(holds)
    }

    /// Appends the encoding.
    pub fn write(&self, out: &mut Writer) {
        for commitment in &self.commitments {
            out.bytes(commitment.as_slice());
        }
        out.bytes(&self.response.encode());
    }

    /// Reads an encoding.
    ///
    /// # Errors
    /// `Length`, or `NotCanonical` for the response; `field` is the name to report.
    pub fn read(field: &'static str, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut commitments = [Point::<G>::generator_bytes(); N];
        for commitment in &mut commitments {
            *commitment = PointBytes::from_slice(field, reader.bytes(field, G::POINT_BYTES)?)?;
        }
        let response = Scalar::decode(field, reader.bytes(field, 32)?)?;
        Ok(Self {
            commitments,
            response,
        })
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;
    use crate::group::{Ed25519, Ristretto255, Secp256k1};

    fn context<'a>(fields: &'a [&'a [u8]], prover: u16) -> Context<'a> {
        Context {
            tag: Tag::DKG_POP,
            fields,
            prover: PartyIndex::new(prover).unwrap(),
        }
    }

    fn log_proofs_are_bound_to_statement_and_context<G: Group>() {
        let mut rng = ChaCha20Rng::from_seed([2; 32]);
        let (hedge, secret) = (
            SecretBytes::random(&mut rng),
            SecretScalar::<G>::random(&mut rng),
        );
        let public = EncodedPoint::new(secret.mul_base());
        let fields: [&[u8]; 2] = [b"session", &[0, 1]];
        let proof = LogProof::prove(&context(&fields, 1), &hedge, &secret, &public);
        assert!(proof.verify(&context(&fields, 1), &public));

        assert!(
            !proof.verify(&context(&fields, 2), &public),
            "another prover"
        );
        assert!(
            !proof.verify(&context(&[b"session", &[0, 2]], 1), &public),
            "another position"
        );
        assert!(
            !proof.verify(
                &Context {
                    tag: Tag::DKG_EPH,
                    ..context(&fields, 1)
                },
                &public
            ),
            "another statement"
        );
        assert!(
            !proof.verify(
                &context(&fields, 1),
                &EncodedPoint::new(*public.point() + *public.point())
            ),
            "another point"
        );
        assert!(
            !proof.verify(&context(&fields, 1), &EncodedPoint::new(Point::identity())),
            "the identity"
        );

        let mut out = Writer::default();
        proof.write(&mut out);
        let bytes = out.finish();
        assert_eq!(bytes.len(), LogProof::<G>::BYTES);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let read = LogProof::<G>::read("proof", &mut Reader::new(&changed));
            assert!(
                !read.is_ok_and(|proof| proof.verify(&context(&fields, 1), &public)),
                "byte {at}"
            );
        }
    }

    #[test]
    fn a58_every_field_of_a_proof_of_knowledge_counts() {
        log_proofs_are_bound_to_statement_and_context::<Ed25519>();
        log_proofs_are_bound_to_statement_and_context::<Secp256k1>();
        log_proofs_are_bound_to_statement_and_context::<Ristretto255>();
    }

    #[test]
    fn a58_a_proof_fixed_before_its_statement_is_refused() {
        // If the challenge did not cover the statement, A = (z*G - T) / e would verify for any T and z.
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let commitment = Point::<Ed25519>::mul_base(&Scalar::random(&mut rng)).encode();
        let response = Scalar::<Ed25519>::random(&mut rng);
        let fields: [&[u8]; 1] = [b"session"];
        let first = LogProof::challenge(
            &context(&fields, 1),
            &EncodedPoint::new(Point::generator()),
            &commitment,
        );
        let target = Point::mul_base(&response) - commitment.decode("T").unwrap();
        let public = EncodedPoint::new(target * &first.invert().unwrap());
        assert!(
            !LogProof {
                commitment,
                response
            }
            .verify(&context(&fields, 1), &public)
        );
    }

    #[test]
    fn a58_every_field_of_an_equality_proof_counts() {
        let mut rng = ChaCha20Rng::from_seed([4; 32]);
        let (hedge, secret) = (
            SecretBytes::random(&mut rng),
            SecretScalar::<Ristretto255>::random(&mut rng),
        );
        let base = SecretScalar::<Ristretto255>::random(&mut rng).mul_base();
        let bases = [Point::generator(), base];
        let statement = EqualityStatement {
            bases,
            images: bases.map(|base| base * secret.expose_secret()),
        };
        let fields: [&[u8]; 1] = [b"session"];
        let proof = EqualityProof::prove(&context(&fields, 3), &hedge, &secret, &statement);
        assert!(proof.verify(&context(&fields, 3), &statement));
        assert!(!proof.verify(&context(&fields, 4), &statement));
        for changed in 0..2 {
            let mut other = statement;
            other.images[changed] = other.images[changed] + base;
            assert!(!proof.verify(&context(&fields, 3), &other));
            let mut other = statement;
            other.bases[changed] = other.bases[changed] + base;
            assert!(!proof.verify(&context(&fields, 3), &other));
        }
        let mut out = Writer::default();
        proof.write(&mut out);
        let bytes = out.finish();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let read = EqualityProof::read("proof", &mut Reader::new(&changed));
            assert!(
                !read.is_ok_and(|proof| proof.verify(&context(&fields, 3), &statement)),
                "byte {at}"
            );
        }
    }

    #[test]
    fn an_equality_of_three_covers_each_of_them() {
        let mut rng = ChaCha20Rng::from_seed([6; 32]);
        let hedge = SecretBytes::random(&mut rng);
        let secret = SecretScalar::<Secp256k1>::random(&mut rng);
        let bases = [(); 3].map(|()| SecretScalar::<Secp256k1>::random(&mut rng).mul_base());
        let statement = EqualityStatement {
            bases,
            images: bases.map(|base| base * secret.expose_secret()),
        };
        let prover = |byte| Context {
            tag: Tag::BLAME,
            fields: &[],
            prover: NodeId::from_bytes([byte; 32]),
        };
        let proof = EqualityProof::prove(&prover(1), &hedge, &secret, &statement);
        assert!(proof.verify(&prover(1), &statement));
        assert!(!proof.verify(&prover(2), &statement));
        for changed in 0..3 {
            let mut other = statement;
            other.images[changed] = other.images[changed] + bases[0];
            assert!(!proof.verify(&prover(1), &other));
        }
        let mut out = Writer::default();
        proof.write(&mut out);
        assert_eq!(out.finish().len(), EqualityProof::<Secp256k1, 3>::BYTES);
    }

    #[test]
    fn a_nonce_is_shared_by_equal_proofs_only() {
        let mut rng = ChaCha20Rng::from_seed([5; 32]);
        let (hedge, secret) = (
            SecretBytes::random(&mut rng),
            SecretScalar::<Ed25519>::random(&mut rng),
        );
        let public = EncodedPoint::new(secret.mul_base());
        let prove = |fields: &[&[u8]], prover, hedge| {
            LogProof::prove(&context(fields, prover), hedge, &secret, &public)
        };
        let first = prove(&[b"a"], 1, &hedge);
        assert_eq!(first, prove(&[b"a"], 1, &hedge));
        let other_hedge = SecretBytes::random(&mut rng);
        for other in [
            prove(&[b"b"], 1, &hedge),
            prove(&[b"a"], 2, &hedge),
            prove(&[b"a"], 1, &other_hedge),
        ] {
            assert_ne!(first.commitment, other.commitment);
        }
    }
}
