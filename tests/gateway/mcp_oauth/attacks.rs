//! What attackers try on the way from a request to a token.

use super::client::member;
use super::*;

const EVIL: [&str; 12] = [
    "https://evil.example/callback",
    "https://client.example/callback/",
    "https://client.example/callback?x=y",
    "https://client.example/callback#x",
    "https://client.example:8443/callback",
    "https://client.example.evil.example/callback",
    "https://user@client.example/callback",
    "https://client.example@evil.example/callback",
    "http://client.example/callback",
    "javascript:alert(1)",
    "//evil.example",
    "",
];

async fn client_of_a_site(gate: &Deployment) -> Client<'_> {
    let metadata = json!({ "redirect_uris": ["https://client.example/callback"] });
    Client::register_as(gate, metadata).await
}

#[tokio::test]
async fn an_unknown_address_or_client_is_a_page_that_leads_nowhere() {
    let (gate, _upstream) = gate().await;
    let ana = Walker::sign_in(&gate, "ana").await;
    let client = client_of_a_site(&gate).await;
    for evil in EVIL {
        for page in [
            client.ask(&ana, &[("redirect_uri", evil)]).await,
            gate.get(&client.request(&[("redirect_uri", evil)])).await,
        ] {
            assert_eq!((page.status, page.header("location")), (400, ""), "{evil}");
            assert!(
                !page.text().contains("href") && !page.text().contains("evil"),
                "{}",
                page.text()
            );
        }
    }
    let unknown = client.ask(&ana, &[("client_id", "imp_oc_none")]).await;
    assert_eq!((unknown.status, unknown.header("location")), (400, ""), "{unknown:?}");
    // On this machine any port is the program's, and no other name of it.
    let local = Client::register(&gate).await;
    let port = local.ask(&ana, &[("redirect_uri", "http://127.0.0.1:4/callback")]).await;
    assert_eq!(port.status, 200, "{}", port.text());
    for other in ["http://localhost:33418/callback", "http://127.0.0.1:33418/callback/x"] {
        assert_eq!(local.ask(&ana, &[("redirect_uri", other)]).await.status, 400, "{other}");
    }
}

#[tokio::test]
async fn nobody_registers_an_address_with_two_meanings() {
    let (gate, _upstream) = gate().await;
    let register = async |metadata: Value| {
        gate.send(gate.request(Method::POST, "/v1/oauth/register").json(&metadata)).await
    };
    for evil in
        ["https://a@b.example/", "https://b.example/#x", "javascript:alert(1)", "http://b.example/"]
    {
        let answer = register(json!({ "redirect_uris": ["https://b.example/", evil] })).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "invalid_redirect_uri"),
            "{evil}: {answer:?}"
        );
    }
    let other = json!({ "redirect_uris": ["https://b.example/"], "grant_types": ["password"] });
    assert_eq!(register(other).await.code(), "invalid_client_metadata");
    assert_eq!(register(json!({})).await.code(), "MALFORMED_BODY");
    for _ in 0..40 {
        let answer = register(json!({ "redirect_uris": ["https://b.example/"] })).await;
        if answer.status == 429 {
            assert!(!answer.header("retry-after").is_empty());
            return;
        }
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    panic!("one address registers without end");
}

