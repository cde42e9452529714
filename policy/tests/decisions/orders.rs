//! Who may order what about keys, and when the policy orders it itself.

use policy::document::PolicyHash;
use policy::governance::{
    Matter, NotDue, OrderError, STANDING_ATTEMPTS, authorise, classify, refresh_every,
    standing_refresh,
};
use policy::statement::reshare::{LAST_ATTEMPT, ReshareKey, Seat};
use policy::statement::{
    Exportation, KeyRef, Plan, Retirement, SignedStatement, Statement, StatementError,
};

use crate::support::*;

const RULE: &str = "[[rule]]\nid = \"pay\"\neffect = \"allow\"\nmatch = { wallet = \"hot-sol\" }\nlimits = [{ scope = \"tx\", asset = \"native\", max = \"1000\" }]\nrequire = [{ group = \"treasury\", min = 1 }]\n";

fn key_ref() -> KeyRef {
    KeyRef {
        key: [5; 32],
        name: "hot".into(),
        scheme: "ecdsa".into(),
        epoch: 3,
        attempt: 1,
        sharing: [6; 32],
    }
}

fn seat(index: u16, node: u16) -> Seat {
    Seat {
        index,
        node,
        id: [u8::try_from(node).unwrap(); 32],
    }
}

fn refresh() -> Plan {
    let holders = vec![seat(1, 1), seat(2, 2), seat(3, 3)];
    Plan {
        request: [8; 32],
        keys: vec![ReshareKey {
            key: key_ref(),
            first: 1,
            last: 3,
        }],
        members: holders.clone(),
        holders,
        threshold: 2,
        dealers: vec![1, 2, 3],
        new_threshold: 2,
        fresh_pairs: false,
    }
}

fn reshare() -> Plan {
    Plan {
        dealers: vec![1, 3],
        members: vec![seat(1, 1), seat(2, 3), seat(3, 4)],
        new_threshold: 3,
        fresh_pairs: true,
        ..refresh()
    }
}

fn export() -> Matter {
    Matter::Export(Exportation {
        request: [8; 32],
        key: key_ref(),
        recipient: [7; 32],
        reason: "we leave".into(),
    })
}

fn retire() -> Matter {
    Matter::Retire(Retirement {
        request: [8; 32],
        key: key_ref(),
        reason: "the product has ended".into(),
    })
}

fn signed(matter: &Matter, names: &[&str]) -> Vec<SignedStatement> {
    let sign = |name: &&str| sign(&matter.clone().statement(common(name, "laptop", NOW)));
    names.iter().map(sign).collect()
}

fn text(matter: &Matter) -> String {
    let statement = matter.clone().statement(common("erin", "laptop", NOW));
    String::from_utf8(statement.render()).unwrap()
}

/// A document with these lines after those of the governance table.
fn governed(more: &str) -> String {
    document_of(
        1,
        None,
        &[GOVERNANCE, more, "\n", &people(), &wallet(), RULE],
    )
}

#[test]
fn the_text_of_a_reshare_says_everything_twice_in_numbers_and_in_words() {
    let text = text(&Matter::Reshare(reshare()));
    let expected = [
        "quorate/reshare/v1\ncluster: ",
        &format!("request: {}\n", "08".repeat(32)),
        &format!(
            "key: {} name hot scheme ecdsa epoch 3 attempt 1 sharing {} next 1 to 3\n",
            "05".repeat(32),
            "06".repeat(32)
        ),
        &format!("holder: 2 node 2 {}\n", "02".repeat(32)),
        "threshold: 2\ndealer: node 1\ndealer: node 3\n",
        &format!("member: 3 node 4 {}\n", "04".repeat(32)),
        "new_threshold: 3\npair_setups: fresh\nperson: erin\n",
        "line: replace the shares of key hot (ecdsa, 0505050505050505...)\n",
        "line: before: nodes 1, 2, 3 hold them, any 2 of them sign\n",
        "line: after: nodes 1, 3, 4 hold them, any 3 of them sign\n",
        "line: node 2 can no longer take part\n",
        "line: node 4 can take part from then on\n",
        "line: nodes 1, 3 deal the new shares; the old ones are worth nothing once they are erased\n",
        "line: all pairs of nodes make new pair setups\n",
        "line: public keys and addresses stay as they are\n",
    ];
    let mut rest = text.as_str();
    for part in expected {
        let found = rest.split_once(part);
        rest = found.unwrap_or_else(|| panic!("{part} in {text}")).1;
    }
    assert!(rest.is_empty(), "{rest}");
}

