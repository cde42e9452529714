//! Changing the policy, stopping and resuming (attack A94).

use policy::document::PolicyHash;
use policy::governance::{
    Change, FreezeError, FreezeState, GovernanceError, Installed, Phase, Policies, SignedDocument,
    classify, install,
};
use policy::statement::{PolicyConsent, SignedStatement, Statement};

use crate::support::*;

const RULE: &str = "[[rule]]\nid = \"pay\"\neffect = \"allow\"\nmatch = { wallet = \"hot-sol\" }\nlimits = [{ scope = \"tx\", asset = \"native\", max = \"1000\" }]\nrequire = [{ group = \"treasury\", min = 1 }]\n";

fn with_rules(version: u64, prev: &PolicyHash, rules: &str) -> String {
    document_of(
        version,
        Some(prev),
        &[GOVERNANCE, &people(), &wallet(), rules],
    )
}

fn looser() -> String {
    RULE.replace("\"1000\"", "\"2000\"")
}

fn tighter() -> String {
    RULE.replace("\"1000\"", "\"500\"")
}

#[test]
fn the_first_version_takes_the_governors_of_the_cluster_file() {
    let text = document(RULE);
    let one = install(
        None,
        &cluster(),
        &signed_document(&text, &["erin"], NOW),
        NOW,
    )
    .unwrap_err();
    let GovernanceError::Quorum {
        change: Change::Loosen,
        missing,
        ignored,
    } = one
    else {
        panic!("{one}")
    };
    assert_eq!(missing, ["1 more of the governors (frank, grace)"]);
    assert!(ignored.is_empty());
    // A person of the document who is no governor, and the same governor twice.
    for names in [["erin", "alice"], ["erin", "erin"]] {
        assert!(install(None, &cluster(), &signed_document(&text, &names, NOW), NOW).is_err());
    }
    let first = install(
        None,
        &cluster(),
        &signed_document(&text, &["erin", "grace"], NOW),
        NOW,
    )
    .unwrap();
    assert_eq!(first.effective_ms(), NOW);
    assert_eq!(*first.hash(), PolicyHash::of(text.as_bytes()));
    // A minimum of zero is read as one.
    let mut open = cluster();
    open.genesis.min = 0;
    assert!(install(None, &open, &signed_document(&text, &[], NOW), NOW).is_err());
}

#[test]
fn a_chain_starts_with_version_one() {
    let text = with_rules(2, &PolicyHash::from_bytes([1; 32]), RULE);
    let error = install(
        None,
        &cluster(),
        &signed_document(&text, &["erin", "frank", "grace"], NOW),
        NOW,
    )
    .unwrap_err();
    assert_eq!(error, GovernanceError::NotFirst { version: 2 });
}

#[test]
fn a_signature_is_for_one_document() {
    let text = document(RULE);
    let hash = PolicyHash::of(text.as_bytes());
    let good = PolicyConsent {
        common: common("frank", "laptop", NOW),
        policy_id: "treasury".to_owned(),
        version: 1,
        policy: *hash.as_bytes(),
    };
    let try_with = |second: SignedStatement, now_ms| {
        let signatures = vec![consent(&text, "erin", NOW), second];
        install(
            None,
            &cluster(),
            &SignedDocument {
                document: text.clone().into_bytes(),
                signatures,
            },
            now_ms,
        )
    };
    assert!(try_with(sign(&Statement::Policy(good.clone())), NOW).is_ok());
    let mut altered = vec![good.clone(); 4];
    altered[0].policy[0] ^= 1;
    altered[1].version = 2;
    altered[2].policy_id = "other".to_owned();
    altered[3].common.cluster = "c-02".to_owned();
    for consent in altered {
        let error = try_with(sign(&Statement::Policy(consent)), NOW).unwrap_err();
        assert!(
            matches!(&error, GovernanceError::Quorum { ignored, .. } if ignored.len() == 1),
            "{error}"
        );
    }
    let forged =
        SignedStatement::sign(&Statement::Policy(good.clone()), &key("erin", "laptop")).unwrap();
    assert!(try_with(forged, NOW).is_err());
    assert!(try_with(freeze("frank", "laptop", NOW), NOW).is_err());
    assert!(try_with(sign(&Statement::Policy(good)), NOW + HOUR).is_err());
    // One byte of the document, even in a comment, is another document.
    let mut signed = signed_document(&text, &["erin", "frank"], NOW);
    signed.document.extend_from_slice(b"# harmless\n");
    assert!(install(None, &cluster(), &signed, NOW).is_err());
}

