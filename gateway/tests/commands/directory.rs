//! `portcullis tenant|role|user|key|check` as their help says.

use std::io::Write;
use std::process::Stdio;

use crate::deployment::text;
use crate::{Said, binary, json, run};

#[test]
fn a_tenant_a_role_a_user_and_a_key_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    run(at, &["tenant", "create", "Acme", "--id", "imp_t_acme"]).well();
    let role = ["role", "create", "clerk", "--tenant", "imp_t_acme", "--scope", "notes:read"];
    run(at, &role).well();
    let mut child = binary(at)
        .args(["user", "create", "--tenant", "imp_t_acme", "--email", "Ana@acme.example"])
        .args(["--role", "clerk", "--password-stdin", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"correct horse battery\n").unwrap();
    let made = Said::from(child.wait_with_output().unwrap()).well();
    assert!(!made.contains("horse") && !made.contains("argon2"), "{made}");
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let user = text(&made[0]["id"]);
    assert_eq!(made[0]["email"], "ana@acme.example");

    let key = json(at, &["key", "create", &user, "--name", "laptop", "--scope", "notes:*"]);
    let (id, secret) = (text(&key["id"]), text(&key["key"]));
    let listed = run(at, &["key", "list", &user]).well();
    assert!(listed.contains(&id) && !listed.contains(&secret), "{listed}");
    run(at, &["key", "revoke", &id]).well();
    assert!(!run(at, &["key", "list", &user]).well().contains(&id));
    for change in ["deactivate", "activate"] {
        run(at, &["user", change, &user]).well();
    }
    let shown = run(at, &["user", "show", &user]).well();
    let columns: Vec<_> = shown.lines().map(|line| line.find("imp_t_acme")).collect();
    assert_eq!(columns[1], shown.find("TENANT"), "{shown}");
}

#[test]
fn what_is_wrong_has_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    for (args, hint) in [
        (&["user", "show", "imp_u_nobody"][..], "portcullis user list"),
        (&["tenant", "show", "imp_t_none"], "portcullis tenant list"),
        (&["key", "revoke", "imp_k_none"], "portcullis key list"),
        (&["ledger", "show"], "portcullis serve"),
        (&["ledger", "explain", "0", "--log", "default"], "--config"),
    ] {
        let said = run(dir.path(), args).failed();
        assert!(said.contains(hint), "{args:?}: {said}");
    }
    std::fs::write(dir.path().join("p.toml"), "lsten = 1\n[serverr]\n").unwrap();
    let said = run(dir.path(), &["check", "--config", "p.toml"]).failed();
    assert!(said.contains("lsten") && said.contains("serverr"), "both mistakes at once: {said}");
}
