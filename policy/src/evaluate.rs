//! The decision: may this request be signed now, under this policy, with these approvals?
//!
//! [`evaluate`] is a pure function and the only maker of [`Approved`]. A signer node, the coordinator and the command line
//! call the same function with their own facts; nobody takes another's word for any part of it. In turn it
//!
//! 1. holds the request against the policy: cluster, wallet, key, chain, times, the initiator's signature;
//! 2. decodes the raw transaction itself and holds it against the wallet: kinds, fee;
//! 3. finds the rules that match each transfer: a deny rule ends it, no allow rule ends it;
//! 4. adds up what leaves and holds it against every limit of every matching rule;
//! 5. verifies each approval and counts distinct people, the initiator left out; one no ends it;
//! 6. applies the longest delay and the shortest expiry.
//!
//! A refusal lists every reason found, with the smallest change that would pass.

mod limits;
mod reason;
mod request;
mod rules;
mod votes;

use std::collections::BTreeSet;

use crate::amount::Amount;
use crate::approval::summary_lines;
use crate::chain::Chain;
use crate::conflict::ConflictKey;
use crate::document::{Document, PolicyHash};
use crate::governance::Installed;
use crate::id::{GroupId, PrincipalId, RuleId};
use crate::intent::{Intent, SignedIntent};
use crate::ledger::{Debit, LedgerView};
use crate::statement::SignedStatement;
use crate::time::format_utc;
use crate::transaction::{self, AssembleError, Task, Transaction, WalletKeys};

pub use self::reason::{Code, Reason};
use self::request::Request;
use self::rules::Matched;

/// How far another party's clock may be ahead of this one, in milliseconds: five minutes.
pub const MAX_SKEW_MS: u64 = 5 * 60 * 1000;

/// A fraction of at most one: how much of each window's limit this party may let go.
///
/// A node that does not see every spend takes `threshold / parties`: a request needs `threshold` nodes, so that all of them
/// together never exceed the whole limit, whichever subsets sign, as long as every node follows its policy. Where
/// `threshold - 1` nodes do not, one honest node is enough for a request, and the honest ones together let at most
/// `parties - threshold + 1` times this part through. The coordinator sees everything and takes the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    numerator: u64,
    denominator: u64,
}

impl Fraction {
    /// All of it.
    pub const WHOLE: Self = Self {
        numerator: 1,
        denominator: 1,
    };

    /// `numerator / denominator`; `None` above one or with a denominator of zero.
    #[must_use]
    pub const fn new(numerator: u64, denominator: u64) -> Option<Self> {
        if denominator == 0 || numerator > denominator {
            None
        } else {
            Some(Self {
                numerator,
                denominator,
            })
        }
    }

    /// That part of a limit, rounded down.
    #[must_use]
    pub fn of(self, limit: Amount) -> Amount {
        limit
            .scaled_floor(self.numerator, self.denominator)
            .unwrap_or(Amount::ZERO)
    }
}

/// What the deciding party knows by itself.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Its own clock, Unix milliseconds.
    pub now_ms: u64,
    /// When it first saw this request, Unix milliseconds; `None` if this is the first time.
    pub first_seen_ms: Option<u64>,
    /// Whether signing is stopped, see [`FreezeState::is_frozen`](crate::governance::FreezeState::is_frozen).
    pub frozen: bool,
    /// What was spent before, the request under decision left out.
    pub ledger: &'a dyn LedgerView,
    /// Its part of each window's limit.
    pub share_of_limit: Fraction,
}

impl core::fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Facts")
            .field("now_ms", &self.now_ms)
            .field("first_seen_ms", &self.first_seen_ms)
            .field("frozen", &self.frozen)
            .field("share_of_limit", &self.share_of_limit)
            .finish_non_exhaustive()
    }
}

/// What the policy says.
#[derive(Debug)]
pub enum Verdict {
    /// It may be signed now.
    Approved(Box<Approved>),
    /// It may not be signed as things are; more approvals would not help.
    Denied(Denied),
    /// It may be signed once more people approve or time has passed.
    Needs(Needs),
}

/// A request that may be signed now. Only [`evaluate`] makes one, and there is no copying it.
#[derive(Debug)]
pub struct Approved {
    signed: SignedIntent,
    digest: [u8; 32],
    raw_digest: [u8; 32],
    outline: Outline,
    chain: Chain,
    path: Vec<u32>,
    policy: PolicyHash,
    expires_ms: u64,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Every reason that was found; never empty.
    pub reasons: Vec<Reason>,
}

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Every reason that was found, and every approval that was handed in and does not count.
    pub reasons: Vec<Reason>,
    /// The groups that have not approved in number yet.
    pub groups: Vec<Missing>,
    /// Not before this instant, Unix milliseconds: the end of the longest delay.
    pub not_before_ms: u64,
    /// Nor from this instant on, Unix milliseconds.
    pub expires_ms: u64,
}

