//! `portcullis policy explain`: which rules decided a call, and why the others did not.

use std::net::{IpAddr, Ipv4Addr};

use clap::Args;
use portcullis_kernel_adapter::catalogue::quarantine::GONE;
use portcullis_kernel_adapter::{App, ToolState, call_digest, schema};
use portcullis_policies::{
    Account, Channel, Confirmation, Question, RequestFacts, TenantId, ToolName, ToolSpec,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::{catalogue, print};
use super::error::PolicyError;
use super::past::Archive;
use super::show::{Tense, because, print_rules, sentence};
use super::subject::{Place, Subject};
use crate::directory::Standing;
use crate::open::look_at_directory;

/// Arguments of `portcullis policy explain`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    portcullis policy explain --op 0199f1c2-6a1e-7cc0-9d3e-3b1f0f6f2a11\n  \
    portcullis policy explain --user ana@acme.example --tool notes/delete_note --input '{\"id\":\"n1\"}'")]
pub(super) struct ExplainArgs {
    /// A recorded operation, as the header `x-portcullis-op` gave it
    #[arg(long, value_name = "OPERATION", required_unless_present = "tool", conflicts_with_all = ["tool", "user"])]
    op: Option<Uuid>,
    /// Who would call: id or email of a user of the directory, as they stand now
    #[arg(long, value_name = "EMAIL|ID", requires = "tool")]
    user: Option<String>,
    /// What would be called
    #[arg(long, value_name = "APP/FUNCTION", requires = "user")]
    tool: Option<ToolName>,
    /// The arguments
    #[arg(long, value_name = "JSON", default_value = "{}")]
    input: String,
    /// As if the caller had confirmed it
    #[arg(long)]
    confirmed: bool,
    /// As if somebody else had approved it as this role; once for each role, and with nothing for no role
    #[arg(long, value_name = "ROLE", num_args = 0..=1, default_missing_value = "", requires = "confirmed")]
    approved_as: Vec<String>,
    /// The tenant in which the email is looked up
    #[arg(long, value_name = "TENANT", default_value = "default")]
    tenant: TenantId,
    /// On whose things; the app's or the caller's own when left out
    #[arg(long, value_name = "TENANT")]
    target_tenant: Option<TenantId>,
}

/// Always true: whatever the verdict is, it was explained.
pub(super) async fn run(place: &Place, args: &ExplainArgs) -> Result<bool, PolicyError> {
    match (args.op, &args.user, &args.tool) {
        (Some(op), _, _) => past(place, op).await?,
        (None, Some(user), Some(tool)) => hypothetical(place, args, user, tool).await?,
        _ => return Err(PolicyError::usage("which call?", "give --op, or --user and --tool")),
    }
    Ok(true)
}

async fn past(place: &Place, op: Uuid) -> Result<(), PolicyError> {
    let past = Archive::open(&place.settings).await?.decision(op).await?;
    let account = past.set.explain(&past.capsule)?;
    let record = &past.row.record;
    if place.json {
        print::json(&json!({
            "op": op, "log": record.log, "seq": record.seq, "time": record.ts, "tool": past.tool(),
            "recorded": past.verdict(), "because": because(&account), "account": account.to_json(),
        }));
        return Ok(());
    }
    print::line(format_args!(
        "{} called {} ({} {}, {})\n\nIt {}\n",
        past.row.text(&["who", "subject"]),
        past.tool(),
        record.log,
        record.seq,
        record.ts,
        sentence(&account, Tense::Past)
    ));
    if account.verdict.as_str() != past.verdict() {
        print::error(format_args!(
            "warning: the ledger says `{}`; `portcullis policy replay --op {op}` compares",
            past.verdict()
        ));
    }
    print_rules(&account);
    Ok(())
}

async fn hypothetical(
    place: &Place,
    args: &ExplainArgs,
    user: &str,
    tool: &ToolName,
) -> Result<(), PolicyError> {
    let input: Value = serde_json::from_str(&args.input).map_err(|fault| {
        PolicyError::usage(
            format!("--input is not JSON: {fault}"),
            "give the arguments as one JSON object, in single quotes",
        )
    })?;
    let caller = standing(place, user, &args.tenant).await?;
    let subject = place.load().await?;
    catalogue::print_problems(&subject.tools.problems);
    let spec = find(&subject, tool)?;
    let target = target_tenant(&subject, args, &caller, tool, &input);
    if let Some(why) = before_rules(&subject, spec, &input) {
        print_unasked(place, &caller, spec, &why);
        return Ok(());
    }
    let owner = target_owner(&subject, &caller, tool, &input);
    let question = Asked { args, caller: &caller, tool, target: &target, owner, input: &input };
    let account = question.explain(&subject);
    if place.json {
        print::json(&json!({
            "user": caller.user_id, "tool": tool, "action_type": spec.action_type, "target_tenant": target,
            "verdict": account.verdict, "because": because(&account), "account": account.to_json(),
        }));
        return Ok(());
    }
    print::line(format_args!(
        "{} of {} calls {tool} ({}) on things of {target}\n\nIt {}\n",
        caller.email,
        caller.principal.tenant,
        spec.action_type,
        sentence(&account, Tense::Hypothetical)
    ));
    print_rules(&account);
    Ok(())
}

async fn standing(place: &Place, user: &str, tenant: &TenantId) -> Result<Standing, PolicyError> {
    let directory = look_at_directory(&place.settings).await?;
    let absent = || place.settings.data.directory_db();
    let directory =
        directory.ok_or_else(|| PolicyError::NoKey { what: "the directory", path: absent() })?;
    let id = match user.contains('@') {
        true => directory.user_by_email(tenant, user).await.map(|user| user.id),
        false => Ok(user.to_owned()),
    };
    let found = match id {
        Ok(id) => directory.principal(&id).await,
        Err(fault) => Err(fault),
    };
    directory.close().await;
    Ok(Standing::clone(&*found?))
}

fn find<'s>(subject: &'s Subject, tool: &ToolName) -> Result<&'s ToolSpec, PolicyError> {
    let specs = &subject.tools.specs;
    specs.iter().find(|spec| spec.name == *tool).ok_or_else(|| {
        let alike = |spec: &ToolSpec| {
            let edits = strsim::levenshtein(&spec.name.to_string(), &tool.to_string());
            (edits <= 3).then(|| (edits, spec.name.to_string()))
        };
        let help = match specs.iter().filter_map(alike).min() {
            Some((_, meant)) => format!("did you mean `{meant}`?"),
            None => "`portcullis app list --config FILE` lists the tools".to_owned(),
        };
        PolicyError::usage(format!("there is no tool {tool} in the {}", subject.tools.from), help)
    })
}

