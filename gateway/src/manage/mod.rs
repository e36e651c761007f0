//! What admins do with users, roles, scopes, agencies, settings, tokens and tenants, and what everybody does with
//! their own account (wire-contract.md 1.3), as calls of the gateway's own apps `directory` and `account`.
//!
//! It never decides: the rules see whom a change reaches and what it would give, and every change is an intent in
//! the ledger before it is made. No password and no token is ever part of the arguments.
//!
//! Vocabulary: a *verb* is one function of these apps; a *change* is what the body or the query asks for, read
//! strictly; *facts* are what the rules see of both.
//!
//! The life of one request: 1. a door picks the verb (`door/manage.rs`); 2. the change is read (`change.rs`); 3. the
//! facts are asked of the directory (`facts.rs`); 4. the rules decide like on any other call; 5. the deed is done
//! (`deeds.rs`) and told in the shape of the SDK (`shape.rs`).
//!
//! INVARIANT: nobody grants more than they hold (`manages::nobody_grants_more_than_they_hold`).
//! INVARIANT: nobody sees or changes another tenant's people (`manages::another_tenants_people_are_out_of_reach`).

mod change;
mod deeds;
mod facts;
mod shape;
mod verb;

pub use change::Change;
pub use deeds::carry_out;
pub use facts::{Managed, resolve, restore};
pub use verb::Verb;

use secrecy::SecretString;
use serde_json::{Map, Value};

/// What a door asks for: read, but neither believed nor decided.
#[derive(Debug)]
pub struct ManageWanted {
    /// What to do.
    pub verb: Verb,
    /// Id of what to do it to; empty for lists and new things.
    pub target: String,
    /// What the body and the query say, without the password.
    pub change: Map<String, Value>,
    /// The password of a new user.
    pub password: Option<SecretString>,
}
