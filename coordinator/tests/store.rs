//! One suite for every implementation of the store, and what is particular to SQLite.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests"
)]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use coordinator::{
    state::{Event, State},
    store::{
        Case, Decision, EvidenceRow, FailedSet, Filter, Judge, Judgement, KeyRow, KeyStage,
        KeyStep, Move, NewApproval, NewRequest, OrderRow, PolicyRow, Reach, Release, RequestId,
        Sqlite, Store, StoreError,
    },
};
use policy::{
    amount::Amount,
    chain::{Address, Asset, Chain},
    id::WalletId,
    ledger::{Debit, Entry, Ledger, LedgerView, ScopeKey},
};
use proptest::prelude::*;
use proto::v1;

/// A store that can be closed and opened again.
trait Place {
    fn open(&self) -> Arc<dyn Store>;
}

struct Lite(tempfile::TempDir);

impl Lite {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("c.db")
    }
}

impl Place for Lite {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(Sqlite::open(&self.path()).expect("opens"))
    }
}

macro_rules! suite {
    ($($name:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&super::Lite::new()).await;
            })*
        }
    };
}

suite! {
    a96_what_one_request_uses_is_refused_to_another_until_it_has_expired
    failures_of_a_set_are_counted_for_ever
    a86_fifty_reservations_of_six_tenths_at_once_admit_one
    a87_many_small_requests_do_not_pass_the_limit
    a87_a_window_begins_where_it_says
    a87_a_clock_that_goes_back_frees_nothing
    a96_the_same_key_and_body_is_one_request_for_ever
    a96_the_same_key_with_another_body_is_a_conflict
    a89_a_failed_signature_stays_spent
    a_refused_step_leaves_nothing_behind
    every_move_is_guarded_by_the_state
    votes_decide_and_are_counted_once
    live_requests_are_bounded
    everything_is_there_after_reopening
    the_audit_trail_chains
    starts_are_counted
}

fn id(number: u32) -> RequestId {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    RequestId::from_bytes(bytes)
}

fn new(number: u32) -> NewRequest {
    NewRequest {
        id: id(number),
        initiator: "payout".into(),
        idempotency_key: format!("key-{number}"),
        wallet: "hot".into(),
        signed_intent: vec![1, 2, 3].into(),
        transaction: *id(number).as_bytes(),
        expires_ms: 1_000_000_000,
        lines: vec!["send 5".into()],
        policy_hash: vec![9; 32].into(),
        live_bound: 10_000,
    }
}

fn wallet() -> WalletId {
    WalletId::parse("hot").expect("valid")
}

fn debit(amount: u64) -> Debit {
    Debit {
        wallet: wallet(),
        chain: Chain::SolanaDevnet,
        destination: Some(Address::from_bytes([3; 32])),
        asset: Asset::Native,
        amount: Amount::from_u64(amount),
    }
}

fn scope() -> ScopeKey {
    ScopeKey::Wallet {
        wallet: wallet(),
        asset: Some(Asset::Native),
    }
}

fn judgement(decision: Decision) -> Judgement {
    Judgement {
        decision,
        token: None,
    }
}

fn approve(amount: u64) -> Judge {
    Arc::new(move |_: &Case<'_>| judgement(Decision::Approve(vec![debit(amount)], Vec::new())))
}

fn wait() -> Judge {
    Arc::new(|_: &Case<'_>| {
        judgement(Decision::Wait(
            vec![reason("approvals")],
            v1::Needs::default(),
        ))
    })
}

fn reason(code: &str) -> v1::Reason {
    v1::Reason {
        code: code.into(),
        ..Default::default()
    }
}

/// Approves `amount` if the wallet stays within `limit` over the last `window` milliseconds.
fn within(limit: u64, window: u64, amount: u64) -> Judge {
    Arc::new(move |case: &Case<'_>| {
        let spent = case.ledger.sum(&scope(), case.now_ms - window);
        let after = spent.saturating_add(Amount::from_u64(amount));
        judgement(if after > Amount::from_u64(limit) {
            Decision::Deny(vec![reason("limit")])
        } else {
            Decision::Approve(vec![debit(amount)], Vec::new())
        })
    })
}

fn release(now_ms: u64) -> Move {
    Move {
        release: Some(Release {
            signatures: vec![vec![5; 64].into()],
            signed_tx: vec![6; 100].into(),
            signers: vec![1, 3],
            timings_us: BTreeMap::from([("total".to_owned(), 12)]),
        }),
        ..Move::plain(Event::Release, now_ms)
    }
}

