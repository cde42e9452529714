//! Both services as subcommands.

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::{
    args::{ServiceCommand, ServiceRunArgs},
    fail::Fail,
    output::Reply,
};

/// `quorate node run`.
///
/// # Errors
/// The configuration is wrong, or the service stopped for another reason than being asked to.
pub async fn node(args: &ServiceRunArgs) -> Result<Reply, Fail> {
    let config = signer_node::Config::load(&args.config).map_err(config_error)?;
    log(&config.log)?;
    let stop = stop(args.stop_on_eof)?;
    signer_node::run(config, stop)
        .await
        .map_err(|e| Fail::failed(chain(&e)))?;
    Ok(stopped())
}

/// `quorate coordinator`.
///
/// # Errors
/// The configuration is wrong, or the service stopped for another reason than being asked to.
pub async fn coordinator(command: ServiceCommand) -> Result<Reply, Fail> {
    let ServiceCommand::Run(args) = command;
    let config = coordinator::Config::load(&args.config).map_err(config_error)?;
    log(&config.log)?;
    let stop = stop(args.stop_on_eof)?;
    coordinator::run(config, stop)
        .await
        .map_err(|e| Fail::failed(chain(&e)))?;
    Ok(stopped())
}

fn stopped() -> Reply {
    Reply::new("", json!({"stopped": true}))
}

fn config_error(error: impl std::fmt::Display) -> Fail {
    Fail::invalid(error).hint("`quorate check-config FILE` reports every problem at once")
}

/// An error with everything that caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Structured lines on standard error.
fn log(filter: &str) -> Result<(), Fail> {
    let filter = EnvFilter::try_new(filter).map_err(|e| {
        Fail::invalid(format_args!("log = \"{filter}\" is not a filter: {e}"))
            .hint("use error, warn, info, debug or trace")
    })?;
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init()
        .map_err(|e| Fail::failed(format_args!("cannot start the log: {e}")))
}

/// Waits for SIGINT or SIGTERM and says which it was.
///
/// # Errors
/// The handlers cannot be installed.
pub async fn stop_signal() -> Result<&'static str, Fail> {
    let refused = |e| Fail::failed(format_args!("cannot wait for signals: {e}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    })
}

/// What ends a service: a signal or, if asked for, the end of standard input.
fn stop(stop_on_eof: bool) -> Result<impl Future<Output = ()> + Send + 'static, Fail> {
    let refused = |e| Fail::failed(format_args!("cannot wait for signals: {e}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = end_of_input(), if stop_on_eof => {}
        }
    })
}

/// Returns when standard input has ended. Read on a thread of its own: a blocked read must not hold up the exit.
async fn end_of_input() {
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _count = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        // The receiver is gone only when the service is stopping anyway.
        let _stopping = ended.send(());
    });
    let _dropped = end.await;
}
