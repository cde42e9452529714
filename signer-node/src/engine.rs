//! What the node does with what a coordinator asks.
//!
//! Every call is decided here from this node's own state: its policy, its clock, its ledger, its keys. Nothing that the
//! coordinator claims is believed unless a person, an initiator or another node signed it. A call is a short step under
//! one lock, then, where something must survive a crash, a durable write, and only then an answer.

mod announce;
pub mod backup;
mod catch_up;
mod checks;
mod dkg;
mod ecdsa;
mod evidence;
pub mod export;
mod freeze;
pub(crate) mod inherit;
mod intents;
pub(crate) mod keys;
pub(crate) mod ledger;
mod load;
mod pairs;
mod policy;
mod pools;
mod prepare;
#[cfg(feature = "fuzzing")]
pub(crate) mod records;
mod reshare;
mod retire;
mod session;
mod sharings;
mod sign;
mod status;
mod tunnels;

pub use load::OpenError;
pub use status::SOFTWARE;

use core::fmt;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use ::policy::cluster::ClusterFile;
use mpc_core::id::{NodeId, PartyIndex};
use mpc_core::identity::IdentityKey;
use mpc_core::roster::Roster;
use proto::channel::nested::TunnelIdentity;
use proto::evidence_files::EvidenceFiles;
use proto::link::hello_digest;
use proto::v1::{CoordinatorFrame, NodeFrame, coordinator_frame, node_frame};
use tokio::sync::mpsc;

use crate::clock::{Clock, ClockFault, Now, Reading};
use crate::config::Limits;
use crate::failure::Refusal;
use crate::seal::Vault;
use crate::store::{Change, Pending, Store};

/// Version of the frames.
pub const FRAME_VERSION: u32 = 1;

/// Where the time comes from: the system, or a test.
pub type TimeSource = Arc<dyn Fn() -> Result<Reading, ClockFault> + Send + Sync>;

/// Frames that wait for a slow coordinator; more are dropped, and their senders recover.
const OUTBOX: usize = 1_024;

/// Who this node is; never changes while it runs.
pub(crate) struct Who {
    pub(crate) cluster: ClusterFile,
    pub(crate) roster: Roster,
    pub(crate) node: NodeId,
    pub(crate) index: PartyIndex,
    pub(crate) identity: Arc<IdentityKey>,
    pub(crate) tunnel: TunnelIdentity,
    /// Fresh at every start; commitments of another start are dead.
    pub(crate) boot: [u8; 16],
}

/// What changes.
pub(crate) struct State {
    clock: Clock,
    policies: policy::Policies,
    freeze: freeze::Switch,
    intents: intents::Intents,
    ledger: ledger::Ledger,
    /// Active shares of the highest certified sharings, to sign with.
    keys: BTreeMap<[u8; 32], Arc<keys::Key>>,
    /// Every key that is known here, with or without a share.
    sharings: sharings::Sharings,
    /// Who changes a key waits for its turn.
    turns: BTreeMap<[u8; 32], Arc<tokio::sync::Mutex<()>>>,
    ceremonies: dkg::Ceremonies,
    /// That the store came out of a backup.
    origin: Option<sharings::Origin>,
    /// What peers' attestations must answer; fresh at every start.
    challenge: [u8; 32],
    /// Pool entries that were ever spent.
    spent: std::collections::BTreeSet<[u8; 32]>,
    /// Rows too old to matter, to be removed with the next tick.
    outdated: Vec<Change>,
}

struct Inner {
    who: Who,
    /// The certificate of the outer channel, to say when it ends.
    certificate: std::path::PathBuf,
    limits: Limits,
    /// The name and the public key whose import this node's operator has allowed; empty for none.
    import: String,
    /// Who lets a share out of this node.
    export: export::Consents,
    store: Store,
    /// What convicts other nodes.
    evidence: EvidenceFiles,
    vault: Arc<Vault>,
    /// Where a failed check is noted if the store takes nothing.
    stops: pairs::Stops,
    time: TimeSource,
    // Locked in this order: state, pairs, pools, tunnels.
    state: Mutex<State>,
    pairs: RwLock<pairs::Pairs>,
    pools: Mutex<pools::Pools>,
    tunnels: Mutex<tunnels::Tunnels>,
    /// Held while a policy or an order is judged and stored.
    governance: tokio::sync::Mutex<()>,
    /// Held by whoever is next to start a key generation, and by whoever is next to start a reshare.
    starting: [tokio::sync::Mutex<()>; 2],
    /// Held while a key and its pair setups become active.
    activation: tokio::sync::Mutex<()>,
    outbox: Mutex<Option<mpsc::Sender<NodeFrame>>>,
}

