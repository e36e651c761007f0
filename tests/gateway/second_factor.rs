//! A person with a second factor ...

use std::process::Command;

use harness::{Answer, Deployment, Upstream, Value, json, person};
use reqwest::Method;

/// The code of the moment by Python's own HMAC (RFC 6238), `steps` away from now.
const CODE: &str = "import base64,hmac,struct,sys,time
key=base64.b32decode(sys.argv[1]);step=int(time.time())//30+int(sys.argv[2])
h=hmac.new(key,struct.pack('>Q',step),'sha1').digest();o=h[-1]&15
print('%06d'%((struct.unpack('>I',h[o:o+4])[0]&0x7fffffff)%1000000),end='')";

pub(crate) fn code(secret: &str, steps: i32) -> String {
    let made = Command::new("python3").args(["-c", CODE, secret, &steps.to_string()]).output();
    let made = made.expect("python3 runs");
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap()
}

async fn as_ana(gate: &Deployment, method: Method, path: &str, body: Value) -> Answer {
    let request = gate.signed("ana", method, path).await;
    gate.send(request.json(&body)).await
}

/// Enrols ana, with the code of the step before now; gives the secret and the recovery codes.
pub(crate) async fn enrol(gate: &Deployment) -> (String, Vec<String>) {
    let password = json!({ "current_password": person("ana").password() });
    let offered = as_ana(gate, Method::POST, "/v1/auth/me/totp", password).await;
    assert_eq!(offered.status, 200, "{offered:?}");
    assert_eq!(offered.header("cache-control"), "no-store");
    let secret = offered.body["secret"].as_str().unwrap().to_owned();
    assert!(offered.body["otpauth_url"].as_str().unwrap().contains(&secret));
    let otp = json!({ "otp": code(&secret, -1) });
    let confirmed = as_ana(gate, Method::POST, "/v1/auth/me/totp/confirm", otp).await;
    assert_eq!(confirmed.status, 200, "{confirmed:?}");
    let codes = confirmed.body["recovery_codes"].as_array().unwrap();
    (secret, codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect())
}

/// The database with what has not been moved into its file yet.
fn kept_of(gate: &Deployment) -> Vec<u8> {
    let files = ["directory.sqlite", "directory.sqlite-wal"];
    files
        .iter()
        .flat_map(|file| std::fs::read(gate.data().join(file)).unwrap_or_default())
        .collect()
}

