//! What the demonstration tells: lines while it runs, one object at its end.

use std::{collections::BTreeMap, time::Instant};

use client::{Error, Fix, Prepared, Released, admin::Wallet};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    fail::{Exit, Fail},
    output::{Output, Reply},
};

/// The chain of the demonstration's first wallet.
pub const CHAIN: &str = "solana:localnet";

/// Everything that happened.
#[derive(Debug)]
pub struct Report {
    output: Output,
    started: Instant,
    step: Instant,
    wallets: Vec<Value>,
    requests: Vec<Request>,
    checks: Vec<Check>,
    steps: Vec<Value>,
}

#[derive(Debug, Serialize)]
struct Request {
    name: String,
    chain: String,
    unsigned_tx: String,
    digest: String,
    outcome: &'static str,
    reason: String,
    signature: String,
    signatures: Vec<String>,
    signed_tx: String,
    timings_ms: BTreeMap<String, f64>,
}

#[derive(Debug, Serialize)]
struct Check {
    name: String,
    ok: bool,
    detail: String,
}

impl Report {
    /// Starts the clock.
    #[must_use]
    pub fn new(output: Output) -> Self {
        let now = Instant::now();
        Self {
            output,
            started: now,
            step: now,
            wallets: Vec::new(),
            requests: Vec::new(),
            checks: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// A headline.
    pub fn title(&self, text: &str) {
        self.output.say(&format!("\n{text}"));
    }

    /// A remark within a step.
    pub fn say(&self, text: &str) {
        self.output.say(&format!("            {text}"));
    }

    /// Something that must be so, with the time since the last one.
    pub fn check(&mut self, name: impl Into<String>, ok: bool, detail: impl Into<String>) {
        let detail = detail.into();
        let word = if ok { "ok    " } else { "FAILED" };
        let took = self.step.elapsed().as_secs_f64();
        self.step = Instant::now();
        self.output.say(&format!("{took:>7.2} s  {word}  {detail}"));
        self.checks.push(Check {
            name: name.into(),
            ok,
            detail,
        });
    }

    /// A wallet that requests are signed with.
    pub fn wallet(&mut self, wallet: &Wallet) {
        let root = wallet.key.as_ref();
        self.wallets.push(json!({
            "name": wallet.id, "scheme": wallet.scheme, "public_key": hex::encode(&wallet.public_key),
            "address": wallet.address, "chain": wallet.chain, "path": wallet.path.to_string(),
            "root_public_key": root.map(|key| hex::encode(key.bytes())),
            "root_chain_code": root.map(|key| hex::encode(key.chain_code())),
        }));
    }

    /// What the keys are after a step of their life.
    pub fn step(&mut self, name: &str, keys: Vec<Value>) {
        self.steps.push(json!({"step": name, "keys": keys}));
    }

    /// A request that was signed.
    pub fn released(
        &mut self,
        name: &str,
        chain: &str,
        unsigned_tx: &[u8],
        end: &Released,
        started: Instant,
    ) {
        let mut timings_ms: BTreeMap<String, f64> = end
            .status()
            .timings_us
            .iter()
            .map(|(part, us)| (part.clone(), milliseconds(*us)))
            .collect();
        timings_ms.insert(
            "client".to_owned(),
            started.elapsed().as_secs_f64() * 1000.0,
        );
        self.requests.push(Request {
            name: name.to_owned(),
            chain: chain.to_owned(),
            unsigned_tx: hex::encode(unsigned_tx),
            digest: end.status().id.to_string(),
            outcome: "released",
            reason: String::new(),
            signature: hex::encode(end.signatures().concat()),
            signatures: end.signatures().iter().map(hex::encode).collect(),
            signed_tx: hex::encode(end.signed_tx()),
            timings_ms,
        });
    }

    /// A request that was not signed, and why.
    pub fn refused(
        &mut self,
        name: &str,
        chain: &str,
        unsigned_tx: &[u8],
        prepared: &Prepared,
        why: &str,
        started: Instant,
    ) {
        let timings_ms = BTreeMap::from([(
            "client".to_owned(),
            started.elapsed().as_secs_f64() * 1000.0,
        )]);
        self.requests.push(Request {
            name: name.to_owned(),
            chain: chain.to_owned(),
            unsigned_tx: hex::encode(unsigned_tx),
            digest: prepared.id().to_string(),
            outcome: "denied",
            reason: why.to_owned(),
            signature: String::new(),
            signatures: Vec::new(),
            signed_tx: String::new(),
            timings_ms,
        });
    }

    /// The object and the exit code; a demonstration that stopped half-way is one failed check more.
    #[must_use]
    pub fn finish(mut self, nodes: usize, threshold: u16, end: &Result<(), Fail>) -> Reply {
        let detail = match end {
            Ok(()) => "every step was reached".to_owned(),
            Err(fail) => fail.message.clone(),
        };
        self.check("completed", end.is_ok(), detail);
        let failed = self.checks.iter().filter(|c| !c.ok).count();
        let json = json!({
            "cluster": {"nodes": nodes, "threshold": threshold}, "lifecycle": self.steps,
            "wallets": self.wallets, "requests": self.requests, "checks": self.checks,
        });
        let human = format!(
            "\n{} of {} checks hold, {:.1} s in all",
            self.checks.len().saturating_sub(failed),
            self.checks.len(),
            self.started.elapsed().as_secs_f64(),
        );
        let exit = if failed == 0 {
            Exit::Done
        } else {
            Exit::CheckFailed
        };
        Reply::new(human, json).exit(exit)
    }
}

/// Microseconds as milliseconds, for people; exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "a duration of 285 years is not shown to the microsecond"
)]
fn milliseconds(us: u64) -> f64 {
    us as f64 / 1000.0
}

/// The reasons of a denial, if the error is one.
#[must_use]
pub fn denial(error: &Error) -> Option<String> {
    match error {
        Error::Fix(Fix::Denied { .. }) | Error::Ask(_) => Some(error.to_string()),
        _ => None,
    }
}
