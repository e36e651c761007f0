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

    /// Starts it again, with these settings (`-c`).
    pub(crate) fn up(&self, settings: &[&str]) {
        let mut options = format!("-k {} -c listen_addresses= -c max_connections=40", self.path());
        settings.iter().for_each(|setting| options.push_str(&format!(" -c {setting}")));
        let log = format!("{}/log", self.path());
        self.program("pg_ctl", &["-D", &self.data(), "-w", "-l", &log, "-o", &options, "start"]);
    }

    pub(crate) fn down(&self, mode: &str) {
        self.program("pg_ctl", &["-D", &self.data(), "-m", mode, "stop"]);
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

    fn path(&self) -> &str {
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