async fn a86_fifty_reservations_of_six_tenths_at_once_admit_one(place: &impl Place) {
    let store = place.open();
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let judge = within(1_000, 60_000, 600);
                store
                    .submit(new(number), judge, Reach::Sign, 100_000)
                    .await
                    .expect("stored")
                    .record
                    .state
            })
        })
        .collect();
    let mut counts = BTreeMap::new();
    for task in tasks {
        *counts.entry(task.await.expect("runs")).or_insert(0) += 1;
    }
    assert_eq!(
        counts,
        BTreeMap::from([(State::Signing, 1), (State::Denied, 49)])
    );
}

async fn a87_many_small_requests_do_not_pass_the_limit(place: &impl Place) {
    let store = place.open();
    for number in 0..10 {
        let decided = store
            .submit(
                new(number),
                within(1_000, 60_000, 100),
                Reach::Sign,
                100_000,
            )
            .await
            .expect("stored");
        assert_eq!(decided.record.state, State::Signing);
    }
    let decided = store
        .submit(new(10), within(1_000, 60_000, 1), Reach::Sign, 100_000)
        .await
        .expect("stored");
    assert_eq!(decided.record.state, State::Denied);
    assert_eq!(decided.record.status.reasons, [reason("limit")]);
}

async fn a87_a_window_begins_where_it_says(place: &impl Place) {
    let store = place.open();
    store
        .submit(new(0), approve(900), Reach::Sign, 100_000)
        .await
        .expect("stored");
    let at = |number, now_ms| {
        store.submit(
            new(number),
            within(1_000, 60_000, 200),
            Reach::Reserve,
            now_ms,
        )
    };
    assert_eq!(
        at(1, 159_000).await.expect("stored").record.state,
        State::Denied
    );
    assert_eq!(
        at(2, 160_000).await.expect("stored").record.state,
        State::Denied,
        "the first instant is inside"
    );
    assert_eq!(
        at(3, 160_001).await.expect("stored").record.state,
        State::Reserved
    );
    assert_eq!(
        at(4, 161_000).await.expect("stored").record.state,
        State::Reserved
    );
}

async fn a87_a_clock_that_goes_back_frees_nothing(place: &impl Place) {
    let store = place.open();
    store
        .submit(new(0), approve(900), Reach::Sign, 500_000)
        .await
        .expect("stored");
    store
        .submit(new(1), approve(50), Reach::Sign, 100_000)
        .await
        .expect("stored");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let look: Judge = Arc::new(move |case: &Case<'_>| {
        let sums =
            [0, 100_001, 500_000, 500_001].map(|since| case.ledger.sum(&scope(), since).to_u64());
        sink.lock()
            .expect("lock")
            .push((sums, case.ledger.count(&scope(), 100_001)));
        judgement(Decision::Deny(Vec::new()))
    });
    store.weigh(id(9), look, 500_000).await.expect("read");
    let sums = [Some(950), Some(950), Some(950), Some(0)];
    assert_eq!(*seen.lock().expect("lock"), [(sums, 2)]);
}

async fn a96_the_same_key_and_body_is_one_request_for_ever(place: &impl Place) {
    let judge = || within(1_000, 60_000, 600);
    for round in 0..10_u64 {
        let store = place.open();
        let decided = store
            .submit(new(0), judge(), Reach::Sign, 100_000 + round)
            .await
            .expect("stored");
        assert_eq!(decided.changed, round == 0);
        let expected = if round < 5 {
            State::Signing
        } else {
            State::Released
        };
        assert_eq!(decided.record.state, expected, "round {round}");
        if round == 4 {
            store
                .advance(id(0), release(100_004))
                .await
                .expect("stored");
        }
        if round > 4 {
            assert_eq!(decided.record.status.signature.as_ref(), [5; 64]);
            assert_eq!(decided.record.status.signed_tx.as_ref(), [6; 100]);
        }
        assert_eq!(
            store
                .list(Filter {
                    limit: 10,
                    ..Filter::default()
                })
                .await
                .expect("read")
                .len(),
            1
        );
    }
}

