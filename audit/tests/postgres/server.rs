//! A private PostgreSQL server of Debian, on a socket in a folder of its own.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

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
        assert!(self.try_up(settings), "PostgreSQL does not start; its log: {}", self.log());
    }

    fn try_up(&self, settings: &[&str]) -> bool {
        let mut options = format!("-k {} -c listen_addresses= -c max_connections=80", self.path());
        settings.iter().for_each(|setting| options.push_str(&format!(" -c {setting}")));
        let log = format!("{}/log", self.path());
        self.tries("pg_ctl", &["-D", &self.data(), "-w", "-l", &log, "-o", &options, "start"])
    }

    fn log(&self) -> String {
        std::fs::read_to_string(format!("{}/log", self.path())).unwrap_or_default()
    }

    /// Starts it again on a port of `localhost`, over TLS when it has a certificate, the
    /// files of which are this and its key. Gives the port.
    pub(crate) fn listen(&self, certificate: Option<[String; 2]>) -> u16 {
        self.down("fast");
        let mut settings = vec!["listen_addresses=127.0.0.1".to_owned()];
        if let Some(files) = certificate {
            let files = self.give(&files);
            settings.push("ssl=on".to_owned());
            settings.push(format!("ssl_cert_file={}", files[0]));
            settings.push(format!("ssl_key_file={}", files[1]));
        }
        for _ in 0..20 {
            // Free a moment ago; when somebody else took it since, the server does not start.
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let mut settings: Vec<&str> = settings.iter().map(String::as_str).collect();
            let port = format!("port={}", free.port());
            settings.push(&port);
            if self.try_up(&settings) {
                return free.port();
            }
        }
        panic!("PostgreSQL does not listen; its log: {}", self.log());
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

    /// SIGKILL, without a farewell to anybody. Returns when nothing of it is left.
    pub(crate) fn kill(&self) {
        let all = self.signalled(Signal::KILL);
        for _ in 0..1000 {
            // One that nobody has waited for yet is as dead as one that is gone.
            if all.iter().all(|pid| matches!(state_of(*pid), None | Some('Z' | 'X'))) {
                // What says that it runs.
                std::fs::remove_file(format!("{}/postmaster.pid", self.data())).unwrap();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("PostgreSQL outlives SIGKILL");
    }

    /// Sends a signal to the server and to all that it started: STOP makes it hang, CONT go on.
    pub(crate) fn signal(&self, signal: Signal) {
        self.signalled(signal);
    }

    /// The processes that the signal was sent to; none when the server does not run.
    fn signalled(&self, signal: Signal) -> Vec<i32> {
        let Some(postmaster) = self.postmaster() else { return Vec::new() };
        // Standing still it starts nobody more, so that whoever is found now is everybody; and one
        // that is dead leaves children behind that nobody could tell from others.
        send(postmaster, Signal::STOP);
        for _ in 0..1000 {
            if state_of(postmaster) == Some('T') {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut all = children_of(postmaster);
        all.push(postmaster);
        all.iter().for_each(|pid| send(*pid, signal));
        all
    }

    fn postmaster(&self) -> Option<i32> {
        let pid = std::fs::read_to_string(format!("{}/postmaster.pid", self.data())).ok()?;
        pid.lines().next()?.parse().ok()
    }

    pub(crate) fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The address of one of its databases.
    pub(crate) fn url_of(&self, database: &str) -> String {
        let socket = self.path().replace('/', "%2F");
        format!("postgres://postgres@{socket}/{database}")
    }

    fn data(&self) -> String {
        format!("{}/data", self.path())
    }

    pub(crate) fn path(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn program(&self, name: &str, arguments: &[&str]) {
        assert!(self.tries(name, arguments), "{name} {arguments:?}");
    }

    /// Whether a program of PostgreSQL ends well.
    fn tries(&self, name: &str, arguments: &[&str]) -> bool {
        let program = self.programs.join(name);
        let program = program.to_str().unwrap();
        if rustix::process::geteuid().is_root() {
            let all = [&["-u", "postgres", "--", program], arguments].concat();
            return ends_well(self.path(), "runuser", &all);
        }
        ends_well(self.path(), program, arguments)
    }

    fn run(&self, at: &str, program: &str, arguments: &[&str]) {
        assert!(ends_well(at, program, arguments), "{program} {arguments:?}");
    }
}

fn ends_well(at: &str, program: &str, arguments: &[&str]) -> bool {
    // pg_ctl leaves the server behind with our pipes, so none is given to it.
    let done = Command::new(program)
        .args(arguments)
        .current_dir(at)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    done.unwrap().success()
}

fn send(pid: i32, signal: Signal) {
    // It may have ended meanwhile.
    let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, signal));
}

/// The letter that the kernel gives to what a process does (`R`, `S`, `T` stopped, `Z` dead and not
/// waited for); none when there is no such process.
fn state_of(pid: i32) -> Option<char> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let state = status.lines().find_map(|line| line.strip_prefix("State:"))?;
    state.trim_start().chars().next()
}

fn children_of(parent: i32) -> Vec<i32> {
    let parent = format!("PPid:\t{parent}");
    let processes = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let children = processes.filter(|process| {
        let status = std::fs::read_to_string(process.path().join("status"));
        status.is_ok_and(|status| status.lines().any(|line| line == parent))
    });
    children.filter_map(|child| child.file_name().to_str()?.parse().ok()).collect()
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // It may stand still, and then it would not hear that it shall stop.
            self.signal(Signal::KILL);
        } else if self.postmaster().is_some() {
            self.down("immediate");
        }
    }
}
