//! After a signature that does not verify although every check passed: whoever took part explains its part, and who cannot is convicted.

use std::sync::Arc;

use futures_util::future::join_all;
use mpc_core::{
    Error, Fault,
    ecdsa::{SigningRequest, blame::blame},
    envelope::{Envelope, Kind},
    id::SessionId,
};
use prost::bytes::Bytes;
use proto::v1::{self, coordinator_frame, node_frame};

use super::{Run, Set, name};
use crate::{clock, links::CallError, signing::SILENT_MS};

impl Run<'_> {
    /// Has the signers explain themselves, if that is what `error` takes; true if somebody is convicted. Who explains nothing although
    /// the others do is not convicted: it is asked last for a while, and the failure counts against the set.
    pub(super) async fn is_explained(
        &mut self,
        set: &Set,
        entry: &SessionId,
        request: &SigningRequest,
        rounds: &[Vec<Vec<u8>>; 2],
        error: &Error,
    ) -> bool {
        let Error::Aborted(abort) = error else {
            return false;
        };
        if abort.fault != Fault::InvalidSignature {
            return false;
        }
        let explanations = self.explanations(set, entry, rounds).await;
        let [openings, responses] = rounds;
        let roster = self.signing.links.roster();
        let verdict = match blame(roster, request, entry, openings, responses, &explanations) {
            Ok(verdict) => verdict,
            Err(error) => {
                tracing::error!(request = %self.job.id, task = self.number, %error, "a failed signature could not be explained");
                return false;
            }
        };
        let until_ms = clock::now_ms().saturating_add(SILENT_MS);
        for node in &verdict.unexplained {
            let mut links = self.links.values();
            if let Some(link) = links.find(|link| link.node() == *node) {
                link.shun(until_ms);
            }
        }
        for abort in &verdict.guilty {
            tracing::error!(request = %self.job.id, task = self.number, signers = ?set, fault = %abort.fault, "alert: a signer has spoilt a signature");
            self.accuse(abort);
        }
        !verdict.guilty.is_empty()
    }

    /// What the signers have to say, as far as each has signed it itself.
    async fn explanations(
        &self,
        set: &Set,
        entry: &SessionId,
        [openings, responses]: &[Vec<Vec<u8>>; 2],
    ) -> Vec<Vec<u8>> {
        let list = |envelopes: &[Vec<u8>]| envelopes.iter().cloned().map(Bytes::from).collect();
        let call = coordinator_frame::Body::EcdsaExplain(v1::EcdsaExplain {
            entry: name(entry),
            round1: list(openings),
            round2: list(responses),
        });
        let deadline = self.signing.config.answer_timeout;
        let links = set.iter().filter_map(|index| self.links.get(index));
        let calls = links.map(|link| {
            let (link, call) = (Arc::clone(link), call.clone());
            async move {
                let answer = link.call(call, deadline).await;
                (link, answer)
            }
        });
        let mut explanations = Vec::with_capacity(set.len());
        for (link, answer) in join_all(calls).await {
            let envelope = answer.and_then(|body| match body {
                node_frame::Body::EcdsaExplanation(answer)
                    if answer.entry.as_ref() == entry.as_bytes() =>
                {
                    Ok(answer.envelope.to_vec())
                }
                _ => Err(CallError::WrongKind),
            });
            let roster = self.signing.links.roster();
            let own = |envelope: &Vec<u8>| {
                Envelope::open(roster, envelope).is_ok_and(|opened| {
                    opened.header().kind == Kind::EcdsaExplain
                        && opened.header().from == link.node()
                })
            };
            match envelope {
                Ok(envelope) if own(&envelope) => explanations.push(envelope),
                Ok(_) => {
                    tracing::warn!(node = link.index(), "an explanation is not the node's own");
                }
                Err(error) => {
                    tracing::warn!(node = link.index(), %error, "no explanation");
                }
            }
        }
        explanations
    }
}