#[test]
fn tighter_at_once_looser_after_its_quorum_and_delay() {
    let first = installed(&document(RULE));
    let text = with_rules(2, first.hash(), &tighter());
    let next = install(
        Some(&first),
        &cluster(),
        &signed_document(&text, &["erin"], NOW),
        NOW,
    )
    .unwrap();
    assert_eq!((next.change(), next.effective_ms()), (Change::Tighten, NOW));

    let text = with_rules(2, first.hash(), &looser());
    for names in [
        &["erin"][..],
        &["erin", "frank"],
        &["erin", "grace"],
        &["alice", "bob", "grace"],
    ] {
        let error = install(
            Some(&first),
            &cluster(),
            &signed_document(&text, names, NOW),
            NOW,
        )
        .unwrap_err();
        assert!(
            matches!(
                error,
                GovernanceError::Quorum {
                    change: Change::Loosen,
                    ..
                }
            ),
            "{error}"
        );
    }
    let strangers = signed_document(&text, &["alice", "dave"], NOW);
    let error = install(Some(&first), &cluster(), &strangers, NOW).unwrap_err();
    assert_eq!(
        error,
        GovernanceError::Unsigned {
            ignored: Vec::new()
        }
    );
    let signed = signed_document(&text, &["erin", "frank", "grace"], NOW);
    let next = install(Some(&first), &cluster(), &signed, NOW).unwrap();
    assert_eq!(
        (next.change(), next.effective_ms()),
        (Change::Loosen, NOW + 48 * HOUR)
    );
    // A later not_before moves it further out, an earlier one does not bring it nearer.
    let later = text.replace(
        "2026-11-01T00:00:00Z\"\n[gov",
        "2027-01-01T00:00:00Z\"\n[gov",
    );
    let signed = signed_document(&later, &["erin", "frank", "grace"], NOW);
    let next = install(Some(&first), &cluster(), &signed, NOW).unwrap();
    assert_eq!(
        policy::time::format_utc(next.effective_ms()),
        "2027-01-01T00:00:00Z"
    );
}

#[test]
fn a94_an_older_version_never_comes_back() {
    let mut all = vec![signed_document(&document(RULE), &["erin", "frank"], NOW)];
    let mut policies = Policies::start(&cluster(), &all[0], NOW).unwrap();
    for version in 2..=4 {
        let rules = RULE.replace("\"1000\"", &format!("\"{}\"", 1000 - version));
        let text = with_rules(version, policies.in_force(NOW).hash(), &rules);
        let signed = signed_document(&text, &["erin", "frank", "grace"], NOW);
        policies.install(&cluster(), &signed, NOW).unwrap();
        all.push(signed);
    }
    let before = policies.clone();
    for (old, version) in all[..3].iter().zip(1..) {
        let error = policies.install(&cluster(), old, NOW).unwrap_err();
        assert_eq!(
            error,
            GovernanceError::Version {
                expected: 5,
                found: version
            }
        );
    }
    assert_eq!(
        policies.install(&cluster(), &all[3], NOW).unwrap_err(),
        GovernanceError::AlreadyInstalled { version: 4 }
    );
    // Skipping a version, another history, another chain, another cluster.
    let skip = with_rules(6, policies.in_force(NOW).hash(), &tighter());
    let other = PolicyHash::from_bytes([9; 32]);
    let fork = with_rules(5, &other, &tighter());
    let good = with_rules(5, policies.in_force(NOW).hash(), &tighter());
    let chain = good.replace("policy_id = \"treasury\"", "policy_id = \"another\"");
    let cluster_id = good.replace("cluster_id = \"c-01\"", "cluster_id = \"c-02\"");
    let mut errors = Vec::new();
    for text in [&skip, &fork, &chain, &cluster_id] {
        let signed = signed_document(text, &["erin", "frank", "grace"], NOW);
        errors.push(policies.install(&cluster(), &signed, NOW).unwrap_err());
    }
    assert_eq!(
        errors[0],
        GovernanceError::Version {
            expected: 5,
            found: 6
        }
    );
    assert_eq!(
        errors[1],
        GovernanceError::PrevHash {
            expected: *policies.in_force(NOW).hash(),
            found: other
        }
    );
    assert!(matches!(errors[2], GovernanceError::WrongPolicy { .. }));
    assert!(matches!(errors[3], GovernanceError::WrongCluster { .. }));
    assert_eq!(policies, before);
    assert!(
        policies
            .install(&cluster(), &signed_document(&good, &["erin"], NOW), NOW)
            .is_ok()
    );
}

