//! What only operators may ask.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _, stream};
use policy::governance::MAX_STATEMENTS;
use prost::Message as _;
use proto::{
    channel::identity::RoleKind,
    convert::at_most,
    v1::{self, Failure, FailureCode, operator_server::Operator},
};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Extensions, Request, Response, Status};

use super::{Api, LIST_BYTES};
use crate::engine::orders::is_over;

/// Changes of an order that come closer together than this are told as one.
const COALESCE: Duration = Duration::from_millis(20);

/// An order as it stands, with the keys that have changed since it was last told.
fn changes(known: Option<&v1::OrderStatus>, status: &v1::OrderStatus) -> v1::OrderStatus {
    let mut told = status.clone();
    if let Some(known) = known {
        told.keys.retain(|key| !known.keys.contains(key));
    }
    told
}

type ProgressStream = Pin<Box<dyn Stream<Item = Result<v1::DkgProgress, Status>> + Send>>;

/// What follows an order: the channel, what was told last, and the watcher's place.
type Watching = (
    watch::Receiver<v1::OrderStatus>,
    Option<v1::OrderStatus>,
    OwnedSemaphorePermit,
);
type OrderStream = Pin<Box<dyn Stream<Item = Result<v1::OrderStatus, Status>> + Send>>;

impl Api {
    fn admit_operator(&self, extensions: &Extensions) -> Result<(), Failure> {
        self.admit(extensions, &[RoleKind::Operator])
    }
}

#[tonic::async_trait]
impl Operator for Api {
    type CreateKeyStream = ProgressStream;
    type WatchOrderStream = OrderStream;

    async fn submit_order(
        &self,
        request: Request<v1::KeyOrderRequest>,
    ) -> Result<Response<v1::OrderStatus>, Status> {
        self.admit_operator(request.extensions())?;
        let (engine, request) = (Arc::clone(&self.engine), request.into_inner());
        at_most("statements", &request.statements, MAX_STATEMENTS)?;
        self.to_the_end(async move { engine.submit_order(request).await })
            .await
    }

    async fn watch_order(
        &self,
        request: Request<v1::OrderQuery>,
    ) -> Result<Response<OrderStream>, Status> {
        self.admit_operator(request.extensions())?;
        let place = Arc::clone(&self.watchers)
            .try_acquire_owned()
            .map_err(|_| {
                let failure = Failure::new(FailureCode::Limit, "too many watchers");
                failure.hint("ask for the list of orders instead")
            })?;
        let followed = self.engine.follow_order(&request.into_inner().request_id)?;
        let stopping = self.stopping.clone().cancelled_owned();
        let stream = stream::unfold(
            Some((followed, None, place)),
            |state: Option<Watching>| async move {
                let (mut followed, known, place) = state?;
                if known.is_some() {
                    followed.changed().await.ok()?;
                    tokio::time::sleep(COALESCE).await;
                }
                let status = followed.borrow_and_update().clone();
                let told = changes(known.as_ref(), &status);
                let next = (!is_over(&status)).then_some((followed, Some(status), place));
                Some((Ok(told), next))
            },
        );
        Ok(Response::new(Box::pin(stream.take_until(stopping))))
    }

    async fn list_orders(
        &self,
        request: Request<v1::ListOrdersQuery>,
    ) -> Result<Response<v1::OrderList>, Status> {
        self.admit_operator(request.extensions())?;
        let query = request.into_inner();
        let mut orders = self.engine.list_orders(query.ended, query.limit);
        let mut room = LIST_BYTES;
        orders.retain(|order| {
            let size = order.encoded_len();
            let fits = size <= room;
            room = if fits { room.saturating_sub(size) } else { 0 };
            fits
        });
        Ok(Response::new(v1::OrderList { orders }))
    }

    async fn cancel_order(
        &self,
        request: Request<v1::OrderQuery>,
    ) -> Result<Response<v1::OrderStatus>, Status> {
        self.admit_operator(request.extensions())?;
        let (engine, query) = (Arc::clone(&self.engine), request.into_inner());
        self.to_the_end(async move { engine.cancel_order(&query.request_id).await })
            .await
    }

    async fn drain_node(
        &self,
        request: Request<v1::DrainRequest>,
    ) -> Result<Response<v1::NodeInfo>, Status> {
        self.admit_operator(request.extensions())?;
        let (engine, request) = (Arc::clone(&self.engine), request.into_inner());
        let index = self
            .to_the_end(async move { engine.drain_node(request.index, request.drained).await })
            .await?
            .into_inner();
        Ok(Response::new(self.node_info(index)))
    }

    async fn create_key(
        &self,
        request: Request<v1::CreateKeyRequest>,
    ) -> Result<Response<ProgressStream>, Status> {
        self.admit_operator(request.extensions())?;
        let (engine, request) = (Arc::clone(&self.engine), request.into_inner());
        let progress = self
            .to_the_end(async move { engine.create_key(request).await })
            .await?
            .into_inner();
        let stopping = self.stopping.clone().cancelled_owned();
        let stream = ReceiverStream::new(progress).map(Ok).take_until(stopping);
        Ok(Response::new(Box::pin(stream)))
    }

    async fn import_message(
        &self,
        request: Request<v1::ImportMessage>,
    ) -> Result<Response<v1::ImportPassed>, Status> {
        self.admit_operator(request.extensions())?;
        self.engine.pass_import(&request.into_inner())?;
        Ok(Response::new(v1::ImportPassed {}))
    }

    async fn list_keys(
        &self,
        request: Request<v1::ListKeysQuery>,
    ) -> Result<Response<v1::KeyList>, Status> {
        self.admit_operator(request.extensions())?;
        Ok(Response::new(v1::KeyList {
            keys: self.engine.key_infos(),
        }))
    }

    async fn install_policy(
        &self,
        request: Request<v1::InstallPolicy>,
    ) -> Result<Response<v1::PolicyInfo>, Status> {
        self.admit_operator(request.extensions())?;
        let (engine, request) = (Arc::clone(&self.engine), request.into_inner());
        self.to_the_end(async move { engine.install_policy(request).await })
            .await
    }

    async fn propose_policy(
        &self,
        request: Request<v1::InstallPolicy>,
    ) -> Result<Response<v1::PolicyInfo>, Status> {
        self.admit_operator(request.extensions())?;
        Ok(Response::new(
            self.engine.propose_policy(&request.into_inner())?,
        ))
    }
}
