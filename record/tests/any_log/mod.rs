//! A worker's directory with any log in it, and what that says by its own types.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use jiff::Timestamp;
use proptest::prelude::*;
use record::index::{Entry, Index, Sheet, Span};
use record::read::{Position, WorkerLog};
use record::{
    CallEnd, CallRetried, CallStart, CredentialUse, Event, NameAsked, Observed, Refused, Retried, SegmentStart,
    TunnelStart,
};

/// What can be written into a log; calls by their number.
#[derive(Debug, Clone)]
pub enum Step {
    Call {
        to: u8,
        credential: bool,
        observed: bool,
    },
    Tunnel,
    Retried(u8),
    End {
        which: u8,
        status: u16,
        scrubbed: u64,
    },
    Refused {
        to: u8,
        alert: bool,
    },
    Name,
    /// The log goes on in another segment.
    Segment,
}

pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<u8>(), any::<bool>(), any::<bool>())
            .prop_map(|(to, credential, observed)| Step::Call { to, credential, observed }),
        1 => Just(Step::Tunnel),
        1 => any::<u8>().prop_map(Step::Retried),
        4 => (any::<u8>(), 200..600_u16, 0..3_u64)
            .prop_map(|(which, status, scrubbed)| Step::End { which, status, scrubbed }),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(to, alert)| Step::Refused { to, alert }),
        1 => Just(Step::Name),
        1 => Just(Step::Segment),
    ]
}

/// A worker's directory, and what was written there.
pub struct Written {
    _room: tempfile::TempDir,
    pub worker: PathBuf,
    pub index: PathBuf,
    /// Its lines, by segment.
    pub segments: Vec<Vec<String>>,
    calls: u64,
    open: Vec<u64>,
}

impl Written {
    pub fn new() -> Written {
        let room = tempfile::tempdir().unwrap();
        let (worker, index) = (room.path().join("0198-aa"), room.path().join("index"));
        fs::create_dir_all(worker.join("calls")).unwrap();
        Written { _room: room, worker, index, segments: vec![Vec::new()], calls: 0, open: Vec::new() }
    }

    pub fn number(&self, which: u8) -> Option<usize> {
        (!self.open.is_empty()).then(|| usize::from(which) % self.open.len())
    }

    /// Goes on with these steps, in the files too.
    pub fn go_on(&mut self, steps: &[Step]) {
        let mut events: Vec<Option<Event>> = Vec::new();
        for step in steps {
            events.push(match step {
                Step::Segment => None,
                step => self.event(step),
            });
        }
        for (step, event) in steps.iter().zip(events) {
            if matches!(step, Step::Segment) {
                self.segments.push(Vec::new());
                let segment = self.segments.len() as u64;
                let (worker, agent) = ("0198-aa".to_owned(), "bot".to_owned());
                self.line(Event::SegmentStart(SegmentStart {
                    segment,
                    worker,
                    agent,
                    observe: false,
                    policy: String::new(),
                    size: 0,
                    peaks: Vec::new(),
                }));
            }
            event.into_iter().for_each(|event| self.line(event));
        }
    }

    pub fn event(&mut self, step: &Step) -> Option<Event> {
        Some(match step {
            Step::Call { to, credential, observed } => {
                self.calls += 1;
                self.open.push(self.calls);
                let reason = "r".to_owned();
                Event::CallStart(CallStart {
                    observed: observed.then(|| Observed { kind: "host-not-listed".to_owned(), reason }),
                    credential: credential.then(|| CredentialUse {
                        name: "api".to_owned(),
                        lease: format!("lease-{}", self.calls),
                        places: Vec::new(),
                        injected: false,
                        waited_ms: None,
                    }),
                    ..call(self.calls, *to)
                })
            }
            Step::Tunnel => {
                self.calls += 1;
                self.open.push(self.calls);
                let (call, to) = (self.calls, "db.example.com:5432".to_owned());
                let (tls, rule, policy) = ("tcp".to_owned(), "allow #2 (line 9)".to_owned(), String::new());
                Event::TunnelStart(TunnelStart { call, connection: 1, to, tls, rule, policy })
            }
            Step::Retried(which) => {
                let call = self.open[self.number(*which)?];
                let retried = Retried { refused: "one".to_owned(), lease: format!("again-{call}") };
                Event::CallRetried(CallRetried { call, retried })
            }
            Step::End { which, status, scrubbed } => {
                let call = self.open.remove(self.number(*which)?);
                let outcome = if status % 7 == 0 { "broken" } else { "done" }.to_owned();
                let (status, scrubbed) = (Some(*status), *scrubbed);
                Event::CallEnd(CallEnd {
                    call,
                    outcome: outcome.into(),
                    status,
                    scrubbed,
                    total_ms: 1.5,
                    ..CallEnd::default()
                })
            }
            Step::Refused { to, alert } => Event::Refused(Refused {
                connection: 1,
                to: format!("h{}.example.com:443", to % 5),
                scheme: None,
                method: Some("GET".to_owned()),
                path: Some("/ä\"\\".to_owned()),
                tool: None,
                kind: "host-not-listed".to_owned(),
                status: Some(403),
                reason: "no".to_owned(),
                rule: None,
                policy: None,
                hint: None,
                trace: None,
                alert: *alert,
            }),
            Step::Name => Event::NameAsked(NameAsked { name: "a".to_owned(), kind: "A".to_owned() }),
            Step::Segment => return None,
        })
    }

