//! Every bound of the edge, in one place.

use std::time::Duration;

/// What one edge accepts at most. Nothing here is unlimited; the defaults suit a gateway with
/// some hundred megabytes of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once; further ones wait in the kernel's accept queue.
    pub max_connections: usize,
    /// Requests inside the gateway at once, over all connections.
    pub max_requests: usize,
    /// Requests that may wait for a place among `max_requests`; the next one gets 503.
    pub max_waiting: usize,
    /// How long a request may wait for a place before it gets 503.
    pub max_wait: Duration,
    /// Longest request head in bytes (HTTP/2: header list); 431 above. At least 8192.
    pub max_head_bytes: usize,
    /// Most header fields in a head; 431 above. At most 100, which is what hyper reads.
    pub max_fields: usize,
    /// Longest request body in bytes, 413 above; single doors may be stricter.
    pub max_body_bytes: u64,
    /// Streams open at once on one HTTP/2 connection.
    pub max_streams: u32,
    /// From the first byte of a head (or the accept) to its end; then 408.
    pub header_timeout: Duration,
    /// Between two requests; more than 30 s, because clients pool connections that long.
    pub idle_timeout: Duration,
    /// Between two packets of a body that is being read; then 408.
    pub body_timeout: Duration,
    /// How long a peer may leave an answer unread before the connection is cut.
    pub write_timeout: Duration,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// After a refusal: how long bytes that are still on their way are read and thrown away, so
    /// that the refusal is not destroyed by a reset.
    pub linger: Duration,
    /// From the call to stop until connections are cut.
    pub drain_deadline: Duration,
    /// How long a refusal waits for its ledger record; then 503.
    pub record_deadline: Duration,
    /// Refusals that may wait for their record at once; the next one gets 503.
    pub malformed_in_flight: usize,
    /// Refusals with a record of their own in one second; further ones are counted in the next
    /// record, so that an attacker cannot fill the ledger.
    pub malformed_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_connections: 4096,
            max_requests: 1024,
            max_waiting: 1024,
            max_wait: Duration::from_secs(1),
            max_head_bytes: 32 * 1024,
            max_fields: 100,
            max_body_bytes: 16 * 1024 * 1024,
            max_streams: 128,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            linger: Duration::from_secs(1),
            drain_deadline: Duration::from_secs(30),
            record_deadline: Duration::from_secs(2),
            malformed_in_flight: 64,
            malformed_per_second: 100,
        }
    }
}