#[test]
fn a94_a_loosening_waits_and_can_be_vetoed_by_a_tightening() {
    let first = signed_document(&document(RULE), &["erin", "frank"], NOW);
    let mut policies = Policies::start(&cluster(), &first, NOW).unwrap();
    let hash = *policies.in_force(NOW).hash();
    let loosening = signed_document(
        &with_rules(2, &hash, &looser()),
        &["erin", "frank", "grace"],
        NOW,
    );
    policies.install(&cluster(), &loosening, NOW).unwrap();
    assert_eq!(*policies.in_force(NOW).hash(), hash);
    assert_eq!(
        policies.in_force(NOW + 48 * HOUR - 1).document().version(),
        1
    );
    assert_eq!(policies.in_force(NOW + 48 * HOUR).document().version(), 2);
    assert!(policies.pending(NOW + 48 * HOUR).is_none());

    // A tightening on top of what waits would bring it into force early; it is no successor of the version in force.
    let waiting = *policies.pending(NOW).unwrap().hash();
    let on_top = signed_document(&with_rules(3, &waiting, &tighter()), &["erin"], NOW);
    assert!(matches!(
        policies.install(&cluster(), &on_top, NOW),
        Err(GovernanceError::Version {
            expected: 2,
            found: 3
        })
    ));
    // Another loosening cannot push in.
    let other = RULE.replace("\"1000\"", "\"3000\"");
    let other = signed_document(
        &with_rules(2, &hash, &other),
        &["erin", "frank", "grace"],
        NOW,
    );
    let pending = GovernanceError::Pending {
        version: 2,
        effective_ms: NOW + 48 * HOUR,
    };
    assert_eq!(
        policies.install(&cluster(), &other, NOW).unwrap_err(),
        pending
    );
    // The veto.
    let at = NOW + HOUR;
    let veto = signed_document(&with_rules(2, &hash, &tighter()), &["frank"], at);
    policies.install(&cluster(), &veto, at).unwrap();
    assert!(policies.pending(at).is_none());
    assert_eq!(
        *policies.in_force(NOW + 1000 * HOUR).hash(),
        PolicyHash::of(&veto.document)
    );
    // The vetoed document does not follow any more.
    assert!(policies.install(&cluster(), &loosening, at).is_err());
    // The same history gives the same state.
    let accepted = [(first, NOW), (loosening, NOW), (veto, at)];
    assert_eq!(
        Policies::replay(&cluster(), &accepted).unwrap(),
        Some(policies)
    );
    assert_eq!(Policies::replay(&cluster(), &[]).unwrap(), None);
    assert!(Policies::replay(&cluster(), &accepted[1..]).is_err());
}

