//! A terminal behaves as with no sandbox in between: a person types, and reads what comes back.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod harness;
use harness::{Sandbox, Starter, enter, starters};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use std::{
    fs,
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command},
    thread::sleep,
    time::{Duration, Instant},
};

/// A person at a shell on a terminal.
struct Person {
    _sandbox: Sandbox,
    terminal: OwnedFd,
    shell: Child,
    unread: String,
}

impl Person {
    fn sits_down(starter: Starter) -> Self {
        let sandbox = Sandbox::of(starter);
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let side = || open(&name, flags, Mode::empty()).unwrap();
        // Whoever starts the tests in the background has them ignore the keys.
        let mut shell = Command::new("env");
        shell
            .args(["--default-signal", "setsid", "--ctty", "bash", "--norc", "--noediting", "-i"])
            .current_dir(sandbox.path());
        shell.env("PS1", "outer$ ").env("ENTER", enter()).stdin(side()).stdout(side()).stderr(side());
        sandbox.as_starter(&mut shell);
        let mut person = Self { shell: shell.spawn().unwrap(), _sandbox: sandbox, terminal, unread: String::new() };
        person.resizes(33, 101);
        person.reads("outer$ ");
        person
    }

    fn types(&self, text: &str) {
        rustix::io::write(&self.terminal, text.as_bytes()).unwrap();
    }

    /// Asks at a prompt until this is the answer.
    fn asks(&mut self, question: &str, answer: &str, prompt: &str) {
        for _ in 0..100 {
            self.types(&format!("{question}\n"));
            self.reads(&format!("{question}\r\n"));
            if self.reads(prompt).contains(answer) {
                return;
            }
            sleep(Duration::from_millis(50));
        }
        panic!("{question} is never {answer}");
    }

    /// Until something comes, or for a moment.
    fn waits(&mut self) {
        let wait = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        if poll(&mut [PollFd::new(&self.terminal, PollFlags::IN)], Some(&wait)).unwrap() > 0 {
            let mut piece = [0; 4096];
            let length = rustix::io::read(&self.terminal, &mut piece).unwrap_or(0);
            self.unread.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    }

    /// What comes up to and including `text`, which must come soon.
    fn reads(&mut self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(at) = self.unread.find(text) {
                return self.unread.drain(..at + text.len()).collect();
            }
            assert!(Instant::now() < end, "no {text:?} in {:?}", self.unread);
            self.waits();
        }
    }

