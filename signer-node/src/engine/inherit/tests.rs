//! What totals say, and what counts beside own bookings.

use super::*;

fn scope(name: &str) -> ScopeKey {
    ScopeKey::Wallet {
        wallet: WalletId::parse(name).unwrap(),
        asset: Some(Asset::Native),
    }
}

fn spent(points: &[(u64, u64)]) -> Vec<Spent> {
    let one = |(at_ms, amount): &(u64, u64)| Spent {
        at_ms: *at_ms,
        amount: Amount::from_u64(*amount),
        count: 1,
    };
    points.iter().map(one).collect()
}

fn totals(points: &[(u64, u64)]) -> Totals {
    Totals(BTreeMap::from([(scope("hot"), spent(points))]))
}

#[test]
fn the_highest_of_all_counts_for_every_window() {
    let (one, two) = (totals(&[(10, 5), (30, 1)]), totals(&[(20, 4)]));
    let both = Totals::highest(&[&one, &two]);
    for (since_ms, amount) in [(0, 6), (10, 6), (11, 4), (20, 4), (21, 1), (31, 0)] {
        let (found, _) = both.since(&scope("hot"), since_ms);
        assert_eq!(found, Amount::from_u64(amount), "since {since_ms}");
    }
    assert_eq!(both.since(&scope("other"), 0), (Amount::ZERO, 0));
    let part = both.scaled(2, 5);
    assert!(part.since(&scope("hot"), 0).0 >= Amount::from_u64(3));
    // Where few of many have told, more is counted than any of them says; and not much more than that.
    let more = both.scaled(6, 5).since(&scope("hot"), 0).0;
    assert!(more >= Amount::from_u64(8) && more <= Amount::from_u64(11));
}

#[test]
fn many_moments_are_told_together_and_never_too_early() {
    let points: Vec<(u64, u64)> = (0..1_000).map(|at| (at, 1)).collect();
    let (points, times) = (spent(&points), (0..1_000).collect::<Vec<_>>());
    let mut all = Totals::default();
    all.put(scope("hot"), &times, |since_ms| since(&points, since_ms));
    assert!(all.0[&scope("hot")].len() <= MAX_POINTS);
    for since_ms in [0, 1, 500, 999] {
        let exact = Amount::from_u64(1_000 - since_ms);
        assert!(all.since(&scope("hot"), since_ms).0 >= exact);
    }
    assert_eq!(all.since(&scope("hot"), 1_000).0, Amount::ZERO);
    assert_eq!(Totals::decode(&all.encode()), Ok(all));
}

#[test]
fn a_part_is_rounded_up_once_and_not_for_every_payment() {
    let all = totals(&[(1, 1), (2, 1), (3, 1), (4, 1)]);
    let part = all.scaled(2, 3);
    let (amount, count) = part.since(&scope("hot"), 0);
    assert_eq!((amount, count), (Amount::from_u64(3), 3));
    for (since_ms, count) in [(2, 2), (3, 2), (4, 1), (5, 0)] {
        assert_eq!(part.since(&scope("hot"), since_ms).1, count);
    }
    assert_eq!(all.scaled(3, 3), all);
    assert_eq!(
        all.scaled(3, 2).since(&scope("hot"), 0).0,
        Amount::from_u64(7)
    );
}

#[test]
fn the_higher_of_part_and_own_bookings_counts_and_later_ones_beside_it() {
    let mut parts = Parts::default();
    parts.add([1; 32], (1, 1), 100, totals(&[(10, 6), (50, 5)]));
    // Booked at 10 and 40 before the sharing was joined, and at 200 after.
    let own = spent(&[(10, 9), (40, 1), (200, 2)]);
    let count = |parts: &Parts, since_ms: u64| {
        let booked = |at_ms| since(&own, at_ms).0;
        let more = parts.beside(&scope("hot"), since_ms, |before_ms| {
            let before = booked(since_ms).saturating_sub(booked(before_ms.max(since_ms)));
            (before, 0)
        });
        booked(since_ms).saturating_add(more.0).to_u64().unwrap()
    };
    // Since 10 the part is 11 and the own bookings were 10; since 20 it is 5 against 1; since 51 there is neither.
    let is = [
        (10, 13),
        (20, 7),
        (41, 7),
        (50, 7),
        (51, 2),
        (200, 2),
        (201, 0),
    ];
    for (since_ms, amount) in is {
        assert_eq!(count(&parts, since_ms), amount, "since {since_ms}");
    }
    // Another reshare, later: its part is one of the same payments and of the one at 200, and takes the place of the first.
    parts.add([1; 32], (2, 1), 300, totals(&[(10, 12), (200, 3)]));
    for (since_ms, amount) in [(10, 15), (20, 3), (51, 3), (200, 3), (201, 0)] {
        assert_eq!(count(&parts, since_ms), amount, "since {since_ms}");
    }
    let first = parts.only(|_, place| place < (2, 1));
    assert_eq!(count(&first, 20), 7);
    // Another key may share the scope: what it was told of counts as well, where it is more.
    parts.add([2; 32], (1, 1), 300, totals(&[(20, 9)]));
    for (since_ms, amount) in [(10, 15), (20, 9), (51, 3)] {
        assert_eq!(count(&parts, since_ms), amount, "since {since_ms}");
    }
    // A part that is less than the own bookings changes nothing.
    let mut less = Parts::default();
    less.add([1; 32], (1, 1), 300, totals(&[(10, 1), (200, 1)]));
    for since_ms in [0, 10, 11, 40, 41, 200, 201] {
        assert_eq!(
            count(&less, since_ms),
            since(&own, since_ms).0.to_u64().unwrap()
        );
    }
    let none = less.only(|key, place| *key == [1; 32] && place < (1, 1));
    assert_eq!(none.scopes().count(), 0);
}

