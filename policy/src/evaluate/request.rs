//! The request held against the policy and against its own transaction, before any rule is read.

use std::collections::BTreeMap;

use super::reason::{Code, Reason};
use super::{Facts, MAX_SKEW_MS};
use crate::amount::Amount;
use crate::chain::{Address, Asset};
use crate::document::{Document, Wallet};
use crate::id::{PrincipalId, WalletId};
use crate::intent::SignedIntent;
use crate::ledger::Debit;
use crate::time::format_utc;
use crate::transaction::{self, Transaction, WalletKeys};

/// A request whose names, signature and transaction hold.
#[derive(Debug)]
pub(super) struct Request<'d> {
    pub(super) wallet: &'d Wallet,
    pub(super) initiator: PrincipalId,
    pub(super) transaction: Transaction,
    pub(super) debits: Vec<Debit>,
    totals: BTreeMap<Asset, Amount>,
}

impl<'d> Request<'d> {
    pub(super) fn check(
        document: &'d Document,
        keys: &dyn WalletKeys,
        signed: &SignedIntent,
        now_ms: u64,
    ) -> Result<Self, Vec<Reason>> {
        let intent = signed.intent();
        let mut reasons = Vec::new();
        if intent.cluster_id != document.cluster_id().as_str() {
            let message = format!(
                "the request is for cluster {}, this is {}",
                intent.cluster_id,
                document.cluster_id()
            );
            reasons.push(Reason::new(Code::ClusterMismatch, message));
        }
        if intent.created_ms > now_ms.saturating_add(MAX_SKEW_MS) {
            let message = format!(
                "the request was made at {}, which is still to come",
                format_utc(intent.created_ms)
            );
            reasons.push(
                Reason::new(Code::FromTheFuture, message).remedy("set the initiator's clock"),
            );
        }
        let initiator = check_initiator(document, signed, &mut reasons);
        let wallet = WalletId::parse(&intent.wallet)
            .ok()
            .and_then(|id| document.wallets().get(&id));
        let Some(wallet) = wallet else {
            reasons.push(Reason::new(
                Code::UnknownWallet,
                format!("the policy has no wallet {}", intent.wallet),
            ));
            return Err(reasons);
        };
        if intent.key_id != wallet.key_id {
            let message = format!(
                "the request names another key than that of wallet {}",
                wallet.id
            );
            reasons.push(Reason::new(Code::KeyMismatch, message));
        }
        if intent.chain != wallet.chain.to_string() {
            let message = format!(
                "the request is for chain {}, wallet {} is on {}",
                intent.chain, wallet.id, wallet.chain
            );
            reasons.push(Reason::new(Code::ChainMismatch, message));
        }
        let transaction = decode(wallet, &intent.raw_tx, keys)
            .map_err(|reason| reasons.push(reason))
            .ok();
        match (transaction, initiator) {
            (Some(transaction), Some(initiator)) if reasons.is_empty() => {
                Self::add_up(wallet, initiator, transaction).map_err(|reason| vec![reason])
            }
            _ => Err(reasons),
        }
    }

    fn add_up(
        wallet: &'d Wallet,
        initiator: PrincipalId,
        transaction: Transaction,
    ) -> Result<Self, Reason> {
        let fee = Debit {
            wallet: wallet.id.clone(),
            chain: wallet.chain,
            destination: None,
            asset: Asset::Native,
            amount: transaction.fee_max,
        };
        let transfers = transaction.transfers.iter().map(|transfer| Debit {
            destination: Some(transfer.to),
            asset: transfer.asset,
            amount: transfer.amount,
            ..fee.clone()
        });
        let debits: Vec<Debit> = transfers.chain([fee.clone()]).collect();
        let mut totals: BTreeMap<Asset, Amount> = BTreeMap::new();
        for debit in &debits {
            let total = totals.entry(debit.asset).or_insert(Amount::ZERO);
            *total = total.checked_add(debit.amount).ok_or_else(|| {
                Reason::new(
                    Code::Undecodable,
                    format!(
                        "the transfers of {} add up to more than 2^256 - 1",
                        debit.asset
                    ),
                )
            })?;
        }
        Ok(Self {
            wallet,
            initiator,
            transaction,
            debits,
            totals,
        })
    }

    /// All that leaves of an asset, the highest possible fee included.
    pub(super) fn total(&self, asset: Asset) -> Amount {
        self.totals.get(&asset).copied().unwrap_or(Amount::ZERO)
    }

    /// All of an asset that goes to one destination.
    pub(super) fn total_to(&self, to: Address, asset: Asset) -> Amount {
        let matching = self
            .debits
            .iter()
            .filter(|debit| debit.destination == Some(to) && debit.asset == asset);
        matching.fold(Amount::ZERO, |sum, debit| sum.saturating_add(debit.amount))
    }

    /// What it uses up on its chain must not be what another request may still use.
    pub(super) fn check_conflicts(&self, facts: &Facts<'_>, denials: &mut Vec<Reason>) {
        for key in &self.transaction.conflicts {
            let Some(other) = facts.ledger.holder(&key.digest(), facts.now_ms) else {
                continue;
            };
            let message = format!("request {} uses {key}", hex::encode(other));
            denials.push(
                Reason::new(Code::Conflict, message)
                    .remedy("follow that request, or replace it once it has expired"),
            );
        }
    }

    /// The wallet's own bounds, which no rule can widen.
    pub(super) fn check_wallet_bounds(&self, denials: &mut Vec<Reason>) {
        for transfer in &self.transaction.transfers {
            if !self.wallet.kinds.contains(&transfer.kind) {
                let message = format!("wallet {} may not make a {}", self.wallet.id, transfer.kind);
                denials.push(Reason::new(Code::KindNotAllowed, message));
            }
        }
        if self.transaction.fee_max > self.wallet.max_fee {
            let message = format!(
                "the fee can reach {}, wallet {} pays at most {}",
                self.transaction.fee_max, self.wallet.id, self.wallet.max_fee
            );
            denials.push(
                Reason::new(Code::FeeTooHigh, message)
                    .remedy("lower the fee of the transaction, or the highest that it can reach"),
            );
        }
    }
}

fn check_initiator(
    document: &Document,
    signed: &SignedIntent,
    reasons: &mut Vec<Reason>,
) -> Option<PrincipalId> {
    let name = &signed.intent().initiator;
    let keys = document.initiator_keys(name);
    if keys.is_empty() {
        let message =
            format!("{name} is no machine of the policy and no person with an ed25519 key");
        reasons.push(Reason::new(Code::Initiator, message));
        return None;
    }
    if keys.iter().all(|key| signed.verify(key).is_err()) {
        reasons.push(Reason::new(
            Code::Initiator,
            format!("the request is not signed by a key of {name}"),
        ));
        return None;
    }
    PrincipalId::parse(name).ok()
}

fn decode(wallet: &Wallet, raw: &[u8], keys: &dyn WalletKeys) -> Result<Transaction, Reason> {
    transaction::decode(wallet.chain, raw, keys, &wallet.path).map_err(|refusal| {
        let code = match refusal {
            transaction::Refusal::Key => Code::KeyMismatch,
            _ => Code::Undecodable,
        };
        Reason::new(code, refusal.to_string())
    })
}