#[test]
fn a91_words_that_do_not_follow_from_the_fields_are_refused() {
    let good = text(&Matter::Reshare(reshare()));
    assert!(Statement::parse(good.as_bytes()).is_ok());
    for (from, to) in [
        ("line: node 2 can no longer take part\n", ""),
        ("any 3 of them sign", "any 2 of them sign"),
        ("line: replace", "line: refresh"),
        ("new_threshold: 3", "new_threshold: 2"),
        ("pair_setups: fresh", "pair_setups: kept"),
        ("member: 3 node 4", "member: 3 node 5"),
        ("dealer: node 3", "dealer: node 2"),
        ("name hot", "name cold"),
        ("next 1 to 3", "next 1 to 03"),
        ("next 1 to 3", "next 0 to 3"),
        ("next 1 to 3", "next 1 to 17"),
        ("next 1 to 3", "next 3 to 1"),
        ("epoch 3", "epoch +3"),
        ("holder: 1 node 1", "holder: 2 node 1"),
        ("member: 1 node 1", "member: 1 node 2"),
        ("member: 2 node 3", "member: 4 node 3"),
        ("threshold: 2\n", "threshold: 1\n"),
        ("new_threshold: 3", "new_threshold: 4"),
        ("dealer: node 1\n", ""),
    ] {
        assert!(good.contains(from), "{from}");
        let bad = good.replace(from, to);
        assert!(Statement::parse(bad.as_bytes()).is_err(), "{from} -> {to}");
    }
    let mut far = reshare();
    (far.keys[0].first, far.keys[0].last) = (LAST_ATTEMPT, LAST_ATTEMPT + 1);
    assert_eq!(far.check(), Err(StatementError::BadValue { key: "key" }));
    let mut twice = reshare();
    twice.keys.push(twice.keys[0].clone());
    assert_eq!(twice.check(), Err(StatementError::BadValue { key: "key" }));
}

#[test]
fn the_other_orders_say_what_they_lead_to() {
    let text = text(&export());
    assert!(text.contains(&format!(
        "recipient: {}\nreason: we leave\n",
        "07".repeat(32)
    )));
    assert!(text.contains("line: who has it signs alone, outside of every policy, for ever\n"));
    let other = text.replace(
        &format!("recipient: {}", "07".repeat(32)),
        &format!("recipient: {}", "09".repeat(32)),
    );
    assert!(
        Statement::parse(other.as_bytes()).is_err(),
        "the words name the recipient as well"
    );
    assert_eq!(
        (retire().word(), Matter::Reshare(refresh()).word()),
        ("retire", "refresh")
    );
}

#[test]
fn each_order_takes_its_own_quorum_and_statements_about_one_matter() {
    let document = parse(&governed(""));
    let quorum_of = |matter: &Matter, names: &[&str]| {
        authorise(Some(&document), &cluster(), &signed(matter, names), NOW)
    };
    // Tightening takes one of security in this document, loosening two and one of the board.
    let mild = Matter::Reshare(refresh());
    assert_eq!(quorum_of(&mild, &["erin"]), Ok(mild.clone()));
    for strong in [Matter::Reshare(reshare()), retire()] {
        for names in [
            ["erin", "grace"].as_slice(),
            &["erin", "erin", "grace"],
            &["erin", "frank", "alice"],
        ] {
            let refused = quorum_of(&strong, names);
            assert!(
                matches!(refused, Err(OrderError::Quorum { .. })),
                "{refused:?}"
            );
        }
        assert_eq!(
            quorum_of(&strong, &["erin", "frank", "grace"]),
            Ok(strong.clone())
        );
    }
    // Statements about other matters add nothing.
    let mut other = reshare();
    other.new_threshold = 2;
    let mut mixed = signed(&Matter::Reshare(reshare()), &["erin"]);
    mixed.extend(signed(&Matter::Reshare(other), &["frank"]));
    let Err(OrderError::Quorum { ignored, .. }) =
        authorise(Some(&document), &cluster(), &mixed, NOW)
    else {
        panic!("two different orders are no order");
    };
    assert_eq!(ignored, ["frank (it is about something else)"]);
    // Nor do statements whose time is over.
    let late = NOW + 40 * 24 * 3_600_000;
    let old = signed(&mild, &["erin"]);
    assert!(authorise(Some(&document), &cluster(), &old, late).is_err());
    assert_eq!(
        authorise(Some(&document), &cluster(), &[], NOW),
        Err(OrderError::Empty)
    );
    assert_eq!(
        authorise(
            Some(&document),
            &cluster(),
            &[freeze("erin", "laptop", NOW)],
            NOW
        ),
        Err(OrderError::Empty)
    );
}

