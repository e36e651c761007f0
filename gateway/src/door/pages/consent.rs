//! `/v1/oauth/authorize`: a person grants a program scopes, or does not (RFC 6749 section 4.1, RFC 9700).
//!
//! Until client and address are known to belong together, an error is a page and leads nowhere. After it, an error
//! that only the program can mend is a page as well, with a link back: any site may register itself, so an answer
//! that follows by itself would lead people anywhere (RFC 9700 section 4.11.2). Only a decision of the person answers
//! by itself.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::Response;
use secrecy::ExposeSecret as _;

use super::consent_view::{self, Shown};
use super::entry::AtPage;
use super::form::Form;
use super::{html, not_let_in, recorded, sign_in_again, signed_in_lately};
use crate::directory::{DirectoryError, OAuthClient, common};
use crate::door::device::Said;
use crate::door::oauth::AUTHORIZE;
use crate::gateway::Gateway;
use crate::identify::{Caller, Consent};
use crate::oauth::{Asked, AuthorizationRequest, OAuthFault, RedirectUri, is_own_resource};
use crate::pipeline::Visit;
use crate::refusal::Refusal;

/// Longest body of a decision: the request is in it.
const MAX_BODY: usize = 16 * 1024;

/// Somebody who asks, at an address that is theirs.
struct Known {
    client: OAuthClient,
    redirect: RedirectUri,
    state: Option<String>,
    issuer: String,
}

/// `GET /v1/oauth/authorize`: what a program asks for, to approve or deny.
pub async fn show(State(gateway): State<Arc<Gateway>>, said: Said, at: AtPage) -> Response<Body> {
    let AtPage { knock, .. } = at;
    let (asked, known) = match read(&gateway, &said, knock.query.as_deref()).await {
        Ok(read) => read,
        Err(refusal) => {
            return html::refused(&Visit::refused(&gateway, &knock, refusal).await, None);
        }
    };
    let request = match asked.check(|resource| is_own_resource(&known.issuer, resource)) {
        Ok(request) => request,
        Err(fault) => {
            return match Visit::refused(&gateway, &knock, fault.into()).await {
                Refusal::OAuth(fault) => {
                    consent_view::wrong(fault, &known.redirect.host(), &known.fault(fault))
                }
                unrecorded => html::refused(&unrecorded, None),
            };
        }
    };
    let visit = match Visit::begin(&gateway, &knock).await {
        Ok(visit) => visit,
        Err(refusal) => return not_let_in(&refusal, &here(&asked)),
    };
    if !signed_in_lately(&visit.caller) {
        return sign_in_again(&gateway, visit, &here(&asked)).await;
    }
    match offered(&gateway, &visit.caller, &request) {
        Ok(scopes) => page(&gateway, &visit.caller, &asked, &known, &scopes),
        Err(refusal) => html::refused(&recorded(&gateway, visit, refusal).await, None),
    }
}

/// `POST /v1/oauth/authorize`: the decision. Everything is read and checked again.
pub async fn decide(State(gateway): State<Arc<Gateway>>, said: Said, at: AtPage) -> Response<Body> {
    let AtPage { knock, own_origin, is_form, body, .. } = at;
    let visit = match Visit::begin(&gateway, &knock).await {
        Ok(visit) => visit,
        Err(refusal) => return not_let_in(&refusal, "/signin"),
    };
    let read = async {
        let sent = (own_origin, is_form, body);
        let (_, mut fields) = Form::signed(&gateway, &visit.caller, sent, MAX_BODY).await?;
        let query = fields.take("request")?;
        let query = query.as_ref().map(|query| query.expose_secret());
        let (asked, known) = read(&gateway, &said, query).await?;
        let request = asked.check(|resource| is_own_resource(&known.issuer, resource))?;
        Ok((fields, asked, known, request))
    };
    let (mut fields, asked, known, request) = match read.await {
        Ok(read) => read,
        Err(refusal) => return html::refused(&recorded(&gateway, visit, refusal).await, None),
    };
    let decided = async {
        let approve = approves(&mut fields)?;
        let scopes = offered(&gateway, &visit.caller, &request)?;
        let shown = fields.take("scopes")?;
        let as_shown = shown.is_some_and(|shown| shown.expose_secret() == scopes.join(" "));
        Ok((approve, as_shown, scopes))
    };
    match decided.await {
        Ok((false, ..)) => {
            let denied = recorded(&gateway, visit, OAuthFault::AccessDenied.into()).await;
            match denied {
                Refusal::OAuth(fault) => html::see_other(&known.fault(fault)),
                unrecorded => html::refused(&unrecorded, None),
            }
        }
        Ok((true, ..)) if !signed_in_lately(&visit.caller) => {
            sign_in_again(&gateway, visit, &here(&asked)).await
        }
        Ok((true, true, scopes)) if !scopes.is_empty() => {
            approve(&gateway, visit, known, request, scopes).await
        }
        // What the person holds has changed since it was shown, or is nothing: it is shown again.
        Ok((true, _, scopes)) => page(&gateway, &visit.caller, &asked, &known, &scopes),
        Err(refusal) => html::refused(&recorded(&gateway, visit, refusal).await, None),
    }
}