#[tokio::test]
async fn a_downgrade_or_another_target_is_told_to_the_person_and_answers_nothing_by_itself() {
    let (gate, _upstream) = gate().await;
    let ana = Walker::sign_in(&gate, "ana").await;
    let client = client_of_a_site(&gate).await;
    let at = ("redirect_uri", "https://client.example/callback");
    for (change, code) in [
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge", "short"), "invalid_request"),
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", ""), "unsupported_response_type"),
        (("resource", "https://other.example/mcp"), "invalid_target"),
        (("scope", "Nonsense"), "invalid_scope"),
    ] {
        let page = client.ask(&ana, &[at, change]).await;
        assert_eq!((page.status, page.header("location")), (400, ""), "{change:?}: {page:?}");
        assert!(page.text().contains(code), "{code}: {}", page.text());
        let back =
            page.text().split("href=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let back = back.replace("&amp;", "&");
        assert!(back.starts_with("https://client.example/callback?error="), "{back}");
        assert_eq!(
            (member(&back, "error"), member(&back, "state")),
            (code.to_owned(), "the state".to_owned())
        );
        assert_eq!(member(&back, "iss"), gate.url());
        assert!(!page.text().contains("name=\"decision\""), "nothing to approve");
    }
    for long in ["x".repeat(1_025), "é".to_owned()] {
        let page = client.ask(&ana, &[at, ("state", &long)]).await;
        assert!(page.status == 400 && !page.text().contains("href"), "{}", page.text());
    }
}

#[tokio::test]
async fn state_comes_back_untouched() {
    let (gate, _upstream) = gate().await;
    let ana = Walker::sign_in(&gate, "ana").await;
    let client = Client::register(&gate).await;
    for state in ["a+b%20c&d=e#f\"<script>", &"x".repeat(1_024)] {
        for decision in ["approve", "deny"] {
            let page = client.ask(&ana, &[("state", state)]).await;
            assert!(!page.text().contains("<script"), "{}", page.text());
            let answer = client.decided(&ana, &page, decision).await;
            let to = answer.header("location");
            assert_eq!((answer.status, member(to, "state")), (303, state.to_owned()), "{answer:?}");
            assert_eq!(member(to, "iss"), gate.url());
            assert_eq!(member(to, "error"), if decision == "deny" { "access_denied" } else { "" });
            assert_eq!(member(to, "code").is_empty(), decision == "deny");
        }
    }
}

#[tokio::test]
async fn a_code_is_worth_nothing_to_anybody_else() {
    let (gate, _upstream) = gate().await;
    let ana = Walker::sign_in(&gate, "ana").await;
    let (client, thief) = (Client::register(&gate).await, Client::register(&gate).await);
    let page = client.ask(&ana, &[]).await;
    let code = client.approved(&ana, &page).await;
    let other = "A".repeat(43);
    let twice = [("client_id", client.id.as_str()), ("code", &code), ("client_id", &client.id)];
    let twice = client.send_token(&twice).await;
    let another_server = ("resource", "https://other.example/mcp");
    for (answer, error) in [
        (thief.redeem(&code, &[]).await, "invalid_grant"),
        (thief.redeem(&code, &[("code_verifier", &other)]).await, "invalid_grant"),
        (client.redeem(&code, &[("code_verifier", &other)]).await, "invalid_grant"),
        (
            client.redeem(&code, &[("code_verifier", &challenge_of(VERIFIER))]).await,
            "invalid_grant",
        ),
        (client.redeem(&code, &[("code_verifier", "")]).await, "invalid_request"),
        (
            client.redeem(&code, &[("redirect_uri", "http://127.0.0.1:4/callback")]).await,
            "invalid_grant",
        ),
        (client.redeem(&code, &[another_server]).await, "invalid_target"),
        (client.redeem(&code, &[("grant_type", "password")]).await, "unsupported_grant_type"),
        (client.redeem("imp_oa_none", &[]).await, "invalid_grant"),
        (client.redeem(&code, &[("client_id", "")]).await, "invalid_request"),
        (client.redeem(&code, &[("client_id", "imp_oc_none")]).await, "invalid_client"),
        // A second one of the same name is refused whatever it says.
        (twice, "invalid_request"),
    ] {
        assert_eq!((answer.status, answer.code()), (400, error), "{answer:?}");
        assert!(answer.body["error_description"].is_string(), "{answer:?}");
    }
    // Her code, injected into a flow that another person began with the same program: the program redeems what comes
    // back with the verifier of that flow (RFC 9700 section 4.5).
    let ben = Walker::sign_in(&gate, "ben").await;
    let page = client.ask(&ben, &[("code_challenge", &challenge_of(&other))]).await;
    let his = client.approved(&ben, &page).await;
    for (code, verifier) in [(&code, other.as_str()), (&his, VERIFIER)] {
        let injected = client.redeem(code, &[("code_verifier", verifier)]).await;
        assert_eq!((injected.status, injected.code()), (400, "invalid_grant"), "{injected:?}");
    }
    for (code, verifier, name) in [(&code, VERIFIER, "ana"), (&his, other.as_str(), "ben")] {
        let own = client.redeem(code, &[("code_verifier", verifier)]).await;
        assert_eq!(own.status, 200, "its own flow still gets its token: {own:?}");
        let me = gate.request(Method::GET, "/v1/auth/me");
        let me = gate.send(me.bearer_auth(own.body["access_token"].as_str().unwrap())).await;
        assert_eq!(me.body["imperal_id"], gate.user_id(name), "{me:?}");
    }
}

#[tokio::test]
async fn a_code_that_comes_twice_ends_its_grant() {
    let (gate, _upstream) = gate().await;
    let ana = Walker::sign_in(&gate, "ana").await;
    let client = Client::register(&gate).await;
    let page = client.ask(&ana, &[]).await;
    let code = client.approved(&ana, &page).await;
    let tokens = client.tokens(&code).await.body;
    let token = tokens["access_token"].as_str().unwrap();
    assert!(is_done(&create_note(&gate, token).await));
    let again = client.tokens(&code).await;
    assert_eq!((again.status, again.code()), (400, "invalid_grant"), "{again:?}");
    assert_eq!(create_note(&gate, token).await.status, 401, "what it gave has ended");
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let refresh =
        client.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await;
    assert_eq!(refresh.code(), "invalid_grant", "{refresh:?}");
    assert_eq!(ended(&gate, &client.id).await, "code_reused");
}

#[tokio::test]
async fn a_consent_is_given_on_our_own_page_by_its_own_session() {
    let (gate, _upstream) = gate().await;
    let (ana, ben) = (Walker::sign_in(&gate, "ana").await, Walker::sign_in(&gate, "ben").await);
    let client = Client::register(&gate).await;
    let page = client.ask(&ana, &[]).await;
    let policy = page.header("content-security-policy");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(policy.contains("form-action 'self' http://127.0.0.1:33418;"), "{policy}");
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(!page.text().contains("<script"));
    let [csrf, request, scopes] = form_of(&page);
    let form = |csrf: &str, request: &str, scopes: &str| {
        [("csrf", csrf), ("request", request), ("scopes", scopes), ("decision", "approve")]
            .map(|(name, value)| (name, value.to_owned()))
    };
    let post =
        async |walker: &Walker<'_>, fields: &[(&'static str, String)], headers: &[(&str, &str)]| {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let mut request = walker.form("/v1/oauth/authorize", &fields);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            gate.send(request).await
        };
    let ours = form(&csrf, &request, &scopes);
    for header in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "none"),
        ("origin", "https://evil.example"),
    ] {
        assert_eq!(post(&ana, &ours, &[header]).await.status, 403, "{header:?}");
    }
    for (walker, fields) in
        [(&ben, &ours[..]), (&ana, &ours[1..]), (&ana, &form("00", &request, &scopes)[..])]
    {
        assert_eq!(post(walker, fields, &[]).await.status, 403);
    }
    // More than was shown, or than she holds, is shown again and not granted.
    for scopes in ["*", "notes:read", ""] {
        let again = post(&ana, &form(&csrf, &request, scopes), &[]).await;
        assert!(
            again.status == 200 && again.text().contains("<code>notes:destructive</code>"),
            "{again:?}"
        );
    }
    let elsewhere = request.replace("33418%2Fcallback", "33418%2Fother");
    assert_ne!(elsewhere, request);
    let elsewhere = post(&ana, &form(&csrf, &elsewhere, &scopes), &[]).await;
    assert_eq!((elsewhere.status, elsewhere.header("location")), (400, ""));
    // Without a session it begins with the sign-in, and comes back to the same request.
    let stranger = gate.get(&client.request(&[])).await;
    let to = stranger.header("location").to_owned();
    assert!(
        stranger.status == 303 && to.starts_with("/signin?next=%2Fv1%2Foauth%2Fauthorize%3F"),
        "{to}"
    );
    assert_eq!(post(&ana, &ours, &[]).await.status, 303);
}