#[test]
fn before_the_first_policy_the_governors_decide_and_nobody_exports() {
    let matter = Matter::Reshare(reshare());
    let by = |names: &[&str]| authorise(None, &cluster(), &signed(&matter, names), NOW);
    assert!(matches!(by(&["erin"]), Err(OrderError::Quorum { .. })));
    assert_eq!(by(&["erin", "grace"]), Ok(matter.clone()));
    let all = signed(&export(), &["erin", "frank", "grace"]);
    assert_eq!(
        authorise(None, &cluster(), &all, NOW),
        Err(OrderError::Never)
    );
    assert_eq!(
        authorise(Some(&parse(&governed(""))), &cluster(), &all, NOW),
        Err(OrderError::Never)
    );
}

#[test]
fn an_export_takes_its_clause_and_two_people() {
    let open = parse(&governed(
        "export = { quorum = [{ group = \"security\", min = 1 }] }",
    ));
    let by = |names: &[&str]| authorise(Some(&open), &cluster(), &signed(&export(), names), NOW);
    let Err(OrderError::Quorum { missing, .. }) = by(&["erin"]) else {
        panic!("one person exports nothing");
    };
    assert_eq!(missing, ["at least 2 people"]);
    assert_eq!(by(&["erin", "frank"]), Ok(export()));
    let clause = "reshare = { quorum = [{ group = \"treasury\", min = 1 }] }";
    let own = parse(&governed(clause));
    let by = |names: &[&str]| authorise(Some(&own), &cluster(), &signed(&retire(), names), NOW);
    assert!(by(&["erin", "frank"]).is_err() && by(&["alice"]) == Ok(retire()));
}

#[test]
fn whoever_may_order_more_than_before_has_loosened_the_policy() {
    let change = |old: &str, new: &str| {
        let old = governed(old);
        let prev = PolicyHash::of(old.as_bytes());
        let new = document_of(
            2,
            Some(&prev),
            &[GOVERNANCE, new, "\n", &people(), &wallet(), RULE],
        );
        classify(&parse(&old), &parse(&new)).loosened
    };
    let (export, reshare) = (
        "export = { quorum = [{ group = \"security\", min = 2 }] }",
        "reshare = { quorum = [{ group = \"security\", min = 2 }] }",
    );
    assert!(change("", "").is_empty() && change(export, export).is_empty());
    assert!(change(export, "").is_empty(), "nobody exports any more");
    assert_eq!(change("", export).len(), 1);
    assert_eq!(change("", reshare).len(), 1);
    assert_eq!(change(reshare, "").len(), 1);
}

#[test]
fn a_refresh_is_due_by_the_shortest_interval_and_only_for_a_while_without_an_order() {
    let every = |period: &str| wallet() + &format!("refresh_every = \"{period}\"\n");
    let with = |wallet: &str| {
        parse(&document_of(
            1,
            None,
            &[GOVERNANCE, &people(), wallet, RULE],
        ))
    };
    let key = *with(&wallet())
        .wallets()
        .values()
        .next()
        .map(|wallet| &wallet.key_id)
        .unwrap();
    assert_eq!(refresh_every(&with(&wallet()), &key), None);
    assert_eq!(
        standing_refresh(&with(&wallet()), &key, 1, 0, NOW),
        Err(NotDue::NoInterval)
    );
    let daily = with(&every("1d"));
    let day = 86_400_000;
    assert_eq!(
        refresh_every(&daily, &key).map(|period| period.as_ms()),
        Some(day)
    );
    assert_eq!(refresh_every(&daily, &[1; 32]), None);
    let at = |now_ms| standing_refresh(&daily, &key, 1, NOW, now_ms);
    assert_eq!(at(NOW), Err(NotDue::TooEarly { due_ms: NOW + day }));
    assert!(at(NOW + day - 5 * 60_000 - 1).is_err() && at(NOW + day - 5 * 60_000).is_ok());
    let hard = standing_refresh(&daily, &key, STANDING_ATTEMPTS + 1, NOW, NOW + day);
    assert_eq!(
        hard,
        Err(NotDue::Attempts {
            attempt: STANDING_ATTEMPTS + 1
        })
    );
    let zero = document_of(1, None, &[GOVERNANCE, &people(), &every("0s"), RULE]);
    assert!(policy::document::Document::parse(zero.as_bytes()).is_err());
    assert_eq!(classify(&with(&wallet()), &daily).loosened.len(), 1);
}
