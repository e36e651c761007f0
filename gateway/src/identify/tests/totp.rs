//! Second factors: what counts, what counts once, and what is no second factor.

use secrecy::ExposeSecret as _;
use totp_rs::{Builder, Secret};

use super::*;
use crate::identify::{AccountRefused, SignInRefused};

const EMAIL: &str = "ann@example.org";

/// The code of the moment, `steps` away from now.
fn code(secret: &SecretString, steps: i64) -> SecretString {
    let secret = Secret::try_from_base32(secret.expose_secret()).unwrap();
    let totp = Builder::new().with_secret(secret).build().unwrap();
    let at = now_seconds() + 30 * steps;
    totp.generate(u64::try_from(at).unwrap()).to_string().into()
}

fn here() -> IpAddr {
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}

async fn signed_in(f: &Fixture) -> Caller {
    f.bearer(&f.token().await).await.unwrap()
}

/// Enrols; gives the secret and the recovery codes. The code of the step before now is spent.
async fn enrolled(f: &Fixture) -> (SecretString, Vec<SecretString>) {
    let caller = signed_in(f).await;
    let offer = f.identity.offer_totp(&caller, PASSWORD.into(), here()).await.unwrap();
    let url = offer.url.expose_secret();
    assert!(url.starts_with("otpauth://totp/Portcullis:ann%40example.org?"), "{url}");
    let shown = code(&offer.secret, -1);
    let codes = f.identity.confirm_totp(&caller, &shown, here()).await.unwrap();
    assert_eq!(codes.len(), 10);
    (offer.secret, codes)
}

async fn try_with(f: &Fixture, otp: Option<SecretString>) -> Result<Caller, SignInRefused> {
    let attempt = SignIn { otp, ..f.attempt(EMAIL, PASSWORD) };
    f.identity.sign_in(attempt).await.map(|issued| issued.caller)
}

fn refused(result: Result<Caller, SignInRefused>) -> &'static str {
    result.map_or_else(|refused| refused.code(), |_| "signed in")
}

#[tokio::test]
async fn a_right_code_is_a_second_factor_and_the_token_says_so() {
    let f = Fixture::new().await;
    let (secret, _) = enrolled(&f).await;
    assert_eq!(refused(try_with(&f, None).await), "second_factor_required");
    let attempt = SignIn { otp: Some(code(&secret, 0)), ..f.attempt(EMAIL, PASSWORD) };
    let issued = f.identity.sign_in(attempt).await.unwrap();
    let caller = f.bearer(issued.access_token.expose_secret()).await.unwrap();
    assert!(caller.strength().mfa());
    assert_eq!(caller.strength().amr, ["pwd", "otp", "mfa"]);
    assert_eq!(caller.strength().acr.as_deref(), Some(portcullis_policies::ACR_MFA));
}

#[tokio::test]
async fn a_code_that_was_seen_is_no_code_any_more() {
    let f = Fixture::new().await;
    let (secret, _) = enrolled(&f).await;
    assert_eq!(refused(try_with(&f, Some(code(&secret, -1))).await), "second_factor_wrong");
    let next = code(&secret, 1);
    assert_eq!(refused(try_with(&f, Some(next.clone())).await), "signed in");
    assert_eq!(refused(try_with(&f, Some(next)).await), "second_factor_wrong");
    let earlier = code(&secret, 0);
    assert_eq!(refused(try_with(&f, Some(earlier)).await), "second_factor_wrong", "nor one before");
}

#[tokio::test]
async fn a_code_of_another_time_or_of_another_secret_is_wrong() {
    let f = Fixture::new().await;
    let (secret, _) = enrolled(&f).await;
    let other = SecretString::from("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP");
    for otp in [code(&secret, -4), code(&secret, 4), code(&other, 0), "".into(), "12".into()] {
        assert_eq!(refused(try_with(&f, Some(otp)).await), "second_factor_wrong");
    }
}

#[tokio::test]
async fn a_recovery_code_stands_in_once_however_it_is_typed() {
    let f = Fixture::new().await;
    let (_, codes) = enrolled(&f).await;
    let spelled = codes[0].expose_secret().to_uppercase().replace('-', " ");
    assert_eq!(refused(try_with(&f, Some(spelled.into())).await), "signed in");
    assert_eq!(refused(try_with(&f, Some(codes[0].clone())).await), "second_factor_wrong");
    assert_eq!(refused(try_with(&f, Some(codes[1].clone())).await), "signed in");
    let notes = f.identity.directory().unrecorded(1_000).await.unwrap();
    let used = notes.iter().filter(|note| note.action == "user.recovery_code_used").count();
    assert_eq!(used, 2, "each use is in the ledger");
    let text = format!("{notes:?}");
    assert!(!codes.iter().any(|code| text.contains(code.expose_secret())), "and no code is");
}

