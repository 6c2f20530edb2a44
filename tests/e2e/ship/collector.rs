//! Rotel, a collector of OpenTelemetry's protocol that others wrote: it prints what it takes.
//!
//! Enters: OTLP over HTTP. Leaves: the records and spans that it read. Never: a decoder of exeat's own.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{free_address, tools, within};

/// A collector that can be killed and started again on the same address. What each of its lives printed is kept.
pub struct Collector {
    /// Where it takes OTLP over HTTP.
    pub address: String,
    directory: tempfile::TempDir,
    process: Option<Child>,
    lives: usize,
}

/// A record or a span, by what is printed of it: `Body`, `Trace ID`, `-> attribute`, ….
pub type Printed = BTreeMap<String, String>;

impl Collector {
    /// One that runs.
    pub fn start() -> Self {
        let mut collector = Self::planned();
        collector.begin();
        collector
    }

    /// One that does not run yet.
    pub fn planned() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { address: free_address(), directory, process: None, lives: 0 }
    }

    /// Starts it, again.
    pub fn begin(&mut self) {
        self.lives += 1;
        let output = fs::File::create(self.output(self.lives)).unwrap();
        let mut command = Command::new(agent());
        command.args(["start", "--otlp-http-endpoint", &self.address, "--otlp-grpc-endpoint", &free_address()]);
        command.args(["--exporter", "blackhole", "--debug-log", "logs", "--debug-log", "traces"]);
        command.args(["--debug-log-verbosity", "detailed", "--pid-file"]).arg(self.directory.path().join("pid"));
        command.env("NO_COLOR", "1").current_dir(self.directory.path());
        let command = command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        self.process = Some(command.spawn().unwrap_or_else(|error| panic!("rotel ({error}): `tests/run` installs it")));
        within(Duration::from_secs(20), "the collector", || std::net::TcpStream::connect(&self.address).is_ok());
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// The log records that any of its lives printed.
    pub fn records(&self) -> Vec<Printed> {
        self.printed("LogRecord #")
    }

    /// The spans.
    pub fn spans(&self) -> Vec<Printed> {
        self.printed("Span #")
    }

    /// How many records it has, each counted once.
    pub fn distinct(&self) -> usize {
        let mut uids: Vec<String> =
            self.records().iter().filter_map(|record| record.get("-> log.record.uid").cloned()).collect();
        uids.sort();
        uids.dedup();
        uids.len()
    }

    fn printed(&self, begins: &str) -> Vec<Printed> {
        let mut found = Vec::new();
        for life in 1..=self.lives {
            // Its last line may be half there.
            let text = String::from_utf8_lossy(&fs::read(self.output(life)).unwrap()).into_owned();
            let mut current: Option<Printed> = None;
            for line in text.lines().map(str::trim) {
                if line.contains('#')
                    && ["LogRecord #", "Span #", "ResourceLog", "ResourceSpans", "ScopeLogs #", "ScopeSpans #"]
                        .iter()
                        .any(|begin| line.starts_with(begin))
                {
                    found.extend(current.take());
                    current = line.starts_with(begins).then(Printed::new);
                } else if let (Some(current), Some((key, value))) = (&mut current, line.split_once(':')) {
                    let value = value.trim();
                    let bare = value.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(value);
                    current.entry(key.trim().to_owned()).or_insert_with(|| bare.to_owned());
                }
            }
            found.extend(current);
        }
        found
    }

    fn output(&self, life: usize) -> PathBuf {
        self.directory.path().join(format!("output.{life}"))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Its one program.
fn agent() -> PathBuf {
    let packages = fs::read_dir(tools().join("venv/lib")).expect("`tests/run` installs the Python packages").flatten();
    let found =
        packages.map(|python| python.path().join("site-packages/rotel/rotel-agent")).find(|agent| agent.exists());
    found.expect("rotel is missing: `tests/run` installs it")
}
