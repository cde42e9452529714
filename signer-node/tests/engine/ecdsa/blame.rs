//! Explaining a response: once, only after a failure, and only what this node has signed.

use mpc_core::ecdsa::blame::blame;
use mpc_core::envelope::{Envelope, Header, Kind, Recipient as To};
use mpc_core::evidence::{self, Evidence};
use mpc_core::{Error, Fault};
use proto::v1::FailureCode;

use super::hostile::spoil;
use super::*;

impl Cluster {
    async fn explain_entry(
        &self,
        node: usize,
        entry: &[u8],
        [first, second]: [&[Vec<u8>]; 2],
    ) -> Result<Vec<u8>, Failure> {
        let list = |all: &[Vec<u8>]| all.iter().map(|bytes| bytes.clone().into()).collect();
        let call = v1::EcdsaExplain {
            entry: entry.to_vec().into(),
            round1: list(first),
            round2: list(second),
        };
        match self.call(node, Call::EcdsaExplain(call)).await? {
            Answer::EcdsaExplanation(answer) => Ok(answer.envelope.to_vec()),
            other => panic!("{other:?}"),
        }
    }

    /// Both rounds of one signature.
    async fn rounds(
        &self,
        quorum: &[usize],
        signed: &SignedIntent,
        policy: &str,
        entry: &[u8],
    ) -> [Vec<Vec<u8>>; 2] {
        let approval = self.approve_ecdsa(signed, policy);
        let call = self.open_call(quorum, signed, &approval, entry);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for node in quorum {
            first.push(self.open_entry(*node, &call).await.unwrap());
        }
        for node in quorum {
            second.push(self.finish_entry(*node, entry, &first).await.unwrap());
        }
        [first, second]
    }

    fn evidence_files(&self, node: usize) -> Vec<Vec<u8>> {
        let entries = std::fs::read_dir(self.home(node).join("evidence"));
        let entries = entries.into_iter().flatten();
        entries
            .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
            .collect()
    }
}

/// A response whose first scalar is off by a bit, signed by its author.
fn spoil_response(cluster: &Cluster, node: usize, envelope: &[u8]) -> Vec<u8> {
    let opened = Envelope::open(&cluster.roster, envelope).unwrap();
    let mut body = opened.body().to_vec();
    body[31] ^= 1;
    Envelope::seal(&cluster.identity(node), opened.header(), &body)
}

#[tokio::test]
async fn a35_a_spoilt_signature_is_explained_once_by_whoever_did_its_part() {
    let (cluster, policy) = ready().await;
    let quorum = [0, 1];
    let entries = cluster.filled(&quorum, 2).await;

    // A signature that verifies is nobody's fault, and asking about it leaves nothing to ask again.
    let signed = cluster.withdrawal(0, FINNEY);
    let [first, second] = cluster.rounds(&quorum, &signed, &policy, &entries[0]).await;
    for expected in [FailureCode::Denied, FailureCode::Stale] {
        let refused = cluster
            .explain_entry(0, &entries[0], [&first, &second])
            .await;
        assert_eq!(code(refused), expected);
    }

    // The second node's response is rigged.
    let signed = cluster.withdrawal(1, FINNEY);
    let [first, mut second] = cluster.rounds(&quorum, &signed, &policy, &entries[1]).await;
    second[1] = spoil_response(&cluster, 1, &second[1]);
    let request = cluster.ecdsa_request(&quorum, &signed);
    let name = SessionId::from_bytes(entries[1].clone().try_into().unwrap());
    let failed = combine(&cluster.roster, &request, &name, &first, &second);
    let Err(Error::Aborted(abort)) = failed else {
        panic!("it must not verify")
    };
    assert_eq!(
        (abort.fault, abort.culprits.len()),
        (Fault::InvalidSignature, 0)
    );
    let explanation = cluster
        .explain_entry(0, &entries[1], [&first, &second])
        .await
        .unwrap();
    // Once.
    let again = cluster
        .explain_entry(0, &entries[1], [&first, &second])
        .await;
    assert_eq!(code(again), FailureCode::Stale);
    // What the second node has not signed with this state it does not explain.
    let refused = cluster
        .explain_entry(1, &entries[1], [&first, &second])
        .await;
    assert_eq!(code(refused), FailureCode::Denied);
    let verdict = blame(
        &cluster.roster,
        &request,
        &name,
        &first,
        &second,
        &[explanation],
    )
    .unwrap();
    assert_eq!(verdict.guilty, []);
    assert_eq!(verdict.unexplained, [cluster.id(1)].into());
}

