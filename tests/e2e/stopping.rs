//! A worker counts as stopped when its process is gone, and not because what it could take away itself is.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, test_kill_process};

use crate::harness::{Exeat, Upstream, within};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn one_that_takes_its_order_away_and_goes_on_is_killed_and_not_called_stopped() {
    let exeat = Exeat::new().allow("api.example.com", &Upstream::start()).limit(Duration::from_secs(120));
    let mut live = exeat.start(&["sh", "-c", "echo ready; sleep 120"]);
    live.wait_for("ready");
    let worker = live.log().start().worker.clone();
    let pid: Pid = live.pid();
    // It hears of nothing, and somebody does for it what it may do itself.
    live.signal(Signal::STOP);
    let stopping = exeat.exeat(&["stop", &worker, "--json"]);
    let order = exeat.state().join("workers").join(&worker).join("orders/stop");
    within(SOON, "the order", || fs::remove_file(&order).is_ok());
    let stopped = stopping.finish().ok().json();
    assert_eq!(stopped[0]["outcome"], "killed", "{stopped}");
    within(SOON, "the process gone", || {
        let is_there = test_kill_process(pid).is_ok();
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        !is_there || stat.contains(") Z ")
    });
}
