//! Talking to the gateway as its callers do.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::deployment::Deployment;

/// A client that follows no redirect and uses no proxy of the environment.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(Duration::from_secs(60))
        .build()
        .expect("an HTTP client")
}

impl Deployment {
    /// A request for a path, to be completed and given to [`Self::send`].
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url()))
    }

    /// The same, signed by a person.
    pub async fn signed(&self, user: &str, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.request(method, path).bearer_auth(self.token(user).await)
    }

    /// Sends a request and reads the answer whole.
    ///
    /// Panics when there is none; see [`Self::try_send`].
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        self.try_send(request).await.expect("an answer of the gateway")
    }

    /// Sends a request to a gateway that may die meanwhile.
    ///
    /// # Errors
    /// What the client saw instead of an answer.
    pub async fn try_send(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
        Answer::read(request.send().await?).await
    }

    /// `GET` without a credential.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// `GET` as a person.
    pub async fn get_as(&self, user: &str, path: &str) -> Answer {
        self.send(self.signed(user, Method::GET, path).await).await
    }

    /// `POST` with a JSON body, as a person.
    pub async fn post_as(&self, user: &str, path: &str, body: &Value) -> Answer {
        self.send(self.signed(user, Method::POST, path).await.json(body)).await
    }

    /// `POST /v1/extensions/{app}/call` as a person.
    pub async fn call(&self, user: &str, app: &str, function: &str, params: Value) -> Answer {
        let body = json!({ "function": function, "params": params });
        self.post_as(user, &format!("/v1/extensions/{app}/call"), &body).await
    }

    /// The same with a body that is sent byte by byte as it is.
    pub async fn call_with_body(&self, user: &str, app: &str, body: impl Into<String>) -> Answer {
        let path = format!("/v1/extensions/{app}/call");
        let request = self.signed(user, Method::POST, &path).await;
        self.send(request.header("content-type", "application/json").body(body.into())).await
    }

    /// `POST /v1/confirmations/{id}/{verb}`; the verbs are `confirm`, `accept` and `cancel`.
    pub async fn decide(&self, user: &str, id: &str, verb: &str) -> Answer {
        self.post_as(user, &format!("/v1/confirmations/{id}/{verb}"), &json!({})).await
    }
}
