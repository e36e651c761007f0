//! Claims about the directory, held against real files.

use std::path::PathBuf;
use std::sync::Arc;

use portcullis_policies::{PrincipalKind, TenantId};

use super::*;

pub(crate) struct Fixture {
    pub(crate) directory: Directory,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) tenant: TenantId,
}

pub(crate) fn operator() -> Actor {
    Actor::command("tester")
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(&folder.path().join("directory.db")).await.unwrap();
        let tenant: TenantId = "imp_t_acme".parse().unwrap();
        directory.create_tenant(&tenant, "Acme", &operator()).await.unwrap();
        Self { directory, folder, tenant }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("directory.db")
    }

    pub(crate) async fn user(&self, email: &str, role: &str) -> User {
        let new = NewUser {
            tenant: self.tenant.clone(),
            email: email.to_owned(),
            role: role.to_owned(),
            scopes: Vec::new(),
            password_hash: None,
            attributes: None,
            agency_id: None,
        };
        self.directory.create_user(new, &operator()).await.unwrap()
    }

    pub(super) async fn pending(&self, user: &User, expires_ms: i64) -> String {
        let new = NewConfirmation {
            op: uuid::Uuid::now_v7(),
            tenant: self.tenant.clone(),
            user_id: user.id.clone(),
            tool: "notes/delete_note".parse().unwrap(),
            tool_digest: [8; 32],
            action_type: portcullis_policies::ActionType::Destructive,
            target_tenant: self.tenant.clone(),
            target_id: None,
            wants: "confirmation".to_owned(),
            approver_roles: Vec::new(),
            rules: vec!["destructive-asks".to_owned()],
            policy_digest: "00".repeat(32),
            args_digest: [7; 32],
            sealed_args: vec![0, 159, 146, 150],
            summary: "delete note 7".to_owned(),
            created_ms: now_ms(),
            expires_ms,
        };
        let id = fresh_confirmation_id();
        self.directory.ask_confirmation(&id, &new).await.unwrap();
        id
    }
}

#[tokio::test]
async fn what_a_dead_process_claimed_is_closed_and_never_claimed_again() {
    let f = Fixture::new().await;
    let user = f.user("ann@example.org", "user").await;
    let id = f.pending(&user, now_ms() + 60_000).await;
    assert!(f.directory.claim_confirmation(&id, &user.id).await.unwrap());
    assert_eq!(
        f.directory.abandon_confirmations(now_ms() - 60_000).await.unwrap(),
        0,
        "it may live"
    );
    assert_eq!(f.directory.abandon_confirmations(now_ms() + 1).await.unwrap(), 1);
    let found = f.directory.confirmation(&f.tenant, &id).await.unwrap();
    assert_eq!(found.state, ConfirmationState::Unknown);
    assert!(!f.directory.claim_confirmation(&id, &user.id).await.unwrap());
    assert!(f.directory.settle_confirmation(&id, ConfirmationState::Executed).await.is_err());
}

#[tokio::test]
async fn nobody_approves_twice_and_nothing_that_is_decided() {
    let f = Fixture::new().await;
    let [asker, one, other] = [
        f.user("ann@example.org", "user").await,
        f.user("ben@example.org", "user").await,
        f.user("cat@example.org", "user").await,
    ];
    let word = |id: &str, user: &User, verdict| StoredApproval {
        confirmation_id: id.to_owned(),
        approver_id: user.id.clone(),
        verdict,
        sealed: vec![1, 2, 3],
    };
    let (yes, no) = (ApprovalVerdict::Approved, ApprovalVerdict::Declined);
    let id = f.pending(&asker, now_ms() + 60_000).await;
    assert!(f.directory.approve(&word(&id, &asker, yes)).await.is_err(), "one's own");
    f.directory.approve(&word(&id, &one, yes)).await.unwrap();
    assert!(f.directory.approve(&word(&id, &one, yes)).await.is_err(), "twice");
    assert!(f.directory.decline(&word(&id, &asker, no)).await.is_err(), "one's own");
    f.directory.decline(&word(&id, &other, no)).await.unwrap();
    assert!(f.directory.approve(&word(&id, &asker, yes)).await.is_err(), "decided");
    assert!(!f.directory.claim_confirmation(&id, &asker.id).await.unwrap());
    let said = f.directory.approvals(&id).await.unwrap();
    assert_eq!(said.len(), 2);
    for (user, verdict) in [(&one, yes), (&other, no)] {
        assert!(said.iter().any(|word| word.approver_id == user.id && word.verdict == verdict));
    }
    let late = f.pending(&asker, now_ms() - 1).await;
    assert!(f.directory.approve(&word(&late, &one, yes)).await.is_err(), "expired");
    assert!(f.directory.approve(&word("imp_c_none", &one, yes)).await.is_err(), "not there");
}

