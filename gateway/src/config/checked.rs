//! From what was written to what is used: every section of the file, each value with its place.

mod apps;
mod files;
mod issuers;
mod keys;
mod postgres;
mod proxies;
mod rates;
mod redis;
mod routes;
mod tls;
mod witness;

use super::checker::Checker;
use super::document::At;
use super::mistakes::Kind;
use super::settings::{
    Confirmation, Data, Directory, Elicitation, Identity, Ledger, Limits, MAX_TIMEOUT, Policies,
    Server, Settings,
};
use super::units::{Bytes, TimeSpan};
use super::written::{self, Written};
use portcullis_policies::TenantId;
use portcullis_secrets::{Purpose, SecretRef};
use std::net::SocketAddr;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Makes the settings. None only when a mistake was noted; all sections are looked at either way.
pub(super) fn settings(checker: &mut Checker<'_>, written: Written) -> Option<Settings> {
    let root = At::default();
    let server = server(checker, &root.key("server"), written.server);
    let data = data(checker, written.data);
    let key_provider =
        keys::key_provider(checker, &root.key("key_provider"), written.key_provider, &data);
    let directory = directory(checker, &root.key("directory"), &written.directory);
    let ledger = ledger(checker, &root.key("ledger"), written.ledger);
    let policies = policies(checker, &root.key("policies"), written.policies);
    let identity = identity(checker, &root.key("identity"), written.identity);
    let confirmation = confirmation(checker, &root.key("confirmation"), &written.confirmation);
    let at = root.key("call_tokens").key("secrets");
    let call_tokens = call_tokens(checker, &at, &written.call_tokens.secrets);
    let limits = rates::rates(checker, &root.key("limits"), &written.limits);
    let redis = redis::redis(checker, &root.key("redis"), written.redis);
    let signs_in = identity.iter().flat_map(|one| &one.issuers).any(|one| one.client.is_some());
    if signs_in && server.as_ref().is_some_and(|server| server.public_url.is_none()) {
        let message = "people sign in at an identity provider, and `server.public_url` is missing";
        let help = "say how browsers name the gateway: that is where the provider leads them back";
        checker.wrong_key(Kind::Missing, &root.key("server"), message.to_owned(), help);
    }
    let apps = apps::apps(checker, &root.key("apps"), written.apps);
    Some(Settings {
        server: server?,
        data,
        key_cache: key_provider.as_ref()?.1,
        final_erasure: key_provider.as_ref()?.2,
        key_provider: key_provider?.0,
        directory: directory?,
        ledger: ledger?,
        policies: policies?,
        identity: identity?,
        confirmation: confirmation?,
        call_tokens: call_tokens?,
        limits: limits?,
        redis: redis?,
        apps: apps?,
    })
}

fn server(c: &mut Checker<'_>, at: &At, written: written::Server) -> Option<Server> {
    let listen = listen(c, &at.key("listen"), written.listen);
    let public_url = written.public_url.map(|text| c.origin(&at.key("public_url"), &text));
    let trusted_proxies = proxies::proxies(c, &at.key("trusted_proxies"), &written.trusted_proxies);
    let replica = name(c, &at.key("replica"), written.replica, Server::default().replica);
    let tls = written.tls.map(|files| tls::tls(c, &at.key("tls"), files));
    let limits = limits(c, &at.key("limits"), &written.limits);
    let server = Server {
        listen: listen?,
        public_url: all_or_none(public_url)?,
        trusted_proxies: trusted_proxies?,
        replica: replica?,
        tls: all_or_none(tls)?,
        limits: limits?,
    };
    if server.is_public_plain_http() {
        let message = format!("`{}` serves plain HTTP to other machines", server.listen);
        let help = "give `server.tls`, or listen on 127.0.0.1 behind a proxy that speaks TLS";
        c.warn(&at.key("listen"), message, help);
    }
    Some(server)
}

