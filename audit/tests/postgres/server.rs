//! A private PostgreSQL server of Debian, on a socket in a folder of its own.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) struct Server {
    folder: tempfile::TempDir,
    programs: PathBuf,
}

impl Server {
    /// Starts a server that keeps its promises.
    pub(crate) fn start() -> Self {
        let versions = std::fs::read_dir("/usr/lib/postgresql");
        let versions = versions.expect("missing: PostgreSQL; run `apt-get install postgresql`");
        let programs = versions.filter_map(|v| Some(v.ok()?.path().join("bin"))).next().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let server = Self { folder, programs };
        if rustix::process::geteuid().is_root() {
            // PostgreSQL does not run as root.
            server.run("/", "chown", &["postgres", server.path()]);
        }
        server.program("initdb", &["-D", &server.data(), "-A", "trust", "-U", "postgres", "-N"]);
        server.up(&[]);
        server
    }

    /// A streaming standby of this one, which runs; its server is not started yet.
    pub(crate) fn standby(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let standby = Self { folder, programs: self.programs.clone() };
        if rustix::process::geteuid().is_root() {
            standby.run("/", "chown", &["postgres", standby.path()]);
        }
        let (data, from) = (standby.data(), self.path());
        let copy = ["-h", from, "-U", "postgres", "-D", &data, "-X", "stream", "-c", "fast", "-R"];
        standby.program("pg_basebackup", &copy);
        standby
    }

    /// Turns a standby into a server that takes writes.
    pub(crate) fn promote(&self) {
        self.program("pg_ctl", &["-D", &self.data(), "-w", "promote"]);
    }

    /// Starts it again, with these settings (`-c`).
    pub(crate) fn up(&self, settings: &[&str]) {
        let mut options = format!("-k {} -c listen_addresses= -c max_connections=40", self.path());
        settings.iter().for_each(|setting| options.push_str(&format!(" -c {setting}")));
        let log = format!("{}/log", self.path());
        self.program("pg_ctl", &["-D", &self.data(), "-w", "-l", &log, "-o", &options, "start"]);
    }

    /// Starts it again on a port of `localhost`, over TLS when it has a certificate, the
    /// files of which are this and its key. Gives the port.
    pub(crate) fn listen(&self, certificate: Option<[String; 2]>) -> u16 {
        self.down("fast");
        // Free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut settings = vec![format!("port={port}"), "listen_addresses=127.0.0.1".to_owned()];
        if let Some(files) = certificate {
            let files = self.give(&files);
            settings.push("ssl=on".to_owned());
            settings.push(format!("ssl_cert_file={}", files[0]));
            settings.push(format!("ssl_key_file={}", files[1]));
        }
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        self.up(&settings);
        port
    }

    /// Copies of files that the server, and nobody else, may read.
    fn give(&self, files: &[String]) -> Vec<String> {
        let copy = |file: &String| {
            let name = std::path::Path::new(file).file_name().unwrap().to_str().unwrap();
            let to = format!("{}/{name}", self.path());
            std::fs::copy(file, &to).unwrap();
            self.run("/", "chmod", &["600", &to]);
            if rustix::process::geteuid().is_root() {
                self.run("/", "chown", &["postgres", &to]);
            }
            to
        };
        files.iter().map(copy).collect()
    }

    pub(crate) fn down(&self, mode: &str) {
        self.program("pg_ctl", &["-D", &self.data(), "-m", mode, "stop"]);
    }

    /// SIGKILL, without a farewell to anybody.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
        // What says that it runs.
        std::fs::remove_file(format!("{}/postmaster.pid", self.data())).unwrap();
    }

    /// Sends a signal to the server and to all that it started: STOP makes it hang, CONT go on.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = std::fs::read_to_string(format!("{}/postmaster.pid", self.data())).unwrap();
        let postmaster: i32 = pid.lines().next().unwrap().parse().unwrap();
        let parent = format!("PPid:\t{postmaster}\n");
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let children = processes.filter(|process| {
            let status = std::fs::read_to_string(process.path().join("status"));
            status.is_ok_and(|status| status.contains(&parent))
        });
        let children = children.filter_map(|child| child.file_name().to_str()?.parse().ok());
        for pid in std::iter::once(postmaster).chain(children) {
            // A child may have ended meanwhile.
            let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
        }
    }

    pub(crate) fn url(&self) -> String {
        let socket = self.path().replace('/', "%2F");
        format!("postgres://postgres@{socket}/postgres")
    }

    fn data(&self) -> String {
        format!("{}/data", self.path())
    }

    pub(crate) fn path(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn program(&self, name: &str, arguments: &[&str]) {
        let program = self.programs.join(name);
        let program = program.to_str().unwrap();
        if rustix::process::geteuid().is_root() {
            let all = [&["-u", "postgres", "--", program], arguments].concat();
            self.run(self.path(), "runuser", &all);
        } else {
            self.run(self.path(), program, arguments);
        }
    }

    fn run(&self, at: &str, program: &str, arguments: &[&str]) {
        // pg_ctl leaves the server behind with our pipes, so none is given to it.
        let done = Command::new(program)
            .args(arguments)
            .current_dir(at)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(done.unwrap().success(), "{program} {arguments:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let running = std::path::Path::new(&self.data()).join("postmaster.pid").exists();
        if running && !std::thread::panicking() {
            self.down("immediate");
        } else if running {
            let ctl = self.programs.join("pg_ctl");
            let _ = Command::new("runuser")
                .args(["-u", "postgres", "--", ctl.to_str().unwrap_or_default()])
                .args(["-D", &self.data(), "-m", "immediate", "stop"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
}
