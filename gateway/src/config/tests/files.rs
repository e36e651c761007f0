//! What the files hold that a configuration names, and the routes that it lists itself.

use super::*;
use std::path::PathBuf;

const CHAIN: &str = include_str!("../../../tests/edge/tls-chain.pem");
const KEY: &str = include_str!("../../../tests/edge/tls-key.pem");
const OPENAPI: &str = r#"{"openapi": "3.1.0", "paths": {"/a/{b}": {"get": {}}}}"#;

/// Files that the start accepts, under the names that a configuration gives them.
fn write_those_named_in(text: &str, folder: &Path) {
    for file in files_named_in(text) {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let content = match name.as_str() {
            "privkey.pem" => KEY,
            "imperal.json" => crate::demo::MANIFEST,
            _ if name.starts_with("weather.") => OPENAPI,
            _ if name.ends_with(".pem") => CHAIN,
            _ if name.ends_with("-address") => {
                "postgres://u:p@db.example.org/l?sslmode=verify-full"
            }
            _ => "x",
        };
        std::fs::write(&path, content).unwrap();
    }
}

fn files_named_in(text: &str) -> Vec<PathBuf> {
    let ends = [".pem", ".json", ".yaml", "-token", "-address", "/cvc5"];
    let quoted = text.split('"').skip(1).step_by(2);
    quoted.filter(|word| ends.iter().any(|end| word.ends_with(end))).map(PathBuf::from).collect()
}

/// In the example `# ` begins prose and `#` alone a setting that is turned off.
#[test]
fn every_setting_that_the_example_turns_off_is_accepted_when_turned_on() {
    let folder = tempfile::tempdir().unwrap();
    let text: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with([' ', ':']) => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    write_those_named_in(&text, folder.path());
    std::fs::write(folder.path().join("corp.toml"), "").unwrap();
    for dir in ["policies", "candidate", "repositories"] {
        std::fs::create_dir_all(folder.path().join(dir)).unwrap();
    }
    let loaded = parse("portcullis.example.toml", &text, folder.path());
    let loaded = loaded.unwrap_or_else(|mistakes| panic!("{}", rendered(&mistakes)));
    assert!(loaded.settings.apps.len() >= 5);
    assert!(loaded.settings.server.tls.is_some());
}

/// The mistakes of a text beside these files: line, message, help.
fn beside(files: &[(&str, &str)], text: &str) -> Vec<(usize, String, String)> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let reports = parse("p.toml", text, folder.path()).err().map(|found| found.reports());
    let all = reports.into_iter().flatten();
    all.map(|report| (report.line, report.message, report.help)).collect()
}

#[test]
fn all_mistakes_in_files_and_templates_are_reported_at_once_with_their_lines() {
    let text = r#"[server]
lisen = "x"
[server.tls]
cert = "chain.pem"
key = "key.pem"
[apps.notes]
manifest = "imperal.json"
url = "http://a"
[apps.maps]
proxy = { url = "http://a", openapi = "maps.json" }
[apps.bank]
proxy.url = "http://a"
proxy.routes = [
  { name = "a", method = "GET", path = "/{x}/{x}" },
  { name = "b", method = "GET", path = "/y/{" },
  { name = "c", method = "GET", path = "/z/{one}" },
  { name = "d", method = "GET", path = "/z/{other}" },
  { name = "e", method = "HEAD", path = "/z" },
]
"#;
    let files = [
        ("chain.pem", "no certificate"),
        ("key.pem", CHAIN),
        ("imperal.json", "{\n  oops"),
        ("maps.json", "openapi: 3.1.0"),
    ];
    let found = beside(&files, text);
    let expected = [
        (2, "unknown key"),
        (4, "chain.pem`: it holds no certificate"),
        (5, "key.pem`: it holds no private key"),
        (7, "imperal.json`: M1 at (root): not JSON: key must be a string at line 2 column 3"),
        (10, "maps.json`: not JSON: expected value at line 1 column 1"),
        (14, "a parameter name appears twice"),
        (15, "has no closing brace"),
        (17, "another route of this method matches exactly the same paths"),
        (18, "the method must be one of GET"),
    ];
    let lines: Vec<usize> = found.iter().map(|(line, ..)| *line).collect();
    assert_eq!(lines, expected.map(|(line, _)| line), "{found:#?}");
    for ((_, message, help), (_, part)) in found.iter().zip(expected) {
        assert!(message.contains(part), "`{part}` is missing in: {message}");
        assert!(!help.is_empty(), "{message}");
    }
}

