//! The gRPC services for wallet backends, approvers and operators: who may call what, how often, how much.
//!
//! Service `Quorate` admits clients and operators, service `Operator` operators only. A certificate admits; what counts
//! is what is signed inside: intents by initiators, votes and orders by people. Any admitted caller may look at any
//! request by its id, since approvers have to; an id that is not here is `UNKNOWN` whatever it may be elsewhere.

use std::{future::Future, pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt as _};
use mpc_core::id::PartyIndex;
use policy::{address, statement::StatementKind, transaction::WalletKeys as _};
use prost::{Message as _, bytes::Bytes};
use proto::{
    channel::identity::{Peer, RoleKind},
    convert::{at_most, protocol, wallet_keys::PackageKeys},
    limits,
    v1::{self, Failure, FailureCode, quorate_server::Quorate},
};
use tokio::sync::Semaphore;
use tokio_stream::wrappers::WatchStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Extensions, Request, Response, Status};

use crate::{
    clock, config,
    engine::Engine,
    intake::limit::CallLimit,
    state::State,
    store::{Filter, RequestId},
};

mod operator;

/// Requests in one list at most.
const LIST_BOUND: u32 = 500;

/// Requests in a list that does not say how many.
const LIST_DEFAULT: u32 = 100;

/// Bytes of a list; the rest of an answer has room above it.
const LIST_BYTES: usize = limits::ANSWER - limits::REQUEST;

/// Statements in one order at most; looked at again where they are judged.
const STATEMENTS_BOUND: usize = 64;

/// Both services over one engine.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    engine: Arc<Engine>,
    calls: Arc<CallLimit>,
    watchers: Arc<Semaphore>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

type StatusStream = Pin<Box<dyn Stream<Item = Result<v1::RequestStatus, Status>> + Send>>;

impl Api {
    pub(crate) fn new(
        engine: Arc<Engine>,
        limits: &config::Limits,
        tasks: TaskTracker,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            engine,
            calls: Arc::new(CallLimit::new(limits)),
            watchers: Arc::new(Semaphore::new(limits.watchers)),
            tasks,
            stopping,
        }
    }

    /// Lets a caller of one of these roles in, and counts the call.
    fn admit(&self, extensions: &Extensions, roles: &[RoleKind]) -> Result<(), Failure> {
        let peer = extensions.get::<Peer>();
        let Some(peer) = peer.filter(|peer| roles.contains(&peer.role.kind())) else {
            let failure = Failure::new(
                FailureCode::NotAuthorised,
                "this certificate's role may not call this",
            );
            return Err(failure.hint("use a client's or an operator's certificate"));
        };
        self.calls.check(&peer.pin)
    }

    fn admit_caller(&self, extensions: &Extensions) -> Result<(), Failure> {
        self.admit(extensions, &[RoleKind::Client, RoleKind::Operator])
    }

    /// Runs a call to its end even if the caller goes away half-way.
    async fn to_the_end<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let ended = self.tasks.spawn(call).await;
        let result = ended.map_err(|_| {
            Failure::new(FailureCode::Internal, "the call ended badly; see the log")
        })?;
        Ok(Response::new(result?))
    }
}

fn request_id(bytes: &[u8]) -> Result<RequestId, Failure> {
    Ok(protocol::request_id("request_id", bytes)?)
}

#[tonic::async_trait]
impl Quorate for Api {
    type WatchRequestStream = StatusStream;

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::RequestStatus>, Status> {
        self.admit_caller(request.extensions())?;
        let (engine, bytes) = (Arc::clone(&self.engine), request.into_inner().signed_intent);
        self.to_the_end(async move { engine.submit(bytes).await })
            .await
    }

    async fn get_request(
        &self,
        request: Request<v1::RequestQuery>,
    ) -> Result<Response<v1::RequestStatus>, Status> {
        self.admit_caller(request.extensions())?;
        let id = request_id(&request.into_inner().request_id)?;
        Ok(Response::new(self.engine.status(id).await?))
    }