fn listen(c: &mut Checker<'_>, at: &At, written: Option<String>) -> Option<SocketAddr> {
    match written {
        None => Some(Server::default().listen),
        Some(text) => c.parsed(at, &text, "write `address:port`, such as `127.0.0.1:8080`"),
    }
}

fn limits(c: &mut Checker<'_>, at: &At, written: &written::Limits) -> Option<Limits> {
    let default = Limits::default();
    let count = |written: Option<u32>, default| written.map_or(default, |count| count as usize);
    let mut time = |key: &str, written: &Option<TimeSpan>, default, most| {
        c.duration(&at.key(key), written.as_ref(), default, Duration::from_millis(1)..=most)
    };
    let header_timeout =
        time("header_timeout", &written.header_timeout, default.header_timeout, MINUTE);
    let request_timeout =
        time("request_timeout", &written.request_timeout, default.request_timeout, MAX_TIMEOUT);
    let drain_timeout = time("drain_timeout", &written.drain_timeout, default.drain_timeout, HOUR);
    let mut size = |key: &str, written: &Option<Bytes>, default, least| {
        c.bytes(&at.key(key), written.as_ref(), default, least..=Purpose::CallBody.limit())
    };
    let body_bytes = size("body_bytes", &written.body_bytes, default.body_bytes, 1);
    let header_bytes = size("header_bytes", &written.header_bytes, default.header_bytes, 1 << 10);
    Some(Limits {
        body_bytes: body_bytes?,
        header_bytes: header_bytes?,
        json_depth: count(written.json_depth, default.json_depth),
        connections: count(written.connections, default.connections),
        calls_per_tenant: count(written.calls_per_tenant, default.calls_per_tenant),
        queue_per_tenant: count(written.queue_per_tenant, default.queue_per_tenant),
        header_timeout: header_timeout?,
        request_timeout: request_timeout?,
        drain_timeout: drain_timeout?,
    })
}

fn data(c: &Checker<'_>, written: written::Data) -> Data {
    Data { dir: c.path(&written.dir.unwrap_or_else(|| super::DEFAULT_DIR.to_owned())) }
}

fn directory(c: &mut Checker<'_>, at: &At, written: &written::Directory) -> Option<Directory> {
    let address = written.postgres.as_ref();
    let postgres = address.map(|form| postgres::address(c, &at.key("postgres"), form));
    Some(Directory { postgres: all_or_none(postgres)? })
}

fn ledger(c: &mut Checker<'_>, at: &At, written: written::Ledger) -> Option<Ledger> {
    let default = Ledger::default();
    let deployment = name(c, &at.key("deployment"), written.deployment, default.deployment);
    let intent_deadline = c.duration(
        &at.key("intent_deadline"),
        written.intent_deadline.as_ref(),
        default.intent_deadline,
        Duration::from_millis(10)..=MINUTE,
    );
    let address = written.postgres.as_ref();
    let postgres = address.map(|form| postgres::address(c, &at.key("postgres"), form));
    let witness = witness::witnessing(c, &at.key("witness"), written.witness);
    Some(Ledger {
        deployment: deployment?,
        intent_deadline: intent_deadline?,
        queue: written.queue.map_or(default.queue, |queue| queue as usize),
        postgres: match postgres {
            None => None,
            Some(address) => Some(address?),
        },
        witness: witness?,
    })
}

fn policies(c: &mut Checker<'_>, at: &At, written: written::Policies) -> Option<Policies> {
    let default = Policies::default();
    let dir = written.dir.map(|text| c.folder(&at.key("dir"), &text));
    let shadow_dir = written.shadow_dir.map(|text| c.folder(&at.key("shadow_dir"), &text));
    let solver = written.solver.map(|text| c.file(&at.key("solver"), &text));
    // `portcullis policy prove --receipt` reads this configuration before it writes that file.
    let receipt = written.proof_receipt.map(|text| {
        let path = c.path(&text);
        if !path.is_file() {
            let help = "make it with `portcullis policy prove --receipt FILE`";
            c.warn(&at.key("proof_receipt"), format!("there is no {} yet", path.display()), help);
        }
        path
    });
    Some(Policies {
        dir: all_or_none(dir)?,
        require_proof: written.require_proof.unwrap_or(default.require_proof),
        watch: written.watch.unwrap_or(default.watch),
        solver: all_or_none(solver)?,
        proof_receipt: receipt,
        shadow_dir: all_or_none(shadow_dir)?,
    })
}

