//! A program as an attacker or a tester would write it: every step by hand.

use std::collections::BTreeMap;

use harness::{Answer, Deployment, Value, json};
use reqwest::Method;

use super::{form_of, query, sha};
use crate::walker::{Walker, filled};

pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(super) const CALLBACK: &str = "http://127.0.0.1:33418/callback";

pub(super) fn challenge() -> String {
    sha(VERIFIER)
}

/// A registered program.
pub(super) struct Client<'a> {
    pub(super) gate: &'a Deployment,
    pub(super) id: String,
}

impl<'a> Client<'a> {
    pub(super) async fn register(gate: &'a Deployment) -> Self {
        Self::register_as(gate, json!({ "client_name": "Tester", "redirect_uris": [CALLBACK] }))
            .await
    }

    pub(super) async fn register_as(gate: &'a Deployment, metadata: Value) -> Self {
        let answer =
            gate.send(gate.request(Method::POST, "/v1/oauth/register").json(&metadata)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.body["token_endpoint_auth_method"], "none");
        assert_eq!(answer.body.get("client_secret"), None);
        Self { gate, id: answer.body["client_id"].as_str().unwrap().to_owned() }
    }

    /// The address of a request; `change` replaces parameters, and an empty value takes one out.
    pub(super) fn request(&self, change: &[(&str, &str)]) -> String {
        let (challenge, resource) = (challenge(), format!("{}/mcp", self.gate.url()));
        let mut fields = BTreeMap::from([
            ("client_id", self.id.as_str()),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("redirect_uri", CALLBACK),
            ("resource", &resource),
            ("response_type", "code"),
            ("state", "the state"),
        ]);
        fields.extend(change.iter().copied());
        let fields: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        query(&fields)
    }

    pub(super) async fn ask(&self, person: &Walker<'_>, change: &[(&str, &str)]) -> Answer {
        person.get(&self.request(change)).await
    }

    pub(super) async fn ask_with(&self, cookie: &str, change: &[(&str, &str)]) -> Answer {
        let request =
            self.gate.request(Method::GET, &self.request(change)).header("cookie", cookie);
        self.gate.send(request).await
    }

    /// The person decides on the page; gives where the answer leads to.
    pub(super) async fn decided(
        &self,
        person: &Walker<'_>,
        page: &Answer,
        decision: &str,
    ) -> Answer {
        let [csrf, request, scopes] = form_of(page);
        let fields = [
            ("csrf", csrf.as_str()),
            ("request", &request),
            ("scopes", &scopes),
            ("decision", decision),
        ];
        person.post("/v1/oauth/authorize", &fields).await
    }

    /// The code that an approval gives.
    pub(super) async fn approved(&self, person: &Walker<'_>, page: &Answer) -> String {
        let answer = self.decided(person, page, "approve").await;
        assert_eq!(answer.status, 303, "{answer:?}");
        member(answer.header("location"), "code")
    }

    pub(super) async fn token(&self, fields: &[(&str, &str)]) -> Answer {
        self.send_token(&[&[("client_id", self.id.as_str())], fields].concat()).await
    }

    /// Exactly these fields.
    pub(super) async fn send_token(&self, fields: &[(&str, &str)]) -> Answer {
        self.gate.send(filled(self.gate.request(Method::POST, "/v1/oauth/token"), fields)).await
    }

    /// Redeems a code.
    pub(super) async fn tokens(&self, code: &str) -> Answer {
        self.redeem(code, &[]).await
    }

    /// The same with other parameters.
    pub(super) async fn redeem(&self, code: &str, change: &[(&str, &str)]) -> Answer {
        let mut fields = BTreeMap::from([
            ("client_id", self.id.as_str()),
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", VERIFIER),
            ("redirect_uri", CALLBACK),
        ]);
        fields.extend(change.iter().copied());
        self.send_token(&fields.into_iter().collect::<Vec<_>>()).await
    }

    /// The tokens of a whole grant.
    pub(super) async fn granted(&self, person: &Walker<'_>) -> Value {
        let page = self.ask(person, &[]).await;
        let tokens = self.tokens(&self.approved(person, &page).await).await;
        assert_eq!(tokens.status, 200, "{tokens:?}");
        tokens.body
    }
}

/// A parameter of an address; empty when it is not there.
pub(super) fn member(address: &str, name: &str) -> String {
    let address =
        reqwest::Url::parse(address).unwrap_or_else(|_| panic!("{address} is no address"));
    let found =
        address.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    found.unwrap_or_default()
}
