//! From a place in the directory to what the vault binds a value to.

use portcullis_secrets::{InvalidContext, Scope, SecretContext};

use crate::directory::SecretPlace;

/// What the value of this place is sealed to: tenant, owner, app and name, as the authorised request has
/// them and never as a row says.
///
/// # Errors
/// When a part is empty or longer than a kilobyte.
pub fn context_of(place: &SecretPlace) -> Result<SecretContext, InvalidContext> {
    let scope = Scope::new(&place.tenant, place.owner.as_str(), &place.app)?;
    SecretContext::new(scope, &place.name)
}
