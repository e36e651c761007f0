//! Guards before the decision: what a language model typically gets wrong, caught before anything is asked, stored or
//! run (wire-contract.md section 7).
//!
//! They see arguments and what failed a moment ago, never who may do what: that is for the rules. Each refuses with a
//! code that a model can act on; none logs an argument.
//!
//! The order: placeholder values, fabricated id shapes, (the tool's schema), error words in a write. The target's
//! tenant is the rules' own gate (`tenant.cedar`).
//!
//! INVARIANT: what a guard refuses never reaches an app, a confirmation or a decision
//! (`guards::nothing_reaches_the_app`).

mod bleed;
mod feedback;
mod id_shape;
mod placeholder;
pub mod taxonomy;
mod turns;

pub use feedback::{Attempt, Feedback};
pub use turns::{Turns, turn_of};

use portcullis_policies::ActionType;
use serde_json::Value;

use crate::refusal::Refusal;

/// Values that nobody meant: refused before the tool's schema is looked at, so that the model is told the cause and
/// not the symptom.
///
/// # Errors
/// [`Refusal::PlaceholderValues`] or [`Refusal::FabricatedId`].
pub fn of_values(args: &Value) -> Result<(), Refusal> {
    let placeholders = placeholder::paths(args);
    if !placeholders.is_empty() {
        return Err(Refusal::PlaceholderValues(placeholders));
    }
    match id_shape::find(args) {
        Some((field, value)) => Err(Refusal::FabricatedId { field, value }),
        None => Ok(()),
    }
}

/// A write that carries the words of an error: the model wrote down what went wrong instead of what was asked for.
///
/// # Errors
/// [`Refusal::ErrorInArguments`]; `failed` are the codes of this session's latest failures.
pub fn of_write(action: ActionType, failed: &[&'static str], args: &Value) -> Result<(), Refusal> {
    if action == ActionType::Read || failed.is_empty() || !bleed::holds_any(args, failed) {
        return Ok(());
    }
    Err(Refusal::ErrorInArguments)
}
