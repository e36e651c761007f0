mod files;

use super::*;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use proptest::prelude::*;
use std::time::Duration;

const EXAMPLE: &str = include_str!("../../portcullis.example.toml");
const SCHEMA: &str = include_str!("../../portcullis.schema.json");

fn mistakes(text: &str) -> Mistakes {
    parse("p.toml", text, Path::new("/nonexistent")).expect_err("the text has mistakes")
}

fn one(text: &str) -> Report {
    let reports = mistakes(text).reports();
    assert_eq!(reports.len(), 1, "{reports:#?}");
    reports.into_iter().next().unwrap()
}

fn rendered(diagnostic: &dyn Diagnostic) -> String {
    let mut text = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::none())
        .with_width(200)
        .render_report(&mut text, diagnostic)
        .unwrap();
    text
}

#[test]
fn an_empty_file_means_the_defaults() {
    let loaded = parse("p.toml", "", Path::new("/etc/portcullis")).unwrap();
    assert_eq!(loaded.settings, Settings::defaults(Path::new("/etc/portcullis/portcullis-data")));
    assert!(loaded.warnings.all().is_empty());
}

#[test]
fn all_mistakes_are_reported_at_once_with_their_lines() {
    let text = r#"[server]
lisen = "127.0.0.1:80"
listen = "localhost"
limits = { request_timeout = "10m", json_depth = 0 }

[ledger]
intent_deadline = 2
queue = "many"

[policies]
dir = "no/such/folder"

[apps.Notes]
demo = true

[apps.files]
mcp = { command = ["x"], url = "http://a" }
tools.read.action = "reed"

[apps.bank]
proxy = { url = "ftp://bank", routes = [{ name = "pay", method = "POST" }] }
credential = { value = { env = "PORTCULLIS_TEST_SURELY_UNSET" } }
new_tools = true
"#;
    let found: Vec<(usize, Kind, String)> =
        mistakes(text).reports().into_iter().map(|r| (r.line, r.kind, r.message)).collect();
    let lines: Vec<(usize, Kind)> = found.iter().map(|(line, kind, _)| (*line, *kind)).collect();
    assert_eq!(
        lines,
        [
            (2, Kind::UnknownKey),
            (3, Kind::Value),
            (4, Kind::Value),
            (4, Kind::Value),
            (7, Kind::Value),
            (8, Kind::Value),
            (11, Kind::NotThere),
            (13, Kind::Value),
            (17, Kind::Conflict),
            (18, Kind::Value),
            (21, Kind::Value),
            (21, Kind::Missing),
            (22, Kind::Secret),
            (23, Kind::Value),
        ],
        "{found:#?}"
    );
}

#[test]
fn a_report_points_at_the_place_and_says_what_to_do() {
    let shown = rendered(&mistakes("[server]\nlisen = \"x\"\n"));
    for part in ["p.toml:2:1", "lisen = \"x\"", "unknown key `lisen`", "did you mean `listen`?"] {
        assert!(shown.contains(part), "`{part}` is missing in:\n{shown}");
    }
}

#[test]
fn a_broken_line_hides_no_other_mistake_and_has_no_echo() {
    let reports = mistakes("[server]\nlisten =\n[ledger]\nqueue = 0\n").reports();
    let lines: Vec<_> = reports.iter().map(|report| (report.line, report.kind)).collect();
    assert_eq!(lines, [(2, Kind::Syntax), (4, Kind::Value)], "{reports:#?}");
}

#[test]
fn a_key_that_is_broken_is_not_called_missing_as_well() {
    let report = one("[apps.ab]\nproxy = { url = 7, routes = [] }\n");
    assert_eq!(report.message, "`apps.ab.proxy.url` must be a string, and is an integer");
}

