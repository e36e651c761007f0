//! A private `redis-server` on a port of its own: killed, hung and started again at the same address.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A Redis that keeps nothing on disk; dropping it kills it.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
}

impl RedisServer {
    /// Starts a server and waits until it listens.
    ///
    /// Panics when it does not.
    #[must_use]
    pub fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("its address").port();
        drop(free);
        Self { child: serve(port), port }
    }

    /// The same over TLS only, with this certificate for `localhost`.
    ///
    /// Panics when it does not start.
    #[must_use]
    pub fn start_tls(certificate: &std::path::Path, key: &std::path::Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("its address").port();
        drop(free);
        let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
        let tls = ["--tls-cert-file", &certificate, "--tls-key-file", &key];
        let number = port.to_string();
        let more = ["--port", "0", "--tls-port", &number, "--tls-auth-clients", "no"];
        Self { child: serve_with(port, &[&more[..], &tls[..]].concat()), port }
    }

    /// `rediss://localhost:port`.
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("rediss://localhost:{}", self.port)
    }

    /// `redis://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// SIGKILL; everything that it knew is gone.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().expect("the killed server is gone");
    }

    /// Starts it again at the same address, empty.
    pub fn restart(&mut self) {
        self.kill();
        self.child = serve(self.port);
    }

    /// Lets it hang: connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process id"), signal).expect("the signal is sent");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn serve(port: u16) -> Child {
    serve_with(port, &["--port", &port.to_string()])
}

fn serve_with(port: u16, more: &[&str]) -> Child {
    let child = Command::new("redis-server")
        .args(more)
        .args(["--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("missing: redis-server; run `apt-get install redis-server`");
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "redis-server does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}
