//! Between the coordinator's answer and the caller: nothing passes that was not checked here.

use ed25519_dalek::{Signature, VerifyingKey};
use policy::{intent::SignedIntent, solana};

use crate::{
    admin::Wallet,
    error::{Error, Stop},
    status::{RequestId, State, Status},
};

/// A signature that verified on this side, and the transaction it completes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    status: Status,
    signature: [u8; 64],
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
        let public_key = wallet
            .ed25519()
            .ok_or_else(|| bad("the wallet's key is not an ed25519 key".to_owned()))?;
        solana::decode(&intent.raw_tx, &public_key)
            .map_err(|e| bad(format!("the transaction is not this wallet's: {e}")))?;
        let signature = <[u8; 64]>::try_from(&status.signature[..])
            .map_err(|_| bad(format!("it has {} bytes, not 64", status.signature.len())))?;
        VerifyingKey::from_bytes(&public_key)
            .and_then(|key| key.verify_strict(&intent.raw_tx, &Signature::from_bytes(&signature)))
            .map_err(|_| bad("it does not verify".to_owned()))?;
        let signed_tx = solana::assemble(&intent.raw_tx, &signature);
        if signed_tx != status.signed_tx {
            return Err(bad("the signed transaction is another one".to_owned()).into());
        }
        Ok(Self {
            status,
            signature,
            signed_tx,
        })
    }

    /// The signature, 64 bytes.
    #[must_use]
    pub const fn signature(&self) -> &[u8; 64] {
        &self.signature
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
        return Err(Error::wrong_answer("its intent has another digest than its id"));
    }
    Ok(signed)
}
