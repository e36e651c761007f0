//! The errors of OAuth that clients tell apart by their code (RFC 6749 section 5.2, RFC 8628 section 3.5).

/// An error in the words of OAuth. What each looks like from outside stands in [`crate::refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OAuthFault {
    /// The person said no.
    #[error("the person did not approve this")]
    AccessDenied,
    /// Nobody approved in time.
    #[error("this sign-in has expired; begin again")]
    ExpiredToken,
    /// The code, verifier or token is not, or no longer, good for anything.
    #[error("the code or its verifier is wrong, used up or too old; begin again")]
    InvalidGrant,
    /// No client of that id.
    #[error("there is no such client; register it again")]
    InvalidClient,
    /// What was registered, or is asked for, is no address to which an answer may go.
    #[error(
        "a redirect address is `https`, or `http` on 127.0.0.1, [::1] or localhost, without user or fragment, and one \
         of those that the client registered"
    )]
    InvalidRedirectUri,
    /// What a client says of itself does not fit.
    #[error("{0}")]
    InvalidClientMetadata(&'static str),
    /// Not scopes, too many, or more than was consented to.
    #[error("`scope` holds no scopes of this gateway, too many, or more than was granted")]
    InvalidScope,
    /// The program was not granted what this needs; its person may grant it.
    #[error("the program was not granted what this tool needs; ask its person for more")]
    InsufficientScope,
    /// A token for somebody else.
    #[error("`resource` is not this gateway")]
    InvalidTarget,
    /// Another flow than the one with a code.
    #[error("`response_type` must be `code`")]
    UnsupportedResponseType,
    /// Another grant than a code or a refresh token.
    #[error("`grant_type` must be `authorization_code` or `refresh_token`")]
    UnsupportedGrantType,
    /// A parameter is missing, twice there, or of another form.
    #[error("{0}")]
    InvalidRequest(&'static str),
}