async fn a96_the_same_key_with_another_body_is_a_conflict(place: &impl Place) {
    let store = place.open();
    store
        .submit(new(0), approve(1), Reach::Sign, 1)
        .await
        .expect("stored");
    let other = NewRequest {
        idempotency_key: "key-0".into(),
        ..new(1)
    };
    let refused = store
        .submit(other.clone(), approve(1), Reach::Sign, 2)
        .await
        .expect_err("conflict");
    assert_eq!(refused, StoreError::Conflict { existing: id(0) });
    let foreign = NewRequest {
        initiator: "else".into(),
        ..other
    };
    assert!(
        store
            .submit(foreign, approve(1), Reach::Sign, 3)
            .await
            .is_ok(),
        "keys are per initiator"
    );
}

async fn a89_a_failed_signature_stays_spent(place: &impl Place) {
    let store = place.open();
    store
        .submit(new(0), within(1_000, 60_000, 600), Reach::Sign, 100_000)
        .await
        .expect("stored");
    store
        .advance(id(0), Move::failed(v1::Failure::default(), 100_001))
        .await
        .expect("stored");
    let decided = store
        .submit(new(1), within(1_000, 60_000, 600), Reach::Sign, 100_002)
        .await
        .expect("stored");
    assert_eq!(decided.record.state, State::Denied);
}

async fn a_refused_step_leaves_nothing_behind(place: &impl Place) {
    let store = place.open();
    let twin = NewRequest {
        transaction: new(0).transaction,
        ..new(1)
    };
    store
        .submit(new(0), approve(5), Reach::Sign, 100)
        .await
        .expect("stored");
    // The judge does not look for the conflict, so the ledger itself must refuse the second debit.
    let refused = store.submit(twin, approve(5), Reach::Sign, 100).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(store.request(id(1)).await, Err(StoreError::NotFound));
    let about: Vec<_> = store
        .events(0, 100)
        .await
        .expect("read")
        .into_iter()
        .filter(|row| row.request == Some(id(1)))
        .collect();
    assert_eq!(about, []);
}

async fn every_move_is_guarded_by_the_state(place: &impl Place) {
    let store = place.open();
    store
        .submit(new(0), wait(), Reach::Sign, 1)
        .await
        .expect("stored");
    let wrong = |found| Err(StoreError::WrongState { found });
    assert_eq!(
        store.advance(id(0), release(2)).await,
        wrong(State::Announced)
    );
    let record = store
        .advance(id(0), Move::plain(Event::Cancel, 3))
        .await
        .expect("stored");
    assert_eq!(
        (record.state, record.status.needs),
        (State::Cancelled, None)
    );
    assert_eq!(
        store.advance(id(0), Move::plain(Event::Expire, 4)).await,
        wrong(State::Cancelled)
    );
    assert_eq!(
        store.advance(id(1), Move::plain(Event::Expire, 4)).await,
        Err(StoreError::NotFound)
    );

    store
        .submit(new(2), approve(1), Reach::Reserve, 5)
        .await
        .expect("stored");
    assert_eq!(
        store.advance(id(2), release(6)).await,
        wrong(State::Reserved)
    );
    store
        .advance(id(2), Move::plain(Event::Sign, 7))
        .await
        .expect("stored");
    assert_eq!(
        store.advance(id(2), Move::plain(Event::Cancel, 8)).await,
        wrong(State::Signing)
    );
    let record = store.advance(id(2), release(9)).await.expect("stored");
    assert_eq!(record.status.signers, [1, 3]);
    assert_eq!(
        store.advance(id(2), release(10)).await,
        wrong(State::Released)
    );
}

async fn a96_what_one_request_uses_is_refused_to_another_until_it_has_expired(place: &impl Place) {
    let name = [0xee; 32];
    let judge = |seen: &Arc<Mutex<Vec<Option<[u8; 32]>>>>| -> Judge {
        let seen = Arc::clone(seen);
        Arc::new(move |case: &Case<'_>| {
            let holder = case.ledger.holder(&name, case.now_ms);
            seen.lock().expect("lock").push(holder);
            judgement(match holder {
                Some(_) => Decision::Deny(vec![reason("conflict")]),
                None => Decision::Approve(vec![debit(1)], vec![name]),
            })
        })
    };
    let seen = Arc::default();
    let store = place.open();
    let end = new(0).expires_ms + policy::conflict::MARGIN_MS;
    for (number, now_ms, state) in [
        (0, 1, State::Signing),
        (1, end - 1, State::Denied),
        (2, end, State::Signing),
    ] {
        let row = NewRequest {
            expires_ms: 1_000_000_000 + now_ms,
            ..new(number)
        };
        let row = if number == 0 { new(0) } else { row };
        let decided = store
            .submit(row, judge(&seen), Reach::Sign, now_ms)
            .await
            .expect("stored");
        assert_eq!(decided.record.state, state, "{number}");
    }
    let own = store
        .weigh(id(2), judge(&seen), end)
        .await
        .expect("weighed");
    assert!(matches!(own.decision, Decision::Approve(..)));
    let expected = [None, Some(*id(0).as_bytes()), None, None];
    assert_eq!(*seen.lock().expect("lock"), expected);
    drop(store);
    let store = place.open();
    store
        .weigh(id(9), judge(&seen), end)
        .await
        .expect("weighed");
    assert_eq!(
        seen.lock().expect("lock").pop(),
        Some(Some(*id(2).as_bytes()))
    );
}