#[test]
fn every_finding_about_one_manifest_is_told() {
    let manifest = crate::demo::MANIFEST;
    let text = "[apps.notes]\nmanifest = \"m.json\"\nurl = \"http://a\"\n";
    assert_eq!(beside(&[("m.json", manifest)], text), []);
    let mut wrong: serde_json::Value = serde_json::from_str(manifest).unwrap();
    wrong["app_id"] = 7.into();
    wrong["tools"][0]["action_type"] = "reed".into();
    let found = beside(&[("m.json", &wrong.to_string())], text);
    for place in ["/app_id", "/tools/0/action_type"] {
        let told = found.iter().any(|(line, message, _)| *line == 2 && message.contains(place));
        assert!(told, "{place}: {found:#?}");
    }
}

#[test]
fn a_manifest_that_says_one_thing_twice_is_refused() {
    let once = "\"action_type\": \"read\"";
    let twice = crate::demo::MANIFEST.replacen(once, &format!("{once}, {once}"), 1);
    assert_ne!(twice, crate::demo::MANIFEST);
    let text = "[apps.notes]\nmanifest = \"m.json\"\nurl = \"http://a\"\n";
    let found = beside(&[("m.json", &twice)], text);
    assert_eq!((found.len(), found[0].0), (1, 2), "{found:#?}");
    assert!(found[0].1.contains("duplicate key at line"), "{found:#?}");
}

#[test]
fn an_openapi_file_whose_paths_make_no_routes_is_refused_with_each_of_them() {
    let text = "[apps.maps]\nproxy = { url = \"http://a\", openapi = \"o.json\" }\n";
    assert_eq!(beside(&[("o.json", OPENAPI)], text), []);
    let paths = r#"{"openapi": "3.1.0", "paths": {"/{x}/{x}": {"get": {}}, "/y/{": {"get": {}}}}"#;
    let found = beside(&[("o.json", paths)], text);
    assert_eq!(found.iter().map(|(line, ..)| *line).collect::<Vec<_>>(), [2, 2], "{found:#?}");
    let all = format!("{found:?}");
    assert!(all.contains("GET /{x}/{x}") && all.contains("GET /y/{"), "{all}");
}

#[test]
fn a_certificate_and_a_key_that_do_not_belong_together_are_refused() {
    let text = "[server]\ntls = { cert = \"c.pem\", key = \"k.pem\" }\n";
    assert_eq!(beside(&[("c.pem", CHAIN), ("k.pem", KEY)], text), []);
    // Any private key will do: this PKCS#8 form is that of RFC 8410, section 10.3.
    let other = "-----BEGIN PRIVATE KEY-----\n\
                 MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                 -----END PRIVATE KEY-----\n";
    let found = beside(&[("c.pem", CHAIN), ("k.pem", other)], text);
    assert_eq!((found.len(), found[0].0), (1, 2), "{found:#?}");
}

#[test]
fn no_report_about_a_key_file_shows_any_of_it() {
    let text = "[server]\ntls = { cert = \"c.pem\", key = \"k.pem\" }\n";
    // A key that lost its line breaks is one line of the file, which the parser's own errors quote.
    let (_, begun) = KEY.split_once("-----BEGIN").unwrap();
    let in_one_line = format!("-----BEGIN{}", begun.replace('\n', ""));
    let cut_short = KEY.split("-----END").next().unwrap();
    let body = KEY.lines().nth(2).unwrap();
    assert!(in_one_line.contains(body));
    for key in [in_one_line.as_str(), &format!("{in_one_line}x"), cut_short, "hunter2"] {
        let found = beside(&[("c.pem", CHAIN), ("k.pem", key)], text);
        assert_eq!(found.len(), 1, "{found:#?}");
        let (_, message, _) = &found[0];
        let quoted = format!("{:?}", body.as_bytes().get(..8).unwrap());
        let quoted = quoted.trim_matches(['[', ']']);
        for part in [body.get(..8).unwrap(), quoted, "hunter2"] {
            assert!(!message.contains(part), "{message}");
        }
    }
}

#[test]
fn only_who_is_to_serve_minds_what_the_files_hold() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[server]\ntls = { cert = \"c.pem\", key = \"c.pem\" }\n\
                [apps.notes]\nmanifest = \"m.json\"\nurl = \"http://a\"\n\
                [apps.maps]\nproxy = { url = \"http://a\", openapi = \"m.json\" }\n";
    let load = |files| with_files("p", text, folder.path(), files).map_err(|m| m.reports().len());
    assert_eq!(load(Files::Opened).err(), Some(4), "none of them is there");
    for name in ["c.pem", "m.json"] {
        std::fs::write(folder.path().join(name), "{").unwrap();
    }
    assert!(load(Files::Opened).is_ok(), "somebody is writing them");
    assert_eq!(load(Files::Read).err(), Some(4));
}