#[tokio::test]
async fn a_role_change_is_seen_by_the_next_question() {
    let f = Fixture::new().await;
    let user = f.user("ann@example.org", "user").await;
    let before = f.directory.principal(&user.id).await.unwrap();
    f.directory.set_user_role(&user.id, "admin", &operator()).await.unwrap();
    let after = f.directory.principal(&user.id).await.unwrap();
    assert_eq!(
        (before.principal.roles[0].as_str(), after.principal.roles[0].as_str()),
        ("user", "admin")
    );
    assert!(after.version > before.version);
}

#[tokio::test]
async fn new_scopes_of_a_role_are_seen_by_the_next_question_of_its_users() {
    let f = Fixture::new().await;
    let user = f.user("ann@example.org", "user").await;
    assert!(f.directory.principal(&user.id).await.unwrap().principal.scopes.is_empty());
    let patch =
        RolePatch { default_scopes: Some(vec!["notes:read".to_owned()]), ..Default::default() };
    let role = f.directory.role(&f.tenant, "user").await.unwrap().id;
    f.directory.update_role(&role, patch, Cascade::Holders, &operator()).await.unwrap();
    f.directory.grant_scope(&user.id, "mail:send", &operator()).await.unwrap();
    let standing = f.directory.principal(&user.id).await.unwrap();
    assert_eq!(standing.principal.scopes, ["mail:send", "notes:read"]);
    f.directory.revoke_scope(&user.id, "mail:send", &operator()).await.unwrap();
    let standing = f.directory.principal(&user.id).await.unwrap();
    assert_eq!(standing.principal.scopes, ["notes:read"]);
}

