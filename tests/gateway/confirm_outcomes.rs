//! How a confirmed call ended is told by the ledger, and not by what the app answered ...

use harness::{Answer, Deployment, Upstream, Value, json};
use reqwest::Method;

async fn start() -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).bank(&upstream, "planted-bank-credential");
    (gate.start().await, upstream)
}

async fn drop_invoice(gate: &Deployment) -> String {
    let request = gate.signed("ana", Method::DELETE, "/proxy/bank/invoices/7").await;
    gate.send(request).await.confirmation()
}

async fn delete_note(gate: &Deployment) -> String {
    gate.call("ana", "notes", "delete_note", json!({ "note_id": "note-1" })).await.confirmation()
}

async fn page(gate: &Deployment, path: &str) -> String {
    let cookie = format!("portcullis_session={}", gate.token("ana").await);
    gate.send(gate.request(Method::GET, path).header("cookie", cookie)).await.text()
}

/// Confirms on the page and follows where it leads.
async fn confirm_on_page(gate: &Deployment, id: &str) -> String {
    let path = format!("/confirm/{id}");
    let shown = page(gate, &path).await;
    let token = shown.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let cookie = format!("portcullis_session={}", gate.token("ana").await);
    let request = gate.request(Method::POST, &path).header("cookie", cookie);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let answer: Answer = gate.send(request.body(format!("answer=confirm&csrf={token}"))).await;
    page(gate, answer.header("location")).await
}

async fn command(gate: &Deployment, id: &str, more: &[&str]) -> (bool, String) {
    let token = gate.token("ana").await;
    let mut command = std::process::Command::new(harness::binary("portcullis"));
    command.args(["confirm", "--gateway", gate.url(), id]).args(more);
    let ran = command.env("PORTCULLIS_TOKEN", token).output().unwrap();
    let text = [ran.stdout, ran.stderr].concat();
    (ran.status.success(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_is_not_said_to_be_carried_out() {
    let (gate, upstream) = start().await;
    upstream.answers("/notes/delete_note", 200, r#"{"status":"error","error":"no such note"}"#);
    upstream.answers("/invoices/7", 500, "broken");
    for id in [delete_note(&gate).await, drop_invoice(&gate).await] {
        let shown = confirm_on_page(&gate, &id).await;
        assert!(!shown.contains("arried out"), "{shown}");
        assert!(shown.contains("tried, and"), "{shown}");
        let told = gate.get_as("ana", &format!("/v1/confirmations/{id}")).await;
        assert_eq!(told.body["state"], "executed");
        assert!(["failed", "refused"].map(Value::from).contains(&told.body["outcome"]), "{told:?}");
    }
    upstream.answers("/notes/delete_note", 200, r#"{"status":"success","data":{}}"#);
    let id = delete_note(&gate).await;
    let shown = confirm_on_page(&gate, &id).await;
    assert!(
        shown.contains("Carried out, once") && shown.contains("This was carried out"),
        "{shown}"
    );
    // A link from somewhere does not say of it that nothing was done.
    let linked = page(&gate, &format!("/confirm/{id}?refused=CONFIRMATION_BYTES_CHANGED")).await;
    assert!(!linked.contains("Nothing was done"), "{linked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_believes_no_word_of_the_app() {
    let (gate, upstream) = start().await;
    for answer in ["{\"status\":\"cancelled\\u001b[2K\u{9b}\"}", "<html>\u{1b}[2K", ""] {
        upstream.answers("/invoices/7", 200, answer);
        let (well, told) = command(&gate, &drop_invoice(&gate).await, &["--yes"]).await;
        assert!(well && told.contains("carried out, once"), "{told}");
        assert!(!told.contains("nothing was done"), "{told}");
        assert!(!told.chars().any(|c| c.is_control() && c != '\n'), "{told:?}");
        let (well, told) = command(&gate, &drop_invoice(&gate).await, &["--yes", "--json"]).await;
        assert!(well && !told.trim_end().chars().any(char::is_control), "{told:?}");
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["outcome"], "done");
    }
    upstream.answers("/invoices/7", 500, r#"{"error":"X","message":"nothing was done"}"#);
    let (well, told) = command(&gate, &drop_invoice(&gate).await, &["--yes"]).await;
    assert!(!well && told.contains("tried, once"), "{told}");
    let (well, told) = command(&gate, &drop_invoice(&gate).await, &["--no"]).await;
    assert!(well && told.contains("cancelled: nothing was done"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_is_away_did_nothing_and_nothing_was_carried_out() {
    let (gate, upstream) = start().await;
    let id = delete_note(&gate).await;
    drop(upstream);
    let shown = confirm_on_page(&gate, &id).await;
    assert!(shown.contains("could not be reached") && !shown.contains("arried out"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_says_yes_to_nothing_that_it_does_not_show() {
    let (gate, upstream) = start().await;
    let body = json!({ "filler": vec![0; 600], "to": "mallory" });
    let request = gate.signed("ana", Method::DELETE, "/proxy/bank/invoices/7").await;
    let asked = gate.send(request.json(&body)).await;
    let (well, told) = command(&gate, &asked.confirmation(), &["--yes"]).await;
    assert!(!well && told.contains("not all values are shown"), "{told}");
    assert!(told.contains("101 more values"), "{told}");
    assert_eq!(upstream.seen().len(), 0);
    let id = delete_note(&gate).await;
    let (well, told) = command(&gate, &id, &["--yes"]).await;
    assert!(well && told.contains("note_id = \"note-1\""), "{told}");
}

/// Password, then code, as a person types them; a program that pipes sends them line by line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_signs_in_with_a_second_factor_where_the_account_has_one() {
    let (gate, upstream) = start().await;
    let id = delete_note(&gate).await;
    let (secret, _) = crate::second_factor::enrol(&gate).await;
    let ana = harness::people::person("ana");
    let run = |lines: &str| {
        let args = ["--tenant", ana.tenant, "--email", &ana.email(), &id, "--yes"];
        let mut command = std::process::Command::new(harness::binary("portcullis"));
        let piped = std::process::Stdio::piped;
        command
            .args(["confirm", "--gateway", gate.url()])
            .args(args)
            .env_remove("PORTCULLIS_TOKEN");
        let mut child =
            command.stdin(piped()).stdout(piped()).stderr(piped()).spawn().expect("it starts");
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, lines.as_bytes()).unwrap();
        drop(stdin);
        let ran = child.wait_with_output().unwrap();
        (ran.status.success(), String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap())
    };
    let (well, told) = run(&format!("{}\n000000\n", ana.password()));
    assert!(!well && told.contains("INVALID_CREDENTIAL"), "{told}");
    assert_eq!(upstream.seen().len(), 0);
    let code = crate::second_factor::code(&secret, 0);
    let (well, told) = run(&format!("{}\n{code}\n", ana.password()));
    assert!(well && told.contains("carried out, once"), "{told}");
    assert_eq!(upstream.seen().len(), 1);
}
