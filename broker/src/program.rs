//! A program of the operator's, run for what it prints.
//!
//! Enters: a program with its arguments, its whole environment, what it reads. Leaves: what it printed, when it ended well. It is given a
//! bound; with it, or when nobody waits any more, its whole process group ends. Never: a shell, an environment that is inherited, its
//! standard error, or anything that it printed in an error.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// Larger than any key or key file in use, small enough for a hundred of them in memory.
pub(crate) const MAX_OUTPUT: usize = 64 * 1024;

/// A program and what it is started with.
pub(crate) struct Program<'a> {
    /// The program and its arguments.
    pub(crate) argv: &'a [String],
    /// All variables that it has.
    pub(crate) environment: Vec<(&'a str, &'a str)>,
    /// What it reads from standard input.
    pub(crate) input: &'a [u8],
    /// How long it may take.
    pub(crate) bound: Duration,
}

impl Program<'_> {
    /// Runs it to its end.
    pub(crate) async fn run(self) -> Result<Zeroizing<Vec<u8>>, ProgramError> {
        let bound = self.bound;
        let run = timeout(bound, self.run_unbounded());
        run.await.unwrap_or(Err(ProgramError::TooSlow { seconds: bound.as_secs() }))
    }

    async fn run_unbounded(self) -> Result<Zeroizing<Vec<u8>>, ProgramError> {
        let [program, arguments @ ..] = self.argv else { return Err(ProgramError::NoProgram) };
        let failed = |source| ProgramError::NotStarted { program: program.clone(), source };
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(self.environment)
            .stdin(if self.input.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::null()) // it may say anything, the secret too
            .process_group(0) // its own: Ctrl-C in the operator's terminal is not for it, and what it starts ends with it
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let mut group = Group(child);
        let (stdin, stdout) = (group.0.stdin.take(), group.0.stdout.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // One that does not read it has no need of it.
                let _ = stdin.write_all(self.input).await;
            }
        };
        let read = async {
            match stdout {
                Some(mut stdout) => bounded(&mut stdout).await,
                None => Ok(Zeroizing::default()),
            }
        };
        let (_, output) = tokio::join!(write, read);
        let output = output.map_err(failed)?;
        if output.len() > MAX_OUTPUT {
            return Err(ProgramError::TooLong);
        }
        match group.0.wait().await.map_err(failed)? {
            status if status.success() => Ok(output),
            status => Err(ProgramError::Failed { program: program.clone(), status }),
        }
    }
}

/// The program and all that it started. What is still there when this goes is killed.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // It has a number only until its end was seen here: until then no other group can have it.
        let leader = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(leader) = leader {
            // What is gone already needs no end.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Reads to the end, or one byte past the bound. Allocated once: growing would leave copies behind.
pub(crate) async fn bounded(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_OUTPUT + 1));
    from.take(MAX_OUTPUT as u64 + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// Why there is nothing that a program printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error("there is no program to run")]
    NoProgram,
    #[error("cannot run `{program}`")]
    NotStarted { program: String, source: io::Error },
    #[error("`{program}` failed ({status})")]
    Failed { program: String, status: ExitStatus },
    #[error("it did not end within {seconds} s")]
    TooSlow { seconds: u64 },
    #[error("it printed more than {MAX_OUTPUT} bytes")]
    TooLong,
}

impl ProgramError {
    /// Whether it may have done what it is for.
    pub(crate) fn may_have_done_it(&self) -> bool {
        match self {
            ProgramError::TooSlow { .. } | ProgramError::TooLong => true,
            // Killed: by an exit code it would have said itself that it did nothing.
            ProgramError::Failed { status, .. } => status.code().is_none(),
            ProgramError::NoProgram | ProgramError::NotStarted { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str, input: &[u8], bound: Duration) -> Result<Zeroizing<Vec<u8>>, ProgramError> {
        let argv = ["sh", "-c", script].map(str::to_owned);
        Program { argv: &argv, environment: vec![("PATH", "/usr/bin:/bin")], input, bound }.run().await
    }

    /// Whether a process runs: one that was killed is a zombie until its parent, which may be anybody's, looks.
    fn runs(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    #[tokio::test]
    async fn what_a_slow_program_started_ends_with_it() {
        // The second has left its parent, which is over, and keeps standard output open.
        for script in ["sleep 1000 & echo $! > \"$0\"; wait", "sleep 1000 & echo $! > \"$0\"; exit 0"] {
            let file = tempfile::NamedTempFile::new().unwrap();
            let script = script.replace("$0", file.path().to_str().unwrap());
            let slow = sh(&script, b"", Duration::from_secs(2)).await;
            assert!(matches!(slow, Err(ProgramError::TooSlow { seconds: 2 })), "{slow:?}");
            let pid = std::fs::read_to_string(file.path()).unwrap();
            for _ in 0..100 {
                if !runs(pid.trim()) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(!pid.trim().is_empty() && !runs(pid.trim()), "{pid}");
        }
    }

    #[tokio::test]
    async fn one_that_was_killed_may_have_done_it_and_one_that_says_no_has_not() {
        let bound = Duration::from_secs(20);
        assert!(sh("kill -9 $$", b"", bound).await.unwrap_err().may_have_done_it());
        assert!(!sh("exit 3", b"", bound).await.unwrap_err().may_have_done_it());
    }

    #[tokio::test]
    async fn it_reads_what_it_is_given_and_need_not() {
        let (long, bound) = (vec![b'x'; 300_000], Duration::from_secs(20));
        assert_eq!(&*sh("wc -c", &long, bound).await.unwrap(), b"300000\n");
        assert_eq!(&*sh("echo ok", &long, bound).await.unwrap(), b"ok\n");
        assert_eq!(&*sh("cat", b"", bound).await.unwrap(), b"");
        assert!(matches!(sh("cat", &long, bound).await, Err(ProgramError::TooLong)));
    }
}