/// As the gateway finds it: whoever names another tenant than the caller's own wins.
fn target_tenant(
    subject: &Subject,
    args: &ExplainArgs,
    caller: &Standing,
    tool: &ToolName,
    input: &Value,
) -> TenantId {
    let own = &caller.principal.tenant;
    let app = subject.tools.catalogue.as_ref().and_then(|all| all.app(tool.app()));
    let of_app = app.and_then(|app: &std::sync::Arc<App>| app.tenant.clone());
    let argument = app.and_then(|app| app.tenant_argument.as_ref());
    let argument = argument.and_then(|name| input.get(name)?.as_str()?.parse().ok());
    [of_app, argument, args.target_tenant.clone()]
        .into_iter()
        .flatten()
        .find(|tenant| tenant != own)
        .unwrap_or_else(|| own.clone())
}

/// Whose things it is about, as the gateway finds it: the caller's own e-mail is their id.
fn target_owner(
    subject: &Subject,
    caller: &Standing,
    tool: &ToolName,
    input: &Value,
) -> Option<String> {
    let app = subject.tools.catalogue.as_ref().and_then(|all| all.app(tool.app()))?;
    let owner = input.get(app.owner_argument.as_ref()?)?.as_str()?;
    let own = owner.eq_ignore_ascii_case(&caller.email);
    Some(if own { caller.user_id.clone() } else { owner.to_owned() })
}

/// What ends a call before a rule is asked.
fn before_rules(subject: &Subject, spec: &ToolSpec, input: &Value) -> Option<String> {
    let tool = subject.tools.catalogue.as_ref().and_then(|all| all.tool(&spec.name));
    if let Some(ToolState::Quarantined { difference }) = tool.map(|tool| &tool.state) {
        let gone = if difference == GONE { "--gone " } else { "" };
        return Some(format!(
            "the tool waits for `portcullis app accept {gone}{}`: {difference}",
            spec.name
        ));
    }
    let validator = match schema::compile_input(&spec.input_schema) {
        Ok(validator) => validator,
        Err(fault) => return Some(fault.to_string()),
    };
    let violations = schema::check(&validator, input).err()?;
    let lines: Vec<String> =
        violations.into_iter().map(|v| format!("{}: {}", v.path, v.message)).collect();
    Some(format!("the arguments do not fit: {}", lines.join("; ")))
}

fn print_unasked(place: &Place, caller: &Standing, spec: &ToolSpec, why: &str) {
    if place.json {
        print::json(&json!({
            "user": caller.user_id, "tool": spec.name, "verdict": "refuse", "before_rules": why,
        }));
    } else {
        print::line(format_args!(
            "{} calls {}\n\nIt would be refused before any rule is asked: {why}",
            caller.email, spec.name
        ));
    }
}

/// A call that nobody makes.
struct Asked<'a> {
    args: &'a ExplainArgs,
    caller: &'a Standing,
    tool: &'a ToolName,
    target: &'a TenantId,
    owner: Option<String>,
    input: &'a Value,
}

impl Asked<'_> {
    fn confirmation(&self) -> Confirmation {
        let roles = self.args.approved_as.iter();
        Confirmation {
            given: self.args.confirmed,
            by_other: !self.args.approved_as.is_empty(),
            approved_as: roles.filter(|role| !role.is_empty()).cloned().collect(),
        }
    }

    fn explain(&self, subject: &Subject) -> Account {
        let bytes = self.input.to_string();
        subject.rulebook.explain(&Question {
            op: Uuid::nil(),
            call_digest: call_digest(self.tool, bytes.as_bytes()),
            principal: &subject.rulebook.prepare(&self.caller.principal),
            tool: self.tool,
            target_tenant: self.target,
            target_id: None,
            target_owner: self.owner.as_deref(),
            input: self.input,
            request: RequestFacts {
                time_ms: jiff::Timestamp::now().as_millisecond(),
                source: IpAddr::V4(Ipv4Addr::LOCALHOST),
                channel: Channel::Cli,
            },
            confirmation: &self.confirmation(),
        })
    }
}
