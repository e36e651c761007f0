//! Whose word counts: only that of a person who is there, never that of a program that acts for one.
//!
//! INVARIANT: a program answers no question for its person, by whatever credential
//! (`device::a_program_answers_no_question_that_its_person_is_asked`,
//! `federates::answer_no_question_with_a_token_of_their_provider`,
//! `approvals::is_not_for_its_asker_a_stranger_or_a_program_to_approve`).

use crate::identify::{Caller, Proof};
use crate::refusal::Refusal;

/// Whether the caller's own word counts as a person's.
#[must_use]
pub fn is_a_person(caller: &Caller) -> bool {
    a_person(caller).is_ok()
}

/// Why the caller answers nothing.
///
/// # Errors
/// [`Refusal::ConfirmationForeign`], with what the credential is.
pub(super) fn a_person(caller: &Caller) -> Result<(), Refusal> {
    match caller.proof() {
        _ if caller.strength().device => Err(Refusal::ConfirmationForeign(
            "a program that signed in by a device code answers no questions for its person",
        )),
        Proof::AccessToken { .. }
        | Proof::Password { .. }
        | Proof::RefreshToken { .. }
        | Proof::DeviceCode { .. } => Ok(()),
        // Who holds it is not known: people of that provider sign in at the gateway's pages.
        Proof::ExternalToken { .. } => Err(Refusal::ConfirmationForeign(
            "a token of another issuer may be a program's: sign in at the page to answer",
        )),
        Proof::Grant { .. } => {
            Err(Refusal::ConfirmationForeign("a program answers no questions for its person"))
        }
        Proof::ExtensionToken { .. } | Proof::CallToken { .. } => {
            Err(Refusal::ConfirmationForeign("an extension answers no questions"))
        }
        Proof::ApiKey => Err(Refusal::ConfirmationForeign("an api key answers no questions")),
        Proof::ServiceToken => Err(Refusal::ConfirmationForeign("a service answers no questions")),
    }
}