#[tokio::test]
async fn what_could_be_explained_is_gone_with_time_with_a_restart_and_with_the_pair() {
    let (mut cluster, policy) = ready().await;
    for (nonce, end) in ["time", "restart", "poison"].into_iter().enumerate() {
        let quorum = [0, 1];
        let entries = cluster.filled(&quorum, 2).await;
        let nonce = u8::try_from(nonce).unwrap();
        let signed = cluster.withdrawal(nonce, FINNEY);
        let [first, mut second] = cluster.rounds(&quorum, &signed, &policy, &entries[0]).await;
        second[1] = spoil_response(&cluster, 1, &second[1]);
        match end {
            "time" => {
                cluster.advance(61_000);
                cluster.engine(0).fill_pools();
            }
            "restart" => {
                cluster.restart(0).await;
                cluster.pools.lock().unwrap().clear();
            }
            _ => {
                let other = cluster.withdrawal(9, FINNEY);
                let approval = cluster.approve_ecdsa(&other, &policy);
                let call = cluster.open_call(&quorum, &other, &approval, &entries[1]);
                let mut opened = Vec::new();
                for node in quorum {
                    opened.push(cluster.open_entry(node, &call).await.unwrap());
                }
                opened[1] = spoil(&cluster, &opened[1], &cluster.identity(1));
                let failure = cluster.finish_entry(0, &entries[1], &opened).await;
                assert_eq!(code(failure), FailureCode::SecurityAbort);
            }
        }
        let refused = cluster
            .explain_entry(0, &entries[0], [&first, &second])
            .await;
        assert_eq!(code(refused), FailureCode::Stale, "{end}");
    }
}

#[tokio::test]
async fn evidence_is_judged_and_kept_in_a_file() {
    let (cluster, policy) = ready().await;
    let quorum = [0, 1];
    let entries = cluster.filled(&quorum, 1).await;
    // The second node opens something else than it has committed to: provable, and no reason to ban it.
    let signed = cluster.withdrawal(0, FINNEY);
    let approval = cluster.approve_ecdsa(&signed, &policy);
    let call = cluster.open_call(&quorum, &signed, &approval, &entries[0]);
    let mut first = Vec::new();
    for node in quorum {
        first.push(cluster.open_entry(node, &call).await.unwrap());
    }
    let opened = Envelope::open(&cluster.roster, &first[1]).unwrap();
    let mut body = opened.body().to_vec();
    // hreq 32, echo 32, R 33, then the blinding of the commitment.
    body[97] ^= 1;
    first[1] = Envelope::seal(&cluster.identity(1), opened.header(), &body);
    let failure = cluster.finish_entry(0, &entries[0], &first).await;
    let failure = failure.expect_err("another opening");
    assert_eq!(
        (failure.code(), failure.culprits),
        (FailureCode::Aborted, vec![2])
    );
    let [proof] = &cluster.evidence_files(0)[..] else {
        panic!("one file")
    };
    let judged = evidence::verify(&cluster.roster, proof).unwrap();
    assert_eq!(judged, (cluster.id(1), Fault::CommitmentMismatch));
    assert_eq!(cluster.pair(0, 2).status, "active");
    let told = || cluster.evidence.lock().unwrap().pop();
    assert_eq!(cluster.until(told).await, (0, proof.clone()));

    // The others judge for themselves what they are shown.
    let show = |evidence: Vec<u8>| {
        Call::Evidence(v1::Evidence {
            evidence: evidence.into(),
        })
    };
    let frame = |body| v1::CoordinatorFrame {
        version: signer_node::engine::FRAME_VERSION,
        call_id: 0,
        body: Some(body),
    };
    let header = Header {
        kind: Kind::EcdsaOpen,
        session: SessionId::from_bytes([1; 32]),
        round: 1,
        from: cluster.id(0),
        to: To::Everyone,
    };
    let sign = |body: &[u8]| {
        let bytes = Envelope::seal(&cluster.identity(0), &header, body);
        Envelope::open(&cluster.roster, &bytes).unwrap()
    };
    let twice = Evidence::equivocation(&sign(b"one"), &sign(b"one")).encode();
    for nothing in [
        Vec::new(),
        vec![1; 70],
        twice,
        proof[..proof.len() - 1].to_vec(),
    ] {
        assert_eq!(cluster.send(2, frame(show(nothing))).await, None);
    }
    assert!(cluster.evidence_files(2).is_empty());
    for _ in 0..2 {
        assert_eq!(cluster.send(2, frame(show(proof.clone()))).await, None);
        assert_eq!(cluster.evidence_files(2), std::slice::from_ref(proof));
    }
}
