//! What it costs to know who asks, beside bare `jsonwebtoken`, in one run of interleaved rounds.
//!
//! `identity` prints three tables: the verification of tokens that nobody has seen before, with warm keys; how often the
//! directory is asked; and the cost of one call with few and with many users.

#![expect(clippy::print_stdout, reason = "a benchmark speaks on stdout")]

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderValue};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use portcullis::directory::{Actor, Directory, NewUser};
use portcullis::identify::{
    AccessClaims, ConnectionFacts, Identity, IdentitySettings, SealFault, Sealer,
};
use portcullis_policies::{AppId, TenantId};
use secrecy::{ExposeSecret as _, SecretSlice};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Tokens of one pass; each pass verifies every one of them once.
const TOKENS: usize = 64;
/// Passes of one measurement.
const PASSES: usize = 40;
/// Interleaved rounds; medians are printed.
const ROUNDS: usize = 9;
/// Users of the large directory, and how many of them call.
const MANY: usize = 100_000;
const CALLERS: usize = 20_000;

/// Keeps the signing key as it is: nothing here is secret, and it is read once.
struct Open;

#[async_trait::async_trait]
impl Sealer for Open {
    async fn seal(&self, _: &str, plaintext: &[u8]) -> Result<Vec<u8>, SealFault> {
        Ok(plaintext.to_vec())
    }

    async fn open(&self, _: &str, sealed: &[u8]) -> Result<SecretSlice<u8>, SealFault> {
        Ok(sealed.to_vec().into())
    }
}

struct Bench {
    identity: Identity,
    directory: Directory,
    address: String,
    tenant: TenantId,
    app: AppId,
    users: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let mut bench = Bench::new(folder.path()).await?;
    let tokens = bench.tokens(TOKENS).await?;
    verification(&bench, &tokens).await?;
    println!("\nusers     who calls           us/call  questions to the directory/call");
    cost(&bench, 10).await?;
    bench.fill().await?;
    cost(&bench, MANY).await
}

impl Bench {
    async fn new(folder: &std::path::Path) -> Result<Self, Failed> {
        let file = folder.join("directory.db");
        let directory = Directory::open(&file).await?;
        let by = Actor::command("bench");
        let tenant = directory.create_tenant(&"imp_t_bench".parse()?, "Bench", &by).await?.id;
        let settings = IdentitySettings::default();
        let identity = Identity::open(directory.clone(), Arc::new(Open), settings).await?;
        let mut users = Vec::new();
        for n in 0..10 {
            let new = NewUser {
                tenant: tenant.clone(),
                email: format!("first{n}@bench.example"),
                role: "user".to_owned(),
                scopes: vec!["notes:*".to_owned()],
                password_hash: None,
                attributes: None,
                agency_id: None,
            };
            users.push(directory.create_user(new, &by).await?.id);
        }
        let address = format!("sqlite:{}?mode=rw", file.display());
        Ok(Self { identity, directory, address, tenant, app: "notes".parse()?, users })
    }

    /// Tokens of these users in turn, with the header that carries each.
    async fn tokens(&self, count: usize) -> Result<Vec<(String, HeaderMap)>, Failed> {
        let mut tokens = Vec::with_capacity(count);
        for user in self.users.iter().cycle().take(count) {
            let issued = self.identity.extension_token(user, &self.app).await?;
            let token = issued.token.expose_secret().to_owned();
            let mut headers = HeaderMap::new();
            headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {token}"))?);
            tokens.push((token, headers));
        }
        Ok(tokens)
    }

    /// Makes the rest of the users behind the back of the directory, which would note each of them.
    async fn fill(&mut self) -> Result<(), Failed> {
        let pool =
            sqlx::any::AnyPoolOptions::new().max_connections(1).connect(&self.address).await?;
        let mut transaction = pool.begin().await?;
        for n in self.users.len()..MANY {
            let id = format!("imp_u_{n:032x}");
            sqlx::query(
                "INSERT INTO users (id, tenant_id, email, role_id, attributes, active, created_ms, version) \
                 SELECT $1, tenant_id, $2, role_id, attributes, 1, created_ms, version FROM users \
                 WHERE tenant_id = $3 LIMIT 1",
            )
            .bind(&id)
            .bind(format!("user{n}@bench.example"))
            .bind(self.tenant.as_str())
            .execute(&mut *transaction)
            .await?;
            // Spread over the whole table, not one beside the other.
            if n % (MANY / CALLERS) == 0 {
                self.users.push(id);
            }
        }
        transaction.commit().await?;
        Ok(())
    }

