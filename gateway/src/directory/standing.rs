//! What the directory says of a caller **now**.
//!
//! Asked on every call, so it is cached; a cached standing counts only while no change was made through
//! this handle since its question began (generation) and for [`STANDING_TTL`] since then (the command or
//! another replica may have changed the same database). What a slow database answers serves the call that
//! waited for it and no other. One call asks anew a little before the time is over, and the others go on with
//! what is known: else all that are in flight would ask the same at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portcullis_policies::{AppId, Principal, PrincipalKind, Strength};

use super::row::Columns;
use super::scopes::common;
use super::{ConfirmationPolicy, Directory, DirectoryError, ServiceToken, UserSettings, now_ms};

/// How old a standing may be, at most, when another process changed the database.
pub const STANDING_TTL: Duration = Duration::from_millis(500);

/// From when on one call asks anew.
const RENEWED_AFTER: Duration = Duration::from_millis(400);

/// Standings kept in memory; beyond that the least used go.
const MAX_STANDINGS: u64 = 50_000;

/// What the code of every app holds; which app's secrets it reaches, the rules decide.
const EXTENSION_SCOPE: &str = "secrets:*";

/// What the code of every app holds in a call.
const CALL_SCOPE: &str = "cache:*";

/// Who a caller is and what they were granted, as of now.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// What the rules see.
    pub principal: Arc<Principal>,
    /// Number of the last change that touched the user, the role, the tenant or the key. Equal versions
    /// of one principal id and acting user mean equal principals.
    pub version: u64,
    /// The user who acts; for an API key its owner, otherwise the principal's own id.
    pub user_id: String,
    /// Email of that user; empty for the platform.
    pub email: String,
    /// The app whose code or service acts.
    pub app: Option<AppId>,
    /// Unix milliseconds since which the user's credentials are what they are; our tokens from before do not count.
    pub credentials_ms: i64,
}

/// Whom a standing is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    User(String),
    Key([u8; 32]),
    Service([u8; 32]),
    Grant(String),
}

pub(crate) struct StandingCache {
    generation: AtomicU64,
    entries: moka::sync::Cache<Subject, Arc<Known>>,
    /// The user of a credential that others issued, by its digest.
    links: moka::sync::Cache<[u8; 32], (Asked, Arc<str>)>,
}

/// What the directory said of somebody.
struct Known {
    asked: Asked,
    standing: Arc<Standing>,
    /// Somebody asks anew.
    renewing: AtomicBool,
}

/// When a question began.
#[derive(Debug, Clone, Copy)]
struct Asked {
    generation: u64,
    at: Instant,
}

impl StandingCache {
    pub(crate) fn new() -> Self {
        let entries = moka::sync::Cache::builder()
            .max_capacity(MAX_STANDINGS)
            .time_to_live(STANDING_TTL)
            .build();
        let links = moka::sync::Cache::builder().max_capacity(MAX_STANDINGS);
        let links = links.time_to_live(STANDING_TTL).build();
        Self { generation: AtomicU64::new(0), entries, links }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What is known; `None` too for the one who is to ask anew.
    fn get(&self, subject: &Subject) -> Option<Arc<Standing>> {
        let known = self.entries.get(subject)?;
        let old = known.asked.at.elapsed() >= RENEWED_AFTER;
        let renews = old && !known.renewing.swap(true, Ordering::AcqRel);
        (self.counts(known.asked) && !renews).then(|| Arc::clone(&known.standing))
    }

    fn keep(&self, subject: Subject, asked: Asked, standing: &Arc<Standing>) {
        let (standing, renewing) = (Arc::clone(standing), AtomicBool::new(false));
        self.entries.insert(subject, Arc::new(Known { asked, standing, renewing }));
    }

    /// Before a question: a change that commits meanwhile makes its answer stale at once.
    fn ask(&self) -> Asked {
        Asked { generation: self.generation(), at: Instant::now() }
    }

    /// Whether the answer to a question still says how it is.
    fn counts(&self, asked: Asked) -> bool {
        asked.generation == self.generation() && asked.at.elapsed() < STANDING_TTL
    }
}

impl Standing {
    /// The standing of an app's code that acts for this user: a service of the same tenant without the
    /// user's roles and scopes. It holds what every extension holds, its own app's secrets; the rules
    /// see which app that is.
    #[must_use]
    pub fn acting_as(&self, app: &AppId) -> Self {
        let principal = Principal {
            kind: PrincipalKind::Service,
            // Neither user ids nor key ids hold a colon, so it is nobody else's id.
            id: format!("ext:{app}:{}", self.user_id),
            roles: Vec::new(),
            scopes: vec![EXTENSION_SCOPE.to_owned()],
            // An extension answers no questions.
            confirm_writes: false,
            confirm_tools: Vec::new(),
            unconfirmed_tools: Vec::new(),
            extension: Some(app.clone()),
            ..Principal::clone(&self.principal)
        };
        Self { principal: Arc::new(principal), app: Some(app.clone()), ..self.clone() }
    }