#[test]
fn a_waiting_tightening_gives_way_only_to_a_tighter_one() {
    let first = signed_document(&document(RULE), &["erin", "frank"], NOW);
    let mut policies = Policies::start(&cluster(), &first, NOW).unwrap();
    let hash = *policies.in_force(NOW).hash();
    let version = |max: &str, from: &str| {
        let text = with_rules(2, &hash, &RULE.replace("\"1000\"", max));
        signed_document(&text.replace("2026-11-01", from), &["erin"], NOW)
    };
    policies
        .install(&cluster(), &version("\"500\"", "2026-12-05"), NOW)
        .unwrap();
    // Neither a looser one nor a tighter one that would come later, which would put the tightening off.
    for other in [
        version("\"900\"", "2026-12-05"),
        version("\"400\"", "2026-12-06"),
    ] {
        assert!(matches!(
            policies.install(&cluster(), &other, NOW),
            Err(GovernanceError::Pending { .. })
        ));
    }
    for from in ["2026-12-05", "2026-12-04"] {
        assert!(
            policies
                .install(&cluster(), &version("\"400\"", from), NOW)
                .is_ok()
        );
    }
}

#[test]
fn signed_documents_have_one_encoding() {
    let signed = signed_document(&document(RULE), &["erin", "frank"], NOW);
    let bytes = signed.encode();
    assert_eq!(SignedDocument::decode(&bytes).unwrap(), signed);
    for length in 0..bytes.len() {
        assert!(
            SignedDocument::decode(&bytes[..length]).is_err(),
            "{length}"
        );
    }
    let longer = [bytes.clone(), vec![0]].concat();
    assert!(SignedDocument::decode(&longer).is_err());
    let mut other = bytes;
    other[0] = 2;
    assert!(SignedDocument::decode(&other).is_err());
}

/// Whether the second text tightens the first, and what is looser if not.
fn change(old: &str, new: &str) -> (Change, Vec<String>) {
    let it = classify(&parse(old), &parse(new));
    (it.change, it.loosened)
}

