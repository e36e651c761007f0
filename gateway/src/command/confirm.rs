//! `portcullis confirm`: what waits for a person's word, answered in a terminal, at any gateway that they can reach.
//!
//! It trusts the gateway's words no more than it must: the values are read from the exact bytes, and the hash over them
//! is made here and compared.

mod client;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Args;
use portcullis_kernel_adapter::call_digest;
use portcullis_policies::{TenantId, ToolName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::client::{Client, Credential, Decided};
use super::{block_on, print, records};
use crate::confirm::{Asker, Line, Lines, ShownBody, ShownRequest, spelled};

/// Arguments of `portcullis confirm`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  portcullis confirm --gateway https://gate.example --tenant imp_t_acme --email ana@acme.example
                                                what waits for you; the password is asked for, and a
                                                code where the account has a second factor
  PORTCULLIS_TOKEN=... portcullis confirm --gateway https://gate.example imp_c_...
                                                shows one and asks for your answer
  portcullis confirm ... imp_c_... --no         cancels it without asking
  portcullis confirm ... --others               what others ask for and you may approve
  portcullis confirm ... imp_c_... --approve --as finance --reason 'invoice checked'
                                                lets the one who asks run it")]
pub struct ConfirmArgs {
    /// Address of the gateway
    #[arg(
        long,
        value_name = "URL",
        env = "PORTCULLIS_GATEWAY",
        default_value = "http://127.0.0.1:8080"
    )]
    gateway: String,
    /// Your tenant, to sign in by password
    #[arg(long, default_value = "default")]
    tenant: TenantId,
    /// Your e-mail, to sign in by password; without it the environment's PORTCULLIS_TOKEN is used
    #[arg(long)]
    email: Option<String>,
    /// Print one JSON value
    #[arg(long)]
    json: bool,
    /// Id of the one to look at, `imp_c_...`; all that wait when left out
    id: Option<String>,
    /// Run it without asking here
    #[arg(long, conflicts_with = "no", requires = "id")]
    yes: bool,
    /// Cancel it without asking here
    #[arg(long, requires = "id")]
    no: bool,
    /// List what others ask for and you may approve
    #[arg(long, conflicts_with = "id")]
    others: bool,
    /// Approve what somebody else asks for
    #[arg(long, requires = "id", conflicts_with_all = ["yes", "no", "decline"])]
    approve: bool,
    /// Decline what somebody else asks for, for good
    #[arg(long, requires = "id", conflicts_with_all = ["yes", "no"])]
    decline: bool,
    /// The role as which you approve or decline, where you hold several that are asked for
    #[arg(long = "as", value_name = "ROLE", requires = "id")]
    role: Option<String>,
    /// Why you approve or decline
    #[arg(long, value_name = "TEXT", default_value = "", requires = "id")]
    reason: String,
}

/// A pending call as the gateway tells it.
#[derive(Debug, Deserialize, Serialize)]
struct Pending {
    confirmation_id: String,
    state: String,
    app: String,
    function: String,
    action_type: String,
    arguments_text: String,
    #[serde(default)]
    target_tenant: String,
    #[serde(default)]
    asked_by: Option<Asker>,
    #[serde(default)]
    request: Option<ShownRequest>,
    #[serde(default)]
    request_hash: Option<String>,
    #[serde(default)]
    secrets: Vec<String>,
    hash: String,
    expires_at: String,
    rules: Vec<String>,
    by_other: bool,
    #[serde(default)]
    approver_roles: Vec<String>,
    #[serde(default)]
    approvals: Vec<Value>,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum ConfirmError {
    /// No credential.
    #[error("nobody is signed in")]
    #[diagnostic(help(
        "name yourself by --email and --tenant, or set PORTCULLIS_TOKEN to an access token"
    ))]
    NoCredential,
    /// No password could be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Password(#[from] records::CommandError),
    /// The gateway could not be asked.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Client(#[from] client::ClientError),
    /// What the gateway shows is not what it says that it would run.
    #[error("the hash that the gateway names is not that of these values")]
    #[diagnostic(help("nothing was answered; tell your operator"))]
    Hash,
    /// The values can't be read.
    #[error("the gateway's answer is none that this program knows")]
    #[diagnostic(help("is it a gateway of the same version?"))]
    Unknown(#[source] serde_json::Error),
    /// Too many values.
    #[error("not all values are shown, so nobody can say yes to them here")]
    #[diagnostic(help(
        "ask for it with fewer values at a time, or let a program that has read all of them confirm it by the API"
    ))]
    NotAllShown,
    /// Nobody can be asked.
    #[error("there is no terminal to ask at")]
    #[diagnostic(help("add --yes or --no"))]
    NobodyToAsk,
}