    /// The standing of an app's code in one call for this user: it reaches what that code keeps, and
    /// nothing else.
    #[must_use]
    pub fn acting_in_call(&self, app: &AppId) -> Self {
        let code = self.acting_as(app);
        let principal = Principal {
            id: format!("call:{app}:{}", self.user_id),
            scopes: vec![CALL_SCOPE.to_owned()],
            ..Principal::clone(&code.principal)
        };
        Self { principal: Arc::new(principal), ..code }
    }
}

impl Directory {
    /// The standing of a user. Errors: `NotFound`, `Inactive` (user or tenant), `Unavailable`.
    pub async fn principal(&self, user_id: &str) -> Result<Arc<Standing>, DirectoryError> {
        self.standing(Subject::User(user_id.to_owned())).await
    }

    /// The standing of an API key, by the SHA-256 of its text. Errors as [`Directory::principal`]; a
    /// revoked key is `Inactive`.
    pub async fn key_principal(&self, sha256: [u8; 32]) -> Result<Arc<Standing>, DirectoryError> {
        self.standing(Subject::Key(sha256)).await
    }

    /// The standing of a service token, by the SHA-256 of its text. Errors as [`Directory::principal`]; a
    /// revoked or dead token is `Inactive`.
    pub async fn service_principal(
        &self,
        sha256: [u8; 32],
    ) -> Result<Arc<Standing>, DirectoryError> {
        self.standing(Subject::Service(sha256)).await
    }

    /// The standing of a program by what a person granted it. Errors as [`Directory::principal`]; a grant that ended,
    /// or has not begun, is `Inactive`.
    pub async fn grant_principal(&self, id: &str) -> Result<Arc<Standing>, DirectoryError> {
        self.standing(Subject::Grant(id.to_owned())).await
    }

    /// Whom a credential that others issued stands for, by its digest: looked for by `find` unless that was done a
    /// moment ago and nothing was changed since. As old as a standing may be, and no older: what the user may do is
    /// asked apart from it.
    pub(crate) async fn linked<E>(
        &self,
        credential: [u8; 32],
        find: impl Future<Output = Result<String, E>>,
    ) -> Result<Arc<str>, E> {
        let standings = self.standings();
        if let Some((asked, user)) = standings.links.get(&credential)
            && standings.counts(asked)
        {
            return Ok(user);
        }
        let asked = standings.ask();
        let user: Arc<str> = find.await?.into();
        standings.links.insert(credential, (asked, Arc::clone(&user)));
        Ok(user)
    }

    pub(crate) fn forget_standings(&self) {
        self.standings().generation.fetch_add(1, Ordering::AcqRel);
    }

    async fn standing(&self, subject: Subject) -> Result<Arc<Standing>, DirectoryError> {
        if let Some(standing) = self.standings().get(&subject) {
            return Ok(standing);
        }
        let asked = self.standings().ask();
        let standing = Arc::new(match &subject {
            Subject::User(id) => self.load_user(id).await?,
            Subject::Key(digest) => self.load_key(digest).await?,
            Subject::Service(digest) => self.load_service(digest).await?,
            Subject::Grant(id) => self.load_grant(id).await?,
        });
        self.standings().keep(subject, asked, &standing);
        Ok(standing)
    }

