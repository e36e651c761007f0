//! Every refusal of the one table, produced through HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::{Answer, Deployment, Upstream, Value, json, person};
use reqwest::Method;

/// The table itself: its variants are read from it, so that a new one cannot be forgotten here.
const TABLE: &str = include_str!("../../../gateway/src/refusal.rs");

/// Refusals that are produced elsewhere or cannot be, and why.
const NOT_HERE: &[(&str, &str)] = &[
    (
        "ToolQuarantined",
        "needs an MCP server whose tools change; the tests of `quarantine` hold it",
    ),
    (
        "ForeignForm",
        "only pages give it, as HTML; `pages::a_form_of_another_site_or_session_is_refused` holds it",
    ),
    (
        "SecretChanged",
        "needs four lost races in a row; the directory's `of_two_changes_one_counts` holds the race",
    ),
    (
        "NoRules",
        "a gateway without rules does not begin to listen; it is the answer of a bug of ours",
    ),
];

#[tokio::test]
async fn every_refusal_through_http() {
    let all = [
        asked_wrongly().await,
        with_a_failing_upstream().await,
        confirmed_wrongly().await,
        about_approvals().await,
        about_secrets().await,
        about_people().await,
        signed_in_too_weakly().await,
        with_broken_parts().await,
    ]
    .concat();
    let mut produced = BTreeMap::new();
    for (variant, code, answer) in all {
        assert_eq!(answer.code(), code, "{variant}: {answer:?}");
        assert_eq!(answer.status, status_of(variant, code), "{variant}: {answer:?}");
        produced.insert(variant, answer);
    }
    for (variant, _) in NOT_HERE {
        assert!(!produced.contains_key(variant), "{variant} is produced after all");
    }
    for variant in variants() {
        let excused = NOT_HERE.iter().any(|(name, _)| *name == variant);
        assert!(excused || produced.contains_key(variant), "{variant} was never produced");
    }
}

type Produced = (&'static str, &'static str, Answer);

#[expect(clippy::too_many_lines, reason = "a row for each refusal")]
async fn asked_wrongly() -> Vec<Produced> {
    let upstream = Upstream::start();
    let limits = "[server.limits]\nbody_bytes = \"4KiB\"\n[identity]\nlogin_attempts = 1";
    let gate = Deployment::builder().notes(&upstream).bank(&upstream, "x").settings(limits);
    let gate = gate.limits("me = { count = 1, per = \"1h\" }").start().await;
    let path = "/v1/extensions/notes/call";
    let knock = || gate.request(Method::POST, path).json(&json!({ "function": "list_notes" }));
    let token = gate.token("ana").await;
    let amy = json!({ "function": "list_notes", "user_id": gate.user_id("amy") });
    // Signed in before the wrong password below: it blocks the address, too.
    for user in ["nil", "ada", "ben"] {
        gate.token(user).await;
    }
    let ben = person("ben");
    let login = || gate.log_in(&ben, "a wrong password");
    login().await;
    gate.get_as("ana", "/v1/auth/me").await;
    let long = format!("{{\"function\":\"{}\"}}", "x".repeat(5_000));
    vec![
        ("MissingCredential", "UNAUTHENTICATED", gate.send(knock()).await),
        ("InvalidCredential", "INVALID_CREDENTIAL", gate.send(knock().bearer_auth("x")).await),
        (
            "AmbiguousCredential",
            "AMBIGUOUS_CREDENTIAL",
            gate.send(knock().bearer_auth(token).header("x-api-key", "x")).await,
        ),
        ("HintMismatch", "IDENTITY_MISMATCH", gate.post_as("ana", path, &amy).await),
        (
            "MalformedRequest",
            "MALFORMED_REQUEST",
            gate.get_as("ada", "/v1/users?limit=1&limit=2").await,
        ),
        ("MalformedBody", "MALFORMED_BODY", gate.call_with_body("ana", "notes", "{").await),
        ("BodyTooLarge", "BODY_TOO_LARGE", gate.call_with_body("ana", "notes", long).await),
        ("NoSuchRoute", "NOT_FOUND", gate.get("/nowhere").await),
        ("MethodNotAllowed", "METHOD_NOT_ALLOWED", gate.get("/v1/auth/login").await),
        ("UnknownApp", "UNKNOWN_TOOL", gate.call("ana", "nowhere", "x", json!({})).await),
        (
            "UnknownFunction",
            "UNKNOWN_SUB_FUNCTION",
            gate.call("ana", "notes", "x", json!({})).await,
        ),
        ("UnknownAppRoute", "UNKNOWN_SUB_FUNCTION", gate.get_as("ana", "/proxy/bank/x").await),
        (
            "InvalidArguments",
            "VALIDATION_MISSING_FIELD",
            gate.call("ana", "notes", "create_note", json!({})).await,
        ),
        (
            "PlaceholderValues",
            "VALIDATION_MISSING_FIELD",
            gate.call("ana", "notes", "create_note", json!({ "title": "<TITLE>" })).await,
        ),
        (
            "FabricatedId",
            "FABRICATED_ID_SHAPE",
            gate.call("ana", "notes", "create_note", json!({ "message_id": "a-b-1" })).await,
        ),
        (
            // The session has met this code a moment ago, above.
            "ErrorInArguments",
            "ERROR_IN_ARGUMENTS",
            gate.call("ana", "notes", "create_note", json!({ "title": "UNKNOWN_TOOL" })).await,
        ),
        ("Denied", "PERMISSION_DENIED", gate.call("nil", "notes", "list_notes", json!({})).await),
        ("TooManyRequests", "RATE_LIMITED", login().await),
        ("OverLimit", "RATE_LIMITED", gate.get_as("ana", "/v1/auth/me").await),
    ]
}

