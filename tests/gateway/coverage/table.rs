//! Who may call what, checked in as a table that a reviewer reads as a diff.

use harness::MANIFEST;
use portcullis_kernel_adapter::catalogue::overrides::Overrides;
use portcullis_kernel_adapter::catalogue::quarantine::{AcceptedTools, NewTools};
use portcullis_kernel_adapter::manifest::Manifest;
use portcullis_kernel_adapter::{App, CatalogueBuilder, HttpUpstream, Upstream};
use portcullis_policies::{
    Column, Principal, PrincipalKind, RuleSources, Rulebook, Strength, TenantId, ToolSpec,
    decision_table,
};

const CHECKED_IN: &str = include_str!("../../tables/decisions.txt");

#[test]
fn the_decision_table_is_the_one_that_was_reviewed() {
    let rulebook = Rulebook::load(&RuleSources::embedded(), &demo_tools()).unwrap();
    let columns = [
        column("editor", &["notes:read", "notes:write", "notes:destructive"], false),
        column("careful editor", &["notes:read", "notes:write", "notes:destructive"], true),
        column("reader", &["notes:read"], false),
        column("admin", &["*"], false),
        column("nobody", &[], false),
        foreign(column("foreign admin", &["*"], false)),
    ];
    let table = decision_table(&rulebook, &columns);
    if std::env::var_os("WRITE_TABLES").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tables/decisions.txt");
        std::fs::write(file, &table).unwrap();
    }
    assert_eq!(
        table, CHECKED_IN,
        "if this is meant, run it with WRITE_TABLES=1 and read the diff of tests/tables/decisions.txt:\n{table}"
    );
}

fn demo_tools() -> Vec<ToolSpec> {
    let base = "http://127.0.0.1:1".parse().unwrap();
    let app = App {
        id: "notes".parse().unwrap(),
        name: "notes".into(),
        tenant: None,
        tenant_argument: None,
        owner_argument: None,
        secrets: std::sync::Arc::default(),
        upstream: Upstream::Http(HttpUpstream { base, credentials: Vec::new() }),
    };
    let mut builder = CatalogueBuilder::new(AcceptedTools::default(), NewTools::Quarantine);
    builder.add_manifest_app(app, &Manifest::parse(MANIFEST.as_bytes()).unwrap());
    let built = builder.build(&Overrides::default());
    assert!(built.problems.is_empty(), "{:?}", built.problems);
    built.catalogue.specs()
}

fn column(label: &str, scopes: &[&str], confirm_writes: bool) -> Column {
    let principal = Principal {
        kind: PrincipalKind::User,
        id: "imp_u_someone".to_owned(),
        tenant: tenant("imp_t_acme"),
        roles: vec![],
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        confirm_writes,
        confirm_tools: Vec::new(),
        unconfirmed_tools: Vec::new(),
        unattended: false,
        person: None,
        strength: Strength::default(),
        agency: None,
        disabled_apps: Vec::new(),
        extension: None,
    };
    Column { label: label.to_owned(), principal, target_tenant: tenant("imp_t_acme") }
}

fn foreign(mut column: Column) -> Column {
    column.principal.tenant = tenant("imp_t_globex");
    column
}

fn tenant(id: &str) -> TenantId {
    id.parse().unwrap()
}