/// A signer node without its connection; cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("node", &self.0.who.node)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// This node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.0.who.node
    }

    /// Identifies this start of the node; 16 random bytes.
    #[must_use]
    pub fn boot(&self) -> [u8; 16] {
        self.0.who.boot
    }

    /// This node's party index.
    #[must_use]
    pub fn index(&self) -> PartyIndex {
        self.0.who.index
    }

    /// The cluster this node belongs to.
    #[must_use]
    pub fn cluster(&self) -> &ClusterFile {
        &self.0.who.cluster
    }

    /// Proves to a coordinator which node dialled: 64 bytes over the coordinator's fresh nonce.
    #[must_use]
    pub fn prove(&self, nonce: &[u8; 32]) -> [u8; 64] {
        let who = &self.0.who;
        who.identity.sign(&hello_digest(
            who.cluster.cluster_id.as_str(),
            who.node.as_bytes(),
            &who.boot,
            nonce,
        ))
    }

    /// Connects the frames that the node sends unasked; an earlier receiver gets no more.
    #[must_use]
    pub fn attach(&self) -> mpsc::Receiver<NodeFrame> {
        let (sender, receiver) = mpsc::channel(OUTBOX);
        *self.0.outbox.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        self.reconnect_tunnels();
        self.announce_all_pools();
        receiver
    }

    /// Works on one frame; the answer, if it has one, carries the call's number.
    pub async fn call(&self, frame: CoordinatorFrame) -> Option<NodeFrame> {
        let call_id = frame.call_id;
        let outcome = if frame.version == FRAME_VERSION {
            match frame.body {
                Some(body) => self.dispatch(body).await,
                None => Err(Refusal::malformed("a frame without a body")),
            }
        } else {
            Err(Refusal::version(frame.version))
        };
        let body = match outcome {
            Ok(body) => body,
            Err(refusal) => {
                tracing::info!(call_id, code = ?refusal.code(), reason = ?refusal.to_string(), "call refused");
                Some(node_frame::Body::Failure(refusal.into()))
            }
        };
        body.filter(|_| call_id != 0).map(|body| NodeFrame {
            version: FRAME_VERSION,
            call_id,
            body: Some(body),
        })
    }

    async fn dispatch(
        &self,
        body: coordinator_frame::Body,
    ) -> Result<Option<node_frame::Body>, Refusal> {
        use coordinator_frame::Body as Call;
        use node_frame::Body as Answer;
        Ok(Some(match body {
            Call::Announce(call) => Answer::Receipt(self.announce(&call).await?),
            Call::Prepare(call) => Answer::Commitments(self.prepare(&call)?),
            Call::Sign(call) => Answer::Share(self.sign(&call).await?),
            Call::StartDkg(call) => Answer::DkgProgress(self.start_dkg(call).await?),
            Call::DkgCertificate(call) => Answer::DkgProgress(self.certify(call).await?),
            Call::StartReshare(call) => Answer::ReshareProgress(self.start_reshare(call).await?),
            Call::ImportMessage(call) => {
                self.on_import(&call)?;
                return Ok(None);
            }
            Call::StopReshare(call) => Answer::ReshareProgress(self.stop_reshare(&call)?),
            Call::Activate(call) => Answer::ReshareProgress(self.activate_sharing(call).await?),
            Call::ChainQuery(call) => Answer::Chain(self.chain_of(&call)?),
            Call::Retire(call) => Answer::KeyState(self.retire(call).await?),
            Call::AttestQuery(call) => Answer::Attestation(self.attest(&call)?),
            Call::CatchUp(call) => Answer::Status(self.catch_up(call).await?),
            Call::InstallPolicy(call) => Answer::PolicyState(self.install_policy(call).await?),
            Call::Order(call) => Answer::FreezeState(self.order(call).await?),
            Call::StatusQuery(_) => Answer::Status(self.status()),
            Call::Withdraw(call) => {
                self.withdraw(&call).await?;
                Answer::Status(self.status())
            }
            Call::Tunnel(frame) => {
                self.on_tunnel(&frame);
                return Ok(None);
            }
            Call::EcdsaOpen(call) => Answer::EcdsaRound1(self.ecdsa_open(&call).await?),
            Call::EcdsaFinish(call) => Answer::EcdsaRound2(self.ecdsa_finish(&call).await?),
            Call::EcdsaExplain(call) => Answer::EcdsaExplanation(self.ecdsa_explain(&call)?),
            Call::Evidence(call) => {
                self.take_evidence(&call);
                return Ok(None);
            }
            Call::FillPool(call) => Answer::PoolEntries(self.fill_pool(&call)?),
            Call::Export(call) => Answer::Exported(self.export(call).await?),
            Call::Challenge(_) => return Err(Refusal::malformed("a challenge after the greeting")),
        }))
    }

    /// Stores the time, so that a restart cannot forget it. Call it every few seconds.
    ///
    /// # Errors
    /// [`Refusal`] with the reason the time is not believed or not stored.
    pub async fn tick(&self) -> Result<(), Refusal> {
        let pending = {
            let mut state = self.state();
            let now = self.now(&mut state)?;
            state.intents.expire(now.wall_ms);
            state.ledger.compact(now.wall_ms);
            let outdated = core::mem::take(&mut state.outdated);
            self.commit(&state, outdated)
        };
        pending.durable().await?;
        self.write_unwritten().await;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self, state: &mut State) -> Result<Now, Refusal> {
        let now = (self.0.time)().and_then(|reading| state.clock.now(reading));
        now.map_err(|fault| {
            tracing::error!(%fault, "clock alarm: everything that depends on time is refused");
            fault.into()
        })
    }

    fn commit(&self, state: &State, changes: Vec<Change>) -> Pending {
        self.0.store.commit(changes, state.clock.mark())
    }

    /// Sends a frame that answers no call; without a connection it is dropped.
    fn send(&self, body: node_frame::Body) {
        let outbox = self.0.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = outbox.as_ref() {
            let frame = NodeFrame {
                version: FRAME_VERSION,
                call_id: 0,
                body: Some(body),
            };
            if sender.try_send(frame).is_err() {
                tracing::warn!("the coordinator does not keep up: a frame was dropped");
            }
        }
    }
}