/// Runs `portcullis confirm`.
#[must_use]
pub fn run(args: ConfirmArgs) -> ExitCode {
    match block_on(answer(args)) {
        Ok(code) => code,
        Err(fault) => print::fault(fault),
    }
}

async fn answer(args: ConfirmArgs) -> Result<ExitCode, ConfirmError> {
    let client = signed_in(&args).await?;
    let Some(id) = &args.id else { return list(&client, &args).await };
    let found = client.get(&format!("/v1/confirmations/{}", client::segment(id))).await?;
    let pending: Pending = serde_json::from_value(found).map_err(ConfirmError::Unknown)?;
    if !is_what_it_says(&pending) {
        return Err(ConfirmError::Hash);
    }
    let lines = Lines::with_secrets(pending.arguments_text.as_bytes(), &pending.secrets)
        .map_err(ConfirmError::Unknown)?;
    let mut more = lines.more;
    if !args.json {
        show(&pending, &lines);
    }
    if let Some(request) = &pending.request {
        more = more.saturating_add(sent(request, args.json));
    }
    let waits = pending.state == "pending";
    if (args.approve || args.yes) && more > 0 {
        return Err(ConfirmError::NotAllShown);
    }
    if args.approve || args.decline {
        return approval(&client, &args, &pending).await;
    }
    let verb = match (args.yes, args.no) {
        (true, _) => "confirm",
        (_, true) => "cancel",
        _ if args.json || !waits => {
            if args.json {
                print::json(&pending);
            }
            return Ok(ExitCode::SUCCESS);
        }
        _ => ask()?,
    };
    if verb.is_empty() {
        print::line("nothing was answered");
        return Ok(ExitCode::SUCCESS);
    }
    if verb == "confirm" && more > 0 {
        return Err(ConfirmError::NotAllShown);
    }
    let path = format!("/v1/confirmations/{}/{verb}", client::segment(id));
    let decided = client.decide(&path).await?;
    let after = client.get(&format!("/v1/confirmations/{}", client::segment(id))).await?;
    Ok(told(&decided, &after, args.json))
}

/// Asks for a code of the second factor only when the account has one.
async fn signed_in(args: &ConfirmArgs) -> Result<Client, ConfirmError> {
    let mut by = credential(args)?;
    match (Client::sign_in(&args.gateway, &by).await, &mut by) {
        (Err(fault), Credential::Password { otp, .. }) if fault.wants_a_code() => {
            *otp = Some(records::read_password_once("Code of your second factor: ")?);
        }
        (signed_in, _) => return Ok(signed_in?),
    }
    Ok(Client::sign_in(&args.gateway, &by).await?)
}

fn credential(args: &ConfirmArgs) -> Result<Credential, ConfirmError> {
    match &args.email {
        Some(email) => {
            let password = records::read_password_once("Password: ")?;
            let (tenant, email) = (args.tenant.to_string(), email.clone());
            Ok(Credential::Password { tenant, email, password, otp: None })
        }
        None => match std::env::var("PORTCULLIS_TOKEN") {
            Ok(token) if !token.trim().is_empty() => Ok(Credential::Token(token.trim().into())),
            _ => Err(ConfirmError::NoCredential),
        },
    }
}