    fn resizes(&self, rows: u16, columns: u16) {
        tcsetwinsize(&self.terminal, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _gone = self.shell.kill();
        let _gone = self.shell.wait();
    }
}

/// Waits until a program that sleeps for so many seconds is at it, so that a key reaches it and not its shell: it has been executed,
/// and is not stopped.
fn asleep(seconds: &str) {
    let end = Instant::now() + Duration::from_secs(10);
    let wanted = format!("sleep\0{seconds}\0");
    let is_asleep = |process: &Path| {
        let read = |file: &str| fs::read_to_string(process.join(file)).unwrap_or_default();
        read("cmdline") == wanted && read("stat").rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
    };
    while !fs::read_dir("/proc").unwrap().flatten().any(|entry| is_asleep(&entry.path())) {
        assert!(Instant::now() < end, "nothing sleeps for {seconds} s");
        sleep(Duration::from_millis(20));
    }
}

/// So many seconds that no other test sleeps for them, nor one of an earlier run.
fn nobody_elses(number: u32) -> String {
    format!("47{number}{}", std::process::id())
}

#[test]
fn an_interactive_shell_has_a_named_terminal_its_size_and_job_control() {
    for starter in starters() {
        let mut person = Person::sits_down(starter);
        person.types("$ENTER --env PS1=inner: -- bash --norc --noediting -i\n");
        person.reads("inner:");
        person.types("tty; stty size\n");
        person.reads("/dev/pts/0\r\n33 101\r\ninner:");
        person.resizes(44, 111);
        person.asks("stty size", "44 111\r\n", "inner:");
        let seconds = &nobody_elses(if starter == Starter::Root { 1 } else { 2 });
        person.types(&format!("sleep {seconds}\n"));
        asleep(seconds);
        person.types("\u{3}");
        person.reads("inner:");
        person.types("echo code=$?\n");
        person.reads("code=130\r\ninner:");
        person.types(&format!("sleep {seconds}\n"));
        asleep(seconds);
        person.types("\u{1a}");
        person.reads("Stopped");
        person.reads("inner:");
        person.types("fg\n");
        asleep(seconds);
        person.types("\u{3}");
        person.reads("inner:");
        person.types("exit 7\n");
        person.reads("outer$ ");
        person.types("echo code=$?\n");
        person.reads("code=7\r\nouter$ ");
        person.types("stty -a | tr ' ;' '\\n\\n' | grep -cx 'echo\\|icanon\\|opost'\n");
        person.reads("\r\n3\r\n");
    }
}

#[test]
fn ctrl_z_stops_it_with_its_job_and_fg_goes_on() {
    for starter in starters() {
        let mut person = Person::sits_down(starter);
        // In the background: a shell that waits in vfork(2) for a child stopped before its exec cannot be stopped itself.
        person.types("$ENTER -- sh -c 'sleep 2 & echo be''gin; wait; echo e''nd'\n");
        person.reads("begin\r\n");
        person.types("\u{1a}");
        person.reads("Stopped");
        sleep(Duration::from_secs(3));
        person.types("echo mean''while\n");
        person.reads("meanwhile\r\n");
        person.types("fg\n");
        person.reads("end\r\n");
        person.reads("outer$ ");
    }
}

#[test]
fn ctrl_c_and_end_of_file_reach_the_command() {
    for starter in starters() {
        let mut person = Person::sits_down(starter);
        let seconds = &nobody_elses(if starter == Starter::Root { 3 } else { 4 });
        person.types(&format!("$ENTER -- sleep {seconds}\n"));
        asleep(seconds);
        person.types("\u{3}");
        person.reads("outer$ ");
        person.types("echo code=$?\n");
        person.reads("code=130\r\nouter$ ");
        // The first line is the sandbox's terminal showing what was typed.
        person.types("$ENTER -- sh -c 'echo be''gin; cat'\n");
        person.reads("begin\r\n");
        person.types("hello\n");
        person.reads("hello\r\nhello\r\n");
        person.types("\u{4}");
        person.reads("outer$ ");
    }
}

#[test]
fn in_a_pipeline_only_its_own_ends_are_the_terminal() {
    for starter in starters() {
        let mut person = Person::sits_down(starter);
        person.types("$ENTER -- sh -c 'test -t 1 || echo pipe; cat' | tr a-z A-Z\n");
        person.reads("PIPE\r\n");
        person.types("hello\n");
        person.reads("hello\r\n");
        person.types("\u{4}");
        person.reads("HELLO\r\n");
        person.reads("outer$ ");
        person.types("echo piped | $ENTER -- sh -c 'test -t 0 || cat; test -t 1 && echo ter''minal'\n");
        person.reads("\npiped\r\nterminal\r\n");
        person.reads("outer$ ");
        person.types("$ENTER -- sh -c 'sleep 1; echo be''hind' & wait\n");
        person.reads("behind\r\n");
        person.reads("outer$ ");
    }
}

#[test]
fn nothing_can_be_typed_into_the_terminal_outside() {
    for starter in starters() {
        let mut person = Person::sits_down(starter);
        let script = "import fcntl, termios
for at in (0, 1, 2):
    try: fcntl.ioctl(at, termios.TIOCSTI, b\"x\"); print(\"ty\" \"ped\")
    except OSError as error: print(\"re\" \"fused\", error.errno)";
        person.types(&format!("$ENTER -- /usr/bin/python3 -c '{script}'\n"));
        person.reads("refused 1\r\nrefused 1\r\nrefused 1\r\n");
        person.reads("outer$ ");
        assert!(!person.unread.contains("typed"));
    }
}

#[test]
fn without_a_terminal_there_is_none() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter).with(&["--status"]);
        let outcome = sandbox.sh("echo x 2>/dev/null > /dev/tty || echo none");
        assert!(outcome.err.contains(r#""terminal":false"#), "{}", outcome.err);
        assert_eq!(outcome.out, "none\n", "{starter:?}");
    }
}