#[test]
fn the_public_address_is_a_bare_origin_and_no_help_suggests_more() {
    let settings = |url: &str| format!("[server]\npublic_url = \"{url}\"\n");
    for (wrong, kind) in [
        ("https://gate.example.org/portcullis", Kind::Value),
        ("https://gate.example.org//", Kind::Value),
        ("https://gate.example.org?x=y", Kind::Value),
        ("https://gate.example.org#x", Kind::Value),
        ("https://user@gate.example.org", Kind::Secret),
        ("https://Gate.example.org", Kind::Value),
        ("HTTPS://gate.example.org", Kind::Value),
        ("https://gate.example.org:443", Kind::Value),
        ("gate.example.org", Kind::Value),
    ] {
        let reports = mistakes(&settings(wrong)).reports();
        let kinds: Vec<Kind> = reports.iter().map(|report| report.kind).collect();
        assert_eq!(kinds, [kind], "{wrong}");
        assert!(!rendered(&mistakes(&settings(wrong))).contains("/v2"), "{wrong}");
    }
    for right in
        ["https://gate.example.org", "https://gate.example.org:8443/", "http://127.0.0.1:1"]
    {
        let loaded = parse("p.toml", &settings(right), Path::new("/nonexistent"));
        let url = loaded.unwrap().settings.server.public_url;
        assert_eq!(url.as_deref(), Some(right.trim_end_matches('/')));
    }
}

#[test]
fn no_report_shows_a_secret_that_was_written_down() {
    let text = r#"[apps.a1]
mcp = { url = "http://a", headers = { x-any = "hunter2-a" } }
credential = { value = "hunter2-b" }
[apps.a2]
mcp = { command = ["x"], env = { GITHUB_TOKEN = "hunter2-c" } }
[apps.a3]
manifest = "x"
url = "http://user:hunter2-d@host"
password = "hunter2-e"
[apps.a4.credential]
value = { env = 1, secret = "hunter2-f" }
prefix = 7
"#;
    let mistakes = mistakes(text);
    let json = serde_json::to_string(&mistakes.reports()).unwrap();
    let shown = format!("{mistakes} {mistakes:?} {json} {}", rendered(&mistakes));
    assert!(!shown.contains("hunter2"), "{shown}");
    let secrets: Vec<usize> =
        mistakes.reports().iter().filter(|r| r.kind == Kind::Secret).map(|r| r.line).collect();
    assert_eq!(secrets, [2, 3, 5, 8], "{shown}");
    assert!(shown.contains("{ env = \"NAME\" }"), "{shown}");
}

#[test]
fn a_credential_may_be_in_the_vault_wherever_one_is_given() {
    let text = r#"[apps.a1]
mcp = { url = "http://a", headers = { x-any = { vault = "a_key" } } }
credential = { value = { vault = "token" } }
[apps.a2]
mcp = { command = ["x"], env = { GITHUB_TOKEN = { vault = "github_2" } } }
"#;
    let apps = parse("p", text, Path::new("")).unwrap().settings.apps;
    let vault = |name: &str| SecretSource::Vault(name.to_owned());
    let app = |id: &str| &apps[&id.parse().unwrap()];
    assert_eq!(app("a1").credential.as_ref().unwrap().value, vault("token"));
    let Upstream::McpHttp { headers, .. } = &app("a1").upstream else { panic!("{apps:?}") };
    assert_eq!(headers["x-any"], vault("a_key"));
    let Upstream::McpChild { env, .. } = &app("a2").upstream else { panic!("{apps:?}") };
    assert_eq!(env["GITHUB_TOKEN"], EnvValue::Secret(vault("github_2")));
}

#[test]
fn a_name_in_the_vault_is_checked_and_never_shown_when_it_is_none() {
    let with = |reference: &str| {
        format!("[apps.ab]\ndemo = true\ncredential = {{ value = {{ {reference} }} }}\n")
    };
    let mistakes = mistakes(&with("vault = \"Hunter2-x\""));
    assert_eq!(mistakes.reports()[0].line, 3, "{mistakes:?}");
    assert!(mistakes.reports()[0].help.contains("a letter first"), "{mistakes:?}");
    let shown = format!("{mistakes:?} {}", rendered(&mistakes));
    assert!(!shown.contains("Hunter2"), "{shown}");
    assert_eq!(one(&with("vault = \"a\", env = \"PATH\"")).line, 3);
}

#[test]
fn the_gateways_own_app_is_not_configured() {
    let report = one("[apps.secrets]\ndemo = true\n");
    assert_eq!((report.line, report.kind), (1, Kind::Conflict));
    assert!(report.message.contains("the gateway's own"), "{report:?}");
}