async fn signed_in_too_weakly() -> Vec<Produced> {
    let upstream = Upstream::start();
    let rule = "@id(\"test/two-factors\") @reason(\"r\") \
                forbid (principal, action, resource) unless { principal.mfa };";
    let gate = crate::parts::policies_with(&upstream, rule).start().await;
    let refused = gate.call("ana", "notes", "list_notes", json!({})).await;
    let gate = Deployment::builder().start().await;
    crate::second_factor::enrol(&gate).await;
    let missing = gate.log_in(&person("ana"), &person("ana").password()).await;
    let wrong = gate.signed("ana", Method::DELETE, "/v1/auth/me/totp").await;
    let wrong = gate.send(wrong.json(&json!({ "otp": "000" }))).await;
    vec![
        ("StepUp", "STEP_UP_REQUIRED", refused),
        ("SecondFactorRequired", "SECOND_FACTOR_REQUIRED", missing),
        ("WrongCode", "WRONG_CODE", wrong),
    ]
}

async fn about_people() -> Vec<Produced> {
    let gate = Deployment::builder().start().await;
    let post = async |path: &str, body: Value| gate.post_as("max", path, &body).await;
    let zoe = json!({ "email": "zoe@acme.example", "password": "12345678" });
    let twice = json!({ "name": "editor" });
    post("/v1/roles", twice.clone()).await;
    let wrong = json!({ "current_password": "no password", "new_password": "no password" });
    let stolen = json!({ "device_code": "imp_dc_x", "code_verifier": "x" });
    let produced = vec![
        ("RegistrationClosed", "REGISTRATION_CLOSED", post("/v1/auth/register", zoe.clone()).await),
        ("WrongPassword", "WRONG_PASSWORD", post("/v1/auth/me/change-password", wrong).await),
        ("OAuth", "invalid_grant", post("/v1/auth/cli/device/token", stolen).await),
        ("NotThere", "NOT_FOUND", gate.get_as("max", "/v1/users/imp_u_none").await),
        ("Conflict", "CONFLICT", post("/v1/roles", twice).await),
        (
            "InvalidValue",
            "VALIDATION_TYPE_ERROR",
            post("/v1/roles", json!({ "name": "A Role" })).await,
        ),
    ];
    let careful = json!({ "confirmation_enabled": true });
    let request = gate.signed("max", Method::PATCH, "/v1/me/settings").await;
    gate.send(request.json(&careful)).await;
    let asked = post("/v1/users", zoe).await;
    [produced, vec![("NotConfirmable", "NOT_CONFIRMABLE", asked)]].concat()
}

