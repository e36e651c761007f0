//! How often a grant is renewed.

use super::client::Client;
use super::*;

#[tokio::test]
async fn renewals_of_grants_count_by_their_person_and_one_too_many_spends_nothing() {
    let upstream = Upstream::start();
    let limits = "refresh = { count = 3, per = \"1h\" }";
    let gate = Deployment::builder().notes(&upstream).limits(limits).start().await;
    let ana = Walker::sign_in(&gate, "ana").await;
    let client = Client::register(&gate).await;
    let mut tokens = client.granted(&ana).await;
    let mut done = 0;
    let refused = loop {
        let refresh = tokens["refresh_token"].as_str().unwrap();
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
        let answer = client.token(&fields).await;
        if answer.status != 200 {
            break answer;
        }
        tokens = answer.body;
        done += 1;
        assert!(done < 10, "a grant is renewed without end");
    };
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(!refused.header("retry-after").is_empty() && done == 3, "after {done}");
    assert!(is_done(&create_note(&gate, tokens["access_token"].as_str().unwrap()).await));
    let directory = rusqlite::Connection::open(gate.data().join("directory.sqlite")).unwrap();
    let whole = "SELECT COUNT(*) FROM oauth_refresh_tokens WHERE state = 'whole'";
    let whole: i64 = directory.query_row(whole, [], |row| row.get(0)).unwrap();
    assert_eq!(whole, 1, "the token that came too early can be spent later");
    // Her own session shares the limit, another person's grant does not.
    let session = gate.log_in(&person("ana"), &person("ana").password()).await;
    let refresh = json!({ "refresh_token": session.body["refresh_token"] });
    let session = gate.send(gate.request(Method::POST, "/v1/auth/refresh").json(&refresh)).await;
    assert_eq!(session.status, 429, "{session:?}");
    let ben = client.granted(&Walker::sign_in(&gate, "ben").await).await;
    let refresh = ben["refresh_token"].as_str().unwrap();
    let other = client.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await;
    assert_eq!(other.status, 200, "{other:?}");
}
