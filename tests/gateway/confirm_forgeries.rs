//! A forgery in the database of what waits to be confirmed ...

use harness::{Answer, Deployment, Upstream, Value, json, text};

async fn start() -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    (Deployment::builder().notes(&upstream).start().await, upstream)
}

async fn ask(gate: &Deployment, who: &str, note: &str) -> Answer {
    let answer = gate.call(who, "notes", "delete_note", json!({ "note_id": note })).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer
}

fn forge(gate: &Deployment, id: &str, set: &str) {
    let database = rusqlite::Connection::open(gate.data().join("directory.sqlite")).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    let update = format!("UPDATE confirmations SET {set} WHERE id = ?1");
    assert_eq!(database.execute(&update, [id]).unwrap(), 1, "{set}");
}

#[tokio::test]
async fn of_any_column_runs_nothing() {
    let (gate, upstream) = start().await;
    let (ana, ada) = (gate.user_id("ana"), gate.user_id("ada"));
    let other = ask(&gate, "ana", "note-2").await.confirmation();
    let of_other =
        |column| format!("{column} = (SELECT {column} FROM confirmations WHERE id = '{other}')");
    let in_an_hour = "expires_ms = expires_ms + 3600000".to_owned();
    for set in [
        of_other("sealed_args"),
        of_other("args_digest"),
        format!("{}, {}", of_other("sealed_args"), of_other("args_digest")),
        of_other("op"),
        in_an_hour,
        "tool = 'notes/create_note'".to_owned(),
        "tool = 'notes/list_notes', action_type = 'read'".to_owned(),
        "action_type = 'read'".to_owned(),
        format!("tool_digest = '{}'", "07".repeat(32)),
        "target_tenant = 'imp_t_globex'".to_owned(),
        "rules = '[]'".to_owned(),
        "wants = 'nothing'".to_owned(),
        "approver_roles = '[\"security\"]'".to_owned(),
        "target_id = 'note-9'".to_owned(),
        format!("policy_digest = '{}'", "00".repeat(32)),
        "created_ms = created_ms - 60000".to_owned(),
    ] {
        let id = ask(&gate, "ana", "note-1").await.confirmation();
        forge(&gate, &id, &set);
        let refused = gate.decide("ana", &id, "confirm").await;
        let code = match set.starts_with("sealed_args") {
            true => "CONFIRMATION_BYTES_CHANGED",
            false => "CONFIRMATION_QUESTION_CHANGED",
        };
        assert_eq!((refused.status, refused.code()), (409, code), "{set}: {refused:?}");
        let records = gate.records_of(&refused.op());
        let last = records.last().unwrap();
        assert_eq!(text(last, "/res/error"), code.to_lowercase(), "{set}");
    }
    // Another owner: neither of the two can run it.
    let id = ask(&gate, "ana", "note-1").await.confirmation();
    forge(&gate, &id, &format!("user_id = '{ada}'"));
    assert_eq!(gate.decide("ana", &id, "confirm").await.code(), "CONFIRMATION_FOREIGN");
    let refused = gate.decide("ada", &id, "confirm").await;
    assert_eq!(refused.code(), "CONFIRMATION_BYTES_CHANGED", "{refused:?}");
    forge(&gate, &id, &format!("user_id = '{ana}'"));
    assert_eq!(upstream.seen().len(), 0);
    assert_eq!(gate.decide("ana", &id, "confirm").await.status, 200, "as it was, it runs");
}

#[tokio::test]
async fn of_the_state_runs_nothing_twice() {
    let (gate, upstream) = start().await;
    let asked = ask(&gate, "ana", "note-1").await;
    let id = asked.confirmation();
    assert_eq!(gate.decide("ana", &id, "confirm").await.status, 200);
    forge(&gate, &id, "state = 'pending', decided_by = NULL");
    let again = gate.decide("ana", &id, "confirm").await;
    assert_eq!((again.status, again.code()), (409, "CONFIRMATION_USED"), "{again:?}");
    assert_eq!(upstream.seen().len(), 1);

    let story = gate.records_of(&asked.op());
    let told: Vec<(&str, &str)> =
        story.iter().map(|row| (text(row, "/kind"), text(row, "/res/status"))).collect();
    assert_eq!(
        told,
        [("decision", "asked"), ("intent", ""), ("outcome", "done"), ("decision", "refused"),],
        "one operation id tells it all"
    );
    assert!(story.iter().all(|row: &Value| text(row, "/note/confirmation") == id), "{story:?}");
    assert!(gate.verify().whole);
}

