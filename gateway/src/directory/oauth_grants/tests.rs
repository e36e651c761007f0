//! Claims about grants, held against real files.

use super::*;
use crate::directory::tests::{Fixture, operator};
use crate::directory::{NewRole, RoleFacts};

const SOON: i64 = 60_000;

/// A consent to these scopes, with code `n`.
async fn offered(f: &Fixture, user: &str, n: u8, scopes: &[&str], expires_ms: i64) -> String {
    let uris = ["http://127.0.0.1/cb".to_owned()];
    let client = f.directory.register_client("Tester", &uris, "192.0.2.1").await.unwrap();
    let new = NewOAuthGrant {
        client_id: client.id,
        user_id: user.to_owned(),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        code_sha256: [n; 32],
        redirect_uri: uris[0].clone(),
        challenge: "challenge".to_owned(),
        expires_ms,
    };
    f.directory.offer_grant(new).await.unwrap()
}

#[tokio::test]
async fn of_many_redemptions_of_one_code_exactly_one_wins_and_then_all_ends() {
    let f = Fixture::new().await;
    let user = f.user("ann@example.org", "user").await;
    let grant = offered(&f, &user.id, 1, &["notes:read"], now_ms() + SOON).await;
    assert!(f.directory.grant_principal(&grant).await.is_err(), "it has not begun");
    let tries = (0..20_u8).map(|n| {
        let directory = f.directory.clone();
        let refresh = [n + 100; 32];
        tokio::spawn(
            async move { directory.begin_grant([1; 32], refresh, i64::MAX).await.unwrap() },
        )
    });
    let mut won = 0;
    for began in tries.collect::<Vec<_>>() {
        won += u32::from(began.await.unwrap());
    }
    assert_eq!(won, 1);
    assert!(f.directory.oauth_code([1; 32]).await.unwrap().is_spent);
    assert_eq!(f.directory.grant_principal(&grant).await.unwrap().user_id, user.id);
    let by = Actor::gateway();
    assert!(f.directory.end_grant(&grant, GrantEnd::CodeReused, &by).await.unwrap());
    assert!(!f.directory.end_grant(&grant, GrantEnd::CodeReused, &by).await.unwrap(), "once");
    assert!(f.directory.grant_principal(&grant).await.is_err());
    for n in 100..120 {
        assert!(!f.directory.renew_grant([n; 32], [n + 100; 32], i64::MAX).await.unwrap());
    }
    let notes = f.directory.unrecorded(100).await.unwrap();
    let actions: Vec<&str> = notes.iter().map(|n| n.action.as_str()).skip(2).collect();
    assert_eq!(actions, ["client.register", "grant.consent", "grant.begin", "grant.end"]);
}

#[tokio::test]
async fn of_many_renewals_with_one_token_exactly_one_wins() {
    let f = Fixture::new().await;
    let user = f.user("ann@example.org", "user").await;
    offered(&f, &user.id, 1, &["notes:read"], now_ms() + SOON).await;
    assert!(f.directory.begin_grant([1; 32], [2; 32], now_ms() + SOON).await.unwrap());
    let tries = (0..20_u8).map(|n| {
        let directory = f.directory.clone();
        tokio::spawn(async move {
            directory.renew_grant([2; 32], [n + 100; 32], i64::MAX).await.unwrap()
        })
    });
    let mut won = 0;
    for renewed in tries.collect::<Vec<_>>() {
        won += u32::from(renewed.await.unwrap());
    }
    assert_eq!(won, 1);
    assert!(f.directory.oauth_refresh([2; 32]).await.unwrap().is_spent);
}

#[tokio::test]
async fn a_code_begins_nothing_after_its_time_or_the_end_of_its_grant() {
    let f = Fixture::new().await;
    let user = f.user("ann@example.org", "user").await;
    offered(&f, &user.id, 1, &["notes:read"], now_ms() - 1).await;
    assert!(!f.directory.oauth_code([1; 32]).await.unwrap().is_whole);
    assert!(!f.directory.begin_grant([1; 32], [2; 32], i64::MAX).await.unwrap());
    let grant = offered(&f, &user.id, 3, &["notes:read"], now_ms() + SOON).await;
    f.directory.set_password_hash(&user.id, "$argon2id$x", &operator()).await.unwrap();
    assert!(!f.directory.begin_grant([3; 32], [4; 32], i64::MAX).await.unwrap());
    assert!(f.directory.grant_principal(&grant).await.is_err());
}

#[tokio::test]
async fn a_grant_never_does_more_than_its_person_or_its_consent() {
    let f = Fixture::new().await;
    let scopes = |scopes: &[&str]| scopes.iter().map(|&s| s.to_owned()).collect::<Vec<_>>();
    for (name, held) in
        [("writer", scopes(&["notes:*", "mail:send"])), ("reader", scopes(&["notes:read"]))]
    {
        let role = NewRole {
            tenant: f.tenant.clone(),
            name: name.to_owned(),
            display_name: name.to_owned(),
            default_scopes: held,
            confirmation_policy: crate::directory::ConfirmationPolicy::DefaultOff,
            facts: RoleFacts::default(),
        };
        f.directory.create_role(role, &operator()).await.unwrap();
    }
    let user = f.user("ann@example.org", "writer").await;
    let grant = offered(&f, &user.id, 1, &["notes:read", "notes:write"], now_ms() + SOON).await;
    assert!(f.directory.begin_grant([1; 32], [2; 32], i64::MAX).await.unwrap());
    let held = async || f.directory.grant_principal(&grant).await.unwrap().principal.scopes.clone();
    assert_eq!(held().await, ["notes:read", "notes:write"]);
    f.directory.set_user_role(&user.id, "reader", &operator()).await.unwrap();
    assert_eq!(held().await, ["notes:read"]);
    f.directory.set_user_role(&user.id, "writer", &operator()).await.unwrap();
    assert_eq!(held().await, ["notes:read", "notes:write"], "and never mail:send");
    f.directory.set_user_active(&user.id, false, &operator()).await.unwrap();
    assert!(f.directory.grant_principal(&grant).await.is_err());
}

#[tokio::test]
async fn a_client_that_nobody_granted_anything_goes_after_a_day() {
    let f = Fixture::new().await;
    let user = f.user("ann@example.org", "user").await;
    let register = async || {
        let uris = ["https://client.example/cb".to_owned()];
        f.directory.register_client("Tester", &uris, "192.0.2.1").await.unwrap().id
    };
    let unused = register().await;
    offered(&f, &user.id, 1, &["notes:read"], now_ms() + SOON).await;
    sqlx::query("UPDATE oauth_clients SET created_ms = created_ms - 90000000")
        .execute(f.directory.pool())
        .await
        .unwrap();
    let fresh = register().await;
    assert!(f.directory.oauth_client(&unused).await.is_err());
    assert!(f.directory.oauth_client(&fresh).await.is_ok());
    let used: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM oauth_clients WHERE granted_ms IS NOT NULL")
            .fetch_one(f.directory.pool())
            .await
            .unwrap();
    assert_eq!(used, 1, "one that was granted something stays");
}
