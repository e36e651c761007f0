//! Things of a person, where the app says whose they are ...

use harness::{Answer, Deployment, Upstream};
use reqwest::Method;

/// A service that knows people: whose notes a route is about stands in its path.
async fn start() -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    let crm = format!(
        "[apps.crm]\nowner_argument = \"owner\"\n[apps.crm.proxy]\nurl = \"{}\"\nroutes = [\n\
         {{ name = \"list\", method = \"GET\", path = \"/people/{{owner}}/notes\" }},\n\
         {{ name = \"all\", method = \"GET\", path = \"/notes\" }},\n]",
        upstream.url()
    );
    let gate = Deployment::builder().app(&crm).start().await;
    for scope in ["crm:read"] {
        for who in ["ana", "amy"] {
            gate.change(&["user", "grant-scope", &gate.user_id(who), scope]).await;
        }
    }
    (gate, upstream)
}

async fn list(gate: &Deployment, who: &str, of: &str) -> Answer {
    gate.send(gate.signed(who, Method::GET, &format!("/proxy/crm/people/{of}/notes")).await).await
}

fn refused(answer: &Answer) {
    assert_eq!((answer.status, answer.code()), (403, "PERMISSION_DENIED"), "{answer:?}");
    assert_eq!(answer.rules(), ["owner/somebody-elses"], "{answer:?}");
}

#[tokio::test]
async fn are_for_that_person_and_for_whom_a_scope_lets() {
    let (gate, upstream) = start().await;
    let (ana, amy) = (gate.user_id("ana"), gate.user_id("amy"));
    assert_eq!(list(&gate, "ana", &ana).await.status, 200);
    assert_eq!(list(&gate, "ana", "ana@acme.example").await.status, 200, "by the e-mail, too");
    for other in [amy.as_str(), "amy@acme.example", "nobody", "ANA"] {
        refused(&list(&gate, "ana", other).await);
    }
    assert_eq!(upstream.seen().len(), 2, "what is refused is not sent");
    // A key is its person's; the platform's things are nobody's.
    let key = gate.api_key("ana", &["crm:read"]);
    let by_key = async |of: &str| {
        let request = gate.request(Method::GET, &format!("/proxy/crm/people/{of}/notes"));
        gate.send(request.header("x-api-key", &key)).await
    };
    assert_eq!(by_key(&ana).await.status, 200);
    refused(&by_key(&amy).await);
    gate.change(&["user", "grant-scope", &ana, "crm:others"]).await;
    assert_eq!(list(&gate, "ana", &amy).await.status, 200);
    assert_eq!(list(&gate, "ada", &amy).await.status, 200, "every scope is that one, too");
}

#[tokio::test]
async fn are_refused_where_a_call_names_two_people() {
    let (gate, upstream) = start().await;
    let (ana, amy) = (gate.user_id("ana"), gate.user_id("amy"));
    let path = format!("/proxy/crm/people/{ana}/notes?owner={amy}");
    let two = gate.send(gate.signed("ana", Method::GET, &path).await).await;
    assert_eq!((two.status, two.code()), (403, "IDENTITY_MISMATCH"), "{two:?}");
    assert_eq!(upstream.seen().len(), 0);
    // Where only the query names somebody, that counts.
    let path = format!("/proxy/crm/notes?owner={amy}");
    let other = gate.send(gate.signed("ana", Method::GET, &path).await).await;
    refused(&other);
    assert_eq!(upstream.seen().len(), 0);
}
