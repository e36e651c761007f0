//! Past decisions: a ledger record, the capsule that is sealed beside it, and the set that decided.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use portcullis_audit::{Kind, Query, Reader, RecordRow};
use portcullis_policies::{Capsule, RecordedSet, TenantId};
use portcullis_secrets::{KeyFile, KeyFileError};
use uuid::Uuid;

use super::error::PolicyError;
use crate::config::{KeyProvider, Settings};
use crate::deployment_keys::DeploymentKeys;
use crate::directory::{Directory, UserFilter};
use crate::ledgers::{self, LedgerError};
use crate::open::open_directory;
use crate::pseudonym::Pseudonyms;
use crate::record::{Opened, open_body};
use crate::secrets::{Absent, Vault, open_vault};

/// Users that are asked for at once.
const PAGE: u32 = 200;

/// A decision as it was recorded, and what was asked.
pub(super) struct Past {
    pub(super) row: RecordRow,
    pub(super) capsule: Capsule,
    pub(super) set: Arc<RecordedSet>,
}

impl Past {
    /// The recorded verdict.
    pub(super) fn verdict(&self) -> &str {
        self.row.text(&["pol", "decision"])
    }

    /// The tool by its full name.
    pub(super) fn tool(&self) -> String {
        format!("{}/{}", self.row.text(&["tool", "server"]), self.row.text(&["tool", "name"]))
    }
}

/// The ledger of a deployment with the keys that open what is sealed in it.
pub(in crate::command) struct Archive {
    reader: Reader,
    vault: Arc<Vault>,
    pseudonyms: Pseudonyms,
    directory: Directory,
    /// By tenant: from pseudonym to the user under whose key bodies are sealed.
    owners: HashMap<TenantId, HashMap<String, String>>,
    sets: HashMap<String, Arc<RecordedSet>>,
}

impl Archive {
    /// Opens ledger, keys and directory; makes none of them.
    ///
    /// # Errors
    /// Which of them is not here, or can't be used.
    pub(in crate::command) async fn open(settings: &Settings) -> Result<Self, PolicyError> {
        let reader = ledgers::reader(settings)?;
        let names = settings.data.keys_dir().join("pseudonyms");
        if let KeyProvider::KeyFile { path } = &settings.key_provider {
            // Its first version may have been destroyed when a later one took over.
            if let Err(KeyFileError::Absent { path }) = KeyFile::open(path) {
                return Err(PolicyError::NoKey { what: "the key-encryption key", path });
            }
        }
        must_exist("the store of scope keys", &settings.data.scope_keys())?;
        must_exist("the pseudonym key", &names)?;
        if settings.directory.postgres.is_none() {
            must_exist("the directory", &settings.data.directory_db())?;
        }
        let vault = open_vault(settings, Absent::Refuse).await.map_err(unusable)?.vault;
        let names = DeploymentKeys::new(Arc::clone(&vault)).in_file(&names, "pseudonyms").await?;
        let directory = open_directory(settings).await?;
        let (owners, sets) = (HashMap::new(), HashMap::new());
        Ok(Self { reader, vault, pseudonyms: Pseudonyms::new(&names), directory, owners, sets })
    }

    /// The last decision about an operation.
    ///
    /// # Errors
    /// When there is no record, no rule was asked, or what is sealed can't be opened.
    pub(super) async fn decision(&mut self, op: Uuid) -> Result<Past, PolicyError> {
        let rows = self.rows(&Query { op: Some(op), ..Query::default() })?;
        let last = rows.last().ok_or(PolicyError::NoRecord(op))?;
        let ended = [last.text(&["res", "status"]), last.text(&["res", "error"])].join(" ");
        for row in rows.into_iter().rev().filter(is_decided) {
            if let Some(past) = self.past(row).await? {
                return Ok(past);
            }
        }
        Err(PolicyError::NothingAsked { op, ended })
    }

    /// The records that fit and on which rules were asked, oldest first.
    ///
    /// # Errors
    /// When the ledger can't be read.
    pub(super) fn decided(&self, query: &Query) -> Result<Vec<RecordRow>, PolicyError> {
        Ok(self.rows(query)?.into_iter().filter(is_decided).collect())
    }