#[test]
fn each_part_is_classified_by_itself() {
    let list = [
        address("x", place(1), "2026-11-20T00:00:00Z"),
        address("y", place(2), "2026-11-20T00:00:00Z"),
    ]
    .concat();
    let rules = format!(
        "{RULE}delay = \"10m\"\nexpires = \"2h\"\n\
         [[rule]]\nid = \"list\"\neffect = \"allow\"\nmatch = {{ to = \"allowlist\", kind = \"transfer\" }}\nlimits = [{{ scope = \"wallet\", window = \"24h\", asset = \"native\", max = \"9\", count = 9 }}]\n\
         [[rule]]\nid = \"no\"\neffect = \"deny\"\nmatch = {{ to = [\"{}\", \"{}\"] }}\n",
        place(8),
        place(9)
    );
    let old = document_of(1, None, &[GOVERNANCE, &people(), &wallet(), &list, &rules]);
    let spl = "kinds = [\"transfer\"]";
    let address_y = address("y", place(2), "2026-11-20T00:00:00Z");
    let cases: Vec<(&str, String, Change)> = vec![
        ("nothing", old.clone(), Change::Tighten),
        ("a comment", format!("# why\n{old}"), Change::Tighten),
        (
            "a lower limit",
            old.replace("\"1000\"", "\"999\""),
            Change::Tighten,
        ),
        (
            "a higher limit",
            old.replace("\"1000\"", "\"1001\""),
            Change::Loosen,
        ),
        (
            "a lower count",
            old.replace("count = 9", "count = 8"),
            Change::Tighten,
        ),
        (
            "a higher count",
            old.replace("count = 9", "count = 10"),
            Change::Loosen,
        ),
        ("no count", old.replace(", count = 9", ""), Change::Loosen),
        ("no max", old.replace("max = \"9\", ", ""), Change::Loosen),
        (
            "a longer window",
            old.replace("window = \"24h\"", "window = \"25h\""),
            Change::Tighten,
        ),
        (
            "a window longer by less than a step",
            old.replace("window = \"24h\"", "window = \"86401s\""),
            Change::Loosen,
        ),
        (
            "a shorter window",
            old.replace("window = \"24h\"", "window = \"23h\""),
            Change::Loosen,
        ),
        (
            "another scope",
            old.replace("scope = \"wallet\"", "scope = \"destination\""),
            Change::Loosen,
        ),
        (
            "one more limit",
            old.replace(
                "limits = [{ scope = \"tx\"",
                "limits = [{ scope = \"wallet\", window = \"1h\", count = 1 }, { scope = \"tx\"",
            ),
            Change::Tighten,
        ),
        (
            "more approvals",
            old.replace(
                "group = \"treasury\", min = 1",
                "group = \"treasury\", min = 2",
            ),
            Change::Tighten,
        ),
        (
            "another group",
            old.replace("group = \"treasury\", min = 1", "group = \"risk\", min = 1"),
            Change::Loosen,
        ),
        (
            "one more group",
            old.replace(
                "require = [{ group = \"treasury\"",
                "require = [{ group = \"risk\", min = 1 }, { group = \"treasury\"",
            ),
            Change::Tighten,
        ),
        (
            "no approvals",
            old.replace("require = [{ group = \"treasury\", min = 1 }]\n", ""),
            Change::Loosen,
        ),
        (
            "a longer delay",
            old.replace("delay = \"10m\"", "delay = \"11m\""),
            Change::Tighten,
        ),
        (
            "a shorter delay",
            old.replace("delay = \"10m\"", "delay = \"9m\""),
            Change::Loosen,
        ),
        (
            "a shorter expiry",
            old.replace("expires = \"2h\"", "expires = \"1h\""),
            Change::Tighten,
        ),
        (
            "a longer expiry",
            old.replace("expires = \"2h\"", "expires = \"3h\""),
            Change::Loosen,
        ),
        (
            "no expiry",
            old.replace("expires = \"2h\"\n", ""),
            Change::Loosen,
        ),
        (
            "a wider deny rule",
            old.replace(
                &format!("to = [\"{}\", ", place(8)),
                &format!("to = [\"{}\", \"{}\", ", place(7), place(8)),
            ),
            Change::Tighten,
        ),
        (
            "a narrower deny rule",
            old.replace(
                &format!("\"{}\", \"{}\"", place(8), place(9)),
                &format!("\"{}\"", place(8)),
            ),
            Change::Loosen,
        ),
        (
            "a new deny rule",
            format!(
                "{old}[[rule]]\nid = \"more\"\neffect = \"deny\"\nmatch = {{ initiator = \"bob\" }}\n"
            ),
            Change::Tighten,
        ),
        (
            "a new rule within an old one",
            format!(
                "{old}[[rule]]\nid = \"more\"\neffect = \"allow\"\nmatch = {{ wallet = \"hot-sol\", initiator = \"bob\" }}\n"
            ),
            Change::Tighten,
        ),
        (
            "a wider rule",
            old.replace("match = { wallet = \"hot-sol\" }", "match = {}"),
            Change::Loosen,
        ),
        (
            "a narrower rule beside another",
            old.replace(
                "match = { wallet = \"hot-sol\" }",
                "match = { wallet = \"hot-sol\", initiator = \"svc:payout\" }",
            ),
            Change::Loosen,
        ),
        (
            "an entry that may be used later",
            old.replace(&address_y, &address("y", place(2), "2026-11-21T00:00:00Z")),
            Change::Loosen,
        ),
        (
            "an entry that may be used earlier",
            old.replace(&address_y, &address("y", place(2), "2026-11-19T00:00:00Z")),
            Change::Loosen,
        ),
        (
            "a new entry",
            old.replace(
                &address_y,
                &format!(
                    "{address_y}{}",
                    address("z", place(3), "2026-11-20T00:00:00Z")
                ),
            ),
            Change::Loosen,
        ),
        (
            "a renamed entry",
            old.replace("label = \"y\"", "label = \"z\""),
            Change::Loosen,
        ),
        (
            "one more kind",
            old.replace(spl, "kinds = [\"transfer\", \"spl_transfer\"]"),
            Change::Loosen,
        ),
        (
            "a lower fee",
            old.replace("max_fee = \"100000\"", "max_fee = \"99999\""),
            Change::Tighten,
        ),
        (
            "a higher fee",
            old.replace("max_fee = \"100000\"", "max_fee = \"100001\""),
            Change::Loosen,
        ),
        (
            "another key",
            old.replace(&"11".repeat(32), &"12".repeat(32)),
            Change::Loosen,
        ),
        (
            "somebody joins the approvers",
            old.replace("groups = [\"risk\"]", "groups = [\"risk\", \"treasury\"]"),
            Change::Loosen,
        ),
        (
            "somebody leaves the approvers",
            old.replacen("groups = [\"treasury\"]", "groups = []", 1),
            Change::Tighten,
        ),
        (
            "somebody leaves security",
            old.replace(
                "id = \"frank\"\ngroups = [\"security\"]",
                "id = \"frank\"\ngroups = []",
            )
            .replace("min = 2", "min = 1"),
            Change::Loosen,
        ),
        (
            "one more machine",
            format!("{old}{}", machine("svc:new", "")),
            Change::Loosen,
        ),
        (
            "one machine less",
            old.replace(&machine("svc:payout", ""), ""),
            Change::Tighten,
        ),
        (
            "a machine that could freeze leaves",
            old.replace(&machine("siem-1", "\"siem\""), "")
                .replace("\"security\", \"siem\"", "\"security\""),
            Change::Loosen,
        ),
        (
            "more may freeze",
            old.replace(
                "any_of = [\"security\", \"siem\"]",
                "any_of = [\"security\", \"siem\", \"board\"]",
            ),
            Change::Tighten,
        ),
        (
            "a shorter unfreeze",
            old.replace("delay = \"4h\"", "delay = \"3h\""),
            Change::Loosen,
        ),
        (
            "a longer loosening",
            old.replace("delay = \"48h\"", "delay = \"49h\""),
            Change::Loosen,
        ),
        (
            "another key of a person",
            old.replace(
                &hex::encode(public("bob", "laptop")),
                &hex::encode(public("bob", "new")),
            ),
            Change::Loosen,
        ),
        (
            "one credential less",
            old.replacen(
                &format!(
                    "[[person.credential]]\nid = \"phone\"\nkind = \"ed25519\"\nkey = \"{}\"\n",
                    hex::encode(public("alice", "phone"))
                ),
                "",
                1,
            ),
            Change::Loosen,
        ),
        (
            "a person less, who could have said no",
            old.replace(&person("dave", "\"risk\"", &["laptop"]), ""),
            Change::Loosen,
        ),
        (
            "one more person",
            format!("{old}{}", person("heidi", "", &["laptop"])),
            Change::Loosen,
        ),
        (
            "another key of a machine",
            old.replace(
                &hex::encode(public("aml-1", "key")),
                &hex::encode(public("aml-1", "new")),
            ),
            Change::Loosen,
        ),
        (
            "a machine that may count as a human",
            old.replace(
                "id = \"aml-1\"\n",
                "id = \"aml-1\"\nmay_count_as_human = true\n",
            ),
            Change::Loosen,
        ),
    ];
    for (what, new, expected) in cases {
        assert!(what == "nothing" || new != old, "{what} changes nothing");
        let (found, loosened) = change(&old, &new);
        assert_eq!(found, expected, "{what}: {loosened:?}");
        assert_eq!(loosened.is_empty(), found == Change::Tighten);
    }
}

