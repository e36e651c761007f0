//! Certificates of an authority that is made for one test, by OpenSSL.

use std::process::Command;

/// An authority and the certificate of a server, for names that each test chooses.
pub(crate) struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    pub(crate) fn of(name: &str) -> Self {
        let made = Self { folder: tempfile::tempdir().unwrap() };
        let (key, ca) = (made.at("ca.key"), made.at("ca.pem"));
        let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        openssl(&["req", "-x509"], &new, &["-keyout", &key, "-out", &ca, "-subj", "/CN=test"]);
        let (key, request) = (made.at("server.key"), made.at("server.csr"));
        openssl(&["req"], &new, &["-keyout", &key, "-out", &request, "-subj", "/CN=server"]);
        let names = made.at("names");
        std::fs::write(&names, format!("subjectAltName=DNS:{name}\n")).unwrap();
        let by = ["-CA", &made.at("ca.pem"), "-CAkey", &made.at("ca.key"), "-CAcreateserial"];
        let what = ["-in", &request, "-out", &made.at("server.pem"), "-extfile", &names];
        openssl(&["x509", "-req"], &by, &what);
        made
    }

    /// The server's certificate and its key.
    pub(crate) fn of_server(&self) -> [String; 2] {
        ["server.pem", "server.key"].map(|name| self.at(name))
    }

    pub(crate) fn at(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

fn openssl(first: &[&str], more: &[&str], rest: &[&str]) {
    let made = Command::new("openssl").args(first).args(more).args(rest).output();
    let made = made.expect("missing: openssl (apt-get install it)");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
