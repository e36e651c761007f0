//! The `portcullis` command, one file a subcommand. Only these files speak on stdout.

pub mod app;
mod catalogue;
pub mod check;
pub mod confirm;
pub mod demo;
pub mod key;
pub mod ledger;
pub mod policy;
pub mod print;
mod records;
pub mod role;
pub mod secret;
pub mod serve;
pub mod tenant;
pub mod user;
pub mod vault;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Files, Settings};

/// A policy-engine-centric security gateway: every call is decided by Cedar, written down, and
/// only then carried out.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, about, after_help = EXAMPLES, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  portcullis demo                               see the main job on real calls, then try it with curl
  portcullis check --config portcullis.toml     every mistake in the configuration at once
  portcullis serve --config portcullis.toml     run the gateway
  portcullis policy explain --op OPERATION      why a recorded call was decided as it was
  portcullis ledger export --to export/         then: portcullis-verify export/";

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the main job on real calls with embedded defaults, then keep serving
    Demo(demo::DemoArgs),
    /// Run the gateway
    Serve(serve::ServeArgs),
    /// Check the configuration: every mistake at once, with file and line
    Check(check::CheckArgs),
    /// What waits for your word at a gateway: look at it, confirm or cancel
    Confirm(confirm::ConfirmArgs),
    /// Tenants of the directory
    Tenant(tenant::TenantArgs),
    /// Users of the directory
    User(user::UserArgs),
    /// Roles and their scopes
    Role(role::RoleArgs),
    /// API keys
    Key(key::KeyArgs),
    /// Values of secrets, for apps and for upstreams
    Secret(secret::SecretArgs),
    /// The keys under everything that is sealed: rotate, retire, erase
    Vault(vault::VaultArgs),
    /// Apps and their tools, and the word on those that changed
    App(app::AppArgs),
    /// Check, test, prove and explain the rules
    Policy(policy::PolicyArgs),
    /// Show, find, explain, verify and export the ledger
    Ledger(ledger::LedgerArgs),
}

/// Where a command finds its deployment; shared by all commands that work on one.
#[derive(Debug, Args)]
pub struct Deployment {
    /// The configuration file; without one the embedded defaults apply
    #[arg(long, short, value_name = "FILE", env = "PORTCULLIS_CONFIG", global = true)]
    pub config: Option<PathBuf>,
}

impl Deployment {
    /// The settings of the configuration file, or the embedded defaults in `./portcullis-data`, for a command
    /// that serves nothing.
    ///
    /// # Errors
    /// Prints every mistake of the file and gives the exit code.
    pub fn settings(&self) -> Result<Settings, ExitCode> {
        self.settings_with(Files::Opened)
    }

    /// The same, once the files that it names are read as well.
    ///
    /// # Errors
    /// As [`Self::settings`].
    pub fn settings_to_serve(&self) -> Result<Settings, ExitCode> {
        self.settings_with(Files::Read)
    }

    fn settings_with(&self, files: Files) -> Result<Settings, ExitCode> {
        let Some(file) = &self.config else {
            return Ok(Settings::defaults(Path::new(config::DEFAULT_DIR)));
        };
        config::load(file, files).map(|loaded| loaded.settings).map_err(print::fault)
    }
}

/// Unix milliseconds as people read them, UTC, to the second.
fn time(unix_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(unix_ms).unwrap_or_default();
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Says that the program has a bug, and where; never what it had in hand.
pub fn panicked(place: &str) {
    print::error(format_args!("portcullis met a bug of its own{place}; please report it"));
}

/// Says that the process may not be closed to others, so nothing is run.
pub fn not_hardened(fault: &std::io::Error) {
    print::error(format_args!(
        "this process cannot be closed to core dumps and other processes: {fault}; lift the limit that forbids it"
    ));
}

/// Runs a future to its end on a runtime of its own.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(future),
        // Without threads or file descriptors there is nothing to run and nobody to tell.
        Err(fault) => {
            print::error(format_args!("no async runtime: {fault}"));
            std::process::exit(1)
        }
    }
}

/// What is logged when nobody chose. The MCP SDK tells every message of a stranger at `info`.
const QUIETLY: &str = "info,rmcp=warn";

/// Logs to stderr; `RUST_LOG` chooses how much.
pub fn log_to_stderr() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(QUIETLY));
    // The driver warns of a parameter of an address that it does not know, with its value: `sslpassword=...`.
    let filter = match "sqlx_postgres::options=off".parse() {
        Ok(never) => filter.add_directive(never),
        Err(_) => filter,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init()
        .ok();
}

/// Runs one command. Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(args),
        Command::Confirm(args) => confirm::run(args),
        Command::Tenant(args) => tenant::run(args),
        Command::User(args) => user::run(args),
        Command::Role(args) => role::run(args),
        Command::Key(args) => key::run(args),
        Command::Secret(args) => secret::run(args),
        Command::Vault(args) => vault::run(args),
        Command::App(args) => app::run(args),
        Command::Policy(args) => policy::run(args),
        Command::Ledger(args) => ledger::run(args),
    }
}
