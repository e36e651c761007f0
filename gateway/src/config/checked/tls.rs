//! The PEM files of `[server.tls]`, read as the start reads them.

use crate::config::checker::Checker;
use crate::config::document::At;
use crate::config::mistakes::Kind;
use crate::config::settings::Tls;
use crate::config::written;
use crate::edge::{ServerTls, TlsError};
use portcullis_secrets::SecretRef;
use rustls_pki_types::pem::{Error, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};

pub(super) fn tls(c: &mut Checker<'_>, at: &At, written: written::Tls) -> Option<Tls> {
    let (at_cert, at_key) = (at.key("cert"), at.key("key"));
    let cert = pem(c, &at_cert, written.cert);
    let key = pem(c, &at_key, written.key);
    if let Some(file) = key.clone().map(SecretRef::File).filter(SecretRef::is_world_readable) {
        let message = format!("everybody on this machine can read {file}");
        c.warn(&at_key, message, "run `chmod 600` on it");
    }
    if !c.reads_files() {
        return Some(Tls { cert: cert?, key: key? });
    }
    // Both files are looked at, so that a mistake in one hides none in the other.
    let cert = cert.and_then(|path| certificates(c, &at_cert, path));
    let key = key.and_then(|path| private_key(c, &at_key, path));
    let (cert, key) = (cert?, key?);
    if let Err(why) = ServerTls::from_pem_files(&cert, &key) {
        let why = match why {
            TlsError::Unusable(why) => why.to_string(),
            // Each was read above; this one's text may quote the file.
            TlsError::Unreadable { .. } => "the files changed while they were read".to_owned(),
        };
        let help = "give the chain, leaf first, and the private key of that leaf";
        c.wrong_key(Kind::Conflict, at, format!("`{at}`: {why}"), help);
        return None;
    }
    Some(Tls { cert, key })
}

fn pem(c: &mut Checker<'_>, at: &At, written: Option<String>) -> Option<PathBuf> {
    let file = c.required(at, written, "TLS takes both `cert` and `key`, each a PEM file")?;
    c.file(at, &file)
}

fn certificates(c: &mut Checker<'_>, at: &At, path: PathBuf) -> Option<PathBuf> {
    let help = "give a PEM file with the certificate chain, leaf first";
    let chain = CertificateDer::pem_file_iter(&path);
    let fault = match chain.and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(chain) if chain.is_empty() => Some("it holds no certificate".to_owned()),
        Ok(_) => None,
        Err(why) => Some(in_own_words(&why, "certificate")),
    };
    c.faultless(at, path, fault, help)
}

fn private_key(c: &mut Checker<'_>, at: &At, path: PathBuf) -> Option<PathBuf> {
    let help = "give a PEM file with the private key, as PKCS#8, PKCS#1 or SEC1";
    let fault = key_fault(&path);
    c.faultless(at, path, fault, help)
}

fn key_fault(path: &Path) -> Option<String> {
    PrivateKeyDer::from_pem_file(path).err().map(|why| in_own_words(&why, "private key"))
}

/// Never the text of the parser, which quotes lines of the file: a key that lost its line breaks
/// is such a line.
fn in_own_words(why: &Error, what: &str) -> String {
    match why {
        Error::NoItemsFound => format!("it holds no {what}"),
        Error::MissingSectionEnd { .. } => "a section has no `-----END` line".to_owned(),
        Error::IllegalSectionStart { .. } => {
            "a `-----BEGIN` line is not closed by five dashes".to_owned()
        }
        Error::Base64Decode(_) => "a section is not base64".to_owned(),
        Error::Io(why) => why.to_string(),
        _ => "it is not PEM".to_owned(),
    }
}
