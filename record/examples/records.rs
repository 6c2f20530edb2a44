//! Writes call logs as large as one likes, as workers write them: for measurements (bench/README.md).
//!
//! Enters: a state directory, how many records, of how many workers. Leaves: the logs. Never: a worker's directory that was there before.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use record::{
    CallEnd, CallLog, CallStart, CredentialUse, Event, FORMAT, NameAsked, Refused, TlsLeg, WorkerEnd, WorkerStart,
};

const POLICY: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const HOSTS: u64 = 400;
const LATER: SignedDuration = SignedDuration::from_millis(1300);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [state, records, workers] = &arguments[..] else { return Err("usage: records STATE RECORDS WORKERS".into()) };
    let (records, workers): (u64, u64) = (records.parse()?, workers.parse()?);
    let each = records / workers.max(1);
    let length = LATER * i32::try_from(each)?;
    for number in 0..workers {
        let agent = ["release-bot", "research", "triage"][usize::try_from(number % 3)?];
        let worker = uuid::Uuid::now_v7().to_string();
        let directory = PathBuf::from(state).join("workers").join(&worker);
        let begin = Timestamp::now().checked_sub(length)?;
        write(&directory, agent, &worker, begin, each, number + 1)?;
    }
    Ok(())
}

fn write(
    directory: &Path,
    agent: &str,
    worker: &str,
    begin: Timestamp,
    records: u64,
    seed: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    fs::create_dir_all(directory)?;
    let log = CallLog::create(directory)?;
    let mut chance = Chance(seed);
    let (mut time, mut calls, mut refusals) = (begin, 0, 0);
    let mut append = |event| {
        time += LATER;
        log.append(time, event).map(drop)
    };
    append(Event::WorkerStart(started(agent, worker)))?;
    let mut left = records.saturating_sub(2);
    while left > 0 {
        match chance.below(100) {
            0..4 => append(Event::NameAsked(NameAsked { name: host(&mut chance), kind: "A".to_owned() }))?,
            4..8 => {
                refusals += 1;
                append(Event::Refused(refused(&mut chance, refusals)))?;
            }
            _ if left < 2 => append(Event::NameAsked(NameAsked { name: host(&mut chance), kind: "A".to_owned() }))?,
            _ => {
                calls += 1;
                append(Event::CallStart(start(&mut chance, calls)))?;
                append(Event::CallEnd(end(&mut chance, calls)))?;
                left -= 1;
            }
        }
        left -= 1;
    }
    let outcome = "exit status: 0".to_owned();
    let (limit, limits, revoked, kept) = (None, serde_json::Value::Null, 1, 0);
    append(Event::WorkerEnd(WorkerEnd { outcome, limit, limits, calls, refused: refusals, revoked, kept }))?;
    Ok(())
}

/// Numbers that look like chance and are the same each time (xorshift64*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }
}

fn host(chance: &mut Chance) -> String {
    // Some hosts are called far more often than others.
    let (one, other) = (chance.below(HOSTS), chance.below(HOSTS));
    format!("api-{}.example.com", one.min(other))
}

fn started(agent: &str, worker: &str) -> WorkerStart {
    WorkerStart {
        format: FORMAT,
        worker: worker.to_owned(),
        agent: agent.to_owned(),
        identity: format!("spiffe://exeat.local/agent/{agent}/worker/{worker}"),
        policy: POLICY.to_owned(),
        observe: false,
        probe: false,
        command: vec!["python".to_owned(), "agent.py".to_owned()],
        sandbox: serde_json::Value::Null,
        lock: serde_json::Value::Null,
        credentials: vec!["github".to_owned()],
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn start(chance: &mut Chance, call: u64) -> CallStart {
    let lease = format!("0193{:04x}-0000-7000-8000-000000000000", call / 1000 % 0xffff);
    let credential = CredentialUse {
        name: "github".to_owned(),
        lease,
        places: vec!["header".into()],
        injected: false,
        waited_ms: None,
    };
    let tls = TlsLeg {
        version: "TLSv1_3".to_owned(),
        cipher: "TLS13_AES_256_GCM_SHA384".to_owned(),
        group: Some("X25519".to_owned()),
        alpn: Some("h2".to_owned()),
    };
    CallStart {
        call,
        connection: call / 8 + 1,
        scheme: "https".into(),
        to: format!("{}:443", host(chance)),
        method: ["GET", "GET", "GET", "POST", "DELETE"][usize::try_from(chance.below(5)).unwrap_or(0)].into(),
        path: format!("/repos/acme/{}/issues/{}", chance.below(50), chance.below(100_000)),
        query: (chance.below(3) == 0).then(|| "page=2&per_page=100".to_owned()),
        tool: None,
        http: "HTTP/2.0".into(),
        rule: format!("allow #{} (line {})", chance.below(9) + 1, chance.below(9) * 6 + 4),
        policy: POLICY.into(),
        credential: (chance.below(2) == 0).then_some(credential),
        client_certificate: None,
        client_tls: Some(tls.into()),
        observed: None,
        trace: None,
    }
}

fn end(chance: &mut Chance, call: u64) -> CallEnd {
    let tls = TlsLeg {
        version: "TLSv1_3".to_owned(),
        cipher: "TLS13_AES_256_GCM_SHA384".to_owned(),
        group: Some("X25519".to_owned()),
        alpn: None,
    };
    let (outcome, status) = match chance.below(1000) {
        0 => ("broken", Some(200)),
        1..10 => ("done", Some(500)),
        10..40 => ("done", Some(404)),
        _ => ("done", Some(200)),
    };
    let head = chance.below(100_000);
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a call")]
    let ms = |microseconds: u64| microseconds as f64 / 1000.0;
    CallEnd {
        call,
        outcome: outcome.into(),
        status,
        retried: None,
        sent: chance.below(2000),
        received: chance.below(100_000),
        swapped: 0,
        head_ms: Some(ms(head)),
        total_ms: ms(head + chance.below(50_000)),
        address: Some("192.0.2.10:443".into()),
        proxy: None,
        upstream_tls: Some(tls.into()),
        scrubbed: u64::from(chance.below(500) == 0),
        forbidden: None,
        reason: None,
    }
}

fn refused(chance: &mut Chance, number: u64) -> Refused {
    let to = format!("{}:443", host(chance));
    let alert = chance.below(50) == 0;
    Refused {
        connection: number,
        reason: format!("no rule of the policy lists `{to}`"),
        to,
        scheme: Some("https".to_owned()),
        method: Some("GET".to_owned()),
        path: Some(format!("/telemetry/{}", chance.below(1000))),
        tool: None,
        kind: if alert { "placeholder-elsewhere" } else { "host-not-listed" }.to_owned(),
        status: Some(403),
        rule: None,
        policy: None,
        hint: None,
        trace: None,
        alert,
    }
}
