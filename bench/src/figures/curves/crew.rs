//! Drivers that work at the same time, with a worker each or with none.
//!
//! Enters: a job, for each of them. Leaves: what they did together. Never: one that failed left out.

use std::process::Command;

use crate::clock;
use crate::error::Error;
use crate::job::{Job, per};

use super::super::installation::Installation;
use super::super::player::Player;

/// Some drivers.
#[derive(Default)]
pub struct Crew(Vec<Player>);

/// What they did together.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// Requests a second.
    pub rate: f64,
    /// CPU microseconds of the workers for each; without any, of drivers and server.
    pub cpu: f64,
}

impl Crew {
    /// One that goes directly.
    pub fn direct(installation: &Installation) -> Result<Self, Error> {
        Ok(Self(vec![Player::start(installation.directly(), false)?]))
    }

    /// One by way of a worker.
    pub fn worker(installation: &Installation, agent: &str) -> Result<Self, Error> {
        Ok(Self(vec![Player::start(installation.command(agent, &["./driver", "drive"]), true)?]))
    }

    /// Starts as many as are missing.
    pub fn grow(&mut self, to: u64, command: impl Fn() -> Command, sandboxed: bool) -> Result<(), Error> {
        while per(self.0.len() as u64, 1.0) < per(to, 1.0) {
            self.0.push(Player::start(command(), sandboxed)?);
        }
        Ok(())
    }

    /// Has `job` done by all at once.
    pub fn play(&mut self, job: &Job, installation: &Installation) -> Result<Done, Error> {
        for player in &mut self.0 {
            player.ready(job)?;
        }
        let server = installation.upstream.process();
        let workers: Vec<u32> = self.0.iter().flat_map(|player| player.watched().iter().copied()).collect();
        let watched = if workers.is_empty() { vec![server] } else { workers.clone() };
        let read = || watched.iter().map(|&process| clock::of(process)).sum::<Result<f64, _>>();
        let before = read()?;
        for player in &mut self.0 {
            player.begin()?;
        }
        let (mut done, mut rate, mut drivers) = (0, 0.0, 0.0);
        for player in &mut self.0 {
            let outcome = player.end()?;
            done += outcome.done;
            rate += outcome.rate();
            drivers += outcome.cpu;
        }
        let used = read()? - before + if workers.is_empty() { drivers } else { 0.0 };
        match done {
            0 => Err(Error::new("nothing was done in time")),
            _ => Ok(Done { rate, cpu: used * 1e6 / per(done, 1.0) }),
        }
    }
}