async fn failures_of_a_set_are_counted_for_ever(place: &impl Place) {
    let store = place.open();
    for (set, count) in [(&[1, 2][..], 1), (&[1, 3], 1), (&[1, 2], 2), (&[1, 2], 3)] {
        let stored = store
            .count_failure(set.to_vec(), Some(id(0)), 10 * count)
            .await
            .expect("stored");
        assert_eq!(u64::from(stored), count);
    }
    drop(store);
    let sets = place.open().failed_sets().await.expect("reads");
    let row = |signers: &[u16], failures, at_ms| FailedSet {
        signers: signers.to_vec(),
        failures,
        at_ms,
    };
    assert_eq!(sets, [row(&[1, 2], 3, 30), row(&[1, 3], 1, 10)]);
}

async fn votes_decide_and_are_counted_once(place: &impl Place) {
    let store = place.open();
    let vote = |person: &str| {
        let info = v1::ApprovalInfo {
            person: person.into(),
            decision: "approve".into(),
            ..Default::default()
        };
        NewApproval {
            info,
            statement: person.as_bytes().to_vec().into(),
        }
    };
    let two: Judge = Arc::new(|case: &Case<'_>| {
        judgement(match case.approvals.len() {
            0 | 1 => Decision::Wait(vec![reason("approvals")], v1::Needs::default()),
            _ => Decision::Approve(vec![debit(1)], Vec::new()),
        })
    });
    store
        .submit(new(0), Arc::clone(&two), Reach::Reserve, 1)
        .await
        .expect("stored");
    let add = |person| {
        store.decide(
            id(0),
            Some(vote(person)),
            Arc::clone(&two),
            Reach::Reserve,
            2,
        )
    };
    assert!(add("alice").await.expect("stored").changed);
    let again = add("alice").await.expect("stored");
    assert!(!again.changed);
    assert_eq!(again.record.state, State::Announced);
    let done = add("bob").await.expect("stored");
    assert_eq!(done.record.state, State::Reserved);
    assert_eq!(done.record.status.approvals.len(), 2);
    assert_eq!(
        add("carol").await.map(|_| ()),
        Err(StoreError::WrongState {
            found: State::Reserved
        })
    );
}

async fn live_requests_are_bounded(place: &impl Place) {
    let store = place.open();
    let bounded = |number| NewRequest {
        live_bound: 2,
        ..new(number)
    };
    store
        .submit(bounded(0), wait(), Reach::Sign, 1)
        .await
        .expect("stored");
    store
        .submit(bounded(1), wait(), Reach::Sign, 1)
        .await
        .expect("stored");
    let refused = store
        .submit(bounded(2), wait(), Reach::Sign, 1)
        .await
        .map(|_| ());
    assert!(
        matches!(refused, Err(StoreError::Full { bound: 2, .. })),
        "{refused:?}"
    );
    assert!(
        store
            .submit(bounded(1), wait(), Reach::Sign, 1)
            .await
            .is_ok(),
        "one that is there is answered"
    );
    store
        .advance(id(0), Move::plain(Event::Expire, 2))
        .await
        .expect("stored");
    assert!(
        store
            .submit(bounded(2), wait(), Reach::Sign, 3)
            .await
            .is_ok()
    );
}

