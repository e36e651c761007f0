//! The PostgreSQL of the ledger or of the directory.

use portcullis_audit::{Postgres, TLS_HELP, Transport};
use portcullis_secrets::{ExposeSecret as _, SecretRef};

use super::super::checker::Checker;
use super::super::document::At;
use super::super::mistakes::Kind;
use super::super::written::SecretForm;
use super::keys;

/// An address by reference. Where it can be read here, it must be one, and say how what is sent to another
/// machine is protected; it may hold a password, so it is not shown.
pub(super) fn address(c: &mut Checker<'_>, at: &At, form: &SecretForm) -> Option<SecretRef> {
    let reference = keys::outside(c, at, form)?;
    // What is not there yet is for the start to refuse.
    let Ok(address) = reference.read() else { return Some(reference) };
    let address = Postgres::new(address.expose_secret().trim());
    if address.transport().is_some()
        && let Some(name) = address.unknown_parameter()
    {
        let message =
            format!("the address of `{at}` has a parameter `{name}` that the driver does not know");
        let help = "correct its name or take it out: it would be left out without a word";
        c.wrong(Kind::Value, at, message, help);
        return None;
    }
    match address.transport() {
        Some(Transport::Local | Transport::Verified) => Some(reference),
        Some(Transport::Open) => {
            let message = format!(
                "the server of `{at}` is on another machine and does not show who it is: whoever is on \
                 the way can read and change what is said to it"
            );
            c.warn(at, message, "write `sslmode=verify-full` and `sslrootcert` in the address");
            Some(reference)
        }
        Some(Transport::Unsaid) => {
            let message = format!(
                "the server of `{at}` is on another machine, and its address does not say how what is \
                 said to it is protected"
            );
            c.wrong(Kind::Secret, at, message, TLS_HELP);
            None
        }
        None => {
            let message = format!("what `{at}` refers to is no address of a PostgreSQL");
            let help = "it looks like `postgres://user:password@host/database`";
            c.wrong(Kind::Value, at, message, help);
            None
        }
    }
}