#[tokio::test]
async fn of_the_state_brings_nothing_back_whatever_else_is_on_record() {
    let (gate, upstream) = start().await;
    let id = ask(&gate, "ana", "note-1").await.confirmation();
    assert_eq!(gate.decide("ana", &id, "confirm").await.status, 200);
    // More refused answers than a question to the ledger shows when nobody says how many.
    for _ in 0..110 {
        assert_eq!(gate.decide("ana", &id, "confirm").await.code(), "CONFIRMATION_USED");
    }
    forge(&gate, &id, "state = 'pending', decided_by = NULL");
    assert_eq!(gate.decide("ana", &id, "confirm").await.code(), "CONFIRMATION_USED");
    assert_eq!(upstream.seen().len(), 1);

    let id = ask(&gate, "ana", "note-2").await.confirmation();
    assert_eq!(gate.decide("ana", &id, "cancel").await.status, 200);
    forge(&gate, &id, "state = 'pending', decided_by = NULL");
    assert_eq!(gate.decide("ana", &id, "confirm").await.code(), "CONFIRMATION_USED");
    assert_eq!(upstream.seen().len(), 1, "what was cancelled stays cancelled");
}

/// A manifest is published anew with another action type, another schema, or without the function.
#[tokio::test]
async fn and_a_change_of_the_tool_is_a_change_of_what_was_shown() {
    let upstream = Upstream::start();
    let mut gate = Deployment::builder().notes(&upstream).start().await;
    let manifest = gate.dir().join("notes.json");
    let before = std::fs::read_to_string(&manifest).unwrap();
    let id = ask(&gate, "ana", "note-1").await.confirmation();
    let changes: [fn(&mut Value); 4] = [
        |tool| tool["action_type"] = json!("write"),
        |tool| tool["params_schema"]["required"] = json!(["note_id", "why"]),
        |tool| tool["params_schema"]["properties"]["note_id"] = json!({ "type": "integer" }),
        |tool| tool["name"] = json!("shred_note"),
    ];
    for change in changes {
        let mut published: Value = serde_json::from_str(&before).unwrap();
        let tools = published["tools"].as_array_mut().unwrap();
        let tool = tools.iter_mut().find(|tool| tool["name"] == "delete_note").unwrap();
        change(tool);
        let tool = tool.clone();
        gate.stop();
        std::fs::write(&manifest, published.to_string()).unwrap();
        gate.restart().await;
        let refused = gate.decide("ana", &id, "confirm").await;
        let told = (refused.status, refused.code());
        assert_eq!(told, (409, "CONFIRMATION_TOOL_CHANGED"), "{tool}: {refused:?}");
    }
    assert_eq!(upstream.seen().len(), 0);
    gate.stop();
    std::fs::write(&manifest, before).unwrap();
    gate.restart().await;
    assert_eq!(gate.decide("ana", &id, "confirm").await.status, 200, "as it was, it runs");
}

/// What is shown of a role is what it gives then; nobody gets one that gives something else meanwhile.
#[tokio::test]
async fn and_a_change_of_what_a_role_gives_is_a_change_of_what_was_shown() {
    let gate = Deployment::builder().start().await;
    let as_max = async |path: &str, body: Value| {
        gate.send(gate.signed("max", reqwest::Method::PATCH, path).await.json(&body)).await
    };
    let on = json!({ "confirmation_enabled": true });
    assert_eq!(as_max("/v1/me/settings", on).await.status, 200);
    gate.user_id("fin"); // of the role
    let amy = format!("/v1/users/{}", gate.user_id("amy"));
    let asked = as_max(&amy, json!({ "role": "finance" })).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    // Max was shown another role of that name.
    let wider = ["--scope", "confirmations:approve", "--scope", "notes:*"];
    gate.change(&[&["role", "set", "--tenant", "imp_t_acme", "finance"][..], &wider].concat())
        .await;
    let refused = gate.decide("max", &asked.confirmation(), "confirm").await;
    let told = (refused.status, refused.code());
    assert_eq!(told, (409, "CONFIRMATION_TARGET_CHANGED"), "{refused:?}");
    let left = gate.get_as("amy", "/v1/auth/me").await;
    assert!(!left.text().contains("finance"), "{left:?}");
}