/// Answers what somebody else asks for, with the hash that was made here.
async fn approval(
    client: &Client,
    args: &ConfirmArgs,
    pending: &Pending,
) -> Result<ExitCode, ConfirmError> {
    let verb = if args.approve { "approve" } else { "decline" };
    let path = format!("/v1/confirmations/{}/{verb}", client::segment(&pending.confirmation_id));
    let mut body = json!({ "hash": pending.hash, "reason": args.reason });
    if let (Some(role), Some(body)) = (&args.role, body.as_object_mut()) {
        body.insert("as".to_owned(), json!(role));
    }
    let answer = client.post(&path, &body).await?;
    if args.json {
        print::json(&answer);
    } else {
        print::line(match args.approve {
            true => "approved: the one who asks may run it once enough others have approved it",
            false => "declined: it can't be run any more",
        });
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, args: &ConfirmArgs) -> Result<ExitCode, ConfirmError> {
    let path = if args.others { "/v1/confirmations/approvals" } else { "/v1/confirmations/active" };
    let found = client.get(path).await?;
    if args.json {
        print::json(&found);
        return Ok(ExitCode::SUCCESS);
    }
    let waiting: Vec<Pending> = serde_json::from_value(found).map_err(ConfirmError::Unknown)?;
    if waiting.is_empty() {
        print::line("nothing waits for you");
        return Ok(ExitCode::SUCCESS);
    }
    let row = |one: &Pending| {
        let tool = format!("{}/{}", one.app, one.function);
        let cells = [&one.confirmation_id, &tool, &one.action_type, &one.expires_at];
        cells.map(|cell| spelled(cell)).to_vec()
    };
    let rows: Vec<Vec<String>> = waiting.iter().map(row).collect();
    print::line(print::table(&["ID", "WHAT", "TYPE", "UNTIL"], &rows));
    Ok(ExitCode::SUCCESS)
}

/// Every value, with what a screen would hide shown by its number; nothing that the gateway says reaches the terminal
/// otherwise.
fn show(pending: &Pending, lines: &Lines) {
    line("what", &format!("{}/{} ({})", pending.app, pending.function, pending.action_type));
    line("state", &pending.state);
    line("until", &pending.expires_at);
    line("rules", &pending.rules.join(", "));
    line("on", &format!("things of {}", pending.target_tenant));
    if let Some(asker) = &pending.asked_by {
        let name = asker.name.iter().map(|name| format!(" “{name}”")).collect::<String>();
        line("asked by", &format!("{}{name} {}, by {}", asker.words(), asker.id, asker.channel));
    }
    print_all(lines);
    line("hash", &format!("{} (made here from these values)", pending.hash));
    if pending.by_other {
        let who = match pending.approver_roles.as_slice() {
            [] => "another person".to_owned(),
            roles => format!("one person each as {}", roles.join(", ")),
        };
        line("approvals", &format!("{who} has to approve it; {}", said(&pending.approvals)));
    }
}

/// What would be sent, and how many values of it are not shown.
fn sent(request: &ShownRequest, json: bool) -> usize {
    let (headers, body) = (request.header_lines(), request.body());
    let more = match &body {
        ShownBody::Values(lines) => headers.more.saturating_add(lines.more),
        ShownBody::Nothing | ShownBody::Unreadable(_) => headers.more,
    };
    if json {
        return more;
    }
    line("request", &format!("{} {}", request.method, request.shown_target()));
    line("headers", "");
    print_all(&headers);
    let (bytes, kind) = (request.body_bytes, request.content_type());
    line("body", &format!("{bytes} bytes of {kind}, SHA-256 {}", request.body_sha256));
    match &body {
        ShownBody::Values(lines) => print_all(lines),
        ShownBody::Nothing => {}
        ShownBody::Unreadable(why) => {
            line("WARNING", &format!("what is sent can't be shown: {why}; know it by its hash"));
        }
    }
    line("hash of it", &format!("{} (made here from this request)", request.hash()));
    more
}

fn line(what: &str, value: &str) {
    print::line(format_args!("{what:<12}{}", spelled(value)));
}

fn print_all(lines: &Lines) {
    for one in &lines.lines {
        print::line(told_of(one));
    }
    if lines.more > 0 {
        print::line(format_args!("  and {} more values that are not shown", lines.more));
    }
}

/// One value; the lines of a text begin with a bar, so that none looks like another value.
fn told_of(line: &Line) -> String {
    let name = if line.name.is_empty() { "(all)" } else { &line.name };
    let note = line.note.iter().map(|note| format!("\n            ({note})"));
    let shown = line.shown.replace('\n', "\n            | ");
    format!("  {name} = {shown}{}", note.collect::<String>())
}

/// Whether the hashes that the gateway names are those of what it shows.
fn is_what_it_says(pending: &Pending) -> bool {
    let request_hash = pending.request.as_ref().map(ShownRequest::hash);
    hash(pending).is_some_and(|hash| hash == pending.hash)
        && request_hash == pending.request_hash
        && pending.request.as_ref().is_none_or(ShownRequest::shows_its_own_body)
}

/// What others said, in one line.
fn said(approvals: &[Value]) -> String {
    let one = |said: &Value| {
        let text = |key: &str| said.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let role = Some(text("as")).filter(|role| !role.is_empty());
        let role = role.map(|role| format!(" as {role}")).unwrap_or_default();
        format!("{} {}{role}", text("by"), text("verdict"))
    };
    let all: Vec<String> = approvals.iter().map(one).collect();
    if all.is_empty() { "nobody has answered yet".to_owned() } else { all.join(", ") }
}

fn hash(pending: &Pending) -> Option<String> {
    let tool: ToolName = format!("{}/{}", pending.app, pending.function).parse().ok()?;
    Some(hex::encode(call_digest(&tool, pending.arguments_text.as_bytes())))
}

/// The verb of the answer; empty when nothing is answered.
fn ask() -> Result<&'static str, ConfirmError> {
    if !std::io::stdin().is_terminal() {
        return Err(ConfirmError::NobodyToAsk);
    }
    print::prompt("yes runs this once, no cancels it, anything else leaves it: ");
    let mut word = String::new();
    std::io::stdin().read_line(&mut word).ok();
    Ok(match word.trim() {
        "yes" => "confirm",
        "no" => "cancel",
        _ => "",
    })
}

