//! How often one certificate may call.

use std::num::NonZeroU32;

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    state::keyed::HashMapStateStore,
};
use proto::{
    channel::identity::SpkiPin,
    v1::{Failure, FailureCode},
};

use crate::config;

/// Above this many remembered callers those that have been quiet are forgotten.
const REMEMBERED: usize = 4_096;

/// A bucket of calls per certificate key.
#[derive(Debug)]
pub(crate) struct CallLimit {
    buckets: RateLimiter<[u8; 32], HashMapStateStore<[u8; 32]>, DefaultClock>,
    clock: DefaultClock,
}

impl CallLimit {
    pub(crate) fn new(limits: &config::Limits) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(limits.requests_per_second))
            .allow_burst(at_least_one(limits.burst));
        Self {
            buckets: RateLimiter::hashmap(quota),
            clock: DefaultClock::default(),
        }
    }

    /// Counts a call.
    ///
    /// # Errors
    /// `LIMIT`, with how long to wait.
    pub(crate) fn check(&self, caller: &SpkiPin) -> Result<(), Failure> {
        if self.buckets.len() > REMEMBERED {
            self.buckets.retain_recent();
        }
        self.buckets
            .check_key(caller.as_bytes())
            .map_err(|not_until| {
                let wait = not_until.wait_time_from(self.clock.now());
                let wait_ms = wait.as_millis().max(1);
                Failure::new(FailureCode::Limit, "this certificate calls too often")
                    .hint(format!("call again in {wait_ms} ms"))
            })
    }
}
