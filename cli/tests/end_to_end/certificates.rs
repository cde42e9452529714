//! Every certificate is replaced while payments go on, and the replaced ones are refused.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use cli::{people, sample};
use client::{Client, Error, Options, Order};
use serde_json::Value;

use crate::{
    verbs::{ok, quorate},
    world::{PATIENCE, WALLET, World},
};

fn run(dir: &Path, args: &[&str]) -> Value {
    let mut args = args.to_vec();
    args.push("--json");
    ok(&quorate(dir, &args))
}

/// Before the same bytes are sent again.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a reader of the files looks, with a margin.
const TAKEN_UP: Duration = Duration::from_millis(2500);

#[tokio::test(flavor = "multi_thread")]
async fn certificates_rotate_while_the_cluster_signs() {
    let mut world = World::new(1_000_000_000_000, 1_000_000_000).await;
    let dir = world.cluster.layout().root().to_owned();
    assert_eq!(
        run(&dir, &["cert", "status", "--warn-days", "3"])["good"],
        true
    );
    let soon = quorate(&dir, &["cert", "status", "--json", "--warn-days", "30"]);
    assert_eq!(
        soon.status.code(),
        Some(11),
        "seven days are left: a warning"
    );
    let old_client = std::fs::read(dir.join("client/tls.pem")).expect("a certificate");
    let old_client_key = std::fs::read(dir.join("client/tls.key")).expect("a key");

    // A backend that pays all the time over one connection, and counts.
    let orders: Vec<_> = (0..2000).map(|_| world.raw(1)).collect();
    let (paid, stop) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let payer = {
        let (client, paid, stop) = (world.client.clone(), paid.clone(), stop.clone());
        let initiator = people::read_key(&world.cluster.layout().initiator_key()).expect("a key");
        tokio::spawn(async move {
            for (number, raw) in orders.into_iter().enumerate() {
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let order = Order::new(WALLET, raw, format!("pay-{number}"), sample::INITIATOR);
                let prepared = client.prepare(&order, &initiator).await?;
                // A connection that is replaced under a call: the same bytes are the same payment.
                loop {
                    let end = match client.submit(&prepared).await {
                        Ok(_) => client.wait(prepared.id(), PATIENCE).await.map(|_| ()),
                        Err(error) => Err(error),
                    };
                    match end {
                        Err(Error::Retry(_)) => tokio::time::sleep(PAUSE).await,
                        Err(error) => return Err(error),
                        Ok(()) => break,
                    }
                }
                paid.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), Error>(())
        })
    };
    let goes_on = async |what: &str| {
        let before = paid.load(Ordering::Relaxed);
        for _ in 0..600 {
            if paid.load(Ordering::Relaxed) > before + 2 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no payment after {what}");
    };
    goes_on("the start").await;

    // Node after node, each with the old one revoked: its connection goes and comes back with the new one.
    for node in ["node-1", "node-2", "node-3"] {
        let told = run(&dir, &["cert", "rotate", node, "--revoke-old"]);
        assert_ne!(told["issued"][0]["serial"], told["issued"][0]["replaces"]);
        tokio::time::sleep(TAKEN_UP).await;
        goes_on(node).await;
    }
    run(
        &dir,
        &["cert", "rotate", "client", "operator", "--revoke-old"],
    );
    tokio::time::sleep(TAKEN_UP).await;
    goes_on("client and operator").await;
    // The same key with a longer life, then another key.
    run(&dir, &["cert", "rotate", "coordinator", "--days", "60"]);
    tokio::time::sleep(TAKEN_UP).await;
    goes_on("the coordinator's certificate").await;
    for step in ["prepare", "activate"] {
        let told = run(&dir, &["cert", "rotate", "coordinator", "--new-key", step]);
        assert_eq!(told["pins"].as_array().map(Vec::len), Some(2), "an overlap");
        tokio::time::sleep(TAKEN_UP).await;
        goes_on(step).await;
    }
    // A node that comes back finds the coordinator by its new key, without having been restarted in between or not.
    world.cluster.crash_node(1).expect("it ran");
    world.cluster.start_node(1).expect("it starts");
    world
        .cluster
        .connected(3)
        .await
        .expect("it knows the new key");
    let told = run(
        &dir,
        &["cert", "rotate", "coordinator", "--new-key", "finish"],
    );
    assert_eq!(told["pins"].as_array().map(Vec::len), Some(1));
    let again = world
        .cluster
        .client("client")
        .await
        .expect("the new key alone is enough");
    again.cluster_info().await.expect("an answer");

    stop.store(true, Ordering::Relaxed);
    payer
        .await
        .expect("it ran")
        .expect("not one payment failed");
    assert_eq!(
        run(&dir, &["cert", "status", "--warn-days", "50"])["good"],
        true
    );
    run(&dir, &["cert", "crl", "--days", "120"]);

    // What was replaced and revoked is refused.
    let old = dir.join("old");
    std::fs::create_dir(&old).expect("a directory");
    std::fs::write(old.join("tls.pem"), old_client).expect("a file");
    people::write_secret(&old.join("tls.key"), &old_client_key).expect("a file");
    let mut options = Options::beside(&world.cluster.layout().cluster(), "old");
    options.timeout = Duration::from_secs(5);
    let refused = match Client::connect(&options).await {
        Ok(client) => client.cluster_info().await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert!(refused.is_err(), "a revoked certificate is of no use");
}