/// A group whose approvals are not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The group.
    pub group: GroupId,
    /// The rule that asks for most of it.
    pub rule: RuleId,
    /// How many must approve.
    pub min: u32,
    /// How many have.
    pub have: u32,
    /// Who still could.
    pub candidates: Vec<PrincipalId>,
}

/// What was found on the way to a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The decoded transaction.
    pub transaction: Transaction,
    /// What leaves: each transfer, and the highest possible fee.
    pub debits: Vec<Debit>,
    /// The allow rules that apply.
    pub rules: Vec<RuleId>,
    /// Everybody whose valid approval was handed in, members of the groups asked and others alike.
    pub approvers: BTreeSet<PrincipalId>,
    /// The lines that approvers see and sign.
    pub lines: Vec<String>,
}

impl Denied {
    /// Whether the same request could pass later without anybody changing anything: a limit that frees up, a cool-off that
    /// ends, a freeze that is lifted.
    #[must_use]
    pub fn may_pass_later(&self) -> bool {
        self.reasons
            .iter()
            .all(|reason| reason.code.may_pass_later())
    }
}

impl Approved {
    /// The request.
    #[must_use]
    pub const fn intent(&self) -> &Intent {
        self.signed.intent()
    }

    /// The request with its initiator's signature.
    #[must_use]
    pub const fn signed_intent(&self) -> &SignedIntent {
        &self.signed
    }

    /// The request id, 32 bytes.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The digest of the raw transaction, 32 bytes, by which the ledger notices two requests for the same one.
    #[must_use]
    pub const fn raw_digest(&self) -> &[u8; 32] {
        &self.raw_digest
    }

    /// What leaves; to be recorded before any part of a signature does.
    #[must_use]
    pub fn debits(&self) -> &[Debit] {
        &self.outline.debits
    }

    /// What the transaction uses up on its chain; to be recorded with the debits.
    #[must_use]
    pub fn conflicts(&self) -> &[ConflictKey] {
        &self.outline.transaction.conflicts
    }

    /// What is signed, one signature each and in this order: computed from the raw transaction that was decoded, nothing else.
    #[must_use]
    pub fn tasks(&self) -> &[Task] {
        &self.outline.transaction.tasks
    }

    /// The wallet's chain.
    #[must_use]
    pub const fn chain(&self) -> Chain {
        self.chain
    }

    /// The wallet's path below its key.
    #[must_use]
    pub fn path(&self) -> &[u32] {
        &self.path
    }

    /// The transaction with its signatures, in the order of the tasks, ready to be sent to its chain.
    ///
    /// # Errors
    /// [`AssembleError`].
    pub fn assemble(
        &self,
        keys: &dyn WalletKeys,
        signatures: &[Vec<u8>],
    ) -> Result<Vec<u8>, AssembleError> {
        let raw = &self.signed.intent().raw_tx;
        transaction::assemble(self.chain, raw, keys, &self.path, signatures)
    }

    /// The decoded transaction, the rules that applied, the approvers, the lines they saw.
    #[must_use]
    pub const fn outline(&self) -> &Outline {
        &self.outline
    }

    /// The policy under which it was approved.
    #[must_use]
    pub const fn policy(&self) -> &PolicyHash {
        &self.policy
    }

    /// Nothing may be signed from this instant on, Unix milliseconds.
    #[must_use]
    pub const fn expires_ms(&self) -> u64 {
        self.expires_ms
    }
}

/// A decision without the right to sign: what [`explain`] answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// It could not be signed; see the reasons.
    Denied(Denied),
    /// It would wait.
    Needs(Needs),
    /// It would be signed.
    WouldSign {
        /// What was found.
        outline: Box<Outline>,
        /// Until when, Unix milliseconds.
        expires_ms: u64,
    },
}

/// Decides.
///
/// `keys` is the deciding party's own record of the key that the wallet's `key_id` stands for. The signatures under
/// `approvals` need not have been looked at before; those that do not count are named in the answer and change nothing.
#[must_use]
pub fn evaluate(
    installed: &Installed,
    keys: &dyn WalletKeys,
    intent: &SignedIntent,
    approvals: &[SignedStatement],
    facts: &Facts<'_>,
) -> Verdict {
    let (document, hash) = (installed.document(), installed.hash());
    if facts.now_ms < installed.effective_ms() {
        let from = format_utc(installed.effective_ms());
        let reason = Reason::new(
            Code::PolicyNotInForce,
            format!("policy version {} is not in force yet", document.version()),
        )
        .remedy(format!("in force from {from}"));
        return Verdict::Denied(Denied {
            reasons: vec![reason],
        });
    }
    match decide(document, hash, keys, intent, approvals, facts) {
        Decision::Denied(reasons) => Verdict::Denied(Denied { reasons }),
        Decision::Needs(needs) => Verdict::Needs(needs),
        Decision::Pass {
            outline,
            chain,
            path,
            expires_ms,
        } => Verdict::Approved(Box::new(Approved {
            chain,
            path,
            digest: intent.digest(),
            raw_digest: intent.intent().raw_digest(),
            signed: intent.clone(),
            outline: *outline,
            policy: *hash,
            expires_ms,
        })),
    }
}