/// Keys of two witnesses that nobody runs.
fn witness_keys() -> [String; 2] {
    let key = |seed| {
        let cosigner = portcullis_audit::note::Cosigner::from_seed("w.example", &[seed; 32]);
        cosigner.unwrap().key().to_string()
    };
    [key(1), key(2)]
}

#[test]
fn all_mistakes_about_witnesses_are_reported_at_once_with_their_lines() {
    let [key, _] = witness_keys();
    let text = format!(
        r#"[ledger.witness]
policy = "required"
quorum = 9
max_lag = "1s"
witnesses = [
  {{ name = "none", url = "http://a", key = "{key}" }},
  {{ name = "w2", url = "ftp://a", key = "w+1+x" }},
  {{ name = "w3", url = "http://a" }},
  {{ name = "w4", url = "http://a", key = "{key}" }},
  {{ name = "w4", url = "http://a", key = "{key}" }},
  {{ name = "w5", url = "http://a", key = "{key}" }},
]
"#
    );
    let found = mistakes(&text).reports();
    let lines: Vec<(usize, Kind)> = found.iter().map(|r| (r.line, r.kind)).collect();
    assert_eq!(
        lines,
        [
            (3, Kind::Value),
            (4, Kind::Value),
            (6, Kind::Value),
            (7, Kind::Value),
            (7, Kind::Value),
            (8, Kind::Missing),
            (10, Kind::Conflict),
            (11, Kind::Conflict),
        ],
        "{found:#?}"
    );
}

#[test]
fn a_policy_without_witnesses_is_a_mistake_and_witnesses_without_a_policy_are_doubtful() {
    for policy in ["required", "best_effort"] {
        let report = one(&format!("[ledger.witness]\npolicy = \"{policy}\"\n"));
        assert_eq!((report.line, report.kind), (1, Kind::Missing), "{report:?}");
    }
    assert_eq!(one("[ledger.witness]\npolicy = \"sometimes\"\n").line, 2);
    let [key, _] = witness_keys();
    let list = format!("witnesses = [{{ name = \"w\", url = \"http://a\", key = \"{key}\" }}]");
    let loaded = parse("p", &format!("[ledger.witness]\n{list}\n"), Path::new("")).unwrap();
    assert_eq!(loaded.warnings.reports()[0].line, 2);
}

#[test]
fn all_witnesses_are_the_quorum_unless_it_is_said() {
    let [one, two] = witness_keys();
    let list = [("w1", one), ("w2", two)].map(|(name, key)| {
        format!("{{ name = \"{name}\", url = \"https://a/w/\", key = \"{key}\" }}")
    });
    let text =
        format!("[ledger.witness]\npolicy = \"required\"\nwitnesses = [{}]\n", list.join(", "));
    let witness = parse("p", &text, Path::new("")).unwrap().settings.ledger.witness;
    assert_eq!((witness.policy, witness.quorum), (WitnessPolicy::Required, 2));
    assert_eq!(witness.witnesses[0].url, "https://a/w");
    let text = text + "quorum = 1\n";
    assert_eq!(parse("p", &text, Path::new("")).unwrap().settings.ledger.witness.quorum, 1);
}

#[test]
fn an_app_runs_in_exactly_one_place() {
    assert_eq!(one("[apps.ab]\nname = \"x\"\n").kind, Kind::Missing);
    assert_eq!(one("[apps.ab]\ndemo = false\n").kind, Kind::Missing);
    let two = one("[apps.ab]\nmcp = { command = [\"x\"] }\ndemo = true\n");
    assert_eq!((two.line, two.kind), (3, Kind::Conflict));
}

#[test]
fn an_upstream_timeout_over_180_seconds_is_refused() {
    let report = one("[apps.ab]\ndemo = true\ntimeout = \"181s\"\n");
    assert_eq!(report.message, "`apps.ab.timeout` must be from 1ms to 3m");
    assert!(parse("p", "[apps.ab]\ndemo = true\ntimeout = \"180s\"", Path::new("")).is_ok());
}