async fn with_a_failing_upstream() -> Vec<Produced> {
    let upstream = Upstream::start();
    let closed = "[apps.closed]\nmanifest = \"closed.json\"\nurl = \"http://127.0.0.1:9\"";
    let manifest = harness::MANIFEST.replace("\"notes\"", "\"closed\"");
    let gate = Deployment::builder().notes(&upstream).file("closed.json", &manifest);
    let gate = gate.app(closed).start().await;
    let answered = async |status| {
        upstream.answers("/notes/list_notes", status, "");
        gate.call("ada", "notes", "list_notes", json!({})).await
    };
    let unreachable = gate.call("ada", "closed", "list_notes", json!({})).await;
    vec![
        ("UpstreamUnreachable", "BACKEND_UNREACHABLE", unreachable),
        ("UpstreamFailed", "BACKEND_5XX", answered(500).await),
        ("UpstreamRefused", "BACKEND_REFUSED", answered(403).await),
        ("OutcomeUnknown", "BACKEND_TIMEOUT", answered(504).await),
    ]
}

async fn confirmed_wrongly() -> Vec<Produced> {
    let upstream = Upstream::start();
    let ttl = "[confirmation]\nttl = \"3s\"";
    let gate = Deployment::builder().notes(&upstream).settings(ttl).start().await;
    gate.token("amy").await;
    let params = json!({ "note_id": "note-1" });
    let ask =
        async || gate.call("ana", "notes", "delete_note", params.clone()).await.confirmation();
    let (used, foreign, changed, late) = (ask().await, ask().await, ask().await, ask().await);
    gate.decide("ana", &used, "confirm").await;
    let database = rusqlite::Connection::open(gate.data().join("directory.sqlite")).unwrap();
    let forge = "UPDATE confirmations SET sealed_args = (SELECT sealed_args FROM confirmations WHERE id = ?1) WHERE id = ?2";
    assert_eq!(database.execute(forge, [&used, &changed]).unwrap(), 1);
    let mut produced = vec![
        (
            "ConfirmationUnknown",
            "CONFIRMATION_UNKNOWN",
            gate.decide("ana", "imp_c_x", "confirm").await,
        ),
        (
            "ConfirmationForeign",
            "CONFIRMATION_FOREIGN",
            gate.decide("amy", &foreign, "confirm").await,
        ),
        ("ConfirmationUsed", "CONFIRMATION_USED", gate.decide("ana", &used, "confirm").await),
        (
            "ConfirmationChanged",
            "CONFIRMATION_BYTES_CHANGED",
            gate.decide("ana", &changed, "confirm").await,
        ),
    ];
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    let expired = gate.decide("ana", &late, "confirm").await;
    produced.push(("ConfirmationExpired", "CONFIRMATION_EXPIRED", expired));
    produced
}

async fn about_approvals() -> Vec<Produced> {
    let upstream = Upstream::start();
    let rule = "@id(\"test/another\") @reason(\"somebody else has to approve\") forbid (principal, \
                action == Portcullis::Action::\"notes/delete_note\", resource) \
                unless { context.confirmation.byOther };";
    let gate = crate::parts::policies_with(&upstream, rule).start().await;
    let asked = gate.call("ana", "notes", "delete_note", json!({ "note_id": "note-1" })).await;
    let early = gate.decide("ana", &asked.confirmation(), "confirm").await;
    let database = rusqlite::Connection::open(gate.data().join("directory.sqlite")).unwrap();
    database.busy_timeout(Duration::from_secs(5)).unwrap();
    let columns: String = database
        .query_row("SELECT group_concat(name, ', ') FROM pragma_table_info('confirmations') WHERE name <> 'id'", [], |row| row.get(0))
        .unwrap();
    let copies = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99) \
         INSERT INTO confirmations (id, {columns}) SELECT 'imp_c_' || i, {columns} FROM confirmations, n"
    );
    assert_eq!(database.execute(&copies, []).unwrap(), 99);
    let params = json!({ "note_id": "note-1" });
    let many = gate.call("ana", "notes", "delete_note", params).await;
    vec![
        ("ConfirmationUnapproved", "CONFIRMATION_UNAPPROVED", early),
        ("TooManyPending", "TOO_MANY_PENDING", many),
    ]
}

