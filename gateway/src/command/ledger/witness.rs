//! `portcullis ledger witness`: runs a witness until Ctrl-C or SIGTERM.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::super::{block_on, log_to_stderr, print};
use crate::serve::StopSignal;
use crate::witness::{Listening, Trust, TrustError, Witness, WitnessError, cosigner};

pub(super) const EXAMPLES: &str = "\
It speaks c2sp.org/tlog-witness (`POST /add-checkpoint`), needs no portcullis.toml and no ledger,
and should stand on a machine that whoever runs the ledger has no say over. Its state is one
folder; a witness that lost it must not go on under the same key. It speaks plain HTTP: all that
counts is signed, and a proxy in front of it can speak TLS.

On the machine of the witness, where KEY is what `portcullis ledger key` prints on the other one:
  portcullis ledger witness --folder witness --vkey            # its own key, VKEY
  portcullis ledger witness --folder witness --deployment portcullis --key KEY

On the machine of the gateway, in portcullis.toml:
  [ledger.witness]
  policy = \"required\"
  witnesses = [{ name = \"w1\", url = \"http://127.0.0.1:7380\", key = \"VKEY\" }]";

/// Arguments of `portcullis ledger witness`.
#[derive(Debug, Args)]
pub(super) struct WitnessArgs {
    /// Where its key and its memory are; made at the first start
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7380")]
    listen: SocketAddr,
    /// A log to watch, by its verifier key; can be given more than once. Of several keys of one log give the
    /// newest first: once it has signed, what it replaced is not believed any more
    #[arg(long, value_name = "VKEY")]
    log: Vec<String>,
    /// Watch all logs of a deployment, those of future tenants included; needs `--key`
    #[arg(long, value_name = "NAME", requires = "key")]
    deployment: Vec<String>,
    /// The key of that deployment: what `portcullis ledger key` prints, or any other form of it. Where its
    /// key was replaced, both pairs, the newest first
    #[arg(long, value_name = "KEY", requires = "deployment")]
    key: Vec<String>,
    /// Name of the witness's key, chosen once, such as `example.org/witness`
    #[arg(long)]
    name: Option<String>,
    /// Print the witness's verifier key and end
    #[arg(long)]
    vkey: bool,
}

/// Runs the command.
pub(super) fn run(args: WitnessArgs, json: bool) -> ExitCode {
    if args.vkey {
        return print_key(&args, json);
    }
    log_to_stderr();
    let trust = match trust(&args) {
        Ok(trust) => trust,
        Err(fault) => return print::fault(fault),
    };
    if trust.is_empty() || args.deployment.len() != args.key.len() {
        print::error(
            "name what to watch: `--deployment NAME --key KEY`, in pairs, or `--log VKEY`; \
             `portcullis ledger key` prints the key of a deployment",
        );
        return ExitCode::from(2);
    }
    match block_on(serve(args, trust, json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => print::fault(fault),
    }
}

fn print_key(args: &WitnessArgs, as_json: bool) -> ExitCode {
    match cosigner(&args.folder, args.name.as_deref()) {
        Ok(cosigner) if as_json => print::json(&json!({ "vkey": cosigner.key().to_string() })),
        Ok(cosigner) => print::line(cosigner.key()),
        Err(fault) => return print::fault(fault),
    }
    ExitCode::SUCCESS
}

fn trust(args: &WitnessArgs) -> Result<Trust, TrustError> {
    let mut trust = Trust::default();
    for vkey in &args.log {
        trust.log(vkey)?;
    }
    for (name, key) in args.deployment.iter().zip(&args.key) {
        trust.deployment(name, key)?;
    }
    Ok(trust)
}

async fn serve(args: WitnessArgs, trust: Trust, as_json: bool) -> Result<(), WitnessError> {
    let witness = Witness::open(&args.folder, args.name.as_deref(), trust)?;
    let (key, logs) = (witness.key(), witness.logs());
    let listening = Listening::bind(args.listen, witness).await?;
    let url = format!("http://{}", listening.address);
    let stop = StopSignal::listen();
    if as_json {
        print::json(&json!({ "url": url, "vkey": key.to_string(), "logs": logs }));
    } else {
        print::line(format_args!("witness listens on {url}"));
        print::line(format_args!("its key: {key}"));
        print::line(format_args!("logs that it has cosigned so far: {logs}"));
    }
    listening.serve(stop.asked()).await;
    Ok(())
}
