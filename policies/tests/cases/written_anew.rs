//! `request` and `entities` of a case are written from its `call`: `WRITE_CASES=1 cargo test -p portcullis-policies --test cases`.

use portcullis_policies::*;
use serde_json::Value;

use crate::support::*;

#[test]
fn requests_of_the_embedded_cases_are_those_of_their_calls() {
    let book = load(&RuleSources::embedded());
    for file in CaseFile::embedded() {
        let mut cases: Vec<Value> = serde_json::from_str(&file.text).unwrap();
        for case in &mut cases {
            let call: CaseCall = serde_json::from_value(case["call"].clone()).unwrap();
            let (request, entities) = call.expand(&book).unwrap();
            if std::env::var_os("WRITE_CASES").is_none() {
                assert_eq!(case["request"], request, "{}", case["name"]);
                continue;
            }
            case["request"] = request;
            case["entities"] = entities;
        }
        if std::env::var_os("WRITE_CASES").is_some() {
            let text = serde_json::to_string_pretty(&cases).unwrap() + "\n";
            let name = file.path.strip_prefix("policies/").unwrap();
            std::fs::write(name, text).unwrap();
        }
    }
}