async fn approve(
    gateway: &Gateway,
    visit: Visit,
    known: Known,
    request: AuthorizationRequest,
    scopes: Vec<String>,
) -> Response<Body> {
    let consent = Consent {
        client_id: known.client.id.clone(),
        scopes,
        redirect_uri: known.redirect.as_str().to_owned(),
        challenge: request.challenge,
    };
    match gateway.identity.consent(&visit.caller, consent).await {
        Ok(code) => html::see_other(&known.answer(&[("code", code.expose_secret())])),
        Err(refused) => html::refused(&recorded(gateway, visit, refused.into()).await, None),
    }
}

impl Known {
    /// The address of an answer: `state` as it came, and who answers (RFC 9207).
    fn answer(&self, what: &[(&str, &str)]) -> String {
        let mut pairs = what.to_vec();
        if let Some(state) = &self.state {
            pairs.push(("state", state));
        }
        pairs.push(("iss", &self.issuer));
        self.redirect.with(&pairs)
    }

    fn fault(&self, fault: OAuthFault) -> String {
        let refusal = Refusal::from(fault);
        self.answer(&[("error", refusal.code()), ("error_description", &fault.to_string())])
    }
}

/// Reads a request as far as it must be good before anything is sent anywhere.
async fn read(
    gateway: &Gateway,
    said: &Said,
    query: Option<&str>,
) -> Result<(Asked, Known), Refusal> {
    let issuer = said.base.clone().ok_or(Refusal::NoSuchRoute)?;
    let asked = Asked::read(query.unwrap_or_default())?;
    let client = gateway.directory.oauth_client(asked.get("client_id")).await;
    let client = client.map_err(|fault| match fault {
        DirectoryError::NotFound { .. } => OAuthFault::InvalidClient.into(),
        other => Refusal::Unavailable(other.to_string()),
    })?;
    let redirect = RedirectUri::parse(asked.get("redirect_uri"))?;
    if !client.redirect_uris.iter().any(|registered| redirect.is(registered)) {
        return Err(OAuthFault::InvalidRedirectUri.into());
    }
    let state = asked.state()?.map(str::to_owned);
    Ok((asked, Known { client, redirect, state, issuer }))
}

/// What a consent would grant: what the person holds of what is asked for. A program that leaves it to the gateway
/// is offered what the tools need that its person may call, and never what would change people or rights.
fn offered(
    gateway: &Gateway,
    caller: &Caller,
    request: &AuthorizationRequest,
) -> Result<Vec<String>, Refusal> {
    let held = &caller.principal().scopes;
    match &request.scopes {
        Some(asked) => Ok(common(held, asked)),
        None => Ok(common(held, &crate::door::mcp::scopes_of_tools(gateway, caller)?)),
    }
}

fn approves(fields: &mut Form) -> Result<bool, Refusal> {
    match fields.take("decision")?.as_ref().map(|word| word.expose_secret()) {
        Some("approve") => Ok(true),
        Some("deny") => Ok(false),
        _ => Err(Refusal::MalformedBody("the form decides nothing".to_owned())),
    }
}

fn page(
    gateway: &Gateway,
    caller: &Caller,
    asked: &Asked,
    known: &Known,
    scopes: &[String],
) -> Response<Body> {
    consent_view::show(&Shown {
        email: caller.email(),
        tenant: caller.tenant().as_str(),
        form_token: &gateway.forms.of(caller.session()),
        client: &known.client,
        redirect: &known.redirect,
        request: &asked.to_query(),
        scopes,
    })
}

fn here(asked: &Asked) -> String {
    format!("{AUTHORIZE}?{}", asked.to_query())
}
