//! Between the coordinator's answer and the caller: nothing passes that was not checked here.

use policy::intent::SignedIntent;

use crate::{
    admin::Wallet,
    error::{Error, Stop},
    status::{RequestId, State, Status},
};

/// A signature that verified on this side, and the transaction it completes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    status: Status,
    signatures: Vec<Vec<u8>>,
    signed_tx: Vec<u8>,
}

impl Released {
    /// Checks a released request in every part.
    ///
    /// The intent in the answer must have the id that was asked for; its transaction must decode with the wallet's key
    /// as the signer; the signature must verify strictly over exactly that transaction; and the signed transaction must
    /// be exactly those two put together.
    ///
    /// # Errors
    /// [`Stop::WrongAnswer`] when the answer is about something else, [`Stop::BadSignature`] when it does not verify.
    pub fn check(id: RequestId, status: Status, wallet: &Wallet) -> Result<Self, Error> {
        let signed = own_intent(id, &status)?;
        let intent = signed.intent();
        if status.state != State::Released {
            return Err(Error::wrong_answer("a request that is not released"));
        }
        if intent.wallet != wallet.id || intent.key_id != wallet.key_id {
            return Err(Error::wrong_answer(format_args!(
                "the intent is for wallet {}, key {}",
                intent.wallet,
                hex::encode(intent.key_id)
            )));
        }
        let bad = |message: String| Stop::BadSignature {
            wallet: wallet.id.clone(),
            message,
        };
        let signed_tx = wallet
            .assemble(&intent.raw_tx, &status.signatures)
            .map_err(bad)?;
        if signed_tx != status.signed_tx {
            return Err(bad("the signed transaction is another one".to_owned()).into());
        }
        Ok(Self {
            signatures: status.signatures.clone(),
            status,
            signed_tx,
        })
    }

    /// The signatures that the transaction takes, in its order: one each on Solana and Ethereum, one per input on Bitcoin.
    /// 64 bytes; 65 for ECDSA, the last of which is the recovery id.
    #[must_use]
    pub fn signatures(&self) -> &[Vec<u8>] {
        &self.signatures
    }

    /// The first signature.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        self.signatures.first().map_or(&[], |first| &first[..])
    }

    /// The transaction, ready to be sent to its chain.
    #[must_use]
    pub fn signed_tx(&self) -> &[u8] {
        &self.signed_tx
    }

    /// The rest of what the coordinator said.
    #[must_use]
    pub const fn status(&self) -> &Status {
        &self.status
    }
}

/// The intent inside an answer, if it is the one that was asked for.
pub(crate) fn own_intent(id: RequestId, status: &Status) -> Result<SignedIntent, Error> {
    if status.id != id {
        return Err(Error::wrong_answer(format_args!(
            "asked for request {id}, got {}",
            status.id
        )));
    }
    let signed = SignedIntent::decode(&status.signed_intent)
        .map_err(|e| Error::wrong_answer(format_args!("its intent does not decode: {e}")))?;
    if &signed.digest() != id.as_bytes() {
        return Err(Error::wrong_answer(
            "its intent has another digest than its id",
        ));
    }
    Ok(signed)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};
    use policy::{
        chain::Address,
        solana::{self, Version, build},
    };
    use proto::{keys::DerivationPath, v1};

    use super::*;
    use crate::order::Order;

    const BLOCKHASH: [u8; 32] = [9; 32];

    struct World {
        key: SigningKey,
        wallet: Wallet,
        id: RequestId,
        answer: v1::RequestStatus,
    }

    fn transfer(key: &SigningKey, lamports: u64) -> Vec<u8> {
        let from = Address::from_bytes(key.verifying_key().to_bytes());
        let to = Address::from_bytes([6; 32]);
        build::transfer(from, to, lamports, BLOCKHASH, Version::Legacy).expect("a transfer")
    }

    fn world() -> World {
        let key = SigningKey::from_bytes(&[3; 32]);
        let wallet = Wallet {
            id: "hot".to_owned(),
            chain: "solana:localnet".to_owned(),
            key_id: [7; 32],
            scheme: "ed25519".to_owned(),
            path: DerivationPath::default(),
            key: None,
            public_key: key.verifying_key().to_bytes().to_vec(),
            address: String::new(),
            ready: true,
        };
        let raw = transfer(&key, 5);
        let order = Order::new("hot", raw.clone(), "payout-7", "svc");
        let initiator = SigningKey::from_bytes(&[4; 32]);
        let prepared = order
            .sign("c-01", &wallet, &initiator, 1_000)
            .expect("a good order");
        let signature = key.sign(&raw).to_bytes();
        let mut answer = v1::RequestStatus {
            request_id: prepared.id().as_bytes().to_vec().into(),
            wallet: "hot".to_owned(),
            signed_intent: prepared.as_bytes().to_vec().into(),
            signature: signature.to_vec().into(),
            signed_tx: solana::assemble(&raw, &signature).into(),
            ..v1::RequestStatus::default()
        };
        answer.set_state(v1::RequestState::Released);
        World {
            key,
            wallet,
            id: prepared.id(),
            answer,
        }
    }

    fn check(world: &World) -> Result<Released, Error> {
        let status = Status::try_from(world.answer.clone())?;
        Released::check(world.id, status, &world.wallet)
    }

    #[test]
    fn a_good_answer_passes() {
        let world = world();
        let released = check(&world).expect("everything fits");
        assert_eq!(released.signed_tx(), &world.answer.signed_tx[..]);
    }

    #[test]
    fn a98_a_forged_or_swapped_result_never_reaches_the_caller() {
        let stopped = |change: &dyn Fn(&mut World)| {
            let mut world = world();
            change(&mut world);
            matches!(check(&world), Err(Error::Stop(_)))
        };
        assert!(
            stopped(&|w| {
                let mut bytes = w.answer.signature.to_vec();
                bytes[0] ^= 1;
                w.answer.signature = bytes.into();
            }),
            "a flipped bit"
        );
        assert!(
            stopped(&|w| {
                let other = transfer(&w.key, 6);
                w.answer.signature = w.key.sign(&other).to_bytes().to_vec().into();
            }),
            "the signature of another transaction"
        );
        assert!(
            stopped(&|w| {
                let other = transfer(&w.key, 6);
                let signature = w.key.sign(&other).to_bytes();
                w.answer.signed_tx = solana::assemble(&other, &signature).into();
            }),
            "another signed transaction beside a good signature"
        );
        assert!(
            stopped(&|w| w.answer.signature = vec![0; 63].into()),
            "a short signature"
        );
        assert!(
            stopped(&|w| w.wallet.public_key[0] ^= 1),
            "another wallet key"
        );
        assert!(stopped(&|w| w.wallet.key_id = [8; 32]), "another key id");
        assert!(
            stopped(&|w| {
                let order = Order::new("hot", transfer(&w.key, 6), "payout-8", "svc");
                let initiator = SigningKey::from_bytes(&[4; 32]);
                let twin = order
                    .sign("c-01", &w.wallet, &initiator, 1_000)
                    .expect("good");
                w.answer.signed_intent = twin.as_bytes().to_vec().into();
            }),
            "another intent under the same id"
        );
        assert!(
            stopped(&|w| w.id = RequestId::from_bytes([1; 32])),
            "another request"
        );
    }
}
