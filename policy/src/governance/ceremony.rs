//! Orders about a whole key: who may have its shares dealt anew, and who may end its signing.
//!
//! Both take the quorum of the `loosen` clause, because who holds the shares decides more than any rule. The clause's delay does
//! not apply: a reshare is also the answer to a break-in, and waits for nothing.

use super::quorum::Consent;
use crate::document::Document;
use crate::statement::{ReshareOrder, SignedStatement, Statement};

/// Why an order about a key is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an order about a key needs {}{}", missing.join(" and "), super::error::listed(ignored))]
pub struct OrderError {
    /// What is missing.
    pub missing: Vec<String>,
    /// The statements that were handed in and do not count, with the reason.
    pub ignored: Vec<String>,
}

/// Whether enough of the right people ordered exactly this reshare.
///
/// # Errors
/// [`OrderError`] with who is missing and whose statement does not count.
pub fn orders_reshare(
    document: &Document,
    signatures: &[SignedStatement],
    order: &ReshareOrder,
    now_ms: u64,
) -> Result<(), OrderError> {
    decide(document, signatures, now_ms, |statement| match statement {
        Statement::Reshare(said) if said.order == *order => Ok(()),
        Statement::Reshare(_) => Err("it orders another reshare".to_owned()),
        _ => Err("it is no reshare".to_owned()),
    })
}

/// Whether enough of the right people ordered that a key signs no more.
///
/// # Errors
/// [`OrderError`] with who is missing and whose statement does not count.
pub fn orders_retirement(
    document: &Document,
    signatures: &[SignedStatement],
    key: &[u8; 32],
    now_ms: u64,
) -> Result<(), OrderError> {
    decide(document, signatures, now_ms, |statement| match statement {
        Statement::Retire(said) if said.key == *key => Ok(()),
        Statement::Retire(_) => Err("it is for another key".to_owned()),
        _ => Err("it is no retirement".to_owned()),
    })
}

fn decide(
    document: &Document,
    signatures: &[SignedStatement],
    now_ms: u64,
    about: impl Fn(&Statement) -> Result<(), String>,
) -> Result<(), OrderError> {
    let consent = Consent::count(document, signatures, now_ms, about);
    let missing = consent.missing(document, &document.authority().loosen);
    if missing.is_empty() {
        Ok(())
    } else {
        Err(OrderError {
            missing,
            ignored: consent.ignored,
        })
    }
}