/// What a forged column does is told of every column: a new one must find its place here.
#[tokio::test]
async fn of_what_is_not_bound_shows_nothing_else_either() {
    let (gate, upstream) = start().await;
    let id = ask(&gate, "ana", "note-1").await.confirmation();
    let path = format!("/v1/confirmations/{id}");
    let before = gate.get_as("ana", &path).await.body;
    let unread = [
        "app = 'ledgers'",
        "summary = 'Reads the weather'",
        "decided_by = 'imp_u_x'",
        "changed_ms = 7",
    ];
    for set in unread {
        forge(&gate, &id, set);
        assert_eq!(gate.get_as("ana", &path).await.body, before, "{set}");
    }
    let database = rusqlite::Connection::open(gate.data().join("directory.sqlite")).unwrap();
    let mut columns =
        database.prepare("SELECT name FROM pragma_table_info('confirmations')").unwrap();
    let columns: Vec<String> =
        columns.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let unread = unread.map(|set| set.split(' ').next().unwrap());
    for column in columns {
        assert!(
            unread.contains(&column.as_str()) || ELSEWHERE.contains(&column.as_str()),
            "a forgery of `{column}` is tried by no test"
        );
    }
    assert_eq!(gate.decide("ana", &id, "confirm").await.status, 200);
    assert_eq!(upstream.seen().len(), 1);
}

/// Columns that the other tests forge; the id and the tenant of the asker only find the row, and the seal binds them.
const ELSEWHERE: [&str; 18] = [
    "id",
    "op",
    "tenant_id",
    "user_id",
    "tool",
    "target_tenant",
    "target_id",
    "wants",
    "rules",
    "policy_digest",
    "args_digest",
    "sealed_args",
    "state",
    "created_ms",
    "expires_ms",
    "tool_digest",
    "action_type",
    "approver_roles",
];

#[tokio::test]
async fn and_a_change_of_the_apps_tenant_is_a_change_of_what_was_shown() {
    let upstream = Upstream::start();
    let mut gate = Deployment::builder().notes(&upstream).start().await;
    gate.user_id("gil");
    let id = ask(&gate, "ana", "note-1").await.confirmation();
    gate.stop();
    let config = gate.dir().join("portcullis.toml");
    let before = std::fs::read_to_string(&config).unwrap();
    let after = before.replacen("[apps.notes]\n", "[apps.notes]\ntenant = \"imp_t_globex\"\n", 1);
    assert_ne!(before, after);
    std::fs::write(&config, after).unwrap();
    gate.restart().await;
    let refused = gate.decide("ana", &id, "confirm").await;
    assert_eq!(
        (refused.status, refused.code()),
        (409, "CONFIRMATION_TENANT_CHANGED"),
        "{refused:?}"
    );
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn of_the_tenant_or_of_a_copy_runs_nothing() {
    let (gate, upstream) = start().await;
    let gil = gate.user_id("gil");
    let asked = ask(&gate, "ana", "note-1").await;
    let id = asked.confirmation();
    let to_globex = format!("tenant_id = 'imp_t_globex', user_id = '{gil}'");
    forge(&gate, &id, &to_globex);
    let refused = gate.decide("gil", &id, "confirm").await;
    assert_eq!(
        (refused.status, refused.code()),
        (409, "CONFIRMATION_BYTES_CHANGED"),
        "{refused:?}"
    );
    assert_eq!(gate.decide("ana", &id, "confirm").await.code(), "CONFIRMATION_UNKNOWN");
    let back = format!("tenant_id = 'imp_t_acme', user_id = '{}'", gate.user_id("ana"));
    forge(&gate, &id, &back);
    assert_eq!(gate.decide("ana", &id, "confirm").await.status, 200, "as it was, it runs");

    // The same row once more under another id: the seal is of one id, and the story has ended.
    let database = rusqlite::Connection::open(gate.data().join("directory.sqlite")).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    let columns: String = database
        .query_row(
            "SELECT group_concat(name) FROM pragma_table_info('confirmations') \
             WHERE name NOT IN ('id', 'state', 'decided_by')",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let copy = format!(
        "INSERT INTO confirmations (id, state, {columns}) \
         SELECT 'imp_c_copy', 'pending', {columns} FROM confirmations WHERE id = ?1"
    );
    assert_eq!(database.execute(&copy, [&id]).unwrap(), 1);
    let refused = gate.decide("ana", "imp_c_copy", "confirm").await;
    assert_eq!(
        (refused.status, refused.code()),
        (409, "CONFIRMATION_BYTES_CHANGED"),
        "{refused:?}"
    );
    assert_eq!(upstream.seen().len(), 1, "once");
}

#[tokio::test]
async fn or_a_guess_of_its_id_is_on_record() {
    let (gate, _upstream) = start().await;
    let id = ask(&gate, "ana", "note-1").await.confirmation();
    for (who, code) in [("amy", "confirmation_foreign"), ("gil", "confirmation_unknown")] {
        for verb in ["confirm", "cancel"] {
            let refused = gate.decide(who, &id, verb).await;
            let records = gate.records_of(&refused.op());
            let last = records.last().unwrap_or_else(|| panic!("{who} {verb}: {refused:?}"));
            assert_eq!(text(last, "/res/error"), code, "{who} {verb}");
            assert_ne!(text(last, "/who/subject"), "", "{last}");
        }
    }
}