    async fn load_user(&self, id: &str) -> Result<Standing, DirectoryError> {
        let row = sqlx::query(
            "SELECT u.id, u.tenant_id, u.email, u.active, u.credentials_ms, u.version AS user_version, \
             r.name AS role, COALESCE(u.pinned_scopes, r.default_scopes) AS role_scopes, \
             r.confirmation_policy, r.version AS role_version, \
             t.active AS tenant_active, t.version AS tenant_version, u.agency_id, u.disabled_apps, \
             s.confirmation_enabled, s.confirmation_actions, s.facts AS setting_facts \
             FROM users u JOIN roles r ON r.id = u.role_id JOIN tenants t ON t.id = u.tenant_id \
             LEFT JOIN user_settings s ON s.user_id = u.id WHERE u.id = $1",
        )
        .bind(id)
        .fetch_optional(self.pool())
        .await?
        .ok_or(DirectoryError::NotFound { what: "user" })?;
        read_standing(Columns(&row), self.scopes_of(id).await?)
    }

    async fn load_key(&self, digest: &[u8; 32]) -> Result<Standing, DirectoryError> {
        let key = self.api_key_by_digest(digest).await?;
        if key.revoked_ms.is_some() {
            return Err(DirectoryError::Inactive { what: "key" });
        }
        let owner = self.load_user(&key.user_id).await?;
        let principal = Principal {
            kind: PrincipalKind::Service,
            id: key.id,
            scopes: common(&owner.principal.scopes, &key.scopes),
            ..Principal::clone(&owner.principal)
        };
        let version = owner.version.max(key.version);
        Ok(Standing { principal: Arc::new(principal), version, ..owner })
    }
}

impl Directory {
    /// A program acts in its person's name: it holds what the person holds **now** of what was consented to, is asked
    /// what the person would be asked, and looks after nobody's account, since it is a principal of its own.
    async fn load_grant(&self, id: &str) -> Result<Standing, DirectoryError> {
        let grant = self.oauth_grant(id).await?;
        let owner = self.load_user(&grant.user_id).await?;
        let principal = Principal {
            kind: PrincipalKind::Service,
            id: grant.id,
            scopes: common(&owner.principal.scopes, &grant.scopes),
            ..Principal::clone(&owner.principal)
        };
        let version = owner.version.max(grant.version);
        Ok(Standing { principal: Arc::new(principal), version, ..owner })
    }

