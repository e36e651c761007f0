//! The people of the tests, made in the directory by the real commands when they are first named.

use std::sync::PoisonError;

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::deployment::{Deployment, said};

/// Somebody: name, tenant, role, and the scopes of that role.
#[derive(Debug, Clone, Copy)]
pub struct Person {
    /// First name; the email is `{name}@{tenant}.example` without the tenant's prefix.
    pub name: &'static str,
    /// The tenant's id.
    pub tenant: &'static str,
    /// The role's name.
    pub role: &'static str,
    /// The role's scopes.
    pub scopes: &'static [&'static str],
}

const EDITOR: &[&str] = &[
    "notes:read",
    "notes:write",
    "notes:destructive",
    "bank:read",
    "bank:write",
    "bank:destructive",
];
const READER: &[&str] = &["notes:read", "bank:read"];
const APPROVER: &[&str] = &["confirmations:approve"];
const EVERYTHING: &[&str] = &["*"];

/// Everybody that a test can name.
pub const PEOPLE: &[Person] = &[
    Person { name: "ana", tenant: "imp_t_acme", role: "editor", scopes: EDITOR },
    Person { name: "amy", tenant: "imp_t_acme", role: "editor", scopes: EDITOR },
    Person { name: "ben", tenant: "imp_t_acme", role: "reader", scopes: READER },
    Person { name: "nil", tenant: "imp_t_acme", role: "guest", scopes: &[] },
    Person { name: "ada", tenant: "imp_t_acme", role: "chief", scopes: EVERYTHING },
    Person { name: "max", tenant: "imp_t_acme", role: "admin", scopes: EVERYTHING },
    Person { name: "sue", tenant: "imp_t_acme", role: "keeper", scopes: &["secrets:*"] },
    Person { name: "fin", tenant: "imp_t_acme", role: "finance", scopes: APPROVER },
    Person { name: "sec", tenant: "imp_t_acme", role: "security", scopes: APPROVER },
    Person { name: "gil", tenant: "imp_t_globex", role: "chief", scopes: EVERYTHING },
];

impl Person {
    /// The email by which the person signs in.
    #[must_use]
    pub fn email(&self) -> String {
        format!("{}@{}.example", self.name, self.tenant.trim_start_matches("imp_t_"))
    }

    /// The password; a secret that must show up nowhere.
    #[must_use]
    pub fn password(&self) -> String {
        format!("planted-password-of-{}", self.name)
    }
}

/// One of [`PEOPLE`].
///
/// Panics when there is nobody of that name.
#[must_use]
pub fn person(name: &str) -> Person {
    let found = PEOPLE.iter().find(|person| person.name == name);
    *found.unwrap_or_else(|| panic!("nobody is called {name}"))
}

impl Deployment {
    /// The directory's id of a person, who is made now when new.
    pub fn user_id(&self, name: &str) -> String {
        if let Some(id) = self.member(name) {
            return id;
        }
        let id = self.admit(&person(name));
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.insert(name.to_owned(), id.clone());
        id
    }

    /// An access token of a person, from `POST /v1/auth/login`; asked for once.
    ///
    /// Panics when the person is not let in.
    pub async fn token(&self, name: &str) -> String {
        let mut tokens = self.tokens.lock().await;
        if let Some(token) = tokens.get(name) {
            return token.clone();
        }
        self.user_id(name);
        let answer = self.log_in(&person(name), &person(name).password()).await;
        let token = answer.body["access_token"].as_str();
        let token = token.unwrap_or_else(|| panic!("{name} was not let in: {answer:?}")).to_owned();
        tokens.insert(name.to_owned(), token.clone());
        token
    }

    /// Takes over a person with the session of another replica of the same deployment.
    pub async fn adopt(&self, other: &Self, name: &str) {
        let token = other.token(name).await;
        self.tokens.lock().await.insert(name.to_owned(), token);
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.insert(name.to_owned(), other.user_id(name));
    }

    /// Lets the next call of a person sign in again.
    pub async fn forget_token(&self, name: &str) {
        self.tokens.lock().await.remove(name);
    }

    /// `POST /v1/auth/login`, with any password.
    pub async fn log_in(&self, person: &Person, password: &str) -> Answer {
        let body = json!({
            "email": person.email(), "password": password, "tenant_id": person.tenant,
        });
        self.send(self.request(reqwest::Method::POST, "/v1/auth/login").json(&body)).await
    }

    /// Makes an API key for a person, through the real command.
    pub fn api_key(&self, name: &str, scopes: &[&str]) -> String {
        let id = self.user_id(name);
        let mut args = vec!["key", "create", "--json", "--name", "e2e", id.as_str()];
        args.extend(scopes.iter().flat_map(|scope| ["--scope", *scope]));
        let key: Value = serde_json::from_str(&self.must(&args)).expect("JSON of `key create`");
        key["key"].as_str().expect("the text of the key").to_owned()
    }

    /// A token by which the code of an app acts for a person, through the real command.
    pub fn extension_token(&self, app: &str, name: &str) -> String {
        let id = self.user_id(name);
        self.must(&["app", "token", app, "--user", &id]).trim().to_owned()
    }

    /// Makes tenant and role where they are not there yet, and the user.
    fn admit(&self, person: &Person) -> String {
        let Person { tenant, role, scopes, .. } = *person;
        if !self.portcullis(&["tenant", "show", tenant]).status.success() {
            self.must(&["tenant", "create", tenant, "--id", tenant]);
        }
        let roles = self.must(&["role", "list", "--json", "--tenant", tenant]);
        if !roles.contains(&format!("\"name\":\"{role}\"")) {
            let mut args = vec!["role", "create", "--tenant", tenant, role];
            args.extend(scopes.iter().flat_map(|scope| ["--scope", *scope]));
            self.must(&args);
        }
        let email = person.email();
        let args = [
            "user",
            "create",
            "--json",
            "--password-stdin",
            "--tenant",
            tenant,
            "--role",
            role,
            "--email",
            &email,
        ];
        let made = self.portcullis_with_input(&args, &person.password());
        let made: Value = serde_json::from_str(&said(&args, &made)).expect("JSON of `user create`");
        made[0]["id"].as_str().expect("the user's id").to_owned()
    }
}