    async fn watch_request(
        &self,
        request: Request<v1::RequestQuery>,
    ) -> Result<Response<StatusStream>, Status> {
        self.admit_caller(request.extensions())?;
        let id = request_id(&request.into_inner().request_id)?;
        let permit = Arc::clone(&self.watchers)
            .try_acquire_owned()
            .map_err(|_| {
                Failure::new(FailureCode::Limit, "too many requests are watched")
                    .hint("ask for the request instead")
            })?;
        let changes = WatchStream::new(self.engine.follow(id).await?);
        let stopping = self.stopping.clone().cancelled_owned();
        let stream = changes.take_until(stopping).map(move |status| {
            let _held_as_long_as_the_stream = &permit;
            Ok(status)
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn list_requests(
        &self,
        request: Request<v1::ListRequestsQuery>,
    ) -> Result<Response<v1::RequestList>, Status> {
        self.admit_caller(request.extensions())?;
        let query = request.into_inner();
        let state = if query.state.is_empty() {
            None
        } else {
            let unknown = || {
                Failure::new(FailureCode::Malformed, "no such state")
                    .hint("use a state's name in lower case")
            };
            Some(State::parse(&query.state).ok_or_else(unknown)?)
        };
        let limit = if query.limit == 0 {
            LIST_DEFAULT
        } else {
            query.limit.min(LIST_BOUND)
        };
        let filter = Filter {
            state,
            wallet: (!query.wallet.is_empty()).then_some(query.wallet),
            limit,
        };
        let mut room = LIST_BYTES;
        let mut requests = Vec::new();
        for status in self.engine.list(filter).await? {
            let Some(left) = room.checked_sub(status.encoded_len()) else {
                break;
            };
            room = left;
            requests.push(status);
        }
        Ok(Response::new(v1::RequestList { requests }))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::RequestStatus>, Status> {
        self.admit_caller(request.extensions())?;
        let cancel = request.into_inner();
        let (engine, id) = (Arc::clone(&self.engine), request_id(&cancel.request_id)?);
        self.to_the_end(async move { engine.cancel(id, cancel.signed_statement).await })
            .await
    }

    async fn approve(
        &self,
        request: Request<v1::ApproveRequest>,
    ) -> Result<Response<v1::RequestStatus>, Status> {
        self.admit_caller(request.extensions())?;
        let approve = request.into_inner();
        let (engine, id) = (Arc::clone(&self.engine), request_id(&approve.request_id)?);
        self.to_the_end(async move { engine.approve(id, approve.signed_statement).await })
            .await
    }

    async fn explain(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::RequestStatus>, Status> {
        self.admit_caller(request.extensions())?;
        Ok(Response::new(
            self.engine
                .explain(request.into_inner().signed_intent)
                .await?,
        ))
    }

    async fn list_wallets(
        &self,
        request: Request<v1::ListWalletsQuery>,
    ) -> Result<Response<v1::WalletList>, Status> {
        self.admit_caller(request.extensions())?;
        let policy = self.engine.policy()?;
        let wallets = policy
            .document()
            .wallets()
            .values()
            .map(|wallet| self.wallet_info(wallet))
            .collect();
        Ok(Response::new(v1::WalletList { wallets }))
    }

    async fn get_policy(
        &self,
        request: Request<v1::PolicyQuery>,
    ) -> Result<Response<v1::PolicyInfo>, Status> {
        self.admit_caller(request.extensions())?;
        Ok(Response::new(
            self.engine.policy_info(request.into_inner().version)?,
        ))
    }

    async fn get_cluster(
        &self,
        request: Request<v1::ClusterQuery>,
    ) -> Result<Response<v1::ClusterInfo>, Status> {
        self.admit_caller(request.extensions())?;
        Ok(Response::new(v1::ClusterInfo {
            cluster_id: self.engine.cluster.cluster_id.to_string(),
            threshold: u32::from(self.engine.cluster.threshold),
            nodes: self
                .engine
                .links
                .roster()
                .by_index()
                .map(|(index, _)| self.node_info(index))
                .collect(),
            clock_ms: clock::now_ms(),
            freeze: Some(self.engine.freeze_state()),
            policy: Some(self.engine.policy_state()),
            software: concat!("quorate/", env!("CARGO_PKG_VERSION")).to_owned(),
            stopped: self.engine.stopped_sets(),
            convicted: self.engine.convicts(),
        }))
    }

    async fn freeze(
        &self,
        request: Request<v1::OrderRequest>,
    ) -> Result<Response<v1::FreezeState>, Status> {
        self.admit_caller(request.extensions())?;
        self.order(request.into_inner(), StatementKind::Freeze)
            .await
    }

    async fn unfreeze(
        &self,
        request: Request<v1::OrderRequest>,
    ) -> Result<Response<v1::FreezeState>, Status> {
        self.admit_caller(request.extensions())?;
        self.order(request.into_inner(), StatementKind::Unfreeze)
            .await
    }
}

impl Api {
    async fn order(
        &self,
        order: v1::OrderRequest,
        kind: StatementKind,
    ) -> Result<Response<v1::FreezeState>, Status> {
        at_most("statements", &order.statements, STATEMENTS_BOUND)?;
        let engine = Arc::clone(&self.engine);
        self.to_the_end(async move { engine.order(order.statements, kind).await })
            .await
    }

    fn wallet_info(&self, wallet: &policy::document::Wallet) -> v1::WalletInfo {
        let mut info = v1::WalletInfo {
            id: wallet.id.to_string(),
            chain: wallet.chain.to_string(),
            key_id: Bytes::copy_from_slice(&wallet.key_id),
            ..Default::default()
        };
        if let Some(key) = self.engine.keys.get(&wallet.key_id) {
            info.scheme.clone_from(&key.row.scheme);
            info.public_key = Bytes::copy_from_slice(&key.public_key);
            let keys = PackageKeys(&key.package);
            info.address = keys
                .public_key_at(&wallet.path)
                .and_then(|own| address::at(wallet.chain, keys.scheme()?, &own).ok())
                .map(|address| address.to_string())
                .unwrap_or_default();
            info.path.clone_from(&wallet.path);
            info.public_package = key.package.encode().into();
            info.ready = !key.ended
                && self.engine.active_on(&key).len()
                    >= usize::from(key.package.params().threshold());
        }
        info
    }

    fn node_info(&self, index: PartyIndex) -> v1::NodeInfo {
        let node = self.engine.links.roster().node_id(index);
        let link = self.engine.links.get(index.get());
        v1::NodeInfo {
            index: u32::from(index.get()),
            node_id: node
                .map(|node| Bytes::copy_from_slice(node.as_bytes()))
                .unwrap_or_default(),
            connected: link.is_some(),
            status: link.as_ref().and_then(|link| link.status()).map(|status| {
                let mut status = v1::NodeStatus::clone(&status);
                for key in &mut status.keys {
                    key.certificate_part.clear();
                }
                status
            }),
            rtt_us: link.as_ref().map_or(0, |link| link.rtt_us()),
            clock_offset_ms: link.as_ref().map_or(0, |link| link.offset_ms()),
            drained: self.engine.is_drained(index.get()),
        }
    }
}
