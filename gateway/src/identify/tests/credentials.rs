//! What a new password ends.

use portcullis_policies::AppId;

use super::*;
use crate::identify::TokenFault;

fn is_ended(answer: Result<Caller, Unidentified>) -> bool {
    matches!(answer, Err(Unidentified::Token(TokenFault::Ended)))
}

#[tokio::test]
async fn a_token_from_before_a_new_password_is_refused_and_one_from_after_counts() {
    let f = Fixture::new().await;
    let app: AppId = "notes".parse().unwrap();
    let of_app = f.identity.extension_token(&f.user.id, &app).await.unwrap().token;
    let of_app = of_app.expose_secret().to_owned();
    let (warm, fresh) = (f.token().await, f.token().await);
    f.bearer(&warm).await.unwrap();
    f.bearer(&of_app).await.unwrap();
    let (directory, by) = (f.identity.directory().clone(), Actor::user(&f.user.id));
    // The same password under other parameters is no change.
    let same = f.identity.passwords().hash(PASSWORD.into()).await.unwrap();
    directory.renew_password_hash(&f.user.id, &same, &by).await.unwrap();
    f.bearer(&warm).await.unwrap();
    let hash = f.identity.passwords().hash("another password".into()).await.unwrap();
    directory.set_password_hash(&f.user.id, &hash, &by).await.unwrap();
    for old in [&warm, &fresh, &of_app] {
        assert!(is_ended(f.bearer(old).await));
    }
    // Whoever signs in within the same second is let in all the same, and so is what is made for them.
    let issued = f.identity.sign_in(f.attempt("ann@example.org", "another password")).await;
    f.bearer(issued.unwrap().access_token.expose_secret()).await.unwrap();
    let of_app = f.identity.extension_token(&f.user.id, &app).await.unwrap().token;
    f.bearer(of_app.expose_secret()).await.unwrap();
    // Switching off and on again changes no credential.
    let kept = f.identity.sign_in(f.attempt("ann@example.org", "another password")).await.unwrap();
    directory.set_user_active(&f.user.id, false, &by).await.unwrap();
    directory.set_user_active(&f.user.id, true, &by).await.unwrap();
    f.bearer(kept.access_token.expose_secret()).await.unwrap();
}

#[tokio::test]
async fn a_token_of_the_second_of_the_change_is_from_before_it() {
    let f = Fixture::new().await;
    let claims = f.claims().await;
    let made_ms = (claims.iat + 2) * 1_000;
    for (changed_ms, ends) in [(made_ms - 1, false), (made_ms, false), (made_ms + 1, true)] {
        let ended = token::since(&claims, changed_ms) == Err(TokenFault::Ended);
        assert_eq!(ended, ends, "{changed_ms} {made_ms}");
    }
    for changed_ms in [0, 1_000_000_000_000, 1_000_000_000_001, 1_000_000_000_999] {
        let (iat, exp) = f.identity.terms.life_from(1_000_000_000, changed_ms);
        let later = AccessClaims { iat, exp, ..claims.clone() };
        assert_eq!(token::since(&later, changed_ms), Ok(()), "{changed_ms}");
        assert!(iat < 1_000_000_000, "no host takes it for one of the future");
    }
}

#[tokio::test]
async fn an_admin_who_resets_a_second_factor_ends_what_came_before_it() {
    let f = Fixture::new().await;
    let directory = f.identity.directory().clone();
    for (by, ends) in [(Actor::user(&f.user.id), false), (Actor::command("admin"), true)] {
        let token = f.token().await;
        directory.offer_totp(&f.user.id, b"sealed", &by).await.unwrap();
        directory.remove_totp(&f.user.id, &by).await.unwrap();
        assert_eq!(is_ended(f.bearer(&token).await), ends, "{by}");
    }
}

#[tokio::test]
async fn a_sign_in_that_renews_an_outdated_hash_ends_no_session() {
    use argon2::password_hash::{PasswordHasher as _, SaltString};
    let f = Fixture::new().await;
    let sign_in =
        async || f.identity.sign_in(f.attempt("ann@example.org", PASSWORD)).await.unwrap();
    let kept = sign_in().await;
    // As it was kept when the parameters were others.
    let params = argon2::Params::new(1_024, 1, 1, None).unwrap();
    let argon = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let salt = SaltString::encode_b64(&[7; 16]).unwrap();
    let old = argon.hash_password(PASSWORD.as_bytes(), &salt).unwrap().to_string();
    let directory = f.identity.directory();
    directory.renew_password_hash(&f.user.id, &old, &Actor::gateway()).await.unwrap();
    sign_in().await;
    let renewed = directory.password_of(&f.user.id).await.unwrap().unwrap();
    assert_ne!(renewed, old, "the sign-in made it anew");
    f.bearer(kept.access_token.expose_secret()).await.unwrap();
    let next = f.identity.refresh(&kept.refresh_token).await.unwrap();
    f.bearer(next.access_token.expose_secret()).await.unwrap();
    // And it is the same password.
    sign_in().await;
    assert_eq!(directory.password_of(&f.user.id).await.unwrap().unwrap(), renewed);
}

#[tokio::test]
async fn a_warm_call_asks_the_directory_nothing_whatever_the_credential() {
    let f = Fixture::new().await;
    let directory = f.identity.directory();
    let token = format!("Bearer {}", f.token().await);
    let app: AppId = "notes".parse().unwrap();
    let of_app = f.identity.extension_token(&f.user.id, &app).await.unwrap().token;
    let of_app = format!("Bearer {}", of_app.expose_secret());
    let key = fresh_api_key().unwrap();
    let new = NewApiKey {
        user_id: f.user.id.clone(),
        name: "warm".to_owned(),
        key_prefix: key.prefix(),
        sha256: key.sha256(),
        scopes: vec!["*".to_owned()],
    };
    directory.create_api_key(new, &Actor::gateway()).await.unwrap();
    for (name, value) in [
        ("authorization", token.as_str()),
        ("authorization", of_app.as_str()),
        ("x-api-key", key.expose()),
    ] {
        assert!(is_warm(&f, name, value).await, "{name}: {value}");
    }
}

/// Whether some call in a row asks nothing. The last use of a key is noted once a minute beside the calls, and what was
/// asked is good for half a second: neither falls into every call.
pub(super) async fn is_warm(f: &Fixture, name: &'static str, value: &str) -> bool {
    let directory = f.identity.directory();
    let mut quiet = 0;
    for _ in 0..50 {
        let before = directory.questions();
        f.identify(&[(name, value)]).await.unwrap();
        quiet += u32::from(directory.questions() == before);
    }
    quiet > 25
}