/// Says how it went, by what the gateway keeps of it and not by what the app answered; exit code 1 unless all is well.
fn told(decided: &Decided, after: &Value, json: bool) -> ExitCode {
    let text = |key: &str| after.get(key).and_then(Value::as_str).unwrap_or_default();
    let outcome = text("outcome");
    let (words, is_well) = match (decided, outcome) {
        (Decided::Cancelled, _) => ("cancelled: nothing was done", true),
        (Decided::CarriedOut(_), "done") => ("carried out, once", true),
        (Decided::CarriedOut(_), "failed") => {
            ("tried, once, and it failed: look at the app", false)
        }
        (Decided::CarriedOut(_), "refused") => ("tried, once, and the app refused it", false),
        (Decided::CarriedOut(_), _) => {
            ("tried, once, and nobody knows whether it was done: look at the app", false)
        }
    };
    if json {
        let answer = match decided {
            Decided::CarriedOut(bytes) => serde_json::from_slice(bytes)
                .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(bytes).into_owned())),
            Decided::Cancelled => Value::Null,
        };
        let (state, op) = (text("state"), text("trace_id"));
        print::json(
            &json!({ "state": state, "outcome": outcome, "trace_id": op, "answer": answer }),
        );
    } else {
        line(words, &format!(" (operation {})", text("trace_id")));
    }
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_made_here_from_the_bytes_that_are_shown() {
        let text = r#"{"note_id": "note-1"}"#;
        let digest = call_digest(&"notes/delete_note".parse().unwrap(), text.as_bytes());
        let mut pending = Pending {
            confirmation_id: "imp_c_x".into(),
            state: "pending".into(),
            app: "notes".into(),
            function: "delete_note".into(),
            action_type: "destructive".into(),
            arguments_text: text.into(),
            target_tenant: "imp_t_acme".into(),
            asked_by: None,
            request: None,
            request_hash: None,
            secrets: vec![],
            hash: hex::encode(digest),
            expires_at: String::new(),
            rules: vec![],
            by_other: false,
            approver_roles: vec![],
            approvals: vec![],
        };
        assert_eq!(hash(&pending).as_ref(), Some(&pending.hash));
        pending.arguments_text = text.replace("note-1", "note-2");
        assert!(!is_what_it_says(&pending));
        pending.arguments_text = text.into();
        assert!(is_what_it_says(&pending));
        let line = ("POST".to_owned(), "/invoices".to_owned());
        let request = ShownRequest::new(line, vec![], b"ten coins");
        pending.request_hash = Some(request.hash());
        pending.request = Some(request.clone());
        assert!(is_what_it_says(&pending));
        pending.request = Some(ShownRequest { body_text: Some("one coins".into()), ..request });
        assert!(!is_what_it_says(&pending), "another body than the hashed one");
        pending.request = None;
        assert!(!is_what_it_says(&pending), "a request that is not shown");
    }

    #[test]
    fn no_value_looks_like_another_one_in_a_terminal() {
        let forged = br#"{"a\n  to = \"ana\"":"x\n  amount = 1\r\u001b[2K"}"#;
        let lines = Lines::of(forged).unwrap().lines;
        assert_eq!(
            told_of(&lines[0]),
            "  \"a\\n  to = \\\"ana\\\"\" = \"x\\n\n            |   amount = 1\\r\\u{1b}[2K\""
        );
    }
}