#[tokio::test]
async fn somebody_who_holds_nothing_of_it_can_only_deny() {
    let (gate, _upstream) = gate().await;
    let nil = Walker::sign_in(&gate, "nil").await;
    let client = Client::register(&gate).await;
    let page = client.ask(&nil, &[("scope", "notes:write")]).await;
    assert!(
        page.text().contains("nothing to give") && !page.text().contains("Approve<"),
        "{}",
        page.text()
    );
    let forced = client.decided(&nil, &page, "approve").await;
    assert_eq!((forced.status, forced.header("location")), (200, ""), "{forced:?}");
    let denied = client.decided(&nil, &page, "deny").await;
    assert_eq!(member(denied.header("location"), "error"), "access_denied");
}

#[tokio::test]
async fn a_program_leaves_with_its_person() {
    let (gate, _upstream) = gate().await;
    let ana = Walker::sign_in(&gate, "ana").await;
    let client = Client::register(&gate).await;
    let tokens = client.granted(&ana).await;
    gate.change(&["user", "deactivate", &gate.user_id("ana")]).await;
    assert_eq!(create_note(&gate, tokens["access_token"].as_str().unwrap()).await.status, 401);
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let refresh =
        client.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await;
    assert_eq!((refresh.status, refresh.code()), (400, "invalid_grant"), "{refresh:?}");
}
