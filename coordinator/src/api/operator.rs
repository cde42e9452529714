//! What only operators may ask.

use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use proto::{
    channel::identity::RoleKind,
    v1::{self, Failure, operator_server::Operator},
};
use std::pin::Pin;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Extensions, Request, Response, Status};

use super::Api;

type ProgressStream = Pin<Box<dyn Stream<Item = Result<v1::DkgProgress, Status>> + Send>>;

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
        Err(Status::unimplemented("orders about keys"))
    }

    async fn watch_order(
        &self,
        request: Request<v1::OrderQuery>,
    ) -> Result<Response<OrderStream>, Status> {
        self.admit_operator(request.extensions())?;
        Err(Status::unimplemented("orders about keys"))
    }

    async fn list_orders(
        &self,
        request: Request<v1::ListOrdersQuery>,
    ) -> Result<Response<v1::OrderList>, Status> {
        self.admit_operator(request.extensions())?;
        Err(Status::unimplemented("orders about keys"))
    }

    async fn cancel_order(
        &self,
        request: Request<v1::OrderQuery>,
    ) -> Result<Response<v1::OrderStatus>, Status> {
        self.admit_operator(request.extensions())?;
        Err(Status::unimplemented("orders about keys"))
    }

    async fn drain_node(
        &self,
        request: Request<v1::DrainRequest>,
    ) -> Result<Response<v1::NodeInfo>, Status> {
        self.admit_operator(request.extensions())?;
        Err(Status::unimplemented("draining nodes"))
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
