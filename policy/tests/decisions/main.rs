//! What the policy lets through and what it does not, with real keys, real transactions and real documents.
//! Names starting with `a` and a number follow the project's catalogue of attacks.

mod approvals;
mod governance;
mod limits;
mod rules;
mod support;