/// How a value may stand in a database that has it in the clear.
fn spellings(planted: &str) -> Vec<String> {
    const SPELL: &str = "import base64,sys
t=sys.argv[1];p=t.replace('-','');b=[t,p]
try: r=base64.b32decode(p);b+=[base64.b64encode(r).decode().rstrip('='),r.hex()]
except Exception: pass
print('\\n'.join(b),end='')";
    let made = Command::new("python3").args(["-c", SPELL, planted]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap().lines().map(str::to_owned).collect()
}

pub(crate) async fn log_in(gate: &Deployment, password: &str, otp: Option<&str>) -> Answer {
    let ana = person("ana");
    let body = json!({
        "email": ana.email(), "password": password, "tenant_id": ana.tenant, "otp": otp,
    });
    gate.send(gate.request(Method::POST, "/v1/auth/login").json(&body)).await
}

#[tokio::test]
async fn signs_in_with_a_code_once_and_passes_a_rule_that_wants_two_factors() {
    let upstream = Upstream::start();
    let rule = "@id(\"test/two-factors\") @reason(\"a list needs a second factor\") forbid (principal, \
                action == Portcullis::Action::\"notes/list_notes\", resource) unless { principal.mfa };";
    let gate = crate::parts::policies_with(&upstream, rule).start().await;
    let weak = gate.call("ana", "notes", "list_notes", json!({})).await;
    assert_eq!(weak.code(), "STEP_UP_REQUIRED", "{weak:?}");
    let (secret, codes) = enrol(&gate).await;
    let password = person("ana").password();
    let missing = log_in(&gate, &password, None).await;
    assert_eq!((missing.status, missing.code()), (401, "SECOND_FACTOR_REQUIRED"), "{missing:?}");
    let stranger = log_in(&gate, "a wrong password", Some(&code(&secret, 0))).await;
    assert_eq!((stranger.status, stranger.code()), (401, "INVALID_CREDENTIAL"), "{stranger:?}");
    let otp = code(&secret, 0);
    let strong = log_in(&gate, &password, Some(&otp)).await;
    assert_eq!(strong.status, 200, "{strong:?}");
    let replayed = log_in(&gate, &password, Some(&otp)).await;
    assert_eq!((replayed.status, replayed.code()), (401, "INVALID_CREDENTIAL"), "{replayed:?}");

    let token = strong.body["access_token"].as_str().unwrap();
    let body = json!({ "function": "list_notes", "params": {} });
    let list = async |token: &str| {
        let request = gate.request(Method::POST, "/v1/extensions/notes/call").bearer_auth(token);
        gate.send(request.json(&body)).await
    };
    assert_eq!(list(token).await.status, 200);
    // The other session of the same person, of the same version, is asked right after the strong one.
    let weak = gate.call("ana", "notes", "list_notes", json!({})).await;
    assert_eq!(weak.code(), "STEP_UP_REQUIRED", "a weaker session stays weak: {weak:?}");
    let recovered = log_in(&gate, &password, Some(&codes[3])).await;
    assert_eq!(list(recovered.body["access_token"].as_str().unwrap()).await.status, 200);
    assert_eq!(log_in(&gate, &password, Some(&codes[3])).await.status, 401);
    let kept = kept_of(&gate);
    let ana = gate.user_id("ana");
    assert!(memchr::memmem::find(&kept, ana.as_bytes()).is_some(), "the search finds nothing");
    for planted in codes.iter().chain([&secret]).flat_map(|planted| spellings(planted)) {
        assert!(!gate.log().contains(planted.as_str()));
        assert!(memchr::memmem::find(&kept, planted.as_bytes()).is_none(), "kept in the clear");
    }
}

#[tokio::test]
async fn loses_it_to_a_code_or_to_an_admin_and_each_change_is_in_the_ledger() {
    let gate = Deployment::builder().start().await;
    let ana = gate.user_id("ana");
    let (secret, codes) = enrol(&gate).await;
    let wrong = json!({ "otp": "abcd-efgh-ijkl-mnop" });
    let refused = as_ana(&gate, Method::DELETE, "/v1/auth/me/totp", wrong).await;
    assert_eq!((refused.status, refused.code()), (403, "WRONG_CODE"), "{refused:?}");
    let path = format!("/v1/users/{ana}/totp");
    let request = gate.signed("ben", Method::DELETE, &path).await;
    assert_eq!(gate.send(request).await.status, 403, "a reader resets nobody");
    let request = gate.signed("gil", Method::DELETE, &path).await;
    let foreign = gate.send(request).await;
    assert_eq!(foreign.code(), "NOT_FOUND", "{foreign:?}");
    let request = gate.signed("max", Method::DELETE, &path).await;
    let reset = gate.send(request).await;
    assert_eq!(reset.status, 200, "{reset:?}");
    let stale = gate.get_as("ana", "/v1/auth/me").await;
    assert_eq!(stale.status, 401, "whoever had the factor may have the session: {stale:?}");
    gate.forget_token("ana").await;
    assert_eq!(log_in(&gate, &person("ana").password(), None).await.status, 200);
    let old = json!({ "otp": codes[0] });
    let gone = as_ana(&gate, Method::DELETE, "/v1/auth/me/totp", old).await;
    assert_eq!((gone.status, gone.code()), (404, "NOT_FOUND"), "{gone:?}");
    let (again, _) = enrol(&gate).await;
    assert_ne!(secret, again);
    let otp = json!({ "otp": code(&again, 0) });
    let removed = as_ana(&gate, Method::DELETE, "/v1/auth/me/totp", otp).await;
    assert_eq!(removed.status, 200, "{removed:?}");
    let max = gate.user_id("max");
    let request = gate.signed("max", Method::DELETE, &format!("/v1/users/{max}/totp")).await;
    let own = gate.send(request).await;
    assert_eq!(own.rules(), ["directory/own-second-factor"], "{own:?}");
    for action in ["user.totp_offer", "user.totp_confirm", "user.totp_remove"] {
        gate.wait_for_admin(action, &ana).await;
    }
}
