//! The people of the show: two tenants, three users, made in the directory and signed in through
//! the real door.

use serde_json::json;

use super::client::{Client, ClientError};

/// One signed-in person.
#[derive(Debug)]
pub struct Person {
    /// The directory's id, `imp_u_...`.
    pub user_id: String,
    /// An access token, good for a day.
    pub token: String,
}

/// Everybody of the show.
#[derive(Debug)]
pub struct People {
    /// May read, write and delete notes.
    pub ana: Person,
    /// May only read notes.
    pub ben: Person,
    /// May do everything, but in another tenant.
    pub gil: Person,
}

impl People {
    /// The person whom a token belongs to.
    #[must_use]
    pub fn by_token(&self, token: &str) -> Option<&Person> {
        [&self.ana, &self.ben, &self.gil].into_iter().find(|person| person.token == token)
    }
}

/// Signs one person in through `POST /v1/auth/login`.
///
/// # Errors
/// When the door can't be reached or does not let them in.
pub(super) async fn sign_in(
    client: &Client,
    user_id: String,
    tenant: &str,
    email: &str,
    password: &str,
) -> Result<Person, ClientError> {
    let body = json!({ "email": email, "password": password, "tenant_id": tenant });
    let reply = client.post("/v1/auth/login", None, &body).await?;
    let token = reply.body.get("access_token").and_then(serde_json::Value::as_str);
    let token = token.ok_or_else(|| ClientError::Http(format!("{email} was not let in")))?;
    Ok(Person { user_id, token: token.to_owned() })
}