#[test]
fn a_wallet_that_goes_takes_its_part_of_a_rule_along() {
    let cold = wallet()
        .replace("hot-sol", "cold-sol")
        .replace(&"11".repeat(32), &"22".repeat(32));
    let both = RULE.replace(
        "wallet = \"hot-sol\"",
        "wallet = [\"hot-sol\", \"cold-sol\"]",
    );
    let deny = "[[rule]]\nid = \"no\"\neffect = \"deny\"\nmatch = { wallet = \"cold-sol\" }\n";
    let old = document_of(
        1,
        None,
        &[GOVERNANCE, &people(), &wallet(), &cold, &both, deny],
    );
    assert_eq!(change(&old, &document(RULE)), (Change::Tighten, Vec::new()));
    assert_eq!(change(&document(RULE), &old).0, Change::Loosen);
    // A machine that was asked by a rule may not go: it could have said no.
    let asked = document(&RULE.replace("\"treasury\", min = 1", "\"aml\", min = 1")).replace(
        &machine("siem-1", "\"siem\""),
        &format!(
            "{}{}",
            machine("siem-1", "\"siem\""),
            machine("aml-2", "\"aml\"")
        ),
    );
    let fewer = asked.replace(&machine("aml-1", "\"aml\""), &machine("aml-1", ""));
    assert_ne!(asked, fewer);
    assert_eq!(change(&asked, &fewer).0, Change::Loosen);
}

