//! The one address by which the gateway calls itself: in metadata, in links for people, as issuer.

use crate::config::Server;

/// The gateway's own address, without a final slash: the configured one, or that of the loopback interface it
/// listens on. None when it serves other machines and nobody said how they call it: what a request's `Host` says,
/// anybody can write.
///
/// `host` is that of the request. It only picks between the names of this machine, where browsers and clients
/// write `localhost` as often as the number.
#[must_use]
pub fn base_url(server: &Server, host: Option<&str>) -> Option<String> {
    if let Some(url) = &server.public_url {
        return Some(url.clone());
    }
    if !server.listen.ip().is_loopback() {
        return None;
    }
    let scheme = if server.tls.is_some() { "https" } else { "http" };
    let (number, name) = (server.listen.to_string(), format!("localhost:{}", server.listen.port()));
    let called = host.filter(|host| *host == name).unwrap_or(&number);
    Some(format!("{scheme}://{called}"))
}

/// The MCP door, as part of the address of a resource.
pub const MCP: &str = "/mcp";

/// Whether a resource (RFC 8707) is this gateway, or its MCP door, as a request to `base` may call it.
#[must_use]
pub fn is_own_resource(base: &str, resource: &str) -> bool {
    resource.strip_prefix(base).is_some_and(|rest| ["", "/", MCP].contains(&rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_host_but_a_name_of_this_machine_is_believed() {
        let mut server = Server::default();
        let here = Some("http://127.0.0.1:8080".to_owned());
        for host in
            [None, Some("127.0.0.1:8080"), Some("evil.example"), Some("localhost:1"), Some("")]
        {
            assert_eq!(base_url(&server, host), here, "{host:?}");
        }
        let named = Some("http://localhost:8080".to_owned());
        assert_eq!(base_url(&server, Some("localhost:8080")), named);
        server.listen = "0.0.0.0:8080".parse().unwrap();
        assert_eq!(base_url(&server, Some("evil.example")), None);
        assert_eq!(base_url(&server, Some("localhost:8080")), None);
        server.public_url = Some("https://gate.example.org".to_owned());
        assert_eq!(base_url(&server, Some("localhost:8080")), server.public_url);
    }
}
