//! TLS for the edge: `rustls` with `aws-lc-rs`, TLS 1.2 and 1.3, no client certificates.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Certificate chain and key of the edge, checked to belong together.
#[derive(Clone)]
pub struct ServerTls(Arc<ServerConfig>);

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls")
    }
}

impl ServerTls {
    /// Reads a PEM chain (leaf first) and a PEM key (PKCS#8, PKCS#1 or SEC1).
    ///
    /// # Errors
    /// [`TlsError`], which names the file and what to do.
    pub fn from_pem_files(chain: &Path, key: &Path) -> Result<ServerTls, TlsError> {
        let unreadable = |path: &Path, error: rustls_pki_types::pem::Error| TlsError::Unreadable {
            path: path.to_owned(),
            why: error.to_string(),
        };
        let certificates = CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unreadable(chain, error))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
            .map_err(TlsError::Unusable)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(ServerTls(Arc::new(config)))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0))
    }
}

/// The operator's certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or holds no such PEM item.
    #[error("cannot read `{path}`: {why}: give a PEM file that the gateway's user may read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the parser says; never key material.
        why: String,
    },
    /// Chain and key do not belong together, or the key type is not supported.
    #[error("certificate and key cannot be used together: {0}")]
    Unusable(rustls::Error),
}
