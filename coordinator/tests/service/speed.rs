//! How fast it goes; run by hand: `cargo test --release -p coordinator --test service speed -- --ignored --nocapture`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use proto::v1::RequestState;

use super::{
    cluster::{start, submission},
    node::{Script, connect_all},
};

/// Requests in all.
const REQUESTS: u16 = 2_000;

/// Requests under way at one time.
const CALLERS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; needs an idle machine"]
async fn speed_of_requests_that_need_nobody() {
    let (cluster, running) = start("[limits]\nrequests_per_second = 1000000\nburst = 1000000\n");
    cluster.install_policy(&running).await;
    let _nodes = connect_all(&cluster, &running, [Script::Honest; 3]).await;
    let client = cluster.client(&running).await;
    let intents = (0..REQUESTS).map(|number| {
        let mut intent = cluster.intent(
            u8::try_from(number % 250).expect("small"),
            1 + u64::from(number) / 250,
        );
        intent.idempotency_key = format!("pay-{number}");
        submission(intent)
    });
    let requests: Arc<Vec<_>> = Arc::new(intents.collect());
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (mut client, requests, next) =
                (client.clone(), Arc::clone(&requests), Arc::clone(&next));
            tokio::spawn(async move {
                let mut taken_us = Vec::new();
                while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let status = client
                        .submit(request.clone())
                        .await
                        .expect("answers")
                        .into_inner();
                    assert_eq!(
                        status.state(),
                        RequestState::Released,
                        "{:?} {:?}",
                        status.reasons,
                        status.failure
                    );
                    taken_us.push(began.elapsed().as_micros());
                }
                taken_us
            })
        })
        .collect();
    let mut taken_us = Vec::new();
    for caller in callers {
        taken_us.extend(caller.await.expect("runs"));
    }
    let seconds = began.elapsed().as_secs_f64();
    taken_us.sort_unstable();
    let at = |part: usize| taken_us[taken_us.len() * part / 100];
    println!(
        "{} signatures, {:.0} per second, median {} us, 99th percentile {} us",
        taken_us.len(),
        f64::from(REQUESTS) / seconds,
        at(50),
        at(99)
    );
}