#[test]
fn headers_of_the_transport_cannot_be_set() {
    let text = "[apps.ab]\ndemo = true\ncredential = { header = \"Transfer-Encoding\", \
                value = { env = \"PATH\" } }\n";
    assert!(one(text).message.contains("belongs to the transport"));
}

#[test]
fn two_routes_for_one_request_are_refused() {
    let route = |name: &str| format!("{{ name = \"{name}\", method = \"GET\", path = \"/a\" }}");
    let app = |a: &str, b: &str| {
        format!(
            "[apps.ab]\nproxy.url = \"http://a\"\nproxy.routes = [{}, {}]\n",
            route(a),
            route(b)
        )
    };
    assert_eq!(one(&app("x", "y")).kind, Kind::Conflict);
    assert_eq!(mistakes(&app("x", "x")).all().len(), 2);
}

#[test]
fn plain_http_for_other_machines_is_a_warning() {
    let loaded = parse("p", "[server]\nlisten = \"0.0.0.0:80\"\n", Path::new("")).unwrap();
    assert_eq!(loaded.warnings.reports()[0].line, 2);
}

#[test]
fn a_database_on_another_machine_is_reached_over_tls_or_by_a_word_that_it_need_not() {
    let folder = tempfile::tempdir().unwrap();
    for section in ["ledger", "directory"] {
        let text = format!("[{section}]\npostgres = {{ file = \"address\" }}");
        let loaded = |address: &str| {
            use std::os::unix::fs::PermissionsExt;
            let file = folder.path().join("address");
            std::fs::write(&file, address).unwrap();
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
            parse("p", &text, folder.path())
        };
        let far = "postgres://u:secret-word@db.example.org/l";
        let refused = loaded(far).unwrap_err();
        let said = rendered(&refused);
        assert!(said.contains("sslmode=verify-full") && !said.contains("secret-word"), "{said}");
        assert!(loaded("db.example.org").is_err(), "no address");
        for quiet in [
            "postgres://u:p@127.0.0.1/l".to_owned(),
            "postgres://u@%2Frun%2Fpostgresql/l".to_owned(),
            format!("{far}?sslmode=verify-full&sslrootcert=/ca.pem"),
        ] {
            assert!(loaded(&quiet).unwrap().warnings.all().is_empty(), "{quiet}");
        }
        for mode in ["disable", "require", "verify-ca"] {
            let warnings = loaded(&format!("{far}?sslmode={mode}")).unwrap().warnings;
            let reports = warnings.reports();
            assert_eq!((reports.len(), reports[0].line), (1, 2), "{mode}: {reports:?}");
        }
    }
}

#[test]
fn a_key_file_that_others_can_read_is_a_mistake_and_an_absent_one_is_not() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let text = "[key_provider]\npath = \"kek\"\n";
    assert!(parse("p", text, folder.path()).is_ok());
    let path = folder.path().join("kek");
    std::fs::write(&path, [1; 32]).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let reports = parse("p", text, folder.path()).unwrap_err().reports();
    assert_eq!((reports[0].line, reports[0].kind), (2, Kind::Secret));
    assert!(reports[0].message.contains("chmod 600"), "{reports:?}");
}

