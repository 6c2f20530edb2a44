//! How long it takes to start and end, with nothing done in between.
//!
//! Enters: exeat, and bubblewrap in the path. Leaves: wall times, turn by turn. Never: a start that failed counted as a fast one.

use std::process::{Command, Stdio};
use std::time::Instant;

use crate::error::Error;

use super::findings::Findings;
use super::installation::{Installation, PLAIN, SWAPS};
use super::spread::Spread;
use super::table::Table;

/// Without a search along the path, which is as long as whoever measures has it.
const TRUE: &str = "/usr/bin/true";

/// A start of each kind in turn, as often as `starts` says.
pub fn table(installation: &Installation, findings: &mut Findings, starts: u32) -> Result<String, Error> {
    let bubblewrap = |words: &[String]| {
        let mut command = Command::new("bwrap");
        command.arg("--unshare-all").args(words).arg(TRUE);
        command
    };
    let least = words("--ro-bind / /");
    let alike = words("--ro-bind / / --proc /proc --dev /dev --tmpfs /tmp");
    let same = same_mounts(installation)?;
    let kinds: [(&str, &dyn Fn() -> Command); 5] = [
        ("`exeat run --agent x -- true`", &|| installation.command(PLAIN, &[TRUE])),
        ("the same, with a credential granted", &|| installation.command(SWAPS, &[TRUE])),
        ("`bwrap --unshare-all`, the same mounts", &|| bubblewrap(&same)),
        ("`bwrap --unshare-all --ro-bind / / true`", &|| bubblewrap(&least)),
        ("the same, with /proc, /dev and tmpfs", &|| bubblewrap(&alike)),
    ];
    let mut times = vec![Spread::default(); kinds.len()];
    let mut ratios = [Spread::default(), Spread::default()];
    for _ in 0..starts {
        let mut turn = Vec::new();
        for ((name, command), times) in kinds.iter().zip(&mut times) {
            let took = time(&mut command()).map_err(|error| error.during(name))?;
            times.push(took);
            turn.push(took);
        }
        ratios.iter_mut().zip([2, 3]).for_each(|(ratio, base)| ratio.push(turn[0] / turn[base]));
    }
    let [same_mounts_ratio, one_mount_ratio] = ratios;
    findings.note("start ÷ same mounts", same_mounts_ratio);
    findings.note("start ÷ one mount", one_mount_ratio);
    for (name, kind) in [("start", 0), ("start, same mounts", 2), ("start, one mount", 3)] {
        findings.note(name, times[kind].clone());
    }
    let about = format!(
        "Wall time from exec to exit, {starts} of each, in turn. The same mounts are those that exeat's sandbox has, {} of them; bubblewrap \
         makes the parts of /proc and /dev by itself. Budget: 1.5 × bubblewrap with the same mounts.",
        same.iter().filter(|word| word.starts_with("--")).count()
    );
    let heads = ["command", "p50 ms", "p10–p90 ms", "÷ the same mounts", "÷ one mount"];
    let mut table = Table::new("Start", &about, &heads);
    let [same, one] = [2, 3].map(|kind| times[kind].median());
    for ((name, _), times) in kinds.iter().zip(&times) {
        let (between, median) = (format!("{:.1}–{:.1}", times.at(1, 10), times.at(9, 10)), times.median());
        let [of_same, of_one] = [same, one].map(|base| format!("{:.2}", median / base));
        table.row(&[name.to_string(), format!("{median:.1}"), between, of_same, of_one]);
    }
    Ok(table.end())
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// What makes bubblewrap mount what exeat's sandbox has mounted, as that says itself (proc(5), mountinfo).
fn same_mounts(installation: &Installation) -> Result<Vec<String>, Error> {
    let shown = installation.command(PLAIN, &["/usr/bin/cat", "/proc/self/mountinfo"]).output()?;
    let mut same = words("--tmpfs /");
    for line in String::from_utf8_lossy(&shown.stdout).lines() {
        let Some((mount, kind)) = line.split_once(" - ") else { continue };
        let Some(at) = mount.split(' ').nth(4) else { continue };
        if at == "/" || ["/proc", "/dev"].iter().any(|own| at.starts_with(own)) {
            continue;
        }
        match kind.starts_with("tmpfs ") {
            true => same.extend(["--tmpfs".to_owned(), at.to_owned()]),
            false => same.extend(["--ro-bind".to_owned(), at.to_owned(), at.to_owned()]),
        }
    }
    for link in ["/bin", "/sbin", "/lib", "/lib64"] {
        if let Ok(to) = std::fs::read_link(link) {
            same.extend(["--symlink".to_owned(), to.display().to_string(), link.to_owned()]);
        }
    }
    same.extend(words("--proc /proc --dev /dev --tmpfs /dev/shm"));
    Ok(same)
}

fn time(command: &mut Command) -> Result<f64, Error> {
    let begun = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
    if status.success() { Ok(milliseconds) } else { Err(Error::new(format!("it ended with {status}"))) }
}
