//! `/signin` and `/signout`: a session in a cookie, by the same sign-in as `/v1/auth/login`.
//!
//! The cookie holds the access token and lives as long; scripts cannot read it, other sites cannot send
//! it. The refresh token of the sign-in is not kept: who stays longer signs in again.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, HeaderValue, Response, header};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::entry::AtPage;
use super::form::Form;
use super::next::Next;
use super::{html, sign_in_view};
use crate::config::Server;
use crate::door::auth;
use crate::gateway::Gateway;
use crate::identify::{Issued, SignIn, SignInRefused};
use crate::pipeline::Visit;
use crate::refusal::Refusal;

/// Longest body of a sign-in: an email and a password, with every byte escaped.
const MAX_BODY: usize = 16 * 1024;

/// `GET /signin`: the form.
pub async fn ask(State(gateway): State<Arc<Gateway>>, at: AtPage) -> Response<Body> {
    let query = at.knock.query.as_deref().unwrap_or_default();
    match Next::of_query(query) {
        Ok(next) => {
            let issuers = gateway.identity.sign_in_issuers();
            sign_in_view::form(next.as_ref(), sign_in_view::Said::of_query(query), &issuers)
        }
        Err(refusal) => html::refused(&refusal, None),
    }
}

/// `POST /signin`: checks the password, and leads on.
pub async fn begin(State(gateway): State<Arc<Gateway>>, at: AtPage) -> Response<Body> {
    let AtPage { knock, own_origin, is_form, body, .. } = at;
    let read = async {
        if !own_origin {
            return Err(Refusal::ForeignForm);
        }
        let mut form = Form::read(body, is_form, MAX_BODY).await?;
        let next = Next::of_form(&mut form)?;
        Ok((next, attempt(&mut form, knock.request.source)?))
    };
    // What can't be read is refused in the recorded part.
    let (next, attempt) = match read.await {
        Ok((next, attempt)) => (next, Ok(attempt)),
        Err(refusal) => (None, Err(refusal)),
    };
    let door = Arc::clone(&gateway);
    let issue = async move { Ok(door.identity.sign_in(attempt?).await?) };
    match auth::issued(Arc::clone(&gateway), knock, issue).await {
        Ok(issued) => {
            let to = next.as_ref().map_or("/signin?said=signed-in", Next::as_str);
            with_cookie(html::see_other(to), kept(&gateway.settings.server, &issued))
        }
        Err(refusal) => {
            let issuers = gateway.identity.sign_in_issuers();
            sign_in_view::refused(&refusal, next.as_ref(), &issuers)
        }
    }
}

/// `POST /signout`: takes the cookie back. The token in it dies by itself, at the latest when the
/// cookie would have.
pub async fn end(State(gateway): State<Arc<Gateway>>, at: AtPage) -> Response<Body> {
    let AtPage { knock, own_origin, .. } = at;
    let visit = match Visit::begin(&gateway, &knock).await {
        Ok(visit) if own_origin => visit.signed_out(&gateway).await,
        Ok(visit) => visit.end(&gateway, Err(Refusal::ForeignForm)).await,
        Err(refusal) => Err(refusal),
    };
    if !own_origin {
        return html::refused(&Refusal::ForeignForm, None);
    }
    if let Err(refusal) = visit {
        tracing::info!(code = refusal.code(), "somebody without a session signed out");
    }
    with_cookie(html::see_other("/signin?said=signed-out"), taken_back(&gateway.settings.server))
}

fn attempt(form: &mut Form, source: std::net::IpAddr) -> Result<SignIn, Refusal> {
    let otp = form.take("otp")?.filter(|code: &SecretString| !code.expose_secret().is_empty());
    let mut wanted = |name| {
        let text = form.take(name)?.filter(|text: &SecretString| !text.expose_secret().is_empty());
        let missing = || Refusal::MalformedBody(format!("the form has no {name}"));
        text.ok_or_else(missing)
    };
    let (tenant, email) = (wanted("tenant")?, wanted("email")?);
    let password = wanted("password")?;
    // An impossible tenant is nobody's, and told like a wrong password.
    let tenant = tenant.expose_secret().trim().parse();
    let tenant = tenant.map_err(|_| Refusal::from(SignInRefused::Credentials))?;
    Ok(SignIn { tenant, email: email.expose_secret().to_owned(), password, otp, source })
}

/// Whether browsers reach the gateway by TLS, its own or that of a proxy in front of it.
pub(super) fn is_secure(server: &Server) -> bool {
    let published = server.public_url.as_deref().unwrap_or_default();
    server.tls.is_some() || published.starts_with("https://")
}

/// The cookie's name. With TLS it has the prefix that keeps other hosts and plain HTTP from setting it.
pub(super) fn cookie_name(server: &Server) -> &'static str {
    if is_secure(server) { "__Host-portcullis_session" } else { "portcullis_session" }
}

/// All values of a cookie of this name, in whichever `Cookie` headers they stand.
pub(super) fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    let pairs = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
    let pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(key, _)| *key == name).map(|(_, value)| value)
}

pub(super) fn kept(server: &Server, issued: &Issued) -> Zeroizing<String> {
    cookie(server, issued.access_token.expose_secret(), issued.expires_in)
}

fn taken_back(server: &Server) -> Zeroizing<String> {
    cookie(server, "", 0)
}

fn cookie(server: &Server, value: &str, seconds: u64) -> Zeroizing<String> {
    let name = cookie_name(server);
    let secure = if is_secure(server) { "; Secure" } else { "" };
    Zeroizing::new(format!(
        "{name}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}"
    ))
}

pub(super) fn with_cookie(
    mut response: Response<Body>,
    cookie: Zeroizing<String>,
) -> Response<Body> {
    // A token is plain ASCII, so this always is a header value.
    if let Ok(mut value) = HeaderValue::from_str(&cookie) {
        value.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Settings, Tls};

    #[test]
    fn behind_tls_the_cookie_is_bound_to_this_host_and_to_tls() {
        let mut server = Settings::demo(std::path::Path::new("/nowhere")).server;
        assert_eq!(
            *cookie(&server, "t", 9),
            "portcullis_session=t; HttpOnly; SameSite=Strict; Path=/; Max-Age=9"
        );
        let secure =
            "__Host-portcullis_session=t; HttpOnly; SameSite=Strict; Path=/; Max-Age=9; Secure";
        server.public_url = Some("https://gate.example.org".to_owned());
        assert_eq!(*cookie(&server, "t", 9), secure);
        server.public_url = None;
        server.tls = Some(Tls { cert: "cert.pem".into(), key: "key.pem".into() });
        assert_eq!(*cookie(&server, "t", 9), secure);
    }

    #[test]
    fn only_a_cookie_of_this_very_name_is_a_session() {
        let mut headers = HeaderMap::new();
        let cookies = "xsession=1; session=2;session=3 ; session; Session=4; sessionx=5";
        headers.append(header::COOKIE, HeaderValue::from_static(cookies));
        headers.append(header::COOKIE, HeaderValue::from_static("session=6"));
        assert_eq!(values(&headers, "session").collect::<Vec<_>>(), ["2", "3", "6"]);
    }
}