#[test]
fn no_more_is_read_than_a_node_may_tell() {
    let most: Vec<(u64, u64)> = (0..16).map(|at| (at, 1)).collect();
    let one = totals(&most);
    assert_eq!(Totals::decode(&one.encode()).as_ref(), Ok(&one));
    let more: Vec<(u64, u64)> = (0..17).map(|at| (at, 1)).collect();
    let more = totals(&more);
    assert!(Totals::decode(&more.encode()).is_err());
    // What was made of the totals of several may have as many moments as they have together.
    assert_eq!(Totals::decode_stored(&more.encode()).as_ref(), Ok(&more));
    let tellers: Vec<Totals> = (0..32_u64)
        .map(|teller| {
            let points: Vec<_> = (0..16).map(|at| (at * 32 + teller, teller + 1)).collect();
            totals(&points)
        })
        .collect();
    let highest = Totals::highest(&tellers.iter().collect::<Vec<_>>()).scaled(3, 2);
    assert_eq!(highest.0[&scope("hot")].len(), 512);
    assert_eq!(Totals::decode_stored(&highest.encode()), Ok(highest));
    let beyond: Vec<(u64, u64)> = (0..513).map(|at| (at, 1)).collect();
    assert!(Totals::decode_stored(&totals(&beyond).encode()).is_err());

    let mut large = Totals::default();
    for number in 0..4_000 {
        let name = format!("wallet-{number}-{}", "x".repeat(24));
        large.0.insert(scope(&name), spent(&[(1, 1)]));
    }
    assert!(!large.fits());
    assert!(Totals::decode(&large.encode()).is_err());
    assert_eq!(Totals::decode_stored(&large.encode()), Ok(large));
}

#[test]
fn where_destinations_are_too_many_to_be_told_anything_may_have_gone_to_each() {
    let chain = Chain::SolanaDevnet;
    let all = ScopeKey::Asset {
        chain,
        asset: Asset::Native,
    };
    let to = |byte: u8, asset| ScopeKey::Destination {
        chain,
        to: Address::from_bytes([byte; 32]),
        asset,
    };
    let fine = BTreeMap::from([
        (all, spent(&[(10, 5), (20, 2)])),
        (to(1, Some(Asset::Native)), spent(&[(10, 5)])),
        (to(1, None), spent(&[(10, 5)])),
    ]);
    let fine = Totals(fine);
    let coarse = fine.clone().coarse();
    assert!(coarse.is_coarse() && !fine.is_coarse() && !Totals::default().is_coarse());
    for (byte, asset) in [(1, Some(Asset::Native)), (1, None), (2, None)] {
        let found = |totals: &Totals, at_ms| totals.since(&to(byte, asset), at_ms);
        assert_eq!(found(&coarse, 0), (Amount::from_u64(7), 2));
        assert_eq!(found(&coarse, 11), (Amount::from_u64(2), 1));
        // One that tells less than the others makes the others' detail worthless.
        assert_eq!(found(&Totals::highest(&[&fine, &coarse]), 11).1, 1);
        assert_eq!(found(&Totals::highest(&[&fine, &fine]), 11).1, 0);
    }
    assert_eq!(coarse.since(&scope("hot"), 0), (Amount::ZERO, 0));
}

#[test]
fn every_scope_has_one_encoding() {
    let to = Address::from_bytes([7; 32]);
    let chain = Chain::SolanaDevnet;
    let scopes = [
        scope("hot"),
        ScopeKey::Wallet {
            wallet: WalletId::parse("hot").unwrap(),
            asset: None,
        },
        ScopeKey::Asset {
            chain,
            asset: Asset::Native,
        },
        ScopeKey::Destination {
            chain,
            to,
            asset: None,
        },
        ScopeKey::Destination {
            chain,
            to,
            asset: Some(Asset::Native),
        },
    ];
    let all = scopes.map(|scope| (scope, spent(&[(1, 2)])));
    let all = Totals(all.into_iter().collect());
    let bytes = all.encode();
    assert_eq!(Totals::decode(&bytes), Ok(all));
    for end in 0..bytes.len() {
        assert!(Totals::decode(&bytes[..end]).is_err());
    }
}
