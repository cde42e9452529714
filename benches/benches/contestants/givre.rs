//! givre, which signs Ed25519 here.

use std::time::Duration;

use benches::timed;
use givre::KeyShare;
use givre::ciphersuite::Ed25519;
use givre::generic_ec::{Point, Scalar, curves};
use givre::signing::aggregate::{Signature, aggregate};
use givre::signing::round1::{PublicCommitments, SecretNonces, commit};
use givre::signing::round2::{SigShare, sign};

use super::source::Source;
use super::{MESSAGE, Peer};

type Curve = curves::Ed25519;
type Commitments = Vec<(u16, PublicCommitments<Curve>)>;

pub(crate) struct Givre {
    shares: Vec<KeyShare<Curve>>,
    source: Source,
}

fn decode(encoded: &[[Vec<u8>; 2]], own: Option<(u16, PublicCommitments<Curve>)>) -> Commitments {
    let point = |bytes: &Vec<u8>| Point::from_bytes(bytes).expect("a point");
    let decode = |(index, [hiding, binding]): (u16, &[Vec<u8>; 2])| match own {
        Some((own, commitment)) if own == index => (own, commitment),
        _ => (
            index,
            PublicCommitments {
                hiding_comm: point(hiding),
                binding_comm: point(binding),
            },
        ),
    };
    (0..).zip(encoded).map(decode).collect()
}

impl Givre {
    pub(crate) fn new(threshold: u16, parties: u16) -> Self {
        let mut source = Source::new(5);
        let dealer =
            givre::trusted_dealer::builder::<Curve>(parties).set_threshold(Some(threshold));
        let mut shares = dealer.generate_shares(&mut source).expect("shares");
        shares.truncate(usize::from(threshold));
        Self { shares, source }
    }

    fn commit(&mut self) -> (Vec<SecretNonces<Curve>>, Commitments) {
        let (mut nonces, mut commitments) = (Vec::new(), Vec::new());
        for (index, share) in (0..).zip(&self.shares) {
            let (secret, commitment) = commit::<Ed25519>(&mut self.source, share);
            nonces.push(secret);
            commitments.push((index, commitment));
        }
        (nonces, commitments)
    }

    fn answers(
        &self,
        nonces: Vec<SecretNonces<Curve>>,
        commitments: &Commitments,
    ) -> Vec<SigShare<Curve>> {
        let answer = |(share, nonces)| {
            sign::<Ed25519>(share, nonces, MESSAGE, commitments).expect("round two")
        };
        self.shares.iter().zip(nonces).map(answer).collect()
    }

    fn finish(&self, commitments: &Commitments, shares: &[SigShare<Curve>]) -> Signature<Ed25519> {
        let signers: Vec<_> = commitments
            .iter()
            .zip(shares)
            .map(|((index, point), share)| (*index, *point, *share))
            .collect();
        aggregate::<Ed25519>(self.shares[0].as_ref(), &signers, MESSAGE).expect("a signature")
    }
}

impl Peer for Givre {
    fn name(&self) -> &'static str {
        "givre"
    }

    fn round1(&mut self) -> Duration {
        timed(|| commit::<Ed25519>(&mut self.source, &self.shares[0])).1
    }

    fn round2(&mut self) -> Duration {
        let (mut nonces, commitments) = self.commit();
        let nonces = nonces.swap_remove(0);
        timed(|| {
            sign::<Ed25519>(&self.shares[0], nonces, MESSAGE, &commitments).expect("round two")
        })
        .1
    }

    fn aggregate(&mut self) -> Duration {
        let (nonces, commitments) = self.commit();
        let shares = self.answers(nonces, &commitments);
        timed(|| self.finish(&commitments, &shares)).1
    }

    fn whole(&mut self) -> Duration {
        timed(|| {
            let (nonces, commitments) = self.commit();
            let shares = self.answers(nonces, &commitments);
            self.finish(&commitments, &shares)
        })
        .1
    }

    fn over_bytes(&mut self) -> Duration {
        timed(|| {
            let (nonces, commitments) = self.commit();
            let encode = |(_, commitment): &(u16, PublicCommitments<Curve>)| {
                [commitment.hiding_comm, commitment.binding_comm]
                    .map(|point| point.to_bytes(true).as_bytes().to_vec())
            };
            let encoded: Vec<_> = commitments.iter().map(encode).collect();
            let mut sent = Vec::new();
            for (own, (share, nonces)) in commitments.iter().zip(self.shares.iter().zip(nonces)) {
                let received = decode(&encoded, Some(*own));
                let answer = sign::<Ed25519>(share, nonces, MESSAGE, &received).expect("round two");
                sent.push(answer.0.to_le_bytes().as_bytes().to_vec());
            }
            let share = |bytes: &Vec<u8>| SigShare(Scalar::from_le_bytes(bytes).expect("a share"));
            let shares: Vec<_> = sent.iter().map(share).collect();
            self.finish(&decode(&encoded, None), &shares)
        })
        .1
    }

    fn keygen(&mut self) -> Option<Duration> {
        None
    }

    fn refresh(&mut self) -> Option<Duration> {
        None
    }

    fn reshare(&mut self) -> Option<Duration> {
        None
    }
}