    async fn load_service(&self, digest: &[u8; 32]) -> Result<Standing, DirectoryError> {
        let token = self.service_token_by_digest(digest).await?;
        if token.revoked_ms.is_some() || token.expires_ms <= now_ms() {
            return Err(DirectoryError::Inactive { what: "service token" });
        }
        let version = token.version;
        if let Some(user) = &token.user_id {
            let owner = self.load_user(user).await?;
            let scopes = common(&owner.principal.scopes, &token.scopes);
            let principal = service(&token, scopes, Some(&owner.principal));
            let (version, app) = (version.max(owner.version), Some(token.app));
            return Ok(Standing { principal: Arc::new(principal), version, app, ..owner });
        }
        if !self.tenant(&token.tenant_id).await?.active {
            return Err(DirectoryError::Inactive { what: "tenant" });
        }
        let (scopes, user_id) = (token.scopes.clone(), format!("__{}__", token.purpose));
        let principal = Arc::new(service(&token, scopes, None));
        let (email, app) = (String::new(), Some(token.app));
        Ok(Standing { principal, version, user_id, email, app, credentials_ms: 0 })
    }
}

/// What the rules see of an app's service. Each token is a principal of its own: no other has its scopes.
fn service(token: &ServiceToken, scopes: Vec<String>, owner: Option<&Principal>) -> Principal {
    Principal {
        kind: PrincipalKind::Service,
        id: token.id.clone(),
        tenant: token.tenant_id.clone(),
        // As with the code of an app: what a rule gives a role, it gives the people in it.
        roles: Vec::new(),
        scopes,
        // Whoever it acts for is asked as they would be themselves, and answers.
        confirm_writes: owner.is_some_and(|owner| owner.confirm_writes),
        confirm_tools: owner.map(|owner| owner.confirm_tools.clone()).unwrap_or_default(),
        unconfirmed_tools: owner.map(|owner| owner.unconfirmed_tools.clone()).unwrap_or_default(),
        unattended: owner.is_none(),
        person: owner.and_then(|owner| owner.person.clone()),
        strength: Strength::default(),
        agency: owner.and_then(|owner| owner.agency.clone()),
        disabled_apps: owner.map(|owner| owner.disabled_apps.clone()).unwrap_or_default(),
        // The values of people's secrets are for code that a call of theirs started, not for a service.
        extension: None,
    }
}

fn read_standing(row: Columns<'_>, granted: Vec<String>) -> Result<Standing, DirectoryError> {
    for (column, what) in [("tenant_active", "tenant"), ("active", "user")] {
        if !row.truth(column)? {
            return Err(DirectoryError::Inactive { what });
        }
    }
    let mut scopes: Vec<String> = row.json("role_scopes")?;
    scopes.extend(granted);
    scopes.sort_unstable();
    scopes.dedup();
    let versions = [row.int("user_version")?, row.int("role_version")?, row.int("tenant_version")?];
    let id = row.text("id")?;
    let policy: ConfirmationPolicy = row.parsed("confirmation_policy")?;
    let settings = settings_of(row)?;
    let principal = Principal {
        kind: PrincipalKind::User,
        id: id.clone(),
        tenant: row.parsed("tenant_id")?,
        roles: vec![row.text("role")?],
        scopes,
        confirm_writes: settings.confirm_writes(policy),
        confirm_tools: settings.overridden(policy, true),
        unconfirmed_tools: settings.overridden(policy, false),
        unattended: false,
        person: Some(id.clone()),
        strength: Strength::default(),
        agency: row.optional_text("agency_id")?,
        disabled_apps: row.json("disabled_apps")?,
        extension: None,
    };
    let version = versions.into_iter().max().unwrap_or_default();
    Ok(Standing {
        principal: Arc::new(principal),
        version: u64::try_from(version).unwrap_or_default(),
        user_id: id,
        email: row.text("email")?,
        app: None,
        credentials_ms: row.int("credentials_ms")?,
    })
}

/// What the rules see of the settings; nothing was set where the row is not there.
fn settings_of(row: Columns<'_>) -> Result<UserSettings, DirectoryError> {
    match row.optional_text("confirmation_actions")? {
        None => Ok(UserSettings::default()),
        Some(_) => Ok(UserSettings {
            confirmation_enabled: row.optional_int("confirmation_enabled")?.map(|on| on != 0),
            confirmation_actions: row.json("confirmation_actions")?,
            confirmation_ttl_s: None,
            facts: row.json("setting_facts")?,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn someone() -> Arc<Standing> {
        let principal = Principal {
            kind: PrincipalKind::User,
            id: "imp_u_1".to_owned(),
            tenant: "imp_t_1".parse().unwrap(),
            roles: Vec::new(),
            scopes: Vec::new(),
            confirm_writes: false,
            confirm_tools: Vec::new(),
            unconfirmed_tools: Vec::new(),
            unattended: false,
            person: None,
            strength: Strength::default(),
            agency: None,
            disabled_apps: Vec::new(),
            extension: None,
        };
        let (user_id, email) = (principal.id.clone(), String::new());
        let principal = Arc::new(principal);
        Arc::new(Standing { principal, version: 1, user_id, email, app: None, credentials_ms: 0 })
    }

    /// What is known so long, looked for three times.
    fn looked_for(age: Duration) -> [bool; 3] {
        loop {
            let cache = StandingCache::new();
            let subject = Subject::User("imp_u_1".to_owned());
            let asked = Asked { at: Instant::now().checked_sub(age).unwrap(), ..cache.ask() };
            cache.keep(subject.clone(), asked, &someone());
            let seen = [(); 3].map(|()| cache.get(&subject).is_some());
            // On a slow machine the time may have run out meanwhile.
            if asked.at.elapsed() < age + Duration::from_millis(50) {
                return seen;
            }
        }
    }

    #[test]
    fn one_call_asks_anew_before_the_time_is_over_and_the_others_go_on() {
        assert_eq!(looked_for(Duration::ZERO), [true, true, true]);
        assert_eq!(looked_for(RENEWED_AFTER), [false, true, true]);
        assert_eq!(looked_for(STANDING_TTL), [false, false, false]);
    }

    #[test]
    fn nobody_goes_on_with_what_was_changed() {
        let cache = StandingCache::new();
        let subject = Subject::User("imp_u_1".to_owned());
        cache.keep(subject.clone(), cache.ask(), &someone());
        cache.generation.fetch_add(1, Ordering::AcqRel);
        assert!(cache.get(&subject).is_none());
    }
}
