//! The demo: a whole Portcullis on embedded defaults in a folder of its own, a demo app behind it,
//! three people in front of it, and the show.

mod app;
mod client;
mod people;
mod show;
mod tamper;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use portcullis_policies::TenantId;
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

pub use app::{MANIFEST, router as app_router};
pub use client::ClientError;
pub use people::{People, Person};
pub use show::{Expected, Line};
pub use tamper::{Ledgers, Row};

use crate::config::{Settings, Upstream};
use crate::directory::{
    Actor, ConfirmationPolicy, Directory, DirectoryError, NewRole, NewUser, RoleFacts,
};
use crate::gateway::Gateway;
use crate::open::OpenError;
use crate::serve::Running;

/// Why the demo could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No folder, no port.
    #[error("the demo needs a temporary folder and a free port: {0}")]
    System(#[from] std::io::Error),
    /// The gateway did not start.
    #[error("the gateway did not start: {0}")]
    Open(#[from] OpenError),
    /// The people could not be made.
    #[error("the demo's people could not be made: {0}")]
    Directory(#[from] DirectoryError),
    /// The door did not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The ledger could not be exported or copied.
    #[error("the ledger could not be exported: {0}")]
    Export(String),
}

/// A running demo.
pub struct Demo {
    dir: TempDir,
    running: Running,
    client: client::Client,
    people: People,
}

/// How long the people stay signed in, so that what the demo prints works until it is ended.
const SERVES: Duration = Duration::from_secs(24 * 60 * 60);

const OWNER: &str = "imp_t_acme";
const OTHER: &str = "imp_t_globex";

impl Demo {
    /// Starts the demo app, the gateway in front of it, and signs the people in.
    ///
    /// # Errors
    /// When a part does not start; nothing is left behind.
    pub async fn start(port: u16) -> Result<Self, DemoError> {
        let dir = tempfile::Builder::new().prefix("portcullis-demo-").tempdir()?;
        let mut settings = Settings::demo(dir.path());
        settings.server.listen.set_port(port);
        settings.identity.token_lifetime = SERVES;
        for app in settings.apps.values_mut() {
            app.tenant = OWNER.parse().ok();
        }
        let running = Running::start(settings).await?;
        let client = client::Client::new(&running.url());
        let people = sign_everybody_in(running.gateway(), &client).await?;
        Ok(Self { dir, running, client, people })
    }

    /// Where the gateway listens, for example `http://127.0.0.1:40123`.
    #[must_use]
    pub fn url(&self) -> String {
        self.running.url()
    }

    /// The folder with all of the demo's files.
    #[must_use]
    pub fn dir(&self) -> String {
        self.dir.path().display().to_string()
    }

    /// Makes the calls of the show.
    ///
    /// # Errors
    /// When the gateway can't be reached.
    pub async fn calls(&self) -> Result<Vec<Line>, DemoError> {
        Ok(show::run(&self.client, &self.people).await?)
    }

    /// What the calls left in the ledger, verified as it is and with one byte changed.
    ///
    /// # Errors
    /// When the ledger can't be exported or copied.
    pub async fn ledger(&self) -> Result<Ledgers, DemoError> {
        tamper::show(self.running.gateway(), self.dir.path()).await
    }

    /// Three `curl` lines that work as they stand, each with what it shows.
    #[must_use]
    pub fn invitation(&self) -> [(&'static str, String); 3] {
        let url = self.url();
        let Person { token, user_id } = &self.people.ana;
        let call = |params: &str| {
            format!(
                "curl -s {url}/v1/extensions/notes/call -H 'Authorization: Bearer {token}' \
                 -H 'Content-Type: application/json' -d '{{\"user_id\":\"{user_id}\",{params}}}'"
            )
        };
        let whoami = format!("curl -s {url}/v1/auth/me -H 'Authorization: Bearer {token}'");
        [
            (
                "an allowed write",
                call(r#""function":"create_note","params":{"title":"from curl"}"#),
            ),
            (
                "a destructive call, which asks first",
                call(r#""function":"delete_note","params":{"note_id":"note-2"}"#),
            ),
            ("who am I", whoami),
        ]
    }

    /// Stops the gateway in order.
    pub async fn stop(self) {
        self.running.stop().await;
    }
}

/// Starts the built-in app if the settings want it, and points them at it; it ends with the guard.
///
/// # Errors
/// When there is no free port, or its manifest can't be written into the data folder.
pub async fn host(settings: &mut Settings) -> std::io::Result<Option<AbortOnDropHandle<()>>> {
    if !settings.apps.values().any(|app| app.upstream == Upstream::Demo) {
        return Ok(None);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url =
        format!("http://{}", listener.local_addr()?).parse().map_err(std::io::Error::other)?;
    let file = settings.data.dir.join("demo-imperal.json");
    std::fs::create_dir_all(&settings.data.dir)?;
    std::fs::write(&file, MANIFEST)?;
    for app in settings.apps.values_mut().filter(|app| app.upstream == Upstream::Demo) {
        app.upstream = Upstream::Manifest { file: file.clone(), url: Uri::clone(&url) };
    }
    let app = tokio::spawn(async move {
        axum::serve(listener, app::router()).await.ok();
    });
    Ok(Some(AbortOnDropHandle::new(app)))
}

async fn sign_everybody_in(
    gateway: &Arc<Gateway>,
    client: &client::Client,
) -> Result<People, DemoError> {
    let directory = &gateway.directory;
    let by = Actor::command("demo");
    let all = ["notes:read", "notes:write", "notes:destructive"];
    for (tenant, role, scopes) in
        [(OWNER, "editor", &all[..]), (OWNER, "reader", &all[..1]), (OTHER, "admin", &["*"][..])]
    {
        make_role(directory, &by, tenant, role, scopes).await?;
    }
    let ana = join(gateway, client, OWNER, "editor", "ana@acme.example").await?;
    let ben = join(gateway, client, OWNER, "reader", "ben@acme.example").await?;
    let gil = join(gateway, client, OTHER, "admin", "gil@globex.example").await?;
    Ok(People { ana, ben, gil })
}

async fn make_role(
    directory: &Directory,
    by: &Actor,
    tenant: &str,
    name: &str,
    scopes: &[&str],
) -> Result<(), DemoError> {
    let tenant: TenantId =
        tenant.parse().map_err(|_| DirectoryError::NotFound { what: "tenant" })?;
    if directory.tenant(&tenant).await.is_err() {
        directory.create_tenant(&tenant, tenant.as_str(), by).await?;
    }
    if directory.role(&tenant, name).await.is_ok() {
        return Ok(());
    }
    let role = NewRole {
        tenant,
        name: name.to_owned(),
        display_name: name.to_owned(),
        default_scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        confirmation_policy: ConfirmationPolicy::DefaultOff,
        facts: RoleFacts::default(),
    };
    directory.create_role(role, by).await?;
    Ok(())
}

async fn join(
    gateway: &Arc<Gateway>,
    client: &client::Client,
    tenant: &str,
    role: &str,
    email: &str,
) -> Result<Person, DemoError> {
    let password = uuid::Uuid::new_v4().to_string();
    let hash = gateway.identity.passwords().hash(SecretString::from(password.clone())).await;
    let new = NewUser {
        tenant: tenant.parse().map_err(|_| DirectoryError::NotFound { what: "tenant" })?,
        email: email.to_owned(),
        role: role.to_owned(),
        scopes: Vec::new(),
        password_hash: hash.ok(),
        attributes: None,
        agency_id: None,
    };
    let user = gateway.directory.create_user(new, &Actor::command("demo")).await?;
    Ok(people::sign_in(client, user.id, tenant, email, &password).await?)
}