    async fn identify(&self, headers: &HeaderMap) -> Result<(), Failed> {
        let source = std::net::Ipv4Addr::LOCALHOST.into();
        let facts = ConnectionFacts { source, query: None, in_call: false };
        self.identity.identify(headers, &facts).await?;
        Ok(())
    }
}

/// Tokens that nobody has seen before, the same ones again, and what bare `jsonwebtoken` takes for each.
async fn verification(bench: &Bench, tokens: &[(String, HeaderMap)]) -> Result<(), Failed> {
    let (key, validation) = bare(bench).await?;
    let (mut first, mut again, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (mut ours_us, mut again_us, mut bare_us) = (0.0, 0.0, 0.0);
        for _ in 0..PASSES {
            bench.identity.purge_verified();
            let began = Instant::now();
            for (_, headers) in tokens {
                bench.identify(headers).await?;
            }
            ours_us += us(began);
            let began = Instant::now();
            for (token, _) in tokens {
                std::hint::black_box(decode::<AccessClaims>(token, &key, &validation)?);
            }
            bare_us += us(began);
            let began = Instant::now();
            for (_, headers) in tokens {
                bench.identify(headers).await?;
            }
            again_us += us(began);
        }
        // The first round only warms up.
        if round > 0 {
            let each = |sum: f64| sum / count(TOKENS * PASSES);
            first.push(each(ours_us));
            again.push(each(again_us));
            theirs.push(each(bare_us));
        }
    }
    let mut ratios: Vec<f64> = first.iter().zip(&theirs).map(|(ours, bare)| ours / bare).collect();
    let bytes = tokens.first().map_or(0, |(token, _)| token.len());
    println!("a token of {bytes} bytes, medians of {ROUNDS} interleaved rounds");
    println!("identify, never seen before    {:6.1} us", median(&mut first));
    println!("bare jsonwebtoken, warm key    {:6.1} us", median(&mut theirs));
    println!("identify, seen before          {:6.1} us", median(&mut again));
    println!("of bare, never seen before     {:6.2}", median(&mut ratios));
    Ok(())
}

/// The published key as a verifier outside would hold it, and what it would check.
async fn bare(bench: &Bench) -> Result<(DecodingKey, Validation), Failed> {
    let jwks: serde_json::Value = serde_json::from_slice(&bench.identity.jwks().await)?;
    let part = |name: &str| {
        let part = jwks.pointer(&format!("/keys/0/{name}")).and_then(serde_json::Value::as_str);
        part.unwrap_or_default().to_owned()
    };
    let key = DecodingKey::from_rsa_components(&part("n"), &part("e"))?;
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[IdentitySettings::default().issuer]);
    validation.validate_aud = false;
    Ok((key, validation))
}

/// One call of one user again and again, and of another user each time.
async fn cost(bench: &Bench, users: usize) -> Result<(), Failed> {
    let all = bench.tokens(bench.users.len()).await?;
    let one = all.get(..1).unwrap_or_default();
    for (who, tokens) in [("the same user", one), ("another each time", &all)] {
        let passes = (CALLERS * 5 / tokens.len()).max(1);
        let mut each = Vec::new();
        let mut asked = 0;
        for round in 0..=3 {
            let (began, before) = (Instant::now(), bench.directory.questions());
            for _ in 0..passes {
                for (_, headers) in tokens {
                    bench.identify(headers).await?;
                }
            }
            if round > 0 {
                each.push(us(began) / count(passes * tokens.len()));
                asked += bench.directory.questions() - before;
            }
        }
        let calls = count(3 * passes * tokens.len());
        let asked = count(usize::try_from(asked)?) / calls;
        println!("{users:7}   {who:17} {:9.1}  {asked:9.4}", median(&mut each));
    }
    Ok(())
}

fn us(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e6
}

fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
