//! What others have told a node, beside its own bookings.

use policy::amount::Amount;
use policy::chain::Address;
use policy::ledger::LedgerView as _;

use super::tests::{debit, entry, now};
use super::{LONGEST_MS, Ledger, Place, Totals};

#[test]
fn a_part_that_was_told_is_counted_where_it_is_more_and_told_on_where_it_belongs() {
    let mut ledger = Ledger::default();
    ledger.record(&entry(1, 1, 100_000, vec![debit("hot", None, 5)]));
    let scope = debit("hot", None, 0).scopes().remove(0);
    // The same payment by another node's clock, and more than half of it is this node's part now.
    let mut part = Totals::default();
    part.put(scope.clone(), &[100_300], |since_ms| {
        let counts = since_ms <= 100_300;
        (Amount::from_u64(6 * u64::from(counts)), u64::from(counts))
    });
    ledger.inherit([7; 32], (2, 1), 200_000, part);
    ledger.record(&entry(2, 1, 250_000, vec![debit("hot", None, 2)]));
    let seen = |ledger: &Ledger, intent: u8, since_ms: u64| {
        let view = ledger.view([intent; 32], now(300_000, 300_000), 0);
        let sum = view.sum(&scope, since_ms).to_u64().unwrap();
        (sum, view.count(&scope, since_ms))
    };
    for (since_ms, spent) in [(0, (8, 2)), (100_200, (8, 2)), (100_301, (2, 1))] {
        assert_eq!(seen(&ledger, 3, since_ms), spent, "since {since_ms}");
    }
    // Whoever asks again for what it has booked has its own left out, once.
    assert_eq!(seen(&ledger, 1, 0), (3, 1));
    assert_eq!(seen(&ledger, 2, 0), (6, 1));

    let told = |ledger: &Ledger, now_ms: u64, below: Place| {
        let totals = ledger.totals(now(now_ms, now_ms), |_, place| place < below)?;
        totals.since(&scope, 0).0.to_u64()
    };
    assert_eq!(told(&ledger, 300_000, (2, 1)), Some(7));
    assert_eq!(told(&ledger, 300_000, (3, 1)), Some(8));
    // One that lost its ledger tells nothing as long as any window can reach back before that.
    ledger.blind_before(300_000);
    assert_eq!(told(&ledger, 300_000 + LONGEST_MS - 1, (3, 1)), None);
    assert_eq!(told(&ledger, 300_000 + LONGEST_MS, (3, 1)), Some(8));
}

#[test]
fn a_ledger_of_many_destinations_can_still_be_told() {
    let mut ledger = Ledger::default();
    for number in 0..2_000_u64 {
        let mut one = entry(1, 1, 1_000 * number, vec![debit("hot", None, 1)]);
        one.intent[..8].copy_from_slice(&number.to_be_bytes());
        let mut to = [1; 32];
        to[..8].copy_from_slice(&number.to_be_bytes());
        for debit in &mut one.debits {
            debit.destination = Some(Address::from_bytes(to));
        }
        ledger.record(&one);
    }
    let all = debit("hot", Some(9), 0).scopes();
    let told = ledger.totals(now(9_000_000, 9_000_000), |_, _| true);
    let told = told.unwrap();
    for scope in &all {
        // To the one it asks about nothing has gone; but that was not told.
        assert_eq!(told.since(scope, 0), (Amount::from_u64(2_000), 2_000));
    }
    // Nor does whoever was told this tell more.
    let mut next = Ledger::default();
    next.inherit([7; 32], (1, 1), 9_000_000, told);
    next.record(&entry(9, 1, 9_000_001, vec![debit("hot", Some(8), 1)]));
    let told = next.totals(now(9_000_002, 9_000_002), |_, _| true).unwrap();
    for scope in &all {
        assert_eq!(told.since(scope, 0), (Amount::from_u64(2_001), 2_001));
    }
}
