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
    /// Of the address `url` and of what the library reads from it. What the environment says
    /// (`PGSSLMODE`) does not count: it is not written where the address is looked at.
    pub(super) fn of(url: &str, options: &PgConnectOptions) -> Self {
        if options.get_socket().is_some() || is_here(options.get_host()) {
            return Self::Local;
        }
        if !parameters(url).any(|(name, _)| matches!(name, "sslmode" | "ssl-mode")) {
            return Self::Unsaid;
        }
        match options.get_ssl_mode() {
            PgSslMode::VerifyFull => Self::Verified,
            PgSslMode::Disable | PgSslMode::Require | PgSslMode::VerifyCa => Self::Open,
            PgSslMode::Allow | PgSslMode::Prefer => Self::Unsaid,
        }
    }
}

/// Parameters of an address that the driver knows.
const KNOWN: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// The first parameter of an address that the driver does not know and would leave out without a word: whoever
/// wrote it wants something that does not happen. One that can't be the name of a parameter is not
/// repeated, since it may be a part of a password.
pub(super) fn unknown_parameter(url: &str) -> Option<&str> {
    let mut names = parameters(url).map(|(name, rest)| (name, rest.is_some()));
    let unknown = names.find(|(name, _)| !KNOWN.contains(name) && !is_option(name));
    unknown.map(|(name, has_value)| {
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        let fits = has_value && name.len() <= 32 && name.bytes().all(is_name);
        if fits { name } else { "?" }
    })
}

fn is_option(name: &str) -> bool {
    name.starts_with("options[") && name.ends_with(']')
}

/// Names and values as they are written. A name that is spelled otherwise than it is read, such as
/// `%73slmode`, is none that is known.
fn parameters(url: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    let query = url.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let each = query.split('&').filter(|part| !part.is_empty());
    each.map(|part| part.split_once('=').map_or((part, None), |(name, value)| (name, Some(value))))
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

    #[test]
    fn what_the_environment_says_is_not_said_in_the_address() {
        let far = "postgres://u:p@db.example.org/l";
        // As the library makes it where `PGSSLMODE=verify-full` is set.
        let options: PgConnectOptions = far.parse().unwrap();
        let options = options.ssl_mode(PgSslMode::VerifyFull);
        assert_eq!(Transport::of(far, &options), Transport::Unsaid);
        let said = format!("{far}?sslmode=verify-full");
        assert_eq!(Transport::of(&said, &options), Transport::Verified);
        for elsewhere in
            ["#?sslmode=verify-full", "?application_name=sslmode", "?x=sslmode=disable"]
        {
            let address = format!("{far}{elsewhere}");
            assert_eq!(Transport::of(&address, &options), Transport::Unsaid, "{address}");
        }
    }

    #[test]
    fn a_parameter_that_the_driver_does_not_know_is_named() {
        let unknown = |query: &str| {
            let address = format!("postgres://u:p@localhost/l{query}");
            Postgres::new(&address).unknown_parameter().map(str::to_owned)
        };
        for query in ["", "?", "?sslmode=disable&options[a.b]=c&options=-c%20a=b", "?user=u#x=y"] {
            assert_eq!(unknown(query), None, "{query}");
        }
        for (query, name) in [
            ("?sslpassword=p", "sslpassword"),
            ("?sslmode=disable&ssl_mode=require", "ssl_mode"),
            ("?SSLMODE=disable", "SSLMODE"),
            ("?%73slmode=disable", "?"),
            ("?secret@db.example.org/l", "?"),
            ("?a-part-of-a-password-that-has-a-question-mark=x", "?"),
        ] {
            assert_eq!(unknown(query).as_deref(), Some(name), "{query}");
        }
    }

    /// The list is that of the driver: each is taken by it, so that none is refused that would count.
    #[test]
    fn every_known_parameter_is_one_of_the_driver() {
        let plain: PgConnectOptions = "postgres://u@h/l".parse().unwrap();
        for name in KNOWN {
            let value = match *name {
                "sslmode" | "ssl-mode" => "verify-ca",
                "statement-cache-capacity" | "port" => "77",
                "hostaddr" => "192.0.2.7",
                _ => "other",
            };
            let read: PgConnectOptions =
                format!("postgres://u@h/l?{name}={value}").parse().unwrap();
            assert_ne!(format!("{read:?}"), format!("{plain:?}"), "{name} says nothing");
        }
    }
}
