//! Handing a share out. It takes three things at this node: people's order as this node's own policy wants it, two of this node's own
//! operators, and a share that peers have not overtaken. Where the operators have named nobody, no share ever leaves.
//!
//! The order comes through the coordinator. The consents do not: each lies in a folder on this machine, as a file named after the
//! order and the operator's key, with the operator's signature over the order and this node's name in hexadecimal. Before the share leaves, the key is
//! marked here as handed out, and this node signs with it no more.

use std::path::PathBuf;

use mpc_core::export;
use mpc_core::identity::IdentityPublic;
use policy::governance::{self, Matter};
use policy::statement::{Exportation, SignedStatement};
use proto::convert::reshare::check_key;
use proto::settings::read_text;
use proto::v1::{Export, Exported, Failure, FailureCode};
use rand_core::UnwrapErr;

use super::retire::read_order;
use super::sharings::{self, Record, Stop, sharing_of};
use super::{Engine, State};
use crate::clock::Now;
use crate::failure::Refusal;

/// How many of a node's operators must consent.
const OPERATORS: usize = 2;

/// Who lets this node hand a share out.
pub(super) struct Consents {
    pub(super) operators: Vec<IdentityPublic>,
    /// The folder with their signatures.
    pub(super) folder: PathBuf,
}

impl Consents {
    /// How many different operators have signed this.
    fn given(&self, order: &[u8; 32], digest: &[u8; 32]) -> usize {
        let signed = |operator: &&IdentityPublic| {
            let name = consent_file(order, operator.as_bytes());
            let text = read_text(&self.folder.join(name)).unwrap_or_default();
            let mut signature = [0; 64];
            hex::decode_to_slice(text.trim(), &mut signature).is_ok()
                && operator.verify(digest, &signature)
        };
        self.operators.iter().filter(signed).count()
    }
}

/// The name of the file with one operator's consent to an order.
#[must_use]
pub fn consent_file(order: &[u8; 32], operator: &[u8; 32]) -> String {
    format!("{}-{}.consent", hex::encode(order), hex::encode(operator))
}

impl Engine {
    pub(super) async fn export(&self, call: Export) -> Result<Exported, Refusal> {
        let (statements, matter) = read_order(&call.statements)?;
        let Some(Matter::Export(order)) = matter else {
            return Err(Refusal::malformed("the order hands no key out"));
        };
        let key = order.key.key;
        if !self.state().sharings.contains_key(&key) {
            return Err(Refusal::unknown("the key"));
        }
        let turn = self.turn_of(&key);
        let _turn = turn.lock().await;
        let who = &self.0.who;
        let (share, pending) = {
            let mut state = self.state();
            let now = self.now(&mut state)?;
            self.allow_export(&state, now, &order, &statements)?;
            let share = state.keys.get(&key).ok_or_else(|| {
                Refusal::new(
                    FailureCode::ShareLost,
                    "this node has no share of the active sharing",
                    "the other members have theirs",
                )
            })?;
            let record = Record::Exported {
                key,
                request: order.request,
                at_ms: now.wall_ms,
                statements: statements.iter().map(SignedStatement::encode).collect(),
            };
            let marked = state.sharings.get(&key).and_then(|held| held.stopped);
            let pending = (marked != Some(Stop::Exported))
                .then(|| self.commit(&state, vec![sharings::append(&record)]));
            (std::sync::Arc::clone(&share.share), pending)
        };
        if let Some(pending) = pending {
            pending.durable().await?;
            let mut state = self.state();
            if let Some(held) = state.sharings.get_mut(&key) {
                held.stop(Stop::Exported);
            }
        }
        let digest = order.digest(who.cluster.cluster_id.as_str());
        let rng = &mut UnwrapErr(getrandom::SysRng);
        let sealed = export::seal(&share, &order.recipient, &digest, rng);
        let sealed = sealed.map_err(Refusal::malformed)?;
        tracing::error!(
            key = %hex::encode(key), order = %hex::encode(order.request), recipient = %hex::encode(order.recipient), reason = order.reason,
            "alert: this node has handed its share of a key out; it signs with that key no more"
        );
        Ok(Exported {
            key_id: key.to_vec().into(),
            sharing: Some(sharing_of(share.public())),
            index: share.index().get().into(),
            sealed: sealed.into(),
        })
    }

    /// Whether everybody has consented whom it takes at this node. A key that was handed out before may be so again.
    fn allow_export(
        &self,
        state: &State,
        now: Now,
        order: &Exportation,
        statements: &[SignedStatement],
    ) -> Result<(), Refusal> {
        let who = &self.0.who;
        let refuse = |message: String, hint: &str| {
            Err(Refusal::new(FailureCode::NotAuthorised, message, hint))
        };
        let held = state.sharings.get(&order.key.key);
        let held = held.ok_or_else(|| Refusal::unknown("the key"))?;
        // A key with two certified sharings signs nothing more; handing it out may be all that is left.
        if !matches!(held.stopped, Some(Stop::Exported | Stop::Conflict)) {
            held.in_use()?;
        }
        if state.freeze.frozen(now) {
            let hint = "it takes a signed unfreeze";
            return Err(Refusal::new(
                FailureCode::Frozen,
                "this node is stopped",
                hint,
            ));
        }
        if held.unconfirmed {
            return Err(Refusal::new(
                FailureCode::CatchingUp,
                "the share came out of a backup and no peer has confirmed it",
                "have the other nodes attest their state to this one",
            ));
        }
        let document = state.policies.active(&now).ok();
        let document = document.map(governance::Installed::document);
        if let Err(error) = governance::authorise(document, &who.cluster, statements, now.wall_ms) {
            let hint = "have the order signed by the people whom the policy names";
            return refuse(error.to_string(), hint);
        }
        check_key(&order.key, &held.name, held.lineage.active()).map_err(Failure::from)?;
        let consents = &self.0.export;
        if consents.operators.len() < OPERATORS {
            return refuse(
                "this node hands no share out: its configuration names no operators who may let it"
                    .to_owned(),
                "only its own operators can change that, with `export_operators` in node.toml and a restart",
            );
        }
        let cluster = who.cluster.cluster_id.as_str();
        let digest = order.consent_digest(cluster, who.node.as_bytes());
        let given = consents.given(&order.request, &digest);
        if given < OPERATORS {
            return refuse(
                format!("{given} of this node's operators have consented, {OPERATORS} must"),
                "each writes a consent with `quorate key export-consent` on this machine",
            );
        }
        Ok(())
    }
}
