//! The gateway as an authorization server: programs get tokens that a person approved in a browser.
//!
//! What is here is the protocol without HTTP and without the directory: the errors that clients act on, the proof
//! that the program which asked is the one that comes for the token (PKCE), codes that a person can type, and the
//! one address by which the gateway calls itself.
//!
//! Vocabulary: a *device code* is what a waiting program polls with; a *user code* is what the person types; a
//! *challenge* is the digest of a *verifier* that only the program knows (RFC 7636).
//!
//! INVARIANT: a stolen code is worth nothing without its verifier (`device::a_stolen_device_code_is_worth_nothing`).

mod address;
mod fault;
mod pkce;
mod redirect;
mod request;
mod user_code;

pub use address::{MCP, base_url, is_own_resource};
pub use fault::OAuthFault;
pub use pkce::Challenge;
pub use redirect::RedirectUri;
pub use request::{Asked, AuthorizationRequest};
pub use user_code::UserCode;
