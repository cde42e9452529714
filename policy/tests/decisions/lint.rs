//! Warnings, each with a document that has it and the complete list of what is said.

use policy::lint::{Lint, Nodes, lint};

use crate::support::*;

const GOOD: &str = "[[rule]]\nid = \"pay\"\neffect = \"allow\"\nmatch = { wallet = \"hot-sol\", initiator = \"svc:payout\" }\nlimits = [{ scope = \"wallet\", window = \"24h\", asset = \"native\", max = \"1000\" }]\nrequire = [{ group = \"treasury\", min = 2 }, { group = \"risk\", min = 1 }, { group = \"aml\", min = 1 }]\n";

fn said(text: &str) -> Vec<(Lint, String)> {
    lint(&parse(text), None)
        .into_iter()
        .map(|warning| (warning.lint, warning.to_string()))
        .collect()
}

#[test]
fn a_sound_document_is_not_nagged_about() {
    assert_eq!(said(&document(GOOD)), []);
}

#[test]
fn each_warning_is_given_for_its_cause_alone() {
    let entry = address("x", place(1), "2026-11-20T00:00:00Z");
    let with_rule = |rule: &str| document(&format!("{GOOD}{rule}"));
    let allow = |matches: &str, rest: &str| {
        with_rule(&format!(
            "[[rule]]\nid = \"r\"\neffect = \"allow\"\nmatch = {{ {matches} }}\n{rest}"
        ))
    };
    let limits = "limits = [{ scope = \"tx\", asset = \"native\", max = \"10\" }]\n";
    let asked = "require = [{ group = \"risk\", min = 1 }]\n";
    let by_service = "initiator = \"svc:payout\"";
    let cases: Vec<(String, Lint, &str)> = vec![
        (
            allow(by_service, asked),
            Lint::NoLimit,
            "rule r: it has no limit: one request can empty the wallet",
        ),
        (
            allow(by_service, limits),
            Lint::Unattended,
            "rule r: it lets transfers go to any address without an approval",
        ),
        (
            allow(&format!("to = \"{}\"", place(1)), &format!("{limits}delay = \"1h\"\n")),
            Lint::DelayWithoutApprovals,
            "rule r: its delay of 1h passes without anybody being asked",
        ),
        (
            allow(by_service, &format!("{limits}require = [{{ group = \"risk\", min = 2 }}]\n")),
            Lint::UnreachableGroup,
            "rule r: 2 of group risk must approve and it has 1",
        ),
        (
            allow("initiator = \"dave\"", &format!("{limits}{asked}")),
            Lint::UnreachableGroup,
            "rule r: all 1 of group risk must approve, so no request that one of them starts can be signed",
        ),
        (
            allow(&format!("{by_service}, kind = \"spl_transfer\""), &format!("{limits}{asked}")),
            Lint::RuleNeverMatches,
            "rule r: none of its wallets makes a transfer of these kinds and assets",
        ),
        (
            allow(&format!("{by_service}, to = \"allowlist\""), &format!("{limits}{asked}")),
            Lint::RuleNeverMatches,
            "rule r: the allow-list has no entry for its wallets and assets",
        ),
        (
            document(&format!(
                "{}[[rule]]\nid = \"r\"\neffect = \"deny\"\nmatch = {{ wallet = \"hot-sol\" }}\n",
                GOOD
            )),
            Lint::RuleNeverMatches,
            "rule pay: deny rule r stops everything it matches",
        ),
        (
            allow(
                by_service,
                &format!("limits = [{{ scope = \"tx\", asset = \"native\", max = \"11\" }}, {{ scope = \"wallet\", window = \"24h\", asset = \"native\", max = \"10\" }}]\n{asked}"),
            ),
            Lint::TxLimitAboveWindow,
            "rule r: a transaction may move 11, its 1d wallet limit lets only 10 through",
        ),
        (
            document(GOOD).replace("groups = [\"risk\"]", "groups = [\"risk\", \"treasury\"]"),
            Lint::OnePersonTwoGroups,
            "rule pay: dave counts for treasury and for risk at once",
        ),
        (
            format!("{}{entry}", document(GOOD)),
            Lint::AllowlistUnused,
            "the allow-list has entries and no rule says to = \"allowlist\"",
        ),
        (
            document(GOOD).replace(&machine("svc:payout", ""), &machine("svc:payout", "\"payouts\"")),
            Lint::GroupUnused,
            "nothing names group payouts",
        ),
        (
            document(&GOOD.replace("wallet = \"hot-sol\"", "wallet = \"cold\"")).replacen(
                "[[wallet]]",
                "[[wallet]]\nid = \"cold\"\nkey_id = \"2222222222222222222222222222222222222222222222222222222222222222\"\nchain = \"solana:devnet\"\nkinds = [\"transfer\"]\nmax_fee = \"1\"\n[[wallet]]",
                1,
            ),
            Lint::WalletUnused,
            "no rule lets wallet hot-sol move anything",
        ),
        (
            document(GOOD).replace(
                "loosen = { quorum = [{ group = \"security\", min = 2 }, { group = \"board\", min = 1 }], delay = \"48h\" }",
                "loosen = { quorum = [{ group = \"board\", min = 1 }], delay = \"48h\" }",
            ),
            Lint::OnePersonLoosens,
            "grace alone can loosen this document, after a delay of 2d",
        ),
    ];
    for (text, lint, message) in cases {
        assert_eq!(said(&text), [(lint, message.to_owned())]);
    }
}

#[test]
fn the_share_of_each_node_is_printed_in_numbers() {
    let nodes = |threshold, parties| Some(Nodes { threshold, parties });
    let print = |nodes| -> Vec<String> {
        lint(&parse(&document(GOOD)), nodes)
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(
        print(nodes(2, 3)),
        [
            "rule pay: 1d wallet limit 1000: with 2 of 3 nodes each node lets 666 through on its own, so that all of them together never pass 1000 while all are honest, and never pass 1332 with 1 hostile among them; if the same 2 nodes sign all the time, signing stops at 666"
        ]
    );
    assert_eq!(
        print(nodes(3, 3)),
        [
            "rule pay: 1d wallet limit 1000: with 3 of 3 nodes each node lets 1000 through on its own, so that all of them together never pass 1000"
        ]
    );
    assert!(print(nodes(3, 2)).is_empty());
}