#[tokio::test]
async fn a_guesser_with_the_password_gets_five_codes_and_then_waits() {
    let f = Fixture::new().await;
    let (secret, codes) = enrolled(&f).await;
    let wrong = code(&SecretString::from("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"), 0);
    for _ in 0..5 {
        assert_eq!(refused(try_with(&f, Some(wrong.clone())).await), "second_factor_wrong");
    }
    assert_eq!(refused(try_with(&f, Some(wrong)).await), "login_rate_limited");
    let right = try_with(&f, Some(code(&secret, 1))).await;
    assert_eq!(refused(right), "login_rate_limited", "the right one has to wait as well");
    assert_eq!(refused(try_with(&f, Some(codes[0].clone())).await), "signed in");
}

#[tokio::test]
async fn a_stranger_learns_nothing_of_second_factors() {
    let f = Fixture::new().await;
    let (secret, _) = enrolled(&f).await;
    for otp in [None, Some(code(&secret, 0)), Some("000000".into())] {
        let attempt = SignIn { otp, ..f.attempt(EMAIL, "a wrong password") };
        let refusal = f.identity.sign_in(attempt).await.unwrap_err();
        assert_eq!(refusal.code(), "invalid_credentials");
    }
    assert_eq!(
        refused(try_with(&f, Some(code(&secret, 0))).await),
        "signed in",
        "nothing is spent"
    );
}

#[tokio::test]
async fn a_thief_of_a_session_enrols_nothing_and_removes_nothing() {
    let f = Fixture::new().await;
    let caller = signed_in(&f).await;
    let offered = f.identity.offer_totp(&caller, "a wrong password".into(), here()).await;
    assert!(matches!(offered, Err(AccountRefused::WrongPassword)), "{offered:?}");
    let (secret, _) = enrolled(&f).await;
    let removed = f.identity.remove_totp(&caller, &"000000".into(), here()).await;
    assert!(matches!(removed, Err(AccountRefused::WrongCode)), "{removed:?}");
    let again = f.identity.offer_totp(&caller, PASSWORD.into(), here()).await;
    assert!(matches!(again, Err(AccountRefused::Directory(_))), "{again:?}");
    f.identity.remove_totp(&caller, &code(&secret, 0), here()).await.unwrap();
    assert_eq!(refused(try_with(&f, None).await), "signed in");
}

#[tokio::test]
async fn what_was_only_offered_is_not_asked_for_and_another_password_removes_nothing() {
    let f = Fixture::new().await;
    let caller = signed_in(&f).await;
    f.identity.offer_totp(&caller, PASSWORD.into(), here()).await.unwrap();
    assert_eq!(refused(try_with(&f, None).await), "signed in");
    let (secret, _) = enrolled(&f).await;
    let new = "another password";
    let change = PasswordChange { current: PASSWORD.into(), new: new.into(), source: here() };
    f.identity.change_password(&caller, change).await.unwrap();
    let attempt = f.attempt(EMAIL, new);
    let refusal = f.identity.sign_in(attempt).await.unwrap_err();
    assert_eq!(refusal.code(), "second_factor_required");
    let attempt = SignIn { otp: Some(code(&secret, 0)), ..f.attempt(EMAIL, new) };
    assert!(f.identity.sign_in(attempt).await.is_ok());
}

#[tokio::test]
async fn of_many_uses_of_one_code_exactly_one_counts() {
    let f = Arc::new(Fixture::new().await);
    let (secret, codes) = enrolled(&f).await;
    for otp in [code(&secret, 0), codes[0].clone()] {
        let tries: Vec<_> = (0..4)
            .map(|_| {
                let (f, otp) = (Arc::clone(&f), otp.clone());
                tokio::spawn(async move { refused(try_with(&f, Some(otp)).await) })
            })
            .collect();
        let mut won = 0;
        for tried in tries {
            won += usize::from(tried.await.unwrap() == "signed in");
        }
        assert_eq!(won, 1);
    }
}

#[tokio::test]
async fn a_sealed_secret_moved_to_another_person_does_not_open() {
    let f = Fixture::new().await;
    let (secret, _) = enrolled(&f).await;
    let pool = f.identity.directory().pool();
    let bob = NewUser {
        tenant: f.user.tenant.clone(),
        email: "bob@example.org".to_owned(),
        role: "user".to_owned(),
        scopes: Vec::new(),
        password_hash: Some(f.identity.passwords().hash(PASSWORD.into()).await.unwrap()),
        attributes: None,
        agency_id: None,
    };
    let bob = f.identity.directory().create_user(bob, &by()).await.unwrap();
    sqlx::query("UPDATE totp SET user_id = $1").bind(&bob.id).execute(pool).await.unwrap();
    let attempt = SignIn { otp: Some(code(&secret, 0)), ..f.attempt("bob@example.org", PASSWORD) };
    assert_eq!(f.identity.sign_in(attempt).await.unwrap_err().code(), "identity_unavailable");
}