    pub fn line(&mut self, event: Event) {
        let seq = self.segments.iter().map(Vec::len).sum::<usize>() as u64 + 1;
        let time = Timestamp::from_second(i64::try_from(seq).unwrap()).unwrap();
        let line = record::Line { seq, time, prev: record::Hash::NONE, event, cut: record::cut::Cuts::new() };
        let text = serde_json::to_string(&line).unwrap();
        let file = record::Segment::plain(&self.worker, self.segments.len() as u64);
        let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
        writeln!(file, "{text}").unwrap();
        self.segments.last_mut().unwrap().push(text);
    }

    pub fn log(&self) -> WorkerLog {
        WorkerLog::open(&self.worker).unwrap().unwrap()
    }

    pub fn sheets(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.index.join("0198-aa")) else { return Vec::new() };
        let mut sheets: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        sheets.sort();
        sheets
    }

    /// The files look as if they had been left alone for long.
    pub fn settle(&self) {
        std::thread::sleep(std::time::Duration::from_millis(3100));
    }

    /// As the log says, by its own types.
    pub fn expected(&self) -> Vec<Seen> {
        let mut seen: Vec<(u64, Seen)> = Vec::new();
        for record in self.log().lines() {
            let record = record.unwrap();
            let (seq, at) = (record.line.seq, record.at);
            let find = |seen: &mut Vec<(u64, Seen)>, call: u64| seen.iter().position(|(number, _)| *number == call);
            match record.line.event {
                Event::CallStart(start) => {
                    let credential = start.credential.map(|used| used.lease).unwrap_or_default();
                    let observed = start.observed.is_some();
                    let new = Seen { seq, at, to: start.to, lease: credential, observed, ..Seen::default() };
                    seen.push((start.call, new));
                }
                Event::TunnelStart(start) => seen.push((start.call, Seen { seq, at, to: start.to, ..Seen::default() })),
                Event::Refused(refused) => {
                    let (to, status, alert) = (refused.to, refused.status, refused.alert);
                    seen.push((0, Seen { seq, at, to, status, alert, ..Seen::default() }));
                }
                Event::CallRetried(again) => {
                    let index = find(&mut seen, again.call).unwrap();
                    seen[index].1.retried = again.retried.lease;
                }
                Event::CallEnd(end) => {
                    let index = find(&mut seen, end.call).unwrap();
                    seen[index].1.status = end.status;
                    seen[index].1.scrubbed = end.scrubbed;
                    seen[index].1.ended = Some((at, end.outcome.into_owned()));
                }
                _ => {}
            }
        }
        seen.into_iter().map(|(_, seen)| seen).collect()
    }

    pub fn found_by(&self, index: &Index, span: Span) -> Vec<Seen> {
        let mut sheets: Vec<Sheet> = Vec::new();
        index.sheets(&self.log(), span, &mut |_| {}, &mut |sheet| sheets.push(sheet.clone())).unwrap();
        let sheets = sheets.iter().rev();
        sheets
            .flat_map(|sheet| sheet.entries().iter().map(|entry| Seen::of(sheet, entry)).collect::<Vec<_>>())
            .collect()
    }

    #[track_caller]
    pub fn check(&self) {
        let index = Index::new(Some(self.index.clone()));
        let expected = self.expected();
        assert_eq!(self.found_by(&Index::new(None), Span::ALWAYS), expected, "without an index");
        assert_eq!(self.found_by(&index, Span::ALWAYS), expected, "with the index as it was");
        assert_eq!(self.found_by(&index, Span::ALWAYS), expected, "with the index as it is now");
        assert_eq!(index.disagreements(&self.log()).unwrap(), []);
    }
}

fn call(call: u64, to: u8) -> CallStart {
    CallStart {
        call,
        connection: 1,
        scheme: "https".into(),
        to: format!("h{}.example.com:443", to % 5),
        method: "GET".into(),
        path: format!("/{to}"),
        query: None,
        tool: None,
        http: "HTTP/1.1".into(),
        rule: "allow #1 (line 1)".to_owned(),
        policy: "".into(),
        credential: None,
        client_certificate: None,
        client_tls: None,
        observed: None,
        trace: None,
    }
}

#[derive(Debug, Default, Clone, PartialEq)]
pub struct Seen {
    pub seq: u64,
    pub at: Position,
    pub to: String,
    lease: String,
    retried: String,
    status: Option<u16>,
    alert: bool,
    observed: bool,
    scrubbed: u64,
    ended: Option<(Position, String)>,
}

impl Seen {
    pub fn of(sheet: &Sheet, entry: &Entry) -> Seen {
        let word = |word| sheet.words().get(word).to_owned();
        Seen {
            seq: entry.seq,
            at: entry.at,
            to: word(entry.to),
            lease: word(entry.lease),
            retried: word(entry.retried),
            status: entry.end.map_or(entry.status, |end| end.status),
            alert: entry.alert,
            observed: entry.observed,
            scrubbed: entry.end.map_or(0, |end| end.scrubbed),
            ended: entry.end.map(|end| (end.at, word(end.outcome))),
        }
    }
}
