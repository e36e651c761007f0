//! A strict stub of the transit interface, over HTTP/1.1 on the own host.

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Well,
    Sealed,
    Throttled,
    /// Ends every connection without an answer.
    Closed,
    /// Refuses the path, knows the token.
    Forbidden,
    /// Refuses the token.
    TokenExpired,
    NoKey,
    Slow,
}

pub(crate) struct Stub {
    port: u16,
    folder: tempfile::TempDir,
    state: Arc<Mutex<State>>,
    first_token: String,
}

struct State {
    mode: Mode,
    token: String,
    keys: BTreeMap<u32, [u8; 32]>,
    made: u64,
    min_decryption: u32,
    min_available: u32,
    asked: HashMap<String, usize>,
}

impl Stub {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let token = "hvs.first-token".to_owned();
        std::fs::write(folder.path().join("token"), &token).unwrap();
        let state = State {
            mode: Mode::Well,
            token: token.clone(),
            keys: BTreeMap::from([(1, [1; 32])]),
            made: 1_700_000_000,
            min_decryption: 1,
            min_available: 0,
            asked: HashMap::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { port, folder, state, first_token: token }
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    pub(crate) fn token(&self) -> &str {
        &self.first_token
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.state.lock().unwrap().mode = mode;
    }

    pub(crate) fn asked(&self, verb: &str) -> usize {
        self.state.lock().unwrap().asked.get(verb).copied().unwrap_or_default()
    }

    pub(crate) fn change_token(&self, token: &str) {
        self.state.lock().unwrap().token = token.to_owned();
        std::fs::write(self.token_file(), token).unwrap();
    }

    /// A service that was set up anew under the same name.
    pub(crate) fn replace_key(&self) {
        let mut state = self.state.lock().unwrap();
        state.keys = BTreeMap::from([(1, [9; 32])]);
        state.made += 1;
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or_default() == 0 {
            return;
        }
        let (mut length, mut token) = (0, String::new());
        loop {
            let mut header = String::new();
            if stream.read_line(&mut header).await.unwrap_or_default() == 0 {
                return;
            }
            let Some((name, value)) = header.trim().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap(),
                "x-vault-token" => token = value.trim().to_owned(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let mode = state.lock().unwrap().mode;
        match mode {
            Mode::Closed => return,
            Mode::Slow => tokio::time::sleep(std::time::Duration::from_secs(30)).await,
            _ => {}
        }
        let mut words = line.split_whitespace();
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let (status, answer) = state.lock().unwrap().answer(method, path, &token, &body);
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
    }
}

type Answer = (u16, Value);

fn fail(status: u16, word: &str) -> Answer {
    (status, json!({ "errors": [word] }))
}

impl State {
    fn answer(&mut self, method: &str, path: &str, token: &str, body: &[u8]) -> Answer {
        let path = path.strip_prefix("/v1/").unwrap_or_default();
        let verb = match path {
            "transit/keys/portcullis/rotate" => "rotate",
            "transit/keys/portcullis/config" => "config",
            "transit/keys/portcullis/trim" => "trim",
            "transit/keys/portcullis" => "keys",
            "transit/encrypt/portcullis" => "encrypt",
            "transit/decrypt/portcullis" => "decrypt",
            "transit/rewrap/portcullis" => "rewrap",
            "auth/token/renew-self" => "renew-self",
            "auth/token/lookup-self" => "lookup-self",
            _ => return fail(404, "no handler for route"),
        };
        *self.asked.entry(verb.to_owned()).or_default() += 1;
        let about_token = verb.ends_with("-self");
        match self.mode {
            Mode::Sealed => return fail(503, "Vault is sealed"),
            Mode::Throttled => {
                return fail(429, "request path \"transit\": rate limit quota exceeded");
            }
            Mode::TokenExpired => return fail(403, "permission denied"),
            Mode::Forbidden if !about_token => {
                return fail(403, "1 error occurred: permission denied");
            }
            Mode::NoKey if !about_token => return fail(400, "encryption key not found"),
            _ => {}
        }
        if token != self.token {
            return fail(403, "permission denied");
        }
        let reads = matches!(verb, "keys" | "lookup-self");
        if method != (if reads { "GET" } else { "POST" }) {
            return fail(405, "unsupported operation");
        }
        let body: Value = if reads { Value::Null } else { serde_json::from_slice(body).unwrap() };
        self.act(verb, &body)
    }

    fn act(&mut self, verb: &str, body: &Value) -> Answer {
        let latest = *self.keys.last_key_value().unwrap().0;
        match verb {
            "renew-self" => (200, json!({ "auth": { "lease_duration": 2, "renewable": true } })),
            "lookup-self" => (200, json!({ "data": { "ttl": 2 } })),
            "keys" => {
                let keys: HashMap<String, u64> =
                    self.keys.keys().map(|n| (n.to_string(), self.made + u64::from(*n))).collect();
                let data = json!({
                    "type": "aes256-gcm96", "latest_version": latest, "keys": keys,
                    "min_decryption_version": self.min_decryption,
                    "min_available_version": self.min_available,
                });
                (200, json!({ "data": data }))
            }
            "rotate" => {
                self.keys.insert(latest + 1, [latest as u8 + 1; 32]);
                (204, Value::Null)
            }
            "config" => {
                let number = |name: &str| body[name].as_u64().unwrap() as u32;
                self.min_decryption = number("min_decryption_version");
                assert_eq!(number("min_encryption_version"), self.min_decryption);
                (204, Value::Null)
            }
            "trim" => {
                let from = body["min_available_version"].as_u64().unwrap() as u32;
                if from > self.min_decryption {
                    return fail(400, "cannot be higher than min_decryption_version");
                }
                self.min_available = from;
                self.keys.retain(|number, _| *number >= from);
                (204, Value::Null)
            }
            "encrypt" => {
                let text = STANDARD.decode(only(body, "plaintext")).unwrap();
                let sealed = self.seal(latest, &text);
                (200, json!({ "data": { "ciphertext": sealed, "key_version": latest } }))
            }
            "decrypt" | "rewrap" => match self.open(only(body, "ciphertext")) {
                Err(word) => fail(400, word),
                Ok(text) if verb == "decrypt" => {
                    (200, json!({ "data": { "plaintext": STANDARD.encode(text) } }))
                }
                Ok(text) => {
                    let sealed = self.seal(latest, &text);
                    (200, json!({ "data": { "ciphertext": sealed, "key_version": latest } }))
                }
            },
            _ => unreachable!(),
        }
    }

    fn seal(&self, number: u32, text: &[u8]) -> String {
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce).unwrap();
        let cipher = Aes256Gcm::new(&self.keys[&number].into());
        let sealed = cipher.encrypt(&Nonce::from(nonce), text).unwrap();
        format!("vault:v{number}:{}", STANDARD.encode([&nonce[..], &sealed].concat()))
    }

    fn open(&self, text: &str) -> Result<Vec<u8>, &'static str> {
        let invalid = "invalid ciphertext: no prefix";
        let (number, rest) =
            text.strip_prefix("vault:v").and_then(|rest| rest.split_once(':')).ok_or(invalid)?;
        let number: u32 = number.parse().map_err(|_| invalid)?;
        if number < self.min_decryption {
            return Err("ciphertext or signature version is disallowed by policy (too old)");
        }
        let key = self.keys.get(&number).ok_or("invalid ciphertext: version not found")?;
        let bytes =
            STANDARD.decode(rest).map_err(|_| "invalid ciphertext: could not decode base64")?;
        let (nonce, sealed) = bytes.split_first_chunk::<12>().ok_or(invalid)?;
        let cipher = Aes256Gcm::new(&(*key).into());
        let opened = cipher.decrypt(&Nonce::from(*nonce), sealed);
        opened.map_err(|_| "cipher: message authentication failed")
    }
}

/// The one field that a request of ours has.
fn only<'a>(body: &'a Value, name: &str) -> &'a str {
    let fields = body.as_object().unwrap();
    assert!(fields.len() == 1, "other fields than `{name}`: {:?}", fields.keys());
    body[name].as_str().unwrap()
}