#[test]
fn asking_from_a_lower_amount_on_is_tighter_and_from_a_higher_one_looser() {
    let with = |over: &str| {
        let large = format!(
            "[[rule]]\nid = \"large\"\neffect = \"allow\"\nmatch = {{ asset = \"native\"{over} }}\nrequire = [{{ group = \"risk\", min = 1 }}]\n"
        );
        document(&format!("{RULE}{large}"))
            .replace("match = { wallet = \"hot-sol\" }", "match = { }")
    };
    let old = with(", amount_over = \"500\"");
    assert_eq!(
        change(&old, &with(", amount_over = \"499\"")).0,
        Change::Tighten
    );
    assert_eq!(change(&old, &with("")).0, Change::Tighten);
    assert_eq!(
        change(&old, &with(", amount_over = \"501\"")).0,
        Change::Loosen
    );
    assert_eq!(change(&with(""), &old).0, Change::Loosen);
}

#[test]
fn a_successor_never_comes_into_force_before_the_one_it_follows() {
    let text = document(RULE).replace("2026-11-01T00:00:00Z", "2026-12-09T00:00:00Z");
    let first = install(
        None,
        &cluster(),
        &signed_document(&text, &["erin", "frank"], NOW),
        NOW,
    )
    .unwrap();
    let next = with_rules(2, first.hash(), &tighter());
    let next = install(
        Some(&first),
        &cluster(),
        &signed_document(&next, &["erin"], NOW),
        NOW,
    )
    .unwrap();
    assert_eq!(
        policy::time::format_utc(next.effective_ms()),
        "2026-12-09T00:00:00Z"
    );
}

#[test]
fn a_smaller_allow_list_is_tighter_where_no_other_rule_reaches_what_left_it() {
    let list = [
        address("x", place(1), "2026-11-20T00:00:00Z"),
        address("y", place(2), "2026-11-20T00:00:00Z"),
    ]
    .concat();
    let short = address("x", place(1), "2026-11-21T00:00:00Z");
    let rule = "[[rule]]\nid = \"list\"\neffect = \"allow\"\nmatch = { to = \"allowlist\" }\nrequire = [{ group = \"treasury\", min = 2 }]\n";
    let with = |list: &str, rules: &str| {
        document_of(1, None, &[GOVERNANCE, &people(), &wallet(), list, rules])
    };
    assert_eq!(
        change(&with(&list, rule), &with(&short, rule)).0,
        Change::Tighten
    );
    // With a rule for everybody, what leaves the list would need fewer approvals than before.
    let open = format!(
        "{rule}[[rule]]\nid = \"any\"\neffect = \"allow\"\nmatch = {{ }}\nrequire = [{{ group = \"treasury\", min = 1 }}]\n"
    );
    assert_eq!(
        change(&with(&list, &open), &with(&short, &open)).0,
        Change::Loosen
    );
}