async fn everything_is_there_after_reopening(place: &impl Place) {
    let store = place.open();
    let policy = PolicyRow {
        version: 3,
        hash: vec![1; 32].into(),
        document: vec![2; 50].into(),
        signatures: vec![vec![3].into(), vec![4].into()],
        installed_ms: 10,
    };
    let order = OrderRow {
        accepted_ms: 11,
        statements: vec![vec![8].into()],
        state: vec![1].into(),
    };
    let key = KeyRow {
        request_id: [5; 32],
        name: "hot".into(),
        scheme: "ed25519".into(),
        threshold: 2,
        stage: KeyStage::Running,
        created_ms: 12,
        package: Vec::new().into(),
        parts: BTreeMap::new(),
        nodes: Vec::new(),
    };
    let evidence = EvidenceRow {
        node: 3,
        at_ms: 13,
        request: Some(id(0)),
        evidence: vec![1].into(),
        fault: "bad share".into(),
    };
    store.add_policy(policy.clone()).await.expect("stored");
    assert!(
        store.add_policy(policy.clone()).await.is_err(),
        "a document is kept once"
    );
    store
        .add_order(order.clone(), "freeze")
        .await
        .expect("stored");
    store.add_key(key.clone()).await.expect("stored");
    let same_name = KeyRow {
        request_id: [6; 32],
        ..key.clone()
    };
    assert!(
        store.add_key(same_name.clone()).await.is_err(),
        "names are taken until aborted"
    );
    let parts = BTreeMap::from([(1, vec![1].into()), (2, vec![2].into())]);
    let early = store
        .step_key([5; 32], KeyStep::Activate(vec![9].into()), 14)
        .await;
    assert_eq!(early, Err(StoreError::NotFound), "parts come first");
    store
        .step_key([5; 32], KeyStep::Certify(parts), 14)
        .await
        .expect("stored");
    assert_eq!(
        store.step_key([5; 32], KeyStep::Abort, 15).await,
        Err(StoreError::NotFound),
        "a certificate stands"
    );
    let finished = store
        .step_key([5; 32], KeyStep::Activate(vec![9].into()), 16)
        .await
        .expect("stored");
    assert_eq!(
        (finished.stage, finished.parts.len()),
        (KeyStage::Active, 2)
    );
    store.add_evidence(evidence.clone()).await.expect("stored");
    store
        .submit(new(0), wait(), Reach::Sign, 1)
        .await
        .expect("stored");
    store
        .add_receipt(id(0), 2, vec![4; 137].into(), 2)
        .await
        .expect("stored");
    store
        .add_receipt(id(0), 2, vec![5; 137].into(), 3)
        .await
        .expect("stored");
    assert_eq!(
        store.add_receipt(id(4), 2, vec![5].into(), 3).await,
        Err(StoreError::NotFound)
    );
    let before = store.request(id(0)).await.expect("read");
    assert_eq!(before.receipts, BTreeMap::from([(2, vec![4; 137].into())]));
    drop(store);

    let store = place.open();
    assert_eq!(store.request(id(0)).await.expect("read"), before);
    assert_eq!(store.live().await.expect("read"), [before]);
    assert_eq!(store.policies().await.expect("read"), [policy]);
    assert_eq!(store.orders().await.expect("read"), [order]);
    assert_eq!(store.keys().await.expect("read"), [finished]);
    assert_eq!(store.evidence().await.expect("read"), [evidence]);
}

async fn the_audit_trail_chains(place: &impl Place) {
    let store = place.open();
    store
        .submit(new(0), approve(1), Reach::Sign, 5)
        .await
        .expect("stored");
    store.advance(id(0), release(6)).await.expect("stored");
    store
        .note("alert", None, serde_json::json!({ "what": "x" }), 7)
        .await
        .expect("stored");
    let rows = store.events(0, 100).await.expect("read");
    let kinds: Vec<_> = rows.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["submit", "approve", "reserve", "sign", "release", "alert"]
    );
    assert_eq!(
        rows.iter().map(|row| row.seq).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5, 6]
    );
    assert_eq!(store.events(4, 1).await.expect("read"), rows[4..5]);
}

async fn starts_are_counted(place: &impl Place) {
    for expected in 1..4 {
        assert_eq!(place.open().begin(1).await, Ok(expected));
    }
}

#[tokio::test]
async fn a_second_process_is_kept_out() {
    let place = Lite::new();
    let first = place.open();
    let refused = Sqlite::open(&place.path()).expect_err("locked");
    assert!(
        refused.to_string().contains("in use by another process"),
        "{refused}"
    );
    drop(first);
    assert!(Sqlite::open(&place.path()).is_ok());
}

#[tokio::test]
async fn a_changed_row_of_the_trail_is_noticed() {
    let place = Lite::new();
    let store = place.open();
    for at in 0..3 {
        store
            .note("alert", None, serde_json::json!({ "at": at }), at)
            .await
            .expect("stored");
    }
    drop(store);
    let database = rusqlite::Connection::open(place.path()).expect("opens");
    database
        .execute("UPDATE event SET detail = '{}' WHERE seq = 2", [])
        .expect("changes");
    drop(database);
    let store = place.open();
    assert_eq!(
        store.events(0, 10).await,
        Err(StoreError::Damaged("the audit trail does not chain"))
    );
}

