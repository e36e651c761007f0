//! How what is said to a PostgreSQL server is protected on its way there.

use std::net::IpAddr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// Whether somebody on the way to a server could read or change what is said, and the passwords of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// It does not leave this machine.
    Local,
    /// Over TLS, and the server has to show that it is the one of this name (`sslmode=verify-full`).
    Verified,
    /// Somebody could, and the address says so in words: `sslmode=disable`, `require` or `verify-ca`.
    Open,
    /// Somebody could, and the address does not say so: without an `sslmode`, TLS is given up by
    /// whoever stands in the way.
    Unsaid,
}

impl Transport {
    pub(super) fn of(options: &PgConnectOptions) -> Self {
        if options.get_socket().is_some() || is_here(options.get_host()) {
            return Self::Local;
        }
        match options.get_ssl_mode() {
            PgSslMode::VerifyFull => Self::Verified,
            PgSslMode::Disable | PgSslMode::Require | PgSslMode::VerifyCa => Self::Open,
            PgSslMode::Allow | PgSslMode::Prefer => Self::Unsaid,
        }
    }
}

/// What to write in the address.
pub const TLS_HELP: &str = "add `?sslmode=verify-full&sslrootcert=/path/to/ca.pem` to the address, or \
     `?sslmode=disable` if you trust everybody on the way there";

fn is_here(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    // A path is a socket; the library takes it out of `host`, or leaves it there.
    host.starts_with('/')
        || host == "localhost"
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::super::super::super::ledger::Postgres;
    use super::*;

    #[test]
    fn an_address_on_another_machine_says_how_it_is_protected() {
        let far = "postgres://u:p@db.example.org/l";
        for (address, is) in [
            (far.to_owned(), Transport::Unsaid),
            (format!("{far}?sslmode=prefer"), Transport::Unsaid),
            (format!("{far}?sslmode=allow"), Transport::Unsaid),
            (format!("{far}?sslmode=disable"), Transport::Open),
            (format!("{far}?sslmode=require"), Transport::Open),
            (format!("{far}?sslmode=verify-ca"), Transport::Open),
            (format!("{far}?sslmode=verify-full"), Transport::Verified),
            (format!("{far}?sslmode=verify-full&sslrootcert=/ca.pem"), Transport::Verified),
            ("postgres://u:p@192.0.2.7/l".to_owned(), Transport::Unsaid),
            ("postgres://u:p@[2001:db8::7]/l".to_owned(), Transport::Unsaid),
            ("postgres://u:p@127.0.0.1/l".to_owned(), Transport::Local),
            ("postgres://u:p@[::1]:5433/l".to_owned(), Transport::Local),
            ("postgres://u:p@localhost/l".to_owned(), Transport::Local),
            ("postgres://u@%2Frun%2Fpostgresql/l".to_owned(), Transport::Local),
            ("postgres://u@db.example.org/l?host=/run/postgresql".to_owned(), Transport::Local),
            ("postgres://u@localhost/l?host=db.example.org".to_owned(), Transport::Unsaid),
            ("postgres://u@localhost/l?hostaddr=192.0.2.7".to_owned(), Transport::Unsaid),
        ] {
            assert_eq!(Postgres::new(&address).transport(), Some(is), "{address}");
        }
        assert_eq!(Postgres::new("nonsense").transport(), None);
    }
}