#[test]
fn freezing_takes_one_and_resuming_a_quorum_and_time() {
    let policy: Installed = installed(&document(RULE));
    let document = policy.document();
    let running = FreezeState::new();
    assert!(!running.is_frozen(NOW));
    let first = freeze("siem-1", "key", NOW);
    let frozen = running.freeze(document, &first, NOW).unwrap();
    assert!(frozen.is_frozen(NOW));
    assert_eq!(frozen.phase(NOW), Phase::Frozen { since_ms: NOW });

    let at = NOW + MINUTE;
    let quorum = || {
        vec![
            unfreeze("erin", at),
            unfreeze("frank", at),
            unfreeze("grace", at),
        ]
    };
    for few in [&quorum()[..2], &quorum()[1..], &[]] {
        assert!(matches!(
            frozen.unfreeze(document, few, at),
            Err(FreezeError::Quorum { .. })
        ));
    }
    let thawing = frozen.unfreeze(document, &quorum(), at).unwrap();
    let resumes_ms = at + 4 * HOUR;
    assert_eq!(
        thawing.phase(at),
        Phase::Thawing {
            since_ms: NOW,
            resumes_ms
        }
    );
    assert!(thawing.is_frozen(resumes_ms - 1));
    assert!(!thawing.is_frozen(resumes_ms));
    // Asking again, with a quorum or with nothing, neither starts the wait again nor is recorded as another order.
    for again in [&quorum()[..], &[unfreeze("mallory", at)], &[]] {
        assert_eq!(
            thawing.unfreeze(document, again, at + HOUR / 2),
            Err(FreezeError::Thawing { resumes_ms })
        );
    }
    assert_eq!(
        thawing.unfreeze(document, &quorum(), resumes_ms),
        Err(FreezeError::NotFrozen)
    );

    // The old freeze does not stop it again, a new one does, and the old consents do not lift the new one.
    assert_eq!(
        thawing.freeze(document, &first, at),
        Err(FreezeError::Replayed)
    );
    let again = thawing
        .freeze(document, &freeze("erin", "laptop", at + 1), at + MINUTE)
        .unwrap();
    assert_eq!(
        again.phase(at + MINUTE),
        Phase::Frozen {
            since_ms: at + MINUTE
        }
    );
    let error = again
        .unfreeze(document, &quorum(), at + 2 * MINUTE)
        .unwrap_err();
    assert!(
        matches!(&error, FreezeError::Quorum { ignored, .. } if ignored.len() == 3),
        "{error}"
    );
    // Nor do consents dated ahead.
    let ahead: Vec<_> = ["erin", "frank", "grace"]
        .iter()
        .map(|name| unfreeze(name, at + 3 * MINUTE))
        .collect();
    assert!(again.unfreeze(document, &ahead, at + 2 * MINUTE).is_err());
    assert!(again.unfreeze(document, &ahead, at + 3 * MINUTE).is_ok());

    for state in [running, frozen, thawing, again] {
        let bytes = state.encode();
        assert_eq!(FreezeState::decode(&bytes).unwrap(), state);
        for length in 0..bytes.len() {
            assert!(FreezeState::decode(&bytes[..length]).is_err());
        }
    }
}

#[test]
fn a_freeze_is_signed_by_somebody_who_may() {
    let policy = installed(&document(RULE));
    let document = policy.document();
    let state = FreezeState::new();
    let check = |signed: &SignedStatement| state.freeze(document, signed, NOW).unwrap_err();
    assert_eq!(
        check(&freeze("alice", "laptop", NOW)),
        FreezeError::NotEntitled {
            name: "alice".to_owned()
        }
    );
    assert!(matches!(
        check(&freeze("mallory", "laptop", NOW)),
        FreezeError::UnknownSigner { .. }
    ));
    assert!(matches!(
        check(&freeze("erin", "phone", NOW)),
        FreezeError::UnknownSigner { .. }
    ));
    let Statement::Freeze(inner) = freeze("erin", "laptop", NOW).statement().clone() else {
        panic!()
    };
    let forged =
        SignedStatement::sign(&Statement::Freeze(inner.clone()), &key("alice", "laptop")).unwrap();
    assert!(matches!(check(&forged), FreezeError::Signature(_)));
    let mut elsewhere = inner;
    elsewhere.common.cluster = "c-02".to_owned();
    assert_eq!(
        check(&sign(&Statement::Freeze(elsewhere))),
        FreezeError::WrongCluster
    );
    assert!(matches!(
        check(&freeze("erin", "laptop", NOW - 2 * HOUR)),
        FreezeError::Timing(_)
    ));
    assert_eq!(
        check(&unfreeze("erin", NOW)),
        FreezeError::WrongKind { expected: "freeze" }
    );
}
