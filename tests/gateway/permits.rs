//! The gateway permits ...

use harness::{Deployment, Upstream, json, text};

#[tokio::test]
async fn a_read_by_somebody_with_the_scope() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let answer = gate.call("ben", "notes", "list_notes", json!({ "limit": 5 })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("x-portcullis-decision"), "permit");
    assert_eq!(answer.rules(), ["rbac/scopes-held"]);
    assert_eq!(upstream.of_op(&answer.op()).len(), 1);
    let records = gate.settled(&answer.op(), 2).await;
    assert_eq!(text(&records[0], "/kind"), "intent");
    assert_eq!(text(&records[1], "/res/status"), "done");
}
