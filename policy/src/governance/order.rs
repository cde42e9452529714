//! Who may have the shares of keys replaced, keys retired and keys handed out.
//!
//! Every node judges an order for itself, on the policy in force at that node. Until a first policy is in force, the governors
//! of the cluster file decide. The same people sign the same matter, each their own statement; only equal matters add up.
//!
//! | order | who |
//! |---|---|
//! | refresh (same nodes, same threshold) | `governance.tighten` |
//! | reshare, retire | `governance.reshare`; where it is left out, the quorum of `governance.loosen` |
//! | export | `governance.export`, at least two people; where it is left out, nobody |
//!
//! A wallet's `refresh_every` stands for an order: once so much time has passed since a node made the active sharing of the
//! wallet's key its own, it takes part in a refresh that nobody signed for. That permits nothing but the same nodes with the same
//! threshold.

use super::error::listed;
use super::install;
use super::quorum::Consent;
use crate::cluster::ClusterFile;
use crate::document::{Document, Requirement};
use crate::statement::{
    Common, Export, Exportation, Plan, Reshare, Retire, Retirement, SignedStatement, Statement,
};
use crate::time::{Period, format_utc};

/// The most statements under one order.
pub const MAX_STATEMENTS: usize = 64;

/// A refresh by the policy's interval may use the attempts 1 to this; a higher one takes an order. Without a bound, whoever may
/// propose could use up all the numbers there are.
pub const STANDING_ATTEMPTS: u32 = 64;

/// How much earlier than due a node lets itself be refreshed, in milliseconds, and at most a tenth of the interval: clocks differ,
/// and a node hears of an activation later than another.
pub const REFRESH_SLACK_MS: u64 = 5 * 60_000;

/// The fewest people for an export.
const EXPORT_PEOPLE: usize = 2;

/// What an order is about, without who signs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matter {
    /// Hand the shares of a key to a recipient.
    Export(Exportation),
    /// Replace the shares of keys.
    Reshare(Plan),
    /// Take a key out of use.
    Retire(Retirement),
}

impl Matter {
    /// What a statement orders about keys; `None` if it is about something else.
    #[must_use]
    pub fn of(statement: &Statement) -> Option<Self> {
        match statement {
            Statement::Export(it) => Some(Self::Export(it.matter.clone())),
            Statement::Reshare(it) => Some(Self::Reshare(it.plan.clone())),
            Statement::Retire(it) => Some(Self::Retire(it.matter.clone())),
            Statement::Approval(_)
            | Statement::Cancel(_)
            | Statement::Freeze(_)
            | Statement::Policy(_)
            | Statement::Unfreeze(_) => None,
        }
    }

    /// The statement with which somebody orders it.
    #[must_use]
    pub fn statement(self, common: Common) -> Statement {
        match self {
            Self::Export(matter) => Statement::Export(Export { common, matter }),
            Self::Reshare(plan) => Statement::Reshare(Reshare { common, plan }),
            Self::Retire(matter) => Statement::Retire(Retire { common, matter }),
        }
    }

    /// The 32 fresh bytes that name the order.
    #[must_use]
    pub const fn request(&self) -> [u8; 32] {
        match self {
            Self::Export(it) => it.request,
            Self::Reshare(it) => it.request,
            Self::Retire(it) => it.request,
        }
    }

    /// `refresh`, `reshare`, `retire` or `export`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Export(_) => "export",
            Self::Reshare(plan) if plan.is_refresh() => "refresh",
            Self::Reshare(_) => "reshare",
            Self::Retire(_) => "retire",
        }
    }

    /// What is ordered, in words.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Export(it) => it.lines(),
            Self::Reshare(it) => it.lines(),
            Self::Retire(it) => it.lines(),
        }
    }
}

/// Why an order is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is no statement, or the first one orders nothing about keys.
    #[error("there is no order about keys here")]
    Empty,
    /// Nobody may hand out a key.
    #[error("no key is ever exported: the policy in force has no governance.export")]
    Never,
    /// Not enough of the right people signed.
    #[error("a {word} needs {}{}", missing.join(" and "), listed(ignored))]
    Quorum {
        /// `refresh`, `reshare`, `retire` or `export`.
        word: &'static str,
        /// What is missing.
        missing: Vec<String>,
        /// The signatures that were handed in and do not count, with the reason.
        ignored: Vec<String>,
    },
    /// More statements than an order may have.
    #[error("the order has {count} statements, at most {MAX_STATEMENTS} are allowed")]
    TooMany {
        /// How many.
        count: usize,
    },
}