async fn about_secrets() -> Vec<Produced> {
    let upstream = Upstream::start();
    let gate = Deployment::builder().vaulty(&upstream).start().await;
    let token = gate.extension_token("vaulty", "sue");
    let at = |method, name: &str| {
        gate.request(method, &format!("/v1/secrets/vaulty/{name}")).bearer_auth(&token)
    };
    let set = async |value: &str| {
        gate.send(at(Method::PUT, "api_key").json(&json!({ "value": value }))).await
    };
    let not_set = gate.send(at(Method::GET, "api_key")).await;
    set("a value").await;
    let person = gate.token("sue").await;
    let database = rusqlite::Connection::open(gate.data().join("directory.sqlite")).unwrap();
    let careful = "UPDATE roles SET confirmation_policy = 'always_on', version = version + 1000";
    database.execute(careful, []).unwrap();
    tokio::time::sleep(portcullis::directory::STANDING_TTL).await;
    let typed = gate.request(Method::PUT, "/v1/secrets/vaulty/pin").bearer_auth(&person);
    let typed = gate.send(typed.json(&json!({ "value": "1" }))).await;
    let forge = "UPDATE secrets SET version = version + 1 WHERE name = 'api_key'";
    assert_eq!(database.execute(forge, []).unwrap(), 1);
    vec![
        ("ConfirmOnPage", "CONFIRM_ON_PAGE", typed),
        ("SecretNotSet", "SECRET_NOT_SET", not_set),
        ("SecretNotDeclared", "SECRET_NOT_DECLARED", gate.send(at(Method::GET, "nope")).await),
        ("SecretTooLarge", "SECRET_TOO_LARGE", set(&"x".repeat(65)).await),
        ("VaultUnavailable", "VAULT_UNAVAILABLE", gate.send(at(Method::GET, "api_key")).await),
    ]
}

async fn with_broken_parts() -> Vec<Produced> {
    let upstream = Upstream::start();
    let limits = "[server.limits]\ncalls_per_tenant = 1\nqueue_per_tenant = 0";
    let gate = Deployment::builder().notes(&upstream).settings(limits).start().await;
    gate.token("ana").await;
    let write = || gate.call("ana", "notes", "create_note", json!({ "title": "x" }));
    let database = rusqlite::Connection::open(gate.data().join("directory.sqlite")).unwrap();
    database.execute_batch("ALTER TABLE users RENAME TO elsewhere").unwrap();
    tokio::time::sleep(portcullis::directory::STANDING_TTL).await;
    let unavailable = write().await;
    database.execute_batch("ALTER TABLE elsewhere RENAME TO users").unwrap();
    upstream.hold().await;
    let meanwhile = async {
        upstream.wait_for(1).await;
        let busy = write().await;
        std::fs::remove_file(gate.data().join("ledger.sqlite")).unwrap();
        crate::limits::sealed(&gate).await;
        upstream.release();
        busy
    };
    let (unrecorded, busy) = tokio::join!(write(), meanwhile);
    vec![
        ("Unavailable", "UNAVAILABLE", unavailable),
        ("Busy", "BUSY", busy),
        ("OutcomeUnrecorded", "OUTCOME_UNRECORDED", unrecorded),
        ("AuditUnavailable", "AUDIT_UNAVAILABLE", write().await),
    ]
}

/// The names of the variants of `enum Refusal`, from its source.
fn variants() -> Vec<&'static str> {
    let body = TABLE.split("pub enum Refusal {").nth(1).unwrap().split("\n}\n").next().unwrap();
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let names = lines.filter(|line| line.starts_with(char::is_uppercase));
    names.map(|line| line.split(['(', ' ', ',']).next().unwrap()).collect()
}

/// The status that the table gives to a variant; the rows that are functions are named here.
fn status_of(variant: &str, code: &str) -> u16 {
    match variant {
        "InvalidArguments" => 422,
        "Denied" => 403,
        "ConfirmationChanged" => 409,
        _ => {
            let table = TABLE.split("fn face(&self)").nth(1).unwrap();
            let row = table.split(&format!("Self::{variant}")).nth(1).unwrap();
            let row = row.split(&format!(", \"{code}\"")).next().unwrap();
            row.rsplit('(').next().unwrap().trim().parse().unwrap()
        }
    }
}
