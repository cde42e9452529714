//! Starting and stopping: store, links, engine, services, in this order, and back.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use mpc_core::roster::Roster;
use policy::cluster::ClusterFile;
use proto::{
    FILE_DESCRIPTOR_SET,
    channel::{acceptor, config::Files},
    convert::reshare::roster_of,
    limits,
    v1::{
        node_link_server::NodeLinkServer, operator_server::OperatorServer,
        quorate_server::QuorateServer,
    },
};
use tokio::{net::TcpListener, sync::oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::limit::GlobalConcurrencyLimitLayer;

use crate::{
    Config,
    api::Api,
    engine::Engine,
    error::RunError,
    links::{LinkService, Links},
    store::{Sqlite, Store},
};

/// Calls that one connection may have under way; nodes and busy backends use one connection each.
const CALLS_PER_CONNECTION: usize = 512;

/// How long closing connections and background work may take after the drain.
const CLOSING: Duration = Duration::from_secs(5);

/// Runs a coordinator until `shutdown` is ready, then drains and stops.
///
/// # Errors
/// [`RunError`] if it cannot start or its server fails.
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let (ready, _) = oneshot::channel();
    run_with_ready(config, ready, shutdown).await
}

/// As [`run`]; `ready` receives the address once calls are answered.
///
/// # Errors
/// [`RunError`] if it cannot start or its server fails.
pub async fn run_with_ready(
    config: Config,
    ready: oneshot::Sender<SocketAddr>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let cluster = read_cluster(&config)?;
    let roster = Arc::new(read_roster(&cluster)?);
    let listen_error = |source| RunError::Listen {
        address: config.listen,
        source,
    };
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&config.store)?);
    let (tasks, stopping) = (TaskTracker::new(), CancellationToken::new());
    let (links, reports) = Links::new(cluster.cluster_id.to_string(), roster, config.links.clone());
    let mut options = acceptor::Options::coordinator(files(&config), cluster.cluster_id.clone());
    options.limits.connections = config.limits.connections;
    let engine = Engine::load(
        config.clone(),
        cluster,
        Arc::clone(&links),
        store,
        tasks.clone(),
        stopping.clone(),
    )
    .await?;
    let (incoming, _monitor) =
        acceptor::accept(listener, options).map_err(|error| RunError::Tls(error.to_string()))?;
    engine.start(reports);

    let api = Api::new(
        Arc::clone(&engine),
        &config.limits,
        tasks.clone(),
        stopping.clone(),
    );
    let link_service = LinkService::new(Arc::clone(&links), tasks.clone());
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<QuorateServer<Api>>().await;
    health.set_serving::<OperatorServer<Api>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| {
            RunError::Tls(format!(
                "the compiled service description is damaged: {error}"
            ))
        })?;
    let server = acceptor::server()
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION)
        .max_concurrent_streams(u32::try_from(CALLS_PER_CONNECTION).ok())
        .timeout(config.limits.call_timeout)
        .layer(GlobalConcurrencyLimitLayer::new(
            config.limits.concurrent_calls,
        ))
        .add_service(health_service)
        .add_service(reflection)
        .add_service(
            QuorateServer::new(api.clone())
                .max_decoding_message_size(limits::REQUEST)
                .max_encoding_message_size(limits::ANSWER),
        )
        .add_service(
            OperatorServer::new(api)
                .max_decoding_message_size(limits::REQUEST)
                .max_encoding_message_size(limits::ANSWER),
        )
        .add_service(
            NodeLinkServer::new(link_service)
                .max_decoding_message_size(limits::NODE_FRAME)
                .max_encoding_message_size(limits::COORDINATOR_FRAME),
        )
        .serve_with_incoming_shutdown(incoming, stopping.clone().cancelled_owned());
    let mut server = tokio::spawn(server);
    tracing::info!(%address, "coordinator ready");
    // Nobody may be interested in the address.
    let _uninterested = ready.send(address);

    let served = tokio::select! {
        () = shutdown => {
            tracing::info!("shutting down: no new requests, signatures under way are finished");
            health.set_not_serving::<QuorateServer<Api>>().await;
            health.set_not_serving::<OperatorServer<Api>>().await;
            if tokio::time::timeout(config.limits.drain, engine.drain()).await.is_err() {
                tracing::warn!("some signatures did not come in time; they go on after the next start");
            }
            stopping.cancel();
            links.close();
            tokio::time::timeout(CLOSING, &mut server).await.ok()
        }
        served = &mut server => Some(served),
    };
    stopping.cancel();
    links.close();
    server.abort();
    tasks.close();
    if tokio::time::timeout(CLOSING, tasks.wait()).await.is_err() {
        tracing::warn!("background work did not end in time");
    }
    match served {
        Some(Ok(Err(error))) => Err(RunError::Server(error)),
        _ => Ok(()),
    }
}

fn read_cluster(config: &Config) -> Result<ClusterFile, RunError> {
    let path = &config.cluster;
    let fail = |message: String| RunError::Cluster {
        path: path.display().to_string(),
        message,
    };
    let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    ClusterFile::parse(&bytes).map_err(|error| fail(error.to_string()))
}

fn read_roster(cluster: &ClusterFile) -> Result<Roster, RunError> {
    roster_of(cluster).map_err(|error| RunError::Cluster {
        path: "nodes".into(),
        message: error.to_string(),
    })
}

fn files(config: &Config) -> Files {
    Files {
        ca: config.tls.ca.clone(),
        crl: config.tls.crl.clone(),
        cert: config.tls.cert.clone(),
        key: config.tls.key.clone(),
    }
}
