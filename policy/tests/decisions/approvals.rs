//! Who counts, for what, and how long (attacks A91, A92, A93, A104).

use policy::approval::{Approval, Decision, display_digest};
use policy::evaluate::{Code, Verdict};
use policy::governance::{Installed, install};
use policy::intent::SignedIntent;
use policy::statement::{SignedStatement, Statement};

use crate::support::*;

const TWO: &str = "[[rule]]\nid = \"two\"\neffect = \"allow\"\nmatch = { wallet = \"hot-sol\" }\nrequire = [{ group = \"treasury\", min = 2 }]\n";

fn setup() -> (Installed, SignedIntent) {
    (installed(&document(TWO)), pay(place(1), SOL))
}

/// How many approvals of the first group are still missing, and the sentence about the first that does not count.
fn have(verdict: &Verdict) -> (u32, Option<String>) {
    match verdict {
        Verdict::Needs(needs) => {
            let ignored = needs
                .reasons
                .iter()
                .find(|reason| reason.code == Code::ApprovalIgnored);
            (needs.groups[0].have, ignored.map(ToString::to_string))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_people_of_the_group_are_two() {
    let (policy, intent) = setup();
    let case = Case::new(&policy);
    let votes = [
        approve(&intent, &policy, "alice"),
        approve(&intent, &policy, "bob"),
    ];
    let Verdict::Approved(approved) = case.decide(&intent, &votes) else {
        panic!()
    };
    let names: Vec<String> = approved
        .outline()
        .approvers
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["alice", "bob"]);
    let verdict = case.decide(&intent, &votes[..1]);
    assert_eq!(
        sentences(&verdict),
        ["1 of 2 treasury approved (rule two); needs 1 more of treasury (bob, carol)"]
    );
    // Somebody outside the group is heard and does not help.
    let outside = [
        approve(&intent, &policy, "alice"),
        approve(&intent, &policy, "dave"),
    ];
    assert_eq!(have(&case.decide(&intent, &outside)), (1, None));
}

#[test]
fn a92_two_credentials_of_one_person_are_one() {
    let (policy, intent) = setup();
    let phone = sign(&Statement::Approval(vote(
        intent.intent(),
        policy.hash(),
        "alice",
        "phone",
        Decision::Approve,
    )));
    let laptop = approve(&intent, &policy, "alice");
    let verdict = Case::new(&policy).decide(&intent, &[laptop.clone(), phone, laptop]);
    assert_eq!(have(&verdict), (1, None));
}

#[test]
fn a92_the_initiator_is_nobody() {
    let (policy, _) = setup();
    let intent = submit(intent_of(message(&[(place(1), SOL)], &[], 3), "alice"));
    let phone = sign(&Statement::Approval(vote(
        intent.intent(),
        policy.hash(),
        "alice",
        "phone",
        Decision::Approve,
    )));
    let verdict = Case::new(&policy).decide(&intent, &[approve(&intent, &policy, "bob"), phone]);
    let (have, ignored) = have(&verdict);
    assert_eq!(have, 1);
    assert_eq!(
        ignored.unwrap(),
        "the statement by alice does not count: the initiator cannot approve the own request"
    );
    let votes = [
        approve(&intent, &policy, "bob"),
        approve(&intent, &policy, "carol"),
    ];
    assert!(is_approved(&Case::new(&policy).decide(&intent, &votes)));
}

#[test]
fn a92_a_group_that_cannot_approve_without_its_initiator_says_so() {
    let rules = TWO.replace("min = 2", "min = 3");
    let policy = installed(&document(&rules));
    let intent = submit(intent_of(message(&[(place(1), SOL)], &[], 3), "alice"));
    let verdict = Case::new(&policy).decide(&intent, &[]);
    assert_eq!(denied(&verdict), [Code::ApprovalsUnreachable]);
    assert_eq!(
        sentences(&verdict),
        ["3 of treasury must approve and only 2 besides the initiator could (rule two)"]
    );
}

#[test]
fn a92_a_machine_counts_only_in_a_group_of_machines() {
    let rules = TWO.replace(
        "{ group = \"treasury\", min = 2 }",
        "{ group = \"aml\", min = 1 }",
    );
    let policy = installed(&document(&rules));
    let intent = pay(place(1), SOL);
    assert!(is_approved(
        &Case::new(&policy).decide(&intent, &[approve(&intent, &policy, "aml-1")])
    ));
    // It cannot join people unless the document says so in as many words.
    let text = document(&rules).replace("groups = [\"aml\"]", "groups = [\"aml\", \"treasury\"]");
    let error = policy::document::Document::parse(text.as_bytes()).unwrap_err();
    assert_eq!(error.problems.len(), 1);
    assert_eq!(error.problems[0].path, "machine[1].groups");
    let allowed = text.replace(
        "groups = [\"aml\", \"treasury\"]",
        "groups = [\"aml\", \"treasury\"]\nmay_count_as_human = true",
    );
    assert!(policy::document::Document::parse(allowed.as_bytes()).is_ok());
}

#[test]
fn one_no_ends_it_and_does_not_age() {
    let (policy, intent) = setup();
    let mut case = Case::new(&policy);
    let yes = [
        approve(&intent, &policy, "alice"),
        approve(&intent, &policy, "bob"),
    ];
    let with = |no: SignedStatement| yes.iter().cloned().chain([no]).collect::<Vec<_>>();
    // A member of the group, any other person, and the initiator's own second thoughts.
    for name in ["carol", "dave", "alice"] {
        let verdict = case.decide(&intent, &with(reject(&intent, &policy, name)));
        assert_eq!(denied(&verdict), [Code::Rejected], "{name}");
    }
    // A machine that no rule asks has no say.
    assert!(is_approved(
        &case.decide(&intent, &with(reject(&intent, &policy, "siem-1")))
    ));
    // A no about another request is no no to this one.
    let other = pay(place(2), SOL);
    assert!(is_approved(
        &case.decide(&intent, &with(reject(&other, &policy, "carol")))
    ));
    // A forged no does nothing.
    let statement = Statement::Approval(vote(
        intent.intent(),
        policy.hash(),
        "carol",
        "laptop",
        Decision::Reject,
    ));
    let forged = SignedStatement::sign(&statement, &key("mallory", "laptop")).unwrap();
    assert!(is_approved(&case.decide(&intent, &with(forged))));
    // The yes has expired by then; the no stands.
    case.now_ms = NOW + 2 * HOUR;
    assert_eq!(
        denied(&case.decide(&intent, &with(reject(&intent, &policy, "carol")))),
        [Code::Rejected]
    );
}

#[test]
fn a91_altering_any_field_of_an_approval_makes_it_nothing() {
    let (policy, intent) = setup();
    let case = Case::new(&policy);
    let first = approve(&intent, &policy, "alice");
    let good = vote(
        intent.intent(),
        policy.hash(),
        "bob",
        "laptop",
        Decision::Approve,
    );
    assert!(is_approved(&case.decide(
        &intent,
        &[first.clone(), sign(&Statement::Approval(good.clone()))]
    )));

    // Signed again by the same person, as an approval for something else would be.
    let mut altered = Vec::new();
    let mut other = good.clone();
    other.common.cluster = "c-02".to_owned();
    altered.push(("cluster", other));
    let mut other = good.clone();
    other.request[0] ^= 1;
    altered.push(("request", other));
    let mut other = good.clone();
    other.policy[31] ^= 1;
    altered.push(("policy", other));
    let mut other = good.clone();
    other.wallet = "cold-sol".to_owned();
    altered.push(("wallet", other));
    let mut other = good.clone();
    other.lines[2] = other.lines[2].replace("1000000000", "1");
    other.display = display_digest(&other.lines);
    altered.push(("display", other));
    for (field, approval) in altered {
        let (have, ignored) = have(&case.decide(
            &intent,
            &[first.clone(), sign(&Statement::Approval(approval))],
        ));
        assert_eq!(have, 1, "{field}");
        let expected = format!(
            "the statement by bob does not count: the approval was given for another {field} than the one at hand"
        );
        assert_eq!(ignored.unwrap(), expected);
    }

    // Altered after it was signed: the text is what the signature is over.
    let signed = sign(&Statement::Approval(good.clone()));
    type Alter = Box<dyn Fn(&mut Approval)>;
    let mut changes: Vec<(&str, Alter)> = Vec::new();
    changes.push((
        "cluster",
        Box::new(|a| a.common.cluster = "c-02".to_owned()),
    ));
    changes.push(("person", Box::new(|a| a.common.person = "carol".to_owned())));
    changes.push((
        "credential",
        Box::new(|a| a.common.credential = "phone".to_owned()),
    ));
    changes.push(("nonce", Box::new(|a| a.common.nonce[0] ^= 1)));
    changes.push(("issued", Box::new(|a| a.common.issued_ms += 1)));
    changes.push(("expires", Box::new(|a| a.common.expires_ms += 1)));
    changes.push(("request", Box::new(|a| a.request[0] ^= 1)));
    changes.push(("decision", Box::new(|a| a.decision = Decision::Reject)));
    changes.push(("policy", Box::new(|a| a.policy[0] ^= 1)));
    changes.push(("wallet", Box::new(|a| a.wallet = "cold-sol".to_owned())));
    changes.push((
        "lines",
        Box::new(|a| {
            a.lines.pop();
            a.display = display_digest(&a.lines);
        }),
    ));
    for (field, change) in changes {
        let mut approval = good.clone();
        change(&mut approval);
        let body = Statement::Approval(approval).render();
        let moved = SignedStatement::new(body, signed.signature().clone()).unwrap();
        let (have, ignored) = have(&case.decide(&intent, &[first.clone(), moved]));
        assert_eq!(have, 1, "{field}");
        assert!(ignored.is_some(), "{field}");
    }
}

#[test]
fn a91_an_approval_is_for_one_request_only() {
    let (policy, intent) = setup();
    let case = Case::new(&policy);
    let votes = [
        approve(&intent, &policy, "alice"),
        approve(&intent, &policy, "bob"),
    ];
    assert!(is_approved(&case.decide(&intent, &votes)));
    // The same transfer under another idempotency key, note, expiry, initiator, blockhash is another request.
    let mut others = Vec::new();
    for change in 0..5 {
        let mut other = intent.intent().clone();
        match change {
            0 => other.idempotency_key = "payout 2".to_owned(),
            1 => other.note.clear(),
            2 => other.expires_ms += 1,
            3 => other.initiator = "carol".to_owned(),
            _ => other.raw_tx = message(&[(place(1), SOL)], &[], 4),
        }
        others.push(other);
    }
    for other in others {
        let verdict = case.decide(&submit(other), &votes);
        assert_eq!(have(&verdict).0, 0);
    }
}

#[test]
fn a91_an_approval_counts_from_its_issue_to_its_expiry_by_this_clock() {
    let (policy, intent) = setup();
    let first = approve(&intent, &policy, "alice");
    let mut approval = vote(
        intent.intent(),
        policy.hash(),
        "bob",
        "laptop",
        Decision::Approve,
    );
    approval.common.issued_ms = NOW;
    approval.common.expires_ms = NOW + MINUTE;
    let second = sign(&Statement::Approval(approval));
    for (now_ms, counts) in [
        (NOW - 5 * MINUTE - 1, false),
        (NOW - 5 * MINUTE, true),
        (NOW + MINUTE - 1, true),
        (NOW + MINUTE, false),
    ] {
        let mut case = Case::new(&policy);
        case.now_ms = now_ms;
        assert_eq!(
            is_approved(&case.decide(&intent, &[first.clone(), second.clone()])),
            counts,
            "{now_ms}"
        );
    }
}

#[test]
fn a104_an_approver_who_was_shown_something_else_has_not_approved_this() {
    let (policy, intent) = setup();
    let case = Case::new(&policy);
    // The approver's side was handed other bytes under the same names: it signs the request id and lines of those bytes.
    let shown = pay(place(7), SOL);
    let votes = [
        approve(&shown, &policy, "alice"),
        approve(&shown, &policy, "bob"),
    ];
    assert_eq!(have(&case.decide(&intent, &votes)).0, 0);
    // Even with the right request id, lines that this side does not render itself are not an approval.
    let mut approval = vote(
        intent.intent(),
        policy.hash(),
        "bob",
        "laptop",
        Decision::Approve,
    );
    approval.lines = vote(
        shown.intent(),
        policy.hash(),
        "bob",
        "laptop",
        Decision::Approve,
    )
    .lines;
    approval.display = display_digest(&approval.lines);
    let (have, ignored) = have(&case.decide(
        &intent,
        &[
            approve(&intent, &policy, "alice"),
            sign(&Statement::Approval(approval)),
        ],
    ));
    assert_eq!(have, 1);
    assert!(ignored.unwrap().contains("another display"));
}

#[test]
fn a93_approvals_die_with_the_policy_they_were_given_under() {
    let (policy, intent) = setup();
    let votes = [
        approve(&intent, &policy, "alice"),
        approve(&intent, &policy, "bob"),
    ];
    assert!(is_approved(&Case::new(&policy).decide(&intent, &votes)));
    // Bob leaves the group: a tightening, in force at once.
    let without_bob = people().replacen(
        "id = \"bob\"\ngroups = [\"treasury\"]",
        "id = \"bob\"\ngroups = []",
        1,
    );
    let text = document_of(
        2,
        Some(policy.hash()),
        &[GOVERNANCE, &without_bob, &wallet(), TWO],
    );
    let next = install(
        Some(&policy),
        &cluster(),
        &signed_document(&text, &["erin"], NOW),
        NOW,
    )
    .unwrap();
    assert_eq!(next.effective_ms(), NOW);
    let case = Case::new(&next);
    assert_eq!(have(&case.decide(&intent, &votes)).0, 0);
    // Given again under the new policy, only alice's counts.
    let again = [
        approve(&intent, &next, "alice"),
        approve(&intent, &next, "bob"),
    ];
    assert_eq!(have(&case.decide(&intent, &again)), (1, None));
    let carol = [
        approve(&intent, &next, "alice"),
        approve(&intent, &next, "carol"),
    ];
    assert!(is_approved(&case.decide(&intent, &carol)));
    // A no outlives the change.
    let no = reject(&intent, &policy, "bob");
    assert_eq!(
        denied(&case.decide(&intent, &[carol.to_vec(), vec![no]].concat())),
        [Code::Rejected]
    );
}

#[test]
fn statements_of_other_kinds_and_strangers_do_not_count() {
    let (policy, intent) = setup();
    let stranger = Statement::Approval(vote(
        intent.intent(),
        policy.hash(),
        "mallory",
        "laptop",
        Decision::Approve,
    ));
    let votes = [freeze("erin", "laptop", NOW), sign(&stranger)];
    let Verdict::Needs(needs) = Case::new(&policy).decide(&intent, &votes) else {
        panic!()
    };
    let said: Vec<String> = needs
        .reasons
        .iter()
        .skip(1)
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        said,
        [
            "the statement by erin does not count: it is not an approval",
            "the statement by mallory does not count: the policy has no credential laptop of that name",
        ]
    );
}
