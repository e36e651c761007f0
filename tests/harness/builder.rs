//! What a deployment is made of, before it starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::deployment::Deployment;
use crate::upstream::Upstream;

/// The manifest of the demo app: `list_notes` reads, `create_note` writes, `delete_note` destroys.
pub const MANIFEST: &str = portcullis::demo::MANIFEST;

/// The manifest of the app `vaulty`: one secret of each kind.
const VAULTY: &str = include_str!("vaulty.json");

/// Routes of the service `bank` behind the proxy, as [`Builder::bank`] configures them.
pub const BANK: &str = r#"routes = [
  { name = "list_invoices", method = "GET", path = "/invoices" },
  { name = "add_invoice", method = "POST", path = "/invoices" },
  { name = "drop_invoice", method = "DELETE", path = "/invoices/{id}" },
]"#;

/// Every limit, so high that no test but one about limits reaches it.
const LIMITS: [&str; 10] =
    ["address", "login", "register", "refresh", "me", "keys", "user", "tenant", "app", "tool"];

/// A deployment to be started.
#[derive(Debug)]
pub struct Builder {
    pub(crate) dir: TempDir,
    pub(crate) toml: String,
    pub(crate) env: Vec<(String, String)>,
    /// The table `[limits]`, by key.
    limits: BTreeMap<String, String>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("portcullis-e2e-").tempdir();
        let dir = dir.expect("a temporary folder");
        let toml = "[server]\nlisten = \"127.0.0.1:0\"\nreplica = \"e2e\"\n".to_owned();
        let generous = "{ count = 100000, per = \"1s\" }".to_owned();
        let limits = LIMITS.iter().map(|rule| ((*rule).to_owned(), generous.clone())).collect();
        Self { dir, toml, env: Vec::new(), limits }
    }

    /// The folder of the deployment; relative paths of the configuration begin here.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Appends TOML to the configuration: whole tables, such as `[apps.git]` and what belongs to it.
    #[must_use]
    pub fn app(mut self, toml: &str) -> Self {
        self.toml.push('\n');
        self.toml.push_str(toml);
        self.toml.push('\n');
        self
    }

    /// Appends TOML of any other kind, such as `[server.limits]`.
    #[must_use]
    pub fn settings(self, toml: &str) -> Self {
        self.app(toml)
    }

    /// Sets limits, such as `login = { count = 5, per = "1m" }`, one a line; the others are out of reach.
    #[must_use]
    pub fn limits(mut self, lines: &str) -> Self {
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            let (rule, rate) = line.split_once('=').expect("a limit is `rule = rate`");
            self.limits.insert(rule.trim().to_owned(), rate.trim().to_owned());
        }
        self
    }

    /// The whole configuration.
    pub(crate) fn configuration(&self) -> String {
        let limits = self.limits.iter().map(|(rule, rate)| format!("{rule} = {rate}\n"));
        format!("{}\n[limits]\n{}", self.toml, limits.collect::<String>())
    }

    /// Names the replica, where several share a database.
    #[must_use]
    pub fn replica(mut self, name: &str) -> Self {
        self.toml = self.toml.replace("replica = \"e2e\"", &format!("replica = \"{name}\""));
        self
    }

    /// Adds keys to the table `[server]`, such as `trusted_proxies`.
    #[must_use]
    pub fn server(mut self, keys: &str) -> Self {
        self.toml = self.toml.replace("[server]\n", &format!("[server]\n{keys}\n"));
        self
    }

    /// Listens on this port, and tells people this address.
    #[must_use]
    pub fn published_at(mut self, port: u16) -> Self {
        let here =
            format!("listen = \"127.0.0.1:{port}\"\npublic_url = \"http://127.0.0.1:{port}\"");
        self.toml = self.toml.replace("listen = \"127.0.0.1:0\"", &here);
        self
    }

    /// Loads the rules of this folder instead of those that the binary carries.
    #[must_use]
    pub fn policies(self, dir: &Path) -> Self {
        self.app(&format!("[policies]\ndir = \"{}\"", dir.display()))
    }

    /// Writes a file into the deployment's folder before the start.
    #[must_use]
    pub fn file(self, name: &str, content: &str) -> Self {
        let path: PathBuf = self.dir.path().join(name);
        let parent = path.parent().expect("a file has a folder");
        std::fs::create_dir_all(parent).expect("the folder is made");
        std::fs::write(path, content).expect("the file is written");
        self
    }

    /// Sets an environment variable of the gateway.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The app `notes` of [`MANIFEST`], open to every tenant, reached at `upstream`.
    #[must_use]
    pub fn notes(self, upstream: &Upstream) -> Self {
        let url = upstream.url();
        self.file("notes.json", MANIFEST)
            .app(&format!("[apps.notes]\nmanifest = \"notes.json\"\nurl = \"{url}/notes\""))
    }

    /// The app `vaulty` of [`VAULTY`], open to every tenant, reached at `upstream`.
    #[must_use]
    pub fn vaulty(self, upstream: &Upstream) -> Self {
        let url = upstream.url();
        self.file("vaulty.json", VAULTY)
            .app(&format!("[apps.vaulty]\nmanifest = \"vaulty.json\"\nurl = \"{url}/vaulty\""))
    }

    /// The service `bank` of [`BANK`] behind `/proxy/bank`, with the bearer credential `secret`.
    #[must_use]
    pub fn bank(self, upstream: &Upstream, secret: &str) -> Self {
        let url = upstream.url();
        self.file("bank-token", secret).app(&format!(
            "[apps.bank]\ncredential = {{ prefix = \"Bearer \", value = {{ file = \"bank-token\" }} }}\n\
             [apps.bank.proxy]\nurl = \"{url}\"\n{BANK}"
        ))
    }

    /// Starts the gateway and waits until it listens.
    ///
    /// Panics with its log when it does not start.
    pub async fn start(self) -> Deployment {
        Deployment::start(self).await
    }
}