#[test]
fn names_of_variables_are_checked() {
    for name in ["A-B", "\"A=B\"", "1A", "\"\""] {
        let text =
            format!("[apps.ab]\nmcp = {{ command = [\"x\"], env = {{ {name} = \"1\" }} }}\n");
        assert!(one(&text).message.ends_with("cannot name a variable"), "{name}");
    }
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.toml");
    std::fs::create_dir(folder.path().join("rules-here")).unwrap();
    std::fs::write(&file, "[policies]\ndir = \"rules-here\"\n").unwrap();
    let settings = load(&file, Files::Read).unwrap().settings;
    assert_eq!(settings.policies.dir, Some(folder.path().join("rules-here")));
    assert_eq!(settings.data.dir, folder.path().join(DEFAULT_DIR));
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake_without_a_place() {
    let report =
        load(Path::new("/nonexistent/p.toml"), Files::Read).unwrap_err().reports().remove(0);
    assert_eq!((report.kind, report.line), (Kind::File, 0));
}

#[test]
fn the_demo_has_its_app_and_its_own_folder() {
    let settings = Settings::demo(Path::new("/tmp/demo"));
    assert_eq!(settings.apps.len(), 1);
    assert_eq!(settings.server.listen.port(), 0);
    assert!(settings.data.key_file().starts_with("/tmp/demo"));
}

#[test]
fn the_checked_in_schema_is_current() {
    let checked_in: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    assert_eq!(checked_in, schema(), "run `portcullis check --schema` and check in what it prints");
}

/// So that what an editor shows as a default is one.
#[test]
fn the_defaults_in_the_schema_are_those_of_an_empty_file() {
    let mut text = String::new();
    defaults_as_toml(&schema(), "", &mut text);
    assert!(text.contains("request_timeout = \"60s\""), "{text}");
    let loaded = parse("p.toml", &text, Path::new("/x")).unwrap();
    assert_eq!(loaded.settings, Settings::defaults(Path::new("/x/portcullis-data")));
}

fn defaults_as_toml(schema: &serde_json::Value, path: &str, text: &mut String) {
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}{key}");
        if let Some(default) = schema.get("default") {
            text.push_str(&format!("{path} = {default}\n"));
        }
        if key != "apps" {
            defaults_as_toml(schema, &format!("{path}."), text);
        }
    }
}

#[test]
fn the_example_is_accepted_as_it_stands() {
    let loaded = parse("portcullis.example.toml", EXAMPLE, Path::new("/x")).unwrap();
    assert!(loaded.warnings.all().is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn durations_are_what_was_written() {
    let loaded = parse("p", "[ledger]\nintent_deadline = \"1s 500ms\"", Path::new("")).unwrap();
    assert_eq!(loaded.settings.ledger.intent_deadline, Duration::from_millis(1500));
}

proptest! {
    /// The schema and the types agree on everything that can be made out of the example.
    #[test]
    fn a_mangled_example_is_refused_with_reasons_or_accepted_and_never_panics(
        cuts in proptest::collection::vec((0_usize..6000, 0_usize..12, "[a-z0-9\"={}\\[\\]\n.# -]{0,4}"), 1..4)
    ) {
        let mut text: Vec<char> = EXAMPLE.replace("\n#", "\n").chars().collect();
        for (at, length, with) in cuts {
            let from = at.min(text.len());
            let to = (from + length).min(text.len());
            text.splice(from..to, with.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(mistakes) = parse("p", &text, Path::new("/nonexistent")) {
            prop_assert!(!mistakes.all().is_empty());
            for report in mistakes.reports() {
                prop_assert!(!report.help.contains("please report"), "{report:?}");
            }
            let _ = rendered(&mistakes);
        }
    }
}

#[test]
fn all_mistakes_about_an_issuer_are_reported_and_a_mapping_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let map = "[[map]]\nclaim = \"groups\"\nvalue = \"x\"\nroles = \"admin\"";
    std::fs::write(folder.path().join("bad.toml"), map).unwrap();
    let text = "[identity.issuers.A_b]\nurl = \"http://login.example.org\"\nalgorithms = [\"HS256\"]\n\
                mapping = \"bad.toml\"\nclient_secret = \"typed\"\n";
    let reports = parse("p.toml", text, folder.path()).expect_err("mistakes").reports();
    let all = format!("{reports:#?}");
    for part in ["cannot stand in paths", "is not https", "pins no signature", "`tenant`", "roles"]
    {
        assert!(all.contains(part), "{part}: {all}");
    }
    assert!(!all.contains("typed"), "{all}");
    let good = "[identity.issuers.corp]\nurl = \"https://login.example.org\"\naudiences = [\"x\"]\n\
                algorithms = [\"ES256\"]\ntenant = \"imp_t_acme\"\n";
    let issuers = parse("p.toml", good, folder.path()).unwrap().settings.identity.issuers;
    assert_eq!((issuers.len(), issuers[0].name.as_str()), (1, "corp"));
    let twice = format!("{good}{}", good.replace(".corp]", ".twin]"));
    assert!(
        format!("{:?}", parse("p.toml", &twice, folder.path()).unwrap_err().reports())
            .contains("two issuers")
    );
}