fn identity(c: &mut Checker<'_>, at: &At, written: written::Identity) -> Option<Identity> {
    let default = Identity::default();
    let issuer = match written.issuer {
        Some(text) if text.trim().is_empty() => {
            let message = "`identity.issuer` is empty".to_owned();
            c.wrong(Kind::Value, &at.key("issuer"), message, "leave it out to use the public URL");
            None
        }
        issuer => Some(issuer),
    };
    let token_lifetime = c.duration(
        &at.key("token_lifetime"),
        written.token_lifetime.as_ref(),
        default.token_lifetime,
        10 * SECOND..=24 * HOUR,
    );
    let login_window = c.duration(
        &at.key("login_window"),
        written.login_window.as_ref(),
        default.login_window,
        SECOND..=24 * HOUR,
    );
    let opened = written.registration.iter().enumerate().map(|(n, tenant)| {
        c.parsed(&at.key("registration").item(n), tenant, "a list of tenants, by their ids")
    });
    // Every one is looked at, so that every mistake is told.
    let registration: Option<Vec<TenantId>> = opened.collect::<Vec<_>>().into_iter().collect();
    let issuers = issuers::issuers(c, &at.key("issuers"), written.issuers);
    let own = issuer.as_ref().and_then(Option::as_ref);
    if issuers.iter().flatten().any(|one| Some(&one.url) == own) {
        let message = "an issuer of others has the name of this deployment's own".to_owned();
        c.wrong(Kind::Conflict, &at.key("issuer"), message, "give this deployment another name");
    }
    Some(Identity {
        issuers: issuers?,
        issuer: issuer?,
        token_lifetime: token_lifetime?,
        login_attempts: written.login_attempts.unwrap_or(default.login_attempts),
        login_window: login_window?,
        registration: registration?,
    })
}

fn confirmation(
    c: &mut Checker<'_>,
    at: &At,
    written: &written::Confirmation,
) -> Option<Confirmation> {
    let default = Confirmation::default();
    let ttl = c.duration(&at.key("ttl"), written.ttl.as_ref(), default.ttl, SECOND..=24 * HOUR)?;
    let elicitation = written.elicitation.map_or(default.elicitation, |chosen| match chosen {
        written::ElicitationForm::Form => Elicitation::Form,
        written::ElicitationForm::Url => Elicitation::Url,
        written::ElicitationForm::Off => Elicitation::Off,
    });
    Some(Confirmation { ttl, elicitation })
}

fn call_tokens(
    c: &mut Checker<'_>,
    at: &At,
    written: &[written::SecretForm],
) -> Option<Vec<SecretRef>> {
    let secrets = written.iter().enumerate().map(|(n, form)| keys::outside(c, &at.item(n), form));
    // Every one is looked at, so that every mistake is told.
    secrets.collect::<Vec<_>>().into_iter().collect()
}

/// A name that stands in ledger records: 1 to 64 of letters, digits, `.`, `_` and `-`.
fn name(c: &mut Checker<'_>, at: &At, written: Option<String>, default: String) -> Option<String> {
    let name = written.unwrap_or(default);
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
    if !(1..=64).contains(&name.len()) || !name.chars().all(allowed) {
        let help = "use 1 to 64 letters, digits, `.`, `_` or `-`";
        c.wrong(Kind::Value, at, format!("`{at}` cannot stand in ledger records"), help);
        return None;
    }
    Some(name)
}

/// None when something was written and is wrong; some of none when nothing was written.
fn all_or_none<T>(written: Option<Option<T>>) -> Option<Option<T>> {
    match written {
        None => Some(None),
        Some(value) => value.map(Some),
    }
}
