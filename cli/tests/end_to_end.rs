//! The real binary, as processes: what an operator runs is what is tested.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    clippy::string_slice,
    reason = "a test that cannot go on must fail where it stands"
)]

#[path = "end_to_end/admission.rs"]
mod admission;
#[path = "end_to_end/backup.rs"]
mod backup;
#[path = "end_to_end/certificates.rs"]
mod certificates;
#[path = "end_to_end/chains.rs"]
mod chains;
#[path = "end_to_end/crashes.rs"]
mod crashes;
#[path = "end_to_end/demo.rs"]
mod demo;
#[path = "end_to_end/durable.rs"]
mod durable;
#[path = "end_to_end/export.rs"]
mod export;
#[path = "end_to_end/hostile.rs"]
mod hostile;
#[path = "end_to_end/import.rs"]
mod import;
#[path = "end_to_end/orders.rs"]
mod orders;
#[path = "end_to_end/requests.rs"]
mod requests;
#[path = "end_to_end/runbooks.rs"]
mod runbooks;
#[path = "end_to_end/tour.rs"]
mod tour;
#[path = "end_to_end/verbs.rs"]
mod verbs;
#[path = "end_to_end/verdicts.rs"]
mod verdicts;
#[path = "end_to_end/world.rs"]
mod world;
