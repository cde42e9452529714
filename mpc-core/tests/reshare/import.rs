//! A key that somebody knows, dealt to members; and the way out again.

use std::sync::Arc;

use mpc_core::dkg::{self, DkgOutput, Setup};
use mpc_core::envelope::Envelope;
use mpc_core::export::{self, ExportError};
use mpc_core::group::{Ed25519, Point, Scalar, Secp256k1};
use mpc_core::id::{Attempt, NodeId, Params, PartyIndex, Purpose, RequestId};
use mpc_core::identity::{ExchangeKey, IdentityKey};
use mpc_core::import::{Announcement, Dealer};
use mpc_core::keys::{KeyGroup, PublicKeyPackage};
use mpc_core::roster::{Member, Roster};
use mpc_core::secret::SecretBytes;
use mpc_core::session::{Inbound, Ready, Recipient, Session, Step, WriteKind};
use mpc_core::testing::{Committee, TIMEOUT_MS, rng};
use mpc_core::{Error, Fault, Misuse};

struct Import {
    committee: Committee,
    dealer: Arc<IdentityKey>,
    announcement: Announcement,
    purpose: Purpose,
    threshold: u16,
}

impl Import {
    fn new<G: KeyGroup>(purpose: Purpose, threshold: u16, parties: u16, secret: u64) -> Self {
        let dealer = Arc::new(IdentityKey::generate(&mut rng(31)));
        let announcement = Announcement {
            dealer: dealer.public(),
            public_key: Point::<G>::mul_base(&Scalar::from_u64(secret))
                .encode()
                .as_slice()
                .to_vec(),
            chain_code: [9; 32],
        };
        Self {
            committee: Committee::new(parties, 8),
            dealer,
            announcement,
            purpose,
            threshold,
        }
    }

    fn setup(&self, me: NodeId) -> Setup {
        let parties = u16::try_from(self.committee.roster.len()).unwrap();
        Setup {
            roster: self.committee.roster.clone(),
            me,
            purpose: self.purpose,
            params: Params::new(self.threshold, parties).unwrap(),
            request_id: RequestId::from_bytes([6; 32]),
            attempt: Attempt(0),
            pairs: std::collections::BTreeMap::new(),
        }
    }

    fn deal(&self, secret: [u8; 32]) -> Result<(Dealer, Step<dkg::DkgCertificate>), Error> {
        let (setup, dealer) = (
            self.setup(self.dealer.public().node_id()),
            Arc::clone(&self.dealer),
        );
        let secret = SecretBytes::take(&mut { secret });
        let announcement = self.announcement.clone();
        Dealer::start(
            setup,
            announcement,
            secret,
            dealer,
            &mut rng(5),
            0,
            TIMEOUT_MS,
        )
    }

    /// Everything is delivered at once; `change` may alter what the dealer says.
    fn run(
        &self,
        secret: [u8; 32],
        change: impl Fn(Vec<u8>) -> Option<Vec<u8>>,
    ) -> Vec<Result<DkgOutput, Error>> {
        let me = self.dealer.public().node_id();
        let (mut dealer, step) = self.deal(secret).unwrap();
        let mut members = Vec::new();
        let mut network: Vec<(NodeId, Recipient, Vec<u8>)> = Vec::new();
        let mut results: Vec<Option<Result<DkgOutput, Error>>> = Vec::new();
        let Ready::Now(effects) = step.split() else {
            panic!("a dealer stores nothing")
        };
        network.extend(
            effects
                .send
                .into_iter()
                .filter_map(|out| Some((me, out.to, change(out.bytes)?))),
        );
        for (number, identity) in (1..).zip(&self.committee.identities) {
            let setup = self.setup(self.committee.node(number));
            let (announcement, identity) = (self.announcement.clone(), Arc::clone(identity));
            let mut rng = rng(100 + u64::from(number));
            let node = setup.me;
            let (session, step) =
                dkg::Session::import(setup, announcement, identity, &mut rng, 0, TIMEOUT_MS)
                    .unwrap();
            network.extend(stored(step).0.into_iter().map(|out| (node, out.0, out.1)));
            members.push((node, session));
            results.push(None);
        }
        while !network.is_empty() {
            for (from, to, bytes) in std::mem::take(&mut network) {
                let inbound = || Inbound {
                    from,
                    bytes: bytes.clone(),
                };
                if from != me && to == Recipient::Everyone {
                    let step = dealer.handle(inbound(), 0).map(Step::split);
                    if let Ok(Ready::Now(effects)) = step {
                        let said = effects
                            .send
                            .into_iter()
                            .filter_map(|out| Some((me, out.to, change(out.bytes)?)));
                        network.extend(said);
                    }
                }
                for ((node, session), result) in members.iter_mut().zip(&mut results) {
                    if *node == from || !(to == Recipient::Everyone || to == Recipient::One(*node))
                    {
                        continue;
                    }
                    let mut outcome = session.handle(inbound(), 0);
                    loop {
                        match outcome {
                            Ok(step) => {
                                let (said, output) = stored(step);
                                network.extend(said.into_iter().map(|out| (*node, out.0, out.1)));
                                if let Some(output) = output {
                                    *result = Some(Ok(output));
                                }
                            }
                            Err(Error::Rejected(_)) => {}
                            Err(error) => {
                                result.get_or_insert(Err(error));
                            }
                        }
                        if session.deadline_ms() != Some(0) {
                            break;
                        }
                        outcome = session.tick(0);
                    }
                }
            }
        }
        results.into_iter().map(Option::unwrap).collect()
    }
}

