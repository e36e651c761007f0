//! Proxies that are believed when they say for whom they ask.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::checker::Checker;
use crate::config::document::At;
use crate::config::mistakes::Kind;

const HELP: &str =
    "write the networks of your own load balancers, such as `10.1.0.0/16`, or single addresses";

/// Each request looks at all of them.
const MOST: usize = 64;

pub(super) fn proxies(c: &mut Checker<'_>, at: &At, written: &[String]) -> Option<Vec<IpNet>> {
    if written.len() > MOST {
        c.wrong(Kind::Value, at, format!("`{at}` has more than {MOST} networks"), HELP);
        return None;
    }
    // Every one is looked at, so that every mistake is told.
    let read = written.iter().enumerate().map(|(n, text)| network(c, &at.item(n), text));
    read.collect::<Vec<_>>().into_iter().collect()
}

fn network(c: &mut Checker<'_>, at: &At, text: &str) -> Option<IpNet> {
    let read = match text.parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address)),
        Err(_) => text.parse::<IpNet>(),
    };
    let why = match read {
        Err(_) => "is no network and no address".to_owned(),
        Ok(network) if network.prefix_len() == 0 => "trusts everybody, and so nobody".to_owned(),
        Ok(network) if network.trunc() != network => {
            format!("has bits behind the network: it is `{}`", network.trunc())
        }
        Ok(network) if network.addr().to_canonical() != network.addr() => {
            "is IPv4 within IPv6, which is read as IPv4".to_owned()
        }
        Ok(network) => return Some(network),
    };
    c.wrong(Kind::Value, at, format!("`{at}` {why}"), HELP);
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::parse;

    #[test]
    fn proxies_are_networks_or_addresses_and_never_everybody() {
        let settings = |list: &str| format!("[server]\ntrusted_proxies = [{list}]\n");
        let good = settings("\"10.0.0.0/8\", \"192.0.2.7\", \"2001:db8::/32\"");
        let server = parse("p.toml", &good, Path::new("/nonexistent")).unwrap().settings.server;
        let read: Vec<String> = server.trusted_proxies.iter().map(ToString::to_string).collect();
        assert_eq!(read, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]);
        let bad = settings(
            "\"0.0.0.0/0\", \"::/0\", \"10.0.0.1/8\", \"10.0.0.0/33\", \"lb.example\", \"::ffff:10.0.0.0/104\"",
        );
        let reports = parse("p.toml", &bad, Path::new("/nonexistent")).unwrap_err().reports();
        assert_eq!(reports.len(), 6, "each is told: {reports:#?}");
        assert!(reports[2].message.contains("it is `10.0.0.0/8`"), "{reports:#?}");
        let many = settings(&vec!["\"192.0.2.7\""; 65].join(","));
        assert!(parse("p.toml", &many, Path::new("/nonexistent")).is_err());
    }
}
