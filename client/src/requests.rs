//! Submit, follow, explain, cancel, decide.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use policy::statement::SignedStatement;
use proto::v1;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    connect::Client,
    error::{Error, Fix, Retry},
    order::{Order, Prepared},
    status::{RequestId, State, Status},
    verify::{Released, own_intent},
};

/// How often a submission that was not answered is sent again before the caller hears of it.
const SUBMIT_ATTEMPTS: u32 = 4;
/// The first pause between two attempts; doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(2);

impl Client {
    /// Makes and signs the intent of an order.
    ///
    /// # Errors
    /// [`Fix::Unknown`] when there is no such wallet, [`Fix::Malformed`] when a field is out of its bounds or the
    /// transaction is not one that this wallet can sign.
    pub async fn prepare(&self, order: &Order, key: &SigningKey) -> Result<Prepared, Error> {
        let wallet = self.wallet(&order.wallet).await?;
        if !wallet.public_key.is_empty() {
            wallet.decode(&order.raw_tx)?;
        }
        order.sign(self.cluster_id(), &wallet, key, now_ms())
    }

    /// Submits, and submits exactly the same bytes again while the service does not answer.
    ///
    /// # Errors
    /// [`Fix::Conflict`] when the idempotency key is taken by another body, [`Error::Retry`] when there was no answer.
    pub async fn submit(&self, prepared: &Prepared) -> Result<Status, Error> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            match self.submit_once(prepared).await {
                Err(Error::Retry(_)) if attempt < SUBMIT_ATTEMPTS => {
                    sleep(pause).await;
                    pause = longer(pause);
                    attempt = attempt.saturating_add(1);
                }
                end => return end,
            }
        }
    }

    async fn submit_once(&self, prepared: &Prepared) -> Result<Status, Error> {
        let request = v1::SubmitRequest {
            signed_intent: prepared.as_bytes().to_vec().into(),
        };
        let answer = self
            .call(|mut api| async move { api.submit(request).await })
            .await?;
        about(prepared.id(), answer)
    }

    /// Says what would happen to these bytes now; reserves nothing.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub async fn explain(&self, prepared: &Prepared) -> Result<Status, Error> {
        let request = v1::SubmitRequest {
            signed_intent: prepared.as_bytes().to_vec().into(),
        };
        let answer = self
            .call(|mut api| async move { api.explain(request).await })
            .await?;
        about(prepared.id(), answer)
    }

    /// A request as it is now.
    ///
    /// # Errors
    /// [`Fix::Unknown`] when there is no such request.
    pub async fn status(&self, id: RequestId) -> Result<Status, Error> {
        let answer = self
            .call(|mut api| async move { api.get_request(query(id)).await })
            .await?;
        about(id, answer)
    }

    /// Requests, newest first; `state` and `wallet` may be empty.
    ///
    /// # Errors
    /// [`Error::Retry`] when the service is not there.
    pub async fn list(&self, state: &str, wallet: &str, limit: u32) -> Result<Vec<Status>, Error> {
        let list = v1::ListRequestsQuery {
            state: state.to_owned(),
            wallet: wallet.to_owned(),
            limit,
        };
        let answer = self
            .call(|mut api| async move { api.list_requests(list).await })
            .await?;
        answer.requests.into_iter().map(Status::try_from).collect()
    }

    /// The signature of a request that has been released, verified here.
    ///
    /// # Errors
    /// The request's [obstacle](Status::obstacle) when it is not released; [`Error::Stop`] when what was released does
    /// not verify.
    pub async fn fetch(&self, id: RequestId) -> Result<Released, Error> {
        let status = self.status(id).await?;
        self.released(id, status).await
    }

    /// Waits until the request has ended, and gives its signature, verified here.
    ///
    /// # Errors
    /// [`Fix::Denied`] or [`Fix::Ended`] when it ended otherwise; when the deadline passes first, [`Error::Ask`] with what
    /// is missing, or [`Retry::Deadline`].
    pub async fn wait(&self, id: RequestId, patience: Duration) -> Result<Released, Error> {
        self.wait_with(id, patience, |_| ()).await
    }

    /// As [`wait`](Self::wait), and tells every status on the way.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub async fn wait_with(
        &self,
        id: RequestId,
        patience: Duration,
        mut told: impl FnMut(&Status),
    ) -> Result<Released, Error> {
        let deadline = Instant::now()
            .checked_add(patience)
            .ok_or_else(|| Fix::Malformed {
                message: "the time to wait is out of range".to_owned(),
            })?;
        let mut last: Option<Status> = None;
        let mut pause = FIRST_PAUSE;
        loop {
            let heard = timeout_at(deadline, self.follow(id, &mut last, &mut told)).await;
            match heard {
                Ok(Ok(status)) => return self.released(id, status).await,
                Ok(Err(Error::Retry(retry))) => {
                    let next = Instant::now().checked_add(pause);
                    if next.is_none_or(|next| next >= deadline) {
                        return Err(given_up(last, patience).unwrap_or(Error::Retry(retry)));
                    }
                    sleep(pause).await;
                    pause = longer(pause);
                }
                Ok(Err(other)) => return Err(other),
                Err(_passed) => {
                    return Err(given_up(last, patience).unwrap_or_else(|| {
                        Error::unreachable(self.address(), "no status arrived in time")
                    }));
                }
            }
        }
    }

    /// Follows one stream of statuses until the request has ended or the stream has.
    async fn follow(
        &self,
        id: RequestId,
        last: &mut Option<Status>,
        told: &mut impl FnMut(&Status),
    ) -> Result<Status, Error> {
        let mut stream = self
            .api()
            .watch_request(query(id))
            .await
            .map_err(|s| self.refused(&s))?
            .into_inner();
        while let Some(answer) = stream.message().await.map_err(|s| self.refused(&s))? {
            let status = about(id, answer)?;
            told(&status);
            if status.state.has_ended() {
                return Ok(status);
            }
            *last = Some(status);
        }
        Err(Error::unreachable(
            self.address(),
            "the stream of statuses ended before the request did",
        ))
    }

    /// The signature in a status at hand, verified here.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn accept(&self, status: Status) -> Result<Released, Error> {
        self.released(status.id, status).await
    }

    async fn released(&self, id: RequestId, status: Status) -> Result<Released, Error> {
        if let Some(obstacle) = status.obstacle() {
            return Err(obstacle);
        }
        let wallet = self.wallet(&status.wallet).await?;
        Released::check(id, status, &wallet)
    }

    /// Takes a request back; only its initiator may, and only before a node may have signed.
    ///
    /// # Errors
    /// [`Fix::NotAuthorised`] for anybody else.
    pub async fn cancel(
        &self,
        id: RequestId,
        statement: &SignedStatement,
    ) -> Result<Status, Error> {
        let request = v1::CancelRequest {
            request_id: id.as_bytes().to_vec().into(),
            signed_statement: statement.encode().into(),
        };
        let answer = self
            .call(|mut api| async move { api.cancel(request).await })
            .await?;
        about(id, answer)
    }

    /// Hands in a person's approval or rejection.
    ///
    /// # Errors
    /// [`Fix::NotAuthorised`] when the statement is not by somebody whose word counts here.
    pub async fn decide(
        &self,
        id: RequestId,
        statement: &SignedStatement,
    ) -> Result<Status, Error> {
        let request = v1::ApproveRequest {
            request_id: id.as_bytes().to_vec().into(),
            signed_statement: statement.encode().into(),
        };
        let answer = self
            .call(|mut api| async move { api.approve(request).await })
            .await?;
        about(id, answer)
    }
}

/// A status that is about this request, with this request's intent in it.
fn about(id: RequestId, answer: v1::RequestStatus) -> Result<Status, Error> {
    let status = Status::try_from(answer)?;
    own_intent(id, &status)?;
    Ok(status)
}

fn query(id: RequestId) -> v1::RequestQuery {
    v1::RequestQuery {
        request_id: id.as_bytes().to_vec().into(),
    }
}

/// What a passed deadline means, given the last status that was seen.
fn given_up(last: Option<Status>, patience: Duration) -> Option<Error> {
    let status = last?;
    if status.state == State::Announced {
        return status.obstacle();
    }
    Some(
        Retry::Deadline {
            state: status.state,
            waited_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
        }
        .into(),
    )
}

fn longer(pause: Duration) -> Duration {
    pause.saturating_mul(2).min(MAX_PAUSE)
}

/// Now, in Unix milliseconds; zero on a machine whose clock stands before 1970, which every node refuses.
pub(crate) fn now_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|d| u64::try_from(d.as_millis()).ok())
        .unwrap_or(0)
}