/// Says what [`evaluate`] would, for a document that need not be installed or signed. No signature can come of it.
#[must_use]
pub fn explain(
    document: &Document,
    hash: &PolicyHash,
    keys: &dyn WalletKeys,
    intent: &SignedIntent,
    approvals: &[SignedStatement],
    facts: &Facts<'_>,
) -> Explanation {
    match decide(document, hash, keys, intent, approvals, facts) {
        Decision::Denied(reasons) => Explanation::Denied(Denied { reasons }),
        Decision::Needs(needs) => Explanation::Needs(needs),
        Decision::Pass {
            outline,
            expires_ms,
            ..
        } => Explanation::WouldSign {
            outline,
            expires_ms,
        },
    }
}

enum Decision {
    Denied(Vec<Reason>),
    Needs(Needs),
    Pass {
        outline: Box<Outline>,
        chain: Chain,
        path: Vec<u32>,
        expires_ms: u64,
    },
}

fn decide(
    document: &Document,
    hash: &PolicyHash,
    keys: &dyn WalletKeys,
    signed: &SignedIntent,
    approvals: &[SignedStatement],
    facts: &Facts<'_>,
) -> Decision {
    let intent = signed.intent();
    let request = match Request::check(document, keys, signed, facts.now_ms) {
        Ok(request) => request,
        Err(reasons) => return Decision::Denied(reasons),
    };
    let mut denials = Vec::new();
    if facts.frozen {
        denials.push(
            Reason::new(Code::Frozen, "signing is stopped")
                .remedy("resume with an unfreeze quorum of the policy"),
        );
    }
    if let Some(other) = facts.ledger.conflict(&intent.raw_digest()) {
        let other = hex::encode(other);
        denials.push(
            Reason::new(
                Code::Conflict,
                format!("the same transaction was already asked for by request {other}"),
            )
            .remedy("follow that request; a second one for the same bytes is never signed"),
        );
    } else {
        request.check_conflicts(facts, &mut denials);
    }
    request.check_wallet_bounds(&mut denials);
    let matched = Matched::find(document, &request, facts.now_ms);
    matched.check(&request, &mut denials);
    limits::check(&matched, &request, facts, &mut denials);

    let lines = summary_lines(intent, &request.transaction.rendering);
    let votes = votes::Votes::count(
        document,
        hash,
        &matched,
        intent,
        approvals,
        &lines,
        facts.now_ms,
    );
    votes.check_rejections(&mut denials);
    let groups = votes.missing(document, &matched, intent, &mut denials);

    let seen_ms = facts.first_seen_ms.unwrap_or(facts.now_ms);
    let not_before_ms = seen_ms.saturating_add(matched.delay().as_ms());
    let rule_expiry = matched
        .expires()
        .map_or(u64::MAX, |period| seen_ms.saturating_add(period.as_ms()));
    let expires_ms = rule_expiry.min(intent.expires_ms);
    if facts.now_ms >= expires_ms {
        denials.push(
            Reason::new(
                Code::Expired,
                format!("the time to sign it ended at {}", format_utc(expires_ms)),
            )
            .remedy("submit a new request"),
        );
    }
    if !denials.is_empty() {
        return Decision::Denied(denials);
    }

    let mut reasons: Vec<Reason> = groups.iter().map(Missing::reason).collect();
    if facts.now_ms < not_before_ms {
        reasons.push(matched.delay_reason(not_before_ms));
    }
    if !reasons.is_empty() {
        reasons.extend(votes.ignored);
        return Decision::Needs(Needs {
            reasons,
            groups,
            not_before_ms,
            expires_ms,
        });
    }
    let rules = matched.allows().map(|rule| rule.id.clone()).collect();
    let outline = Outline {
        transaction: request.transaction,
        debits: request.debits,
        rules,
        approvers: votes.approvers,
        lines,
    };
    Decision::Pass {
        outline: Box::new(outline),
        chain: request.wallet.chain,
        path: request.wallet.path.clone(),
        expires_ms,
    }
}