fn stored<O>(step: Step<O>) -> (Vec<(Recipient, Vec<u8>)>, Option<O>) {
    let effects = match step.split() {
        Ready::Now(effects) => effects,
        Ready::AfterWrite(write, held) => {
            assert!(!write.bytes().is_empty() || write.kind() != WriteKind::Share);
            held.release(write.stored()).unwrap()
        }
    };
    (
        effects
            .send
            .into_iter()
            .map(|out| (out.to, out.bytes))
            .collect(),
        effects.output,
    )
}

fn imports<G: KeyGroup>(purpose: Purpose) {
    let import = Import::new::<G>(purpose, 2, 3, 0x51_5EC2E7);
    let secret = Scalar::<G>::from_u64(0x51_5EC2E7).encode();
    let outputs: Vec<_> = import
        .run(secret, Some)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let public = outputs[0].share.public().clone();
    assert_eq!(
        public.chain_code(),
        &[9; 32],
        "its children stay what they are"
    );
    if purpose != Purpose::Bip340 {
        assert_eq!(public.public_key(), import.announcement.public_key);
    }
    for output in &outputs {
        assert_eq!(*output.share.public(), public);
        assert_eq!(output.certificate, outputs[0].certificate);
        output.certificate.verify(&import.committee.roster).unwrap();
        assert_eq!(
            output.pairs.len(),
            if purpose.needs_pairs() { 2 } else { 0 }
        );
    }
    leaves_again(&outputs, &public, &secret);
}

/// What was brought in comes out again, for the recipient and the reason that it was given for.
fn leaves_again(outputs: &[DkgOutput], public: &PublicKeyPackage, secret: &[u8; 32]) {
    let recipient = ExchangeKey::generate(&mut rng(1));
    let other = ExchangeKey::generate(&mut rng(2));
    let reason = [4; 32];
    let gift = |number: usize, to: &ExchangeKey, reason| {
        let share = &outputs[number].share;
        export::seal(share, &to.public(), reason, &mut rng(number as u64)).unwrap()
    };
    let gifts = [gift(0, &recipient, &reason), gift(2, &recipient, &reason)];
    let key = export::open(&gifts, &recipient, &reason, public).unwrap();
    if public.purpose() != Purpose::Bip340 {
        assert_eq!(key.expose_secret(), secret);
    }
    let node = |number: usize| public.node(outputs[number].share.index()).unwrap();
    let wrong = |numbers: &[usize]| {
        let nodes = numbers.iter().map(|number| node(*number)).collect();
        Err(ExportError::WrongShares { nodes })
    };
    let open = |gifts: &[Vec<u8>], key: &ExchangeKey, reason: &[u8; 32]| {
        export::open(gifts, key, reason, public).map(|_| ())
    };
    assert_eq!(open(&gifts, &other, &reason), wrong(&[0, 2]));
    assert_eq!(open(&gifts, &recipient, &[5; 32]), wrong(&[0, 2]));
    let mut spoilt = gifts.to_vec();
    spoilt[1][120] ^= 1;
    assert_eq!(open(&spoilt, &recipient, &reason), wrong(&[2]));
    let few = Err(ExportError::TooFew { got: 1, needed: 2 });
    assert_eq!(open(&gifts[..1], &recipient, &reason), few);
    assert_eq!(
        open(&[gifts[0].clone(), gifts[0].clone()], &recipient, &reason),
        few
    );
    for len in 0..gifts[0].len() {
        let cut = vec![gifts[0][..len].to_vec()];
        assert!(matches!(
            open(&cut, &recipient, &reason),
            Err(ExportError::Malformed(_))
        ));
    }
    let mut elsewhere = gifts.to_vec();
    elsewhere[0][40] ^= 1;
    assert_eq!(
        open(&elsewhere, &recipient, &reason),
        Err(ExportError::OtherSharing)
    );
}