    /// What was asked, and by which set it was decided; `None` when nothing is kept beside the record.
    ///
    /// # Errors
    /// When what is sealed can't be opened.
    pub(super) async fn past(&mut self, row: RecordRow) -> Result<Option<Past>, PolicyError> {
        let op = row.record.op;
        let Some(opened) = self.opened(&row).await? else { return Ok(None) };
        let capsule = opened.decided().map_err(|source| PolicyError::Sealed { op, source })?;
        let Some(capsule) = capsule else { return Ok(None) };
        let set = self.set(row.text(&["pol", "bundle"]))?;
        Ok(Some(Past { row, capsule, set }))
    }

    /// What was sealed beside a record; `None` when nothing was.
    ///
    /// # Errors
    /// When it can't be opened.
    pub(in crate::command) async fn opened(
        &mut self,
        row: &RecordRow,
    ) -> Result<Option<Opened>, PolicyError> {
        let op = row.record.op;
        let body = self.reader.body(&row.record.log, row.record.seq).map_err(LedgerError::from)?;
        let Some(body) = body else { return Ok(None) };
        let tenant = row.text(&["who", "tenant"]).to_owned();
        let owner = self.owner(&tenant, row.text(&["who", "subject"])).await?;
        let scope = (tenant.as_str(), owner.as_str(), row.text(&["tool", "server"]));
        let opened = open_body(&self.vault, scope, op, &body).await;
        opened.map(Some).map_err(|source| PolicyError::Sealed { op, source })
    }

    /// Where what is shown of it is noted.
    pub(in crate::command) const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The records that fit, oldest first.
    ///
    /// # Errors
    /// When the ledger can't be read.
    pub(in crate::command) fn rows(&self, query: &Query) -> Result<Vec<RecordRow>, PolicyError> {
        Ok(self.reader.rows(query).map_err(LedgerError::from)?)
    }

    fn set(&mut self, digest: &str) -> Result<Arc<RecordedSet>, PolicyError> {
        if let Some(set) = self.sets.get(digest) {
            return Ok(Arc::clone(set));
        }
        let unknown = || PolicyError::NoPolicySet(digest.to_owned());
        let mut bytes = [0; 32];
        hex::decode_to_slice(digest, &mut bytes).map_err(|_| unknown())?;
        let texts = self.reader.policy_set(&bytes).map_err(LedgerError::from)?;
        let set = Arc::new(RecordedSet::from_texts(&texts.ok_or_else(unknown)?)?);
        self.sets.insert(digest.to_owned(), Arc::clone(&set));
        Ok(set)
    }

    /// The user behind a pseudonym; for an API key, a grant or a user's service token its owner. Pseudonyms go
    /// one way, so everybody of the tenant is tried. A service token of the platform has no owner: it acts for
    /// whomever each request names.
    async fn owner(&mut self, tenant: &str, subject: &str) -> Result<String, PolicyError> {
        let nobody = || PolicyError::Nobody(subject.to_owned());
        let tenant: TenantId = tenant.parse().map_err(|_| nobody())?;
        if !self.owners.contains_key(&tenant) {
            let owners = self.owners_of(&tenant).await?;
            self.owners.insert(tenant.clone(), owners);
        }
        self.owners.get(&tenant).and_then(|all| all.get(subject)).cloned().ok_or_else(nobody)
    }

    async fn owners_of(&self, tenant: &TenantId) -> Result<HashMap<String, String>, PolicyError> {
        let mut owners = HashMap::new();
        let keys = self.directory.key_owners(tenant).await?;
        let grants = self.directory.grant_owners(tenant).await?;
        let tokens = self.directory.service_token_owners(tenant).await?;
        for (key, user) in keys.into_iter().chain(grants).chain(tokens) {
            owners.insert(self.pseudonyms.of(tenant, &key), user);
        }
        for offset in (0..).step_by(PAGE as usize) {
            let page = UserFilter {
                tenant: Some(tenant.clone()),
                include_inactive: true,
                limit: PAGE,
                offset,
                include_removed: true,
                ..UserFilter::default()
            };
            let users = self.directory.users(&page).await?;
            if users.is_empty() {
                break;
            }
            for user in users {
                owners.insert(self.pseudonyms.of(tenant, &user.id), user.id);
            }
        }
        Ok(owners)
    }
}

fn is_decided(row: &RecordRow) -> bool {
    matches!(row.record.kind, Kind::Decision | Kind::Intent)
        && !row.text(&["pol", "bundle"]).is_empty()
}

fn must_exist(what: &'static str, path: &Path) -> Result<(), PolicyError> {
    if path.exists() { Ok(()) } else { Err(PolicyError::NoKey { what, path: path.to_owned() }) }
}

fn unusable(fault: impl std::fmt::Display) -> PolicyError {
    PolicyError::Keys(fault.to_string())
}