/// What a sudden end of the process leaves: the files as they are at this moment, without a checkpoint.
fn snapshot(from: &Path, to: &Path) {
    for suffix in ["", "-wal"] {
        let name = |base: &Path| PathBuf::from(format!("{}{suffix}", base.display()));
        if name(from).exists() {
            std::fs::copy(name(from), name(to)).expect("copies");
        }
    }
}

#[tokio::test]
async fn a96_whatever_was_answered_survives_a_crash_at_every_step() {
    let place = Lite::new();
    let store = place.open();
    let judge = || within(1_000, 60_000, 600);
    let crashed = |number: u32| {
        let path = place.0.path().join(format!("crash-{number}.db"));
        snapshot(&place.path(), &path);
        Sqlite::open(&path).expect("opens")
    };
    store
        .submit(new(0), judge(), Reach::Reserve, 100_000)
        .await
        .expect("stored");
    let steps = [
        (Move::plain(Event::Sign, 100_001), State::Reserved),
        (release(100_002), State::Signing),
    ];
    for (number, (step, before)) in (0..).zip(steps) {
        let copy = crashed(number);
        assert_eq!(copy.request(id(0)).await.expect("read").state, before);
        let again = copy
            .submit(new(0), judge(), Reach::Sign, 100_003)
            .await
            .expect("stored");
        assert!(!again.changed, "no second debit");
        let other = copy
            .submit(new(1), judge(), Reach::Sign, 100_003)
            .await
            .expect("stored");
        assert_eq!(
            other.record.state,
            State::Denied,
            "the first debit is there"
        );
        store.advance(id(0), step).await.expect("stored");
    }
    let copy = crashed(9);
    assert_eq!(
        copy.request(id(0))
            .await
            .expect("read")
            .status
            .signature
            .as_ref(),
        [5; 64]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// The stored ledger gives the answers of the in-memory model for any history and any window.
    #[test]
    fn the_ledger_equals_its_model(
        history in prop::collection::vec((0_u64..50, prop::collection::vec((0_u8..2, 0_u8..3, 0_u8..2, 1_u64..1_000), 1..4)), 1..12),
        since in 0_u64..700,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let place = Lite::new();
            let store = place.open();
            let mut model = Ledger::new();
            let mut now = 0;
            let mut scopes = std::collections::BTreeSet::new();
            for (number, (pause, transfers)) in (0_u32..).zip(history) {
                now += pause;
                let debits: Vec<Debit> = transfers.iter().map(|(wallet, to, asset, amount)| Debit {
                    wallet: WalletId::parse(&format!("w{wallet}")).expect("valid"),
                    chain: Chain::SolanaDevnet,
                    destination: (*to > 0).then(|| Address::from_bytes([*to; 32])),
                    asset: if *asset == 0 { Asset::Native } else { Asset::SplMint([4; 32]) },
                    amount: Amount::from_u64(*amount),
                }).collect();
                scopes.extend(debits.iter().flat_map(Debit::scopes));
                model.record(*id(number).as_bytes(), Entry { at_ms: now, raw_digest: new(number).transaction, debits: debits.clone() });
                let judge: Judge = Arc::new(move |_: &Case<'_>| judgement(Decision::Approve(debits.clone(), Vec::new())));
                store.submit(new(number), judge, Reach::Sign, now).await.expect("stored");
            }
            for own in [id(0), id(1), id(77)] {
                let expected: Vec<_> = {
                    let view = model.view(*own.as_bytes());
                    let known = new(1).transaction;
                    scopes.iter().map(|scope| (view.sum(scope, since), view.count(scope, since), view.conflict(&known))).collect()
                };
                let scopes = scopes.clone();
                let found = Arc::new(Mutex::new(Vec::new()));
                let sink = Arc::clone(&found);
                let look: Judge = Arc::new(move |case: &Case<'_>| {
                    let known = new(1).transaction;
                    let answers = scopes.iter().map(|scope| (case.ledger.sum(scope, since), case.ledger.count(scope, since), case.ledger.conflict(&known)));
                    sink.lock().expect("lock").extend(answers);
                    judgement(Decision::Deny(Vec::new()))
                });
                store.weigh(own, look, now).await.expect("read");
                assert_eq!(*found.lock().expect("lock"), expected);
            }
        });
    }
}