/// Decides whether enough people ordered one and the same thing about keys, and says what it is. The first statement says what
/// the others must be about.
///
/// `document` is the policy in force; without one the governors of the cluster file decide.
///
/// # Errors
/// [`OrderError`].
pub fn authorise(
    document: Option<&Document>,
    cluster: &ClusterFile,
    signatures: &[SignedStatement],
    now_ms: u64,
) -> Result<Matter, OrderError> {
    if signatures.len() > MAX_STATEMENTS {
        return Err(OrderError::TooMany {
            count: signatures.len(),
        });
    }
    let first = signatures.first().ok_or(OrderError::Empty)?;
    let matter = Matter::of(first.statement()).ok_or(OrderError::Empty)?;
    let about = |statement: &Statement| {
        if Matter::of(statement).as_ref() == Some(&matter) {
            Ok(())
        } else {
            Err("it is about something else".to_owned())
        }
    };
    let word = matter.word();
    let quorum = |missing, ignored| OrderError::Quorum {
        word,
        missing,
        ignored,
    };
    let Some(document) = document else {
        if matches!(matter, Matter::Export(_)) {
            return Err(OrderError::Never);
        }
        install::governors(cluster, signatures, now_ms, &about)
            .map_err(|(missing, ignored)| quorum(missing, ignored))?;
        return Ok(matter);
    };
    let clause = clause(document, &matter).ok_or(OrderError::Never)?;
    let consent = Consent::count(document, signatures, now_ms, about);
    let mut missing = consent.missing(document, clause);
    if matches!(matter, Matter::Export(_)) && consent.people.len() < EXPORT_PEOPLE {
        missing.push(format!("at least {EXPORT_PEOPLE} people"));
    }
    if missing.is_empty() {
        Ok(matter)
    } else {
        Err(quorum(missing, consent.ignored))
    }
}

fn clause<'d>(document: &'d Document, matter: &Matter) -> Option<&'d [Requirement]> {
    let authority = document.authority();
    match matter {
        Matter::Export(_) => authority.export.as_deref(),
        Matter::Reshare(plan) if plan.is_refresh() => Some(&authority.tighten.quorum),
        Matter::Reshare(_) | Matter::Retire(_) => Some(
            authority
                .reshare
                .as_deref()
                .unwrap_or(&authority.loosen.quorum),
        ),
    }
}

/// How often the shares of a key are to be replaced: the shortest interval of the wallets on it.
#[must_use]
pub fn refresh_every(document: &Document, key: &[u8; 32]) -> Option<Period> {
    let wallets = document.wallets().values();
    wallets
        .filter(|wallet| wallet.key_id == *key)
        .filter_map(|wallet| wallet.refresh_every)
        .min()
}

/// Why a refresh that nobody signed for does not take place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDue {
    /// The attempts without an order are used up.
    #[error("attempt {attempt} is above {STANDING_ATTEMPTS}; a further one takes an order")]
    Attempts {
        /// The attempt asked for.
        attempt: u32,
    },
    /// No wallet on this key has an interval.
    #[error("the policy in force has no refresh_every for this key")]
    NoInterval,
    /// It is too early.
    #[error("a refresh is due at {}", format_utc(*due_ms))]
    TooEarly {
        /// When it is, Unix milliseconds.
        due_ms: u64,
    },
}

/// Whether the policy in force lets a key be refreshed without anybody's order: same nodes, same indices, same threshold, which
/// the caller has checked. `since_ms` is when this party made the active sharing its own.
///
/// # Errors
/// [`NotDue`].
pub fn standing_refresh(
    document: &Document,
    key: &[u8; 32],
    attempt: u32,
    since_ms: u64,
    now_ms: u64,
) -> Result<(), NotDue> {
    let every = refresh_every(document, key).ok_or(NotDue::NoInterval)?;
    if attempt > STANDING_ATTEMPTS {
        return Err(NotDue::Attempts { attempt });
    }
    let due_ms = since_ms.saturating_add(every.as_ms());
    let slack_ms = REFRESH_SLACK_MS.min(every.as_ms() / 10);
    if now_ms.saturating_add(slack_ms) < due_ms {
        return Err(NotDue::TooEarly { due_ms });
    }
    Ok(())
}
