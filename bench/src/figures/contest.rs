//! Everybody who is compared, in the same rounds.
//!
//! Enters: an installation, and what is asked. Leaves: a turn of each in every round. Never: two turns compared that are not of one
//! round, nor one that always comes first.

use std::process::Command;

use crate::drive::through;
use crate::error::Error;
use crate::job::{Job, Load, Protocol};
use crate::rivals::setup::{Place, Rival};
use crate::tree;
use crate::upstream::Addresses;

use super::installation::{Installation, PLAIN, SWAPS};
use super::player::{Player, Turn};
use super::spread::Spread;

/// Who goes without a proxy.
pub const DIRECT: &str = "directly";
/// exeat without a credential: nothing is swapped or scrubbed.
pub const EXEAT: &str = "exeat, no credential";
/// exeat as it is meant to be.
pub const EXEAT_SWAPS: &str = "**exeat, everything on**";

/// One who is compared.
pub struct Contestant {
    /// What it is called.
    pub name: &'static str,
    /// Whether any name can be asked for.
    pub mints: bool,
    player: Player,
    /// Where its driver connects to; without them, names are looked up.
    addresses: Option<Addresses>,
    /// Whether it has no credential.
    open: bool,
    rival: Option<Rival>,
}

/// What all of them are asked.
pub struct Scene {
    /// The name.
    pub host: &'static str,
    /// The HTTP version.
    pub protocol: Protocol,
    /// How long the body is.
    pub bytes: u64,
    /// What is done; numbers of names depend on the round.
    pub load: Box<dyn Fn(u32) -> Load>,
}

/// Everybody, standing.
pub struct Contest<'a> {
    installation: &'a Installation,
    contestants: Vec<Contestant>,
}

/// A round's turns, in the order of the contestants; none where one did not take part.
pub struct Heats {
    names: Vec<&'static str>,
    rounds: Vec<Vec<Option<Turn>>>,
}

impl Scene {
    /// 1 KiB of the name that everybody knows, over HTTP/1.1.
    pub fn short(load: impl Fn(u32) -> Load + 'static) -> Self {
        Self { host: "h1.bench.example", protocol: Protocol::Http1, bytes: 1024, load: Box::new(load) }
    }
}

impl<'a> Contest<'a> {
    /// Starts everybody.
    pub fn start(installation: &'a Installation, place: &Place) -> Result<Self, Error> {
        let direct = Player::start(installation.directly(), false)?;
        let addresses = Some(installation.upstream.addresses);
        let mut contestants =
            vec![Contestant { name: DIRECT, mints: true, player: direct, addresses, open: false, rival: None }];
        for rival in place.start()? {
            let player = Player::start(driver(installation, place, &rival), false)?;
            let (name, mints, addresses) = (rival.name, rival.mints, Some(rival.addresses));
            contestants.push(Contestant { name, mints, player, addresses, open: false, rival: Some(rival) });
        }
        for (name, agent) in [(EXEAT, PLAIN), (EXEAT_SWAPS, SWAPS)] {
            let player = Player::start(installation.command(agent, &["./driver", "drive"]), true)?;
            let open = agent == PLAIN;
            contestants.push(Contestant { name, mints: true, player, addresses: None, open, rival: None });
        }
        let mut contest = Self { installation, contestants };
        for contestant in &mut contest.contestants {
            contestant.greet().map_err(|error| error.during(contestant.name))?;
        }
        Ok(contest)
    }

    /// Those who are compared.
    pub fn contestants(&mut self) -> &mut [Contestant] {
        &mut self.contestants
    }

    /// `rounds` of `scene`, with those who `take_part`.
    pub fn play(&mut self, rounds: u32, scene: &Scene, take_part: fn(&Contestant) -> bool) -> Result<Heats, Error> {
        let (server, many) = (self.installation.upstream.process(), self.contestants.len());
        let mut heats = Heats { names: self.contestants.iter().map(|one| one.name).collect(), rounds: Vec::new() };
        for (round, first) in (0..rounds).zip((0..many).cycle()) {
            let mut turns: Vec<_> = (0..many).map(|_| None).collect();
            for which in (first..many).chain(0..first) {
                let contestant = &mut self.contestants[which];
                if take_part(contestant) {
                    let turn = contestant.player.play(&contestant.job(scene, round), server);
                    turns[which] = Some(turn.map_err(|error| error.during(contestant.name))?);
                }
            }
            heats.rounds.push(turns);
        }
        Ok(heats)
    }
}

impl Contestant {
    /// What it is asked in `scene`.
    pub fn job(&self, scene: &Scene, round: u32) -> Job {
        let Scene { host, protocol, bytes, load } = scene;
        let connect = self.addresses.map(|addresses| match protocol {
            Protocol::Http1 => addresses.http1,
            Protocol::Http2 => addresses.both,
        });
        let path = format!("/{}/{bytes}", if self.open { "open" } else { "guarded" });
        Job {
            connect,
            host: host.to_string(),
            protocol: *protocol,
            path,
            load: load(round),
            beside: None,
            background: false,
        }
    }

    /// Its processes, without those of its driver. None where there is no proxy.
    pub fn processes(&self) -> Result<Vec<u32>, Error> {
        match (&self.rival, self.addresses) {
            (Some(rival), _) => rival.processes(),
            (None, Some(_)) => Ok(Vec::new()),
            (None, None) => tree::exeat(self.player.process()),
        }
    }

    /// Its driver.
    pub fn player(&mut self) -> &mut Player {
        &mut self.player
    }

    /// One call, so that everything stands of which CPU time is counted from then on.
    fn greet(&mut self) -> Result<(), Error> {
        let scene = Scene::short(|_| Load::Hold { connections: 1 });
        self.player.ready(&self.job(&scene, 0))?;
        self.player.begin()?;
        self.player.end()?;
        self.player.watch(self.processes()?);
        Ok(())
    }
}

impl Heats {
    /// `of` the turns of `name` and of whoever went directly, a round each.
    pub fn of(&self, name: &str, of: impl Fn(&Turn, &Turn) -> f64) -> Option<Spread> {
        self.between(name, DIRECT, of)
    }

    /// What `one` adds to going directly ÷ what `other` adds, by `of`.
    pub fn added(&self, one: &str, other: &str, of: impl Fn(&Turn) -> f64) -> Option<Spread> {
        let place = |name: &str| self.names.iter().position(|&it| it == name);
        let (one, other, direct) = (place(one)?, place(other)?, place(DIRECT)?);
        let added = |turns: &Vec<Option<Turn>>| {
            let base = of(turns[direct].as_ref()?);
            Some((of(turns[one].as_ref()?) - base) / (of(turns[other].as_ref()?) - base))
        };
        self.rounds.iter().map(added).collect()
    }

    /// `of` the turns of `one` and `other`; none where either did not take part.
    pub fn between(&self, one: &str, other: &str, of: impl Fn(&Turn, &Turn) -> f64) -> Option<Spread> {
        let place = |name: &str| self.names.iter().position(|&it| it == name);
        let (one, other) = (place(one)?, place(other)?);
        self.rounds.iter().map(|turns| Some(of(turns[one].as_ref()?, turns[other].as_ref()?))).collect()
    }
}

/// A driver that goes to `rival`.
fn driver(installation: &Installation, place: &Place, rival: &Rival) -> Command {
    let mut command = installation.directly();
    command.env("SSL_CERT_FILE", place.roots()).env("BENCH_CREDENTIAL", rival.credential);
    if let Some(proxy) = rival.through {
        command.env(through::VARIABLE, proxy.to_string());
    }
    command
}