#[test]
fn a_known_key_is_dealt_to_members_and_put_together_again() {
    imports::<Ed25519>(Purpose::Ed25519);
    imports::<Secp256k1>(Purpose::Ecdsa);
    imports::<Secp256k1>(Purpose::Bip340);
}

#[test]
fn a_taproot_key_gets_the_tweak_that_makes_its_usual_address() {
    // BIP 341, wallet test vectors, key path spending without a script tree: private key, and output key.
    let private = "6b973d88838f27366ed61c9ad6367663045cb456e28335c109e30717ae0c6baa";
    let output_key = "53a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343";
    let secret: [u8; 32] = hex::decode(private).unwrap().try_into().unwrap();
    let mut import = Import::new::<Secp256k1>(Purpose::Bip340, 2, 2, 3);
    let point = Point::<Secp256k1>::mul_base(&Scalar::decode("secret", &secret).unwrap());
    import.announcement.public_key = point.encode().as_slice().to_vec();
    let outputs = import.run(secret, Some);
    let key = outputs[0].as_ref().unwrap().share.public().public_key();
    assert_eq!(hex::encode(&key[1..]), output_key);
}

#[test]
fn a_dealer_cannot_bring_another_key() {
    let import = Import::new::<Ed25519>(Purpose::Ed25519, 2, 3, 40);
    let other = Scalar::<Ed25519>::from_u64(41).encode();
    assert!(matches!(
        import.deal(other),
        Err(Error::Misuse(Misuse::InvalidKey(_)))
    ));
    assert!(matches!(
        import.deal([255; 32]),
        Err(Error::Misuse(Misuse::InvalidKey(_)))
    ));
    let mut inside = Import::new::<Ed25519>(Purpose::Ed25519, 2, 3, 40);
    inside.dealer = Arc::clone(inside.committee.identity(1));
    inside.announcement.dealer = inside.dealer.public();
    let secret = Scalar::<Ed25519>::from_u64(40).encode();
    assert!(matches!(
        inside.deal(secret),
        Err(Error::Misuse(Misuse::InvalidRoster(_)))
    ));
}

#[test]
fn a_dealer_that_deals_a_wrong_share_is_convicted_offline() {
    let import = Import::new::<Ed25519>(Purpose::Ed25519, 2, 3, 40);
    let secret = Scalar::<Ed25519>::from_u64(40).encode();
    let dealer = Arc::clone(&import.dealer);
    let seat = |(index, identity): (u16, &Arc<IdentityKey>)| Member {
        index: PartyIndex::new(index).unwrap(),
        identity: identity.public(),
        exchange: ExchangeKey::generate(&mut rng(1)).public(),
    };
    let both = [
        Arc::clone(&dealer),
        Arc::clone(import.committee.identity(1)),
    ];
    let directory = Roster::new((1..).zip(&both).map(seat).collect::<Vec<_>>()).unwrap();
    let results = import.run(secret, |bytes| {
        let envelope = Envelope::open(&directory, &bytes).unwrap();
        let (header, mut body) = (*envelope.header(), envelope.body().to_vec());
        if header.round == 2 {
            let at = body.len() - 20;
            body[at] ^= 1;
        }
        // It does not show afterwards what it would have said.
        (header.round < 3).then(|| Envelope::seal(&dealer, &header, &body))
    });
    for result in results {
        let error = result.unwrap_err();
        assert_eq!(error.culprits(), [dealer.public().node_id()]);
        let Error::Aborted(abort) = error else {
            panic!("an abort")
        };
        assert_eq!(abort.fault, Fault::InvalidShare);
        let proof = abort.evidence.unwrap().encode();
        let verdict = mpc_core::evidence::verify(&import.committee.roster, &proof).unwrap();
        assert_eq!(verdict, (dealer.public().node_id(), Fault::InvalidShare));
    }
}
