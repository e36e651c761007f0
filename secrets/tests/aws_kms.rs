//! The AWS KMS provider against `moto` (PyPI), an implementation of the KMS interface that nobody here
//! wrote.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]
#![cfg(feature = "aws-kms")]

use portcullis_secrets::{
    AwsKms, AwsKmsSettings, Context, KeyProvider, KeyRef, MemoryStore, ProviderFault, Purpose,
    Scope, SecretRef, Vault, WrapText,
};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Moto {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Moto {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("id"), "AKIAEXAMPLE").unwrap();
        std::fs::write(folder.path().join("secret"), "hunter2").unwrap();
        Self { process: spawn(port), port, folder }
    }

    fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn settings(&self) -> AwsKmsSettings {
        AwsKmsSettings {
            region: "eu-central-1".into(),
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            alias: "portcullis".into(),
            access_key_id: SecretRef::File(self.folder.path().join("id")),
            secret_access_key: SecretRef::File(self.folder.path().join("secret")),
            session_token: None,
        }
    }

    /// The operator's part: a key behind the alias.
    async fn prepare(&self) -> AwsKms {
        let client = self.client();
        let made = client.create_key().send().await.unwrap();
        let id = made.key_metadata().unwrap().key_id().to_owned();
        let alias = client.create_alias().alias_name("alias/portcullis").target_key_id(id);
        alias.send().await.unwrap();
        AwsKms::new(self.settings())
    }

    fn client(&self) -> aws_sdk_kms::Client {
        let credentials =
            aws_sdk_kms::config::Credentials::new("AKIAEXAMPLE", "hunter2", None, None, "test");
        let config = aws_sdk_kms::Config::builder()
            .region(aws_sdk_kms::config::Region::new("eu-central-1"))
            .endpoint_url(format!("http://127.0.0.1:{}", self.port))
            .credentials_provider(credentials);
        aws_sdk_kms::Client::from_conf(config.build())
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(port: u16) -> Child {
    let parts = std::env::var("PORTCULLIS_TEST_PARTS")
        .expect("missing: PORTCULLIS_TEST_PARTS; `tests/parts/install.sh` installs the parts");
    let python = Path::new(&parts).join("venv/bin/python");
    let mut process = Command::new(&python)
        .args(["-m", "moto.server", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|why| panic!("missing: {}: {why}", PathBuf::from(&python).display()));
    let since = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let early = process.try_wait().unwrap();
        assert!(early.is_none(), "missing: PyPI moto[server] in the test venv ({early:?})");
        assert!(since.elapsed() < Duration::from_secs(60), "moto did not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    process
}

fn text() -> WrapText {
    WrapText::new([7; 64])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_seals_rotates_and_opens_through_kms() {
    let moto = Moto::start();
    let kms = Arc::new(moto.prepare().await);
    let store = Arc::new(MemoryStore::default());
    let context =
        Context::new(Scope::new("t", "u", "x").unwrap(), "n", Purpose::Confirmation).unwrap();
    let vault = Vault::<()>::new(kms.clone(), store.clone()).await.unwrap();
    let blob = vault.seal(&context, b"hunter2").await.unwrap();
    let old = vault.current_kek().await.unwrap();
    let done = vault.rotate_kek(Default::default(), &mut |_| ()).await.unwrap();
    assert_eq!((done.moved, done.current.kek_ver), (1, 2));
    let vault = Vault::<()>::new(Arc::new(AwsKms::new(moto.settings())), store).await.unwrap();
    assert!(vault.open(&context, &blob).await.unwrap().with(|text| text == b"hunter2"));
    assert_eq!(
        kms.destroy_version(&done.current).await.unwrap_err().fault(),
        ProviderFault::Denied
    );
    kms.destroy_version(&old).await.unwrap();
    kms.destroy_version(&old).await.unwrap();
    vault.purge_all();
    assert!(vault.open(&context, &blob).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn altered_bytes_a_moved_digest_and_a_gone_key_are_told_apart() {
    let moto = Moto::start();
    let kms = moto.prepare().await;
    let wrapped = kms.wrap(&text(), &[1; 32]).await.unwrap();
    assert_eq!(*kms.unwrap(&wrapped.key, &wrapped.bytes, &[1; 32]).await.unwrap(), *text());
    let moved = kms.unwrap(&wrapped.key, &wrapped.bytes, &[2; 32]).await.unwrap_err();
    assert_eq!(moved.fault(), ProviderFault::Altered, "{moved}");
    let mut altered = wrapped.bytes.clone();
    *altered.last_mut().unwrap() ^= 1;
    let altered = kms.unwrap(&wrapped.key, &altered, &[1; 32]).await.unwrap_err();
    assert_eq!(altered.fault(), ProviderFault::Altered, "{altered}");
    let unknown = KeyRef { kek_id: "11111111-2222-3333-4444-555555555555".into(), kek_ver: 1 };
    let gone = kms.unwrap(&unknown, &wrapped.bytes, &[1; 32]).await.unwrap_err();
    assert!(matches!(gone.fault(), ProviderFault::KeyGone | ProviderFault::WrongKey), "{gone}");
    moto.client().disable_key().key_id(&wrapped.key.kek_id).send().await.unwrap();
    let disabled = kms.wrap(&text(), &[1; 32]).await;
    if let Err(disabled) = disabled {
        assert_eq!(disabled.fault(), ProviderFault::KeyGone, "{disabled}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_kms_and_lost_credentials_fail_closed_and_the_words_show_no_secret() {
    let mut moto = Moto::start();
    let kms = moto.prepare().await;
    let wrapped = kms.wrap(&text(), &[1; 32]).await.unwrap();
    moto.stop();
    let stopped = kms.unwrap(&wrapped.key, &wrapped.bytes, &[1; 32]).await.unwrap_err();
    assert_eq!(stopped.fault(), ProviderFault::Unreachable, "{stopped}");
    let settings = moto.settings();
    let id = SecretRef::File(moto.folder.path().join("absent"));
    let lost = AwsKms::new(AwsKmsSettings { access_key_id: id, ..settings });
    let lost = lost.unwrap(&wrapped.key, &wrapped.bytes, &[1; 32]).await.unwrap_err();
    assert_eq!(lost.fault(), ProviderFault::CredentialExpired, "{lost}");
    assert!(!format!("{stopped} {stopped:?} {lost} {lost:?} {kms:?}").contains("hunter2"));
}
