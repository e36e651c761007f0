//! A person who walks the gateway's pages by plain HTTP, as a browser without scripts does.

use harness::people::person;
use harness::{Answer, Deployment};
use reqwest::Method;

/// A person with the session's cookie.
pub(crate) struct Walker<'a> {
    gate: &'a Deployment,
    /// `name=value` of the session.
    pub(crate) cookie: String,
}

impl<'a> Walker<'a> {
    /// Signs a person in on the page.
    pub(crate) async fn sign_in(gate: &'a Deployment, name: &str) -> Self {
        gate.user_id(name);
        let (somebody, password) = (person(name), person(name).password());
        let email = somebody.email();
        let fields = [("tenant", somebody.tenant), ("email", &email), ("password", &password)];
        let answer = gate.send(filled(gate.request(Method::POST, "/signin"), &fields)).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        assert!(cookie.contains("=ey"), "{cookie}");
        Self { gate, cookie }
    }

    /// The session of an access token.
    pub(crate) fn with(gate: &'a Deployment, token: &str) -> Self {
        Self { gate, cookie: format!("portcullis_session={token}") }
    }

    /// Opens a page.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.gate.send(self.request(Method::GET, path)).await
    }

    /// A form, to be completed and sent.
    pub(crate) fn form(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
        filled(self.request(Method::POST, path), fields)
    }

    /// Sends a form.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.gate.send(self.form(path, fields)).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.gate.request(method, path).header("cookie", &self.cookie)
    }
}

/// A request with these fields as a form.
pub(crate) fn filled(
    request: reqwest::RequestBuilder,
    fields: &[(&str, &str)],
) -> reqwest::RequestBuilder {
    let kind = "application/x-www-form-urlencoded";
    request.header("content-type", kind).body(encoded(fields))
}

/// Names and values as they stand in a form or a query.
pub(crate) fn encoded(fields: &[(&str, &str)]) -> String {
    let escape = |text: &str| -> String {
        let byte = |b: u8| match b {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        };
        text.bytes().map(byte).collect()
    };
    let pair = |(name, value): &(&str, &str)| format!("{}={}", escape(name), escape(value));
    fields.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// The value of a hidden field of a page, its entities resolved; empty when there is none.
pub(crate) fn hidden(page: &Answer, name: &str) -> String {
    let text = page.text();
    let value = text.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap_or_default();
    let value = value.split('"').next().unwrap_or_default();
    value.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}
