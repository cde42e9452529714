//! Deadlines: one ordered table and one task that sleeps until the first of them.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::Engine;
use crate::{
    clock,
    state::{Event, State},
    store::{Move, Record, RequestId, StoreError},
};

/// The wall clock may be set, so no sleep is longer than this.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// How soon a request is judged again that only time keeps from being signed, in milliseconds: a full window, a freeze.
const LOOK_AGAIN_MS: u64 = 10_000;

/// What is to be looked at when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wake {
    /// A policy comes into force, or signing resumes: every waiting request.
    Everything,
    /// One request.
    Request(RequestId),
}

/// The deadlines, Unix milliseconds.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    table: Mutex<BTreeSet<(u64, Wake)>>,
    earlier: Notify,
}

impl Deadlines {
    /// Adds a deadline; the sleeper is woken if it is now the first.
    pub(super) fn add(&self, at_ms: u64, wake: Wake) {
        let first = {
            let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
            table.insert((at_ms, wake));
            table.first() == Some(&(at_ms, wake))
        };
        if first {
            self.earlier.notify_one();
        }
    }

    /// Takes out what is due, or says how long until something is.
    fn due(&self, now_ms: u64) -> Result<Wake, Duration> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        match table.first().copied() {
            Some((at_ms, wake)) if at_ms <= now_ms => {
                table.remove(&(at_ms, wake));
                Ok(wake)
            }
            Some((at_ms, _)) => {
                Err(Duration::from_millis(at_ms.saturating_sub(now_ms)).min(LONGEST_SLEEP))
            }
            None => Err(LONGEST_SLEEP),
        }
    }
}

/// When an announced request is to be looked at next.
fn next_look(record: &Record, now_ms: u64) -> u64 {
    let end_ms = expires_ms(record);
    let Some(needs) = &record.status.needs else {
        return end_ms;
    };
    let time_alone = needs.groups.is_empty();
    let next_ms = if needs.not_before_ms > now_ms {
        needs.not_before_ms
    } else if time_alone {
        now_ms.saturating_add(LOOK_AGAIN_MS)
    } else {
        end_ms
    };
    next_ms.min(end_ms)
}

/// When a request may no longer be signed: its own end, or that of the rules if it is earlier.
pub(super) fn expires_ms(record: &Record) -> u64 {
    let by_rule = record
        .status
        .needs
        .as_ref()
        .map_or(0, |needs| needs.expires_ms);
    if by_rule == 0 {
        record.expires_ms
    } else {
        record.expires_ms.min(by_rule)
    }
}

impl Engine {
    /// Sees to it that a request is looked at when its time comes.
    pub(super) fn schedule(&self, record: &Record) {
        if record.state == State::Announced {
            self.deadlines
                .add(next_look(record, clock::now_ms()), Wake::Request(record.id));
        }
    }

    /// Sleeps from deadline to deadline until shutdown.
    pub(super) async fn watch_deadlines(self: Arc<Self>) {
        loop {
            match self.deadlines.due(clock::now_ms()) {
                Ok(Wake::Request(id)) => {
                    self.tasks.spawn(Arc::clone(&self).on_deadline(id));
                }
                Ok(Wake::Everything) => {
                    for id in self.live_ids() {
                        self.tasks.spawn(Arc::clone(&self).on_deadline(id));
                    }
                    self.schedule_policy();
                }
                Err(pause) => tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = self.deadlines.earlier.notified() => {}
                    () = self.stopping.cancelled() => return,
                },
            }
        }
    }

    async fn on_deadline(self: Arc<Self>, id: RequestId) {
        let Some(record) = self.peek(id) else { return };
        let late = clock::now_ms() >= expires_ms(&record);
        match record.state {
            State::Announced | State::Reserved if late => self.expire(&record).await,
            State::Announced => self.decide_again(id).await,
            State::Reserved | State::Signing => self.drive(id, None),
            _ => {}
        }
    }

    async fn expire(&self, record: &Record) {
        match self
            .store
            .advance(record.id, Move::plain(Event::Expire, clock::now_ms()))
            .await
        {
            Ok(record) => {
                let record = self.put(record);
                tracing::info!(request = %record.id, "request expired");
                self.withdraw(&record, "expired");
            }
            Err(StoreError::WrongState { .. }) => self.refresh(record.id).await,
            Err(error) => {
                tracing::error!(request = %record.id, %error, "a request could not be expired");
                self.deadlines.add(
                    clock::now_ms().saturating_add(1_000),
                    Wake::Request(record.id),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_in_order_and_once() {
        let deadlines = Deadlines::default();
        let one = Wake::Request(RequestId::from_bytes([1; 32]));
        deadlines.add(50, one);
        deadlines.add(20, Wake::Everything);
        deadlines.add(50, one);
        assert_eq!(deadlines.due(10), Err(Duration::from_millis(10)));
        assert_eq!(deadlines.due(20), Ok(Wake::Everything));
        assert_eq!(deadlines.due(49), Err(Duration::from_millis(1)));
        assert_eq!(deadlines.due(60), Ok(one));
        assert_eq!(deadlines.due(60), Err(LONGEST_SLEEP));
    }

    #[tokio::test]
    async fn an_earlier_deadline_wakes_the_sleeper() {
        let deadlines = Deadlines::default();
        deadlines.add(1_000, Wake::Everything);
        deadlines.earlier.notified().await;
        deadlines.add(10, Wake::Everything);
        let woken =
            tokio::time::timeout(Duration::from_secs(5), deadlines.earlier.notified()).await;
        assert!(woken.is_ok());
    }
}
