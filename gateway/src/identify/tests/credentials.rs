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