#[tokio::test]
async fn a_change_by_another_process_is_seen_within_a_second() {
    let f = Fixture::new().await;
    let user = f.user("ann@example.org", "user").await;
    f.directory.principal(&user.id).await.unwrap();
    let other = Directory::open(&f.path()).await.unwrap();
    other.set_user_active(&user.id, false, &operator()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let refused = f.directory.principal(&user.id).await.unwrap_err();
    assert!(matches!(refused, DirectoryError::Inactive { what: "user" }), "{refused}");
}

#[tokio::test]
async fn a_deactivated_tenant_stops_its_users_at_once() {
    let f = Fixture::new().await;
    let user = f.user("ann@example.org", "user").await;
    f.directory.principal(&user.id).await.unwrap();
    f.directory.set_tenant_active(&f.tenant, false, &operator()).await.unwrap();
    let refused = f.directory.principal(&user.id).await.unwrap_err();
    assert!(matches!(refused, DirectoryError::Inactive { what: "tenant" }), "{refused}");
}

#[tokio::test]
async fn a_users_wish_to_be_asked_reaches_the_principal() {
    let f = Fixture::new().await;
    let user = f.user("ann@example.org", "user").await;
    assert!(!f.directory.principal(&user.id).await.unwrap().principal.confirm_writes);
    let settings = UserSettings { confirmation_enabled: Some(true), ..Default::default() };
    f.directory.set_settings(&user.id, &settings, &operator()).await.unwrap();
    assert!(f.directory.principal(&user.id).await.unwrap().principal.confirm_writes);
    assert_eq!(f.directory.settings(&user.id).await.unwrap(), settings);
}

#[tokio::test]
async fn every_change_leaves_a_note() {
    let f = Fixture::new().await;
    let by = operator();
    let user = f.user("ann@example.org", "user").await;
    f.directory.set_user_role(&user.id, "admin", &by).await.unwrap();
    f.directory.set_password_hash(&user.id, "$argon2id$not-to-be-noted", &by).await.unwrap();
    let notes = f.directory.unrecorded(100).await.unwrap();
    let actions: Vec<&str> = notes.iter().map(|n| n.action.as_str()).collect();
    assert_eq!(actions, ["tenant.create", "user.create", "user.set_role", "user.set_password"]);
    let versions: Vec<i64> = notes.iter().map(|n| n.version).collect();
    assert_eq!(versions, [1, 2, 3, 4]);
    assert!(!format!("{notes:?}").contains("argon2id"), "a note holds a hash");
    f.directory.mark_recorded(3).await.unwrap();
    assert_eq!(f.directory.unrecorded(100).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_failed_change_leaves_neither_rows_nor_a_note() {
    let f = Fixture::new().await;
    f.user("ann@example.org", "user").await;
    let twice = NewUser {
        tenant: f.tenant.clone(),
        email: " ANN@example.org".to_owned(),
        role: "user".to_owned(),
        scopes: Vec::new(),
        password_hash: None,
        attributes: None,
        agency_id: None,
    };
    let refused = f.directory.create_user(twice, &operator()).await.unwrap_err();
    assert!(matches!(refused, DirectoryError::Conflict { what: "user", .. }), "{refused}");
    assert_eq!(f.directory.unrecorded(100).await.unwrap().len(), 2);
    assert_eq!(f.directory.users(&UserFilter::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn of_many_claims_of_one_confirmation_exactly_one_wins() {
    let f = Fixture::new().await;
    let user = f.user("ann@example.org", "user").await;
    let id = f.pending(&user, now_ms() + 60_000).await;
    let directory = Arc::new(f.directory.clone());
    let mut claims = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (directory, id, by) = (Arc::clone(&directory), id.clone(), user.id.clone());
        claims.spawn(async move { directory.claim_confirmation(&id, &by).await.unwrap() });
    }
    let won = claims.join_all().await.into_iter().filter(|&won| won).count();
    assert_eq!(won, 1);
    assert!(!f.directory.cancel_confirmation(&id, &user.id).await.unwrap());
    f.directory.settle_confirmation(&id, ConfirmationState::Executed).await.unwrap();
    assert!(f.directory.settle_confirmation(&id, ConfirmationState::Refused).await.is_err());
    let stored = f.directory.confirmation(&f.tenant, &id).await.unwrap();
    assert_eq!(stored.state, ConfirmationState::Executed);
    assert_eq!(stored.asked.sealed_args, [0, 159, 146, 150]);
    assert_eq!(stored.decided_by.as_deref(), Some(user.id.as_str()));
}

#[tokio::test]
async fn an_expired_confirmation_cannot_be_claimed_even_before_it_is_swept() {
    let f = Fixture::new().await;
    let user = f.user("ann@example.org", "user").await;
    let id = f.pending(&user, now_ms() - 1).await;
    assert!(!f.directory.claim_confirmation(&id, &user.id).await.unwrap());
    assert!(f.directory.pending_confirmations(&f.tenant, &user.id).await.unwrap().is_empty());
    assert_eq!(f.directory.expire_confirmations().await.unwrap(), 1);
    let stored = f.directory.confirmation(&f.tenant, &id).await.unwrap();
    assert_eq!(stored.state, ConfirmationState::Expired);
}

#[tokio::test]
async fn a_confirmation_is_not_found_from_another_tenant() {
    let f = Fixture::new().await;
    let user = f.user("ann@example.org", "user").await;
    let id = f.pending(&user, now_ms() + 60_000).await;
    let other: TenantId = "imp_t_other".parse().unwrap();
    let refused = f.directory.confirmation(&other, &id).await.unwrap_err();
    assert!(matches!(refused, DirectoryError::NotFound { .. }), "{refused}");
}

#[tokio::test]
async fn the_file_is_private_and_an_exposed_one_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let f = Fixture::new().await;
    for name in ["directory.db", "directory.db-wal", "directory.db-shm"] {
        let mode = std::fs::metadata(f.folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    f.directory.close().await;
    std::fs::set_permissions(f.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = Directory::open(&f.path()).await.unwrap_err();
    assert!(matches!(refused, DirectoryError::Exposed { .. }), "{refused}");
}

#[tokio::test]
async fn a_key_stands_for_its_owner_and_for_no_more() {
    let f = Fixture::new().await;
    let user = f.user("ann@example.org", "user").await;
    f.directory.grant_scope(&user.id, "notes:*", &operator()).await.unwrap();
    let new = NewApiKey {
        user_id: user.id.clone(),
        name: "ci".to_owned(),
        key_prefix: "imp_live_abc".to_owned(),
        sha256: [9; 32],
        scopes: vec!["notes:read".to_owned(), "mail:send".to_owned()],
    };
    let key = f.directory.create_api_key(new, &operator()).await.unwrap();
    let standing = f.directory.key_principal([9; 32]).await.unwrap();
    assert_eq!(standing.principal.kind, PrincipalKind::Service);
    assert_eq!((&standing.principal.id, &standing.user_id), (&key.id, &user.id));
    assert_eq!(standing.principal.scopes, ["notes:read"]);
    f.directory.revoke_api_key(&key.id, &operator()).await.unwrap();
    let refused = f.directory.key_principal([9; 32]).await.unwrap_err();
    assert!(matches!(refused, DirectoryError::Inactive { what: "key" }), "{refused}");
    assert!(f.directory.api_keys(&user.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_accepted_tool_is_replaced_by_the_next_acceptance() {
    let f = Fixture::new().await;
    let tool = "notes/list".parse().unwrap();
    let schema = serde_json::json!({"type": "object"});
    f.directory.accept_tool(&tool, [1; 32], "lists", &schema, &operator()).await.unwrap();
    f.directory.accept_tool(&tool, [2; 32], "lists all", &schema, &operator()).await.unwrap();
    let accepted = f.directory.accepted_tools().await.unwrap();
    assert_eq!(accepted.len(), 1);
    assert_eq!((accepted[0].digest, accepted[0].description.as_str()), ([2; 32], "lists all"));
}

#[tokio::test]
async fn what_the_gateway_accepts_by_itself_does_not_replace_the_operators_word() {
    let f = Fixture::new().await;
    let (tool, new) = ("notes/list".parse().unwrap(), "notes/new".parse().unwrap());
    let schema = serde_json::json!({"type": "object"});
    f.directory
        .accept_tool(&tool, [2; 32], "as the operator says", &schema, &operator())
        .await
        .unwrap();
    let seen = SeenTool { digest: [1; 32], description: "as it was", input_schema: &schema };
    let gateway = Actor::gateway();
    assert!(!f.directory.accept_new_tool(&tool, seen, &gateway).await.unwrap());
    assert!(f.directory.accept_new_tool(&new, seen, &gateway).await.unwrap());
    let accepted = f.directory.accepted_tools().await.unwrap();
    let digests: Vec<[u8; 32]> = accepted.iter().map(|tool| tool.digest).collect();
    assert_eq!(digests, [[2; 32], [1; 32]]);
}

#[tokio::test]
async fn accepted_tools_are_forgotten_except_the_last_of_their_app() {
    let f = Fixture::new().await;
    let (list, new) = ("notes/list".parse().unwrap(), "notes/new".parse().unwrap());
    let schema = serde_json::json!({"type": "object"});
    for tool in [&list, &new] {
        f.directory.accept_tool(tool, [1; 32], "lists", &schema, &operator()).await.unwrap();
    }
    assert!(f.directory.forget_tool(&list, &operator()).await.unwrap());
    assert!(!f.directory.forget_tool(&list, &operator()).await.unwrap(), "it is forgotten");
    let last = f.directory.forget_tool(&new, &operator()).await.unwrap_err();
    assert!(matches!(last, DirectoryError::Conflict { .. }), "{last}");
    let accepted = f.directory.accepted_tools().await.unwrap();
    assert_eq!(accepted.into_iter().map(|tool| tool.tool).collect::<Vec<_>>(), [new]);
}
