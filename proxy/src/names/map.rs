//! Names and the addresses they were given, both ways.
//!
//! Enters: a name, or an address that a connection goes to. Leaves: the other half. Never: one address for two names at
//! a time; an address given to another name while it may still be in use; more entries than there are addresses.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use config::DnsName;

use super::table::Table;

/// 198.18.0.0/15 (RFC 2544, never on the Internet) less .0.0, the name server's own .0.1, and 198.19.255.255.
const ADDRESSES: Range<u32> = 0xc612_0002..0xc613_ffff;
/// Clients keep an address past its TTL, Java ones up to for ever, but they use it again within the hour.
const IN_USE: Duration = Duration::from_secs(60 * 60);
/// Time is told in steps of so many seconds; what was noted of a name is forgotten with its step. Not below the TTL of an answer: who keeps to
/// that does not ask twice in a step.
const STEP: u64 = 64;
/// A name's stamp is the step of its latest use, above a bit for each [`Common`] that was noted in it.
const STEP_FROM: u32 = 3;

/// Which address stands for which name. One per worker; shared by its name server and its connections.
#[derive(Debug)]
pub struct AddressMap {
    /// Numbered as the addresses are.
    table: Mutex<Table>,
    addresses: Range<u32>,
    start: Instant,
}

/// Every address stands for a name that was used within the hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all addresses of 198.18.0.0/15 stand for names used within the hour: this sandbox asks for too many names")]
pub struct Exhausted;

/// What a name was asked for that clients ask again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Common {
    A,
    Aaaa,
    /// Browsers do.
    Https,
}

impl AddressMap {
    /// An empty map; `now` is the start of its clock.
    pub fn new(now: Instant) -> Self {
        Self::over(ADDRESSES, now)
    }

    fn over(addresses: Range<u32>, now: Instant) -> Self {
        Self { table: Mutex::new(Table::new()), addresses, start: now }
    }

    /// Whether `address` is one that a name server of ours gives out, in this worker or another.
    pub fn holds(address: Ipv4Addr) -> bool {
        ADDRESSES.contains(&address.into())
    }

    /// The name that `address` stands for. Counts as a use of it.
    pub fn name_of(&self, address: Ipv4Addr, now: Instant) -> Option<DnsName> {
        let number = u32::from(address).checked_sub(self.addresses.start)?;
        let mut table = self.table();
        let name = table.name(number)?.parse().ok()?;
        self.used(&mut table, number, now);
        Some(name)
    }

    /// The address that stands for `name`, a new one where it has none. Counts as a use of it.
    ///
    /// # Errors
    /// When all addresses are in use.
    pub fn address_of(&self, name: &DnsName, now: Instant) -> Result<Ipv4Addr, Exhausted> {
        let mut table = self.table();
        if let Some(number) = table.number(name.as_str()) {
            self.used(&mut table, number, now);
            return Ok(self.address(number));
        }
        let step = self.step(now);
        let number = if table.len() < self.addresses.len() {
            table.add(name.as_str(), step << STEP_FROM)
        } else {
            let (number, stamp) = table.oldest().ok_or(Exhausted)?;
            let unused = step.saturating_sub(stamp >> STEP_FROM).saturating_sub(1);
            if u64::from(unused) * STEP < IN_USE.as_secs() {
                return Err(Exhausted);
            }
            table.hand_on(number, name.as_str(), step << STEP_FROM).map(|()| number)
        };
        number.map(|number| self.address(number)).ok_or(Exhausted)
    }

    /// Whether `name` has an address.
    pub(super) fn knows(&self, name: &DnsName) -> bool {
        self.table().number(name.as_str()).is_some()
    }

    /// Whether it was noted a moment ago that `name` was asked for.
    pub(super) fn is_noted(&self, name: &DnsName, what: Common, now: Instant) -> bool {
        let mut table = self.table();
        let stamp = table.number(name.as_str()).and_then(|number| self.used(&mut table, number, now));
        stamp.is_some_and(|stamp| *stamp & 1 << what as u32 != 0)
    }

    /// Notes that a `name` that has an address was asked for.
    pub(super) fn note(&self, name: &DnsName, what: Common, now: Instant) {
        let mut table = self.table();
        let stamp = table.number(name.as_str()).and_then(|number| self.used(&mut table, number, now));
        if let Some(stamp) = stamp {
            *stamp |= 1 << what as u32;
        }
    }

    /// Takes note of a use. What is left is the stamp of a name that is used now.
    fn used<'a>(&self, table: &'a mut Table, number: u32, now: Instant) -> Option<&'a mut u32> {
        table.used(number);
        let (stamp, step) = (table.stamp(number)?, self.step(now));
        if *stamp >> STEP_FROM < step {
            *stamp = step << STEP_FROM;
        }
        Some(stamp)
    }

    fn address(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.addresses.start + number)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many since the map's start; a thousand years fit.
    fn step(&self, now: Instant) -> u32 {
        let steps = now.saturating_duration_since(self.start).as_secs() / STEP;
        u32::try_from(steps).unwrap_or(u32::MAX).min(u32::MAX >> STEP_FROM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DnsName {
        text.parse().unwrap()
    }

    #[test]
    fn each_name_has_an_address_of_its_own_and_each_address_its_name() {
        let now = Instant::now();
        let map = AddressMap::new(now);
        let a = map.address_of(&name("a.example"), now).unwrap();
        let b = map.address_of(&name("b.example"), now).unwrap();
        assert_eq!((a, b), ([198, 18, 0, 2].into(), [198, 18, 0, 3].into()));
        assert_eq!(map.address_of(&name("A.example."), now), Ok(a));
        assert_eq!(map.name_of(b, now), Some(name("b.example")));
        assert_eq!(map.name_of([198, 18, 0, 4].into(), now), None);
        assert_eq!(Ipv4Addr::from(ADDRESSES.end - 1), Ipv4Addr::new(198, 19, 255, 254));
    }

    #[test]
    fn the_address_unused_the_longest_is_recycled_and_none_that_was_used_within_the_hour() {
        let start = Instant::now();
        let after = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let map = AddressMap::over(1..4, start);
        let [a, b, c] = ["a", "b", "c"].map(|text| map.address_of(&name(text), start).unwrap());
        assert_eq!(map.address_of(&name("d"), after(59)), Err(Exhausted));
        map.name_of(a, after(50));
        map.address_of(&name("c"), after(70)).unwrap();
        assert_eq!(map.address_of(&name("d"), after(71)), Ok(b));
        assert_eq!(map.address_of(&name("b"), after(71)), Err(Exhausted));
        assert_eq!(map.name_of(b, after(71)), Some(name("d")));
        assert_eq!(map.address_of(&name("b"), after(113)), Ok(a));
        assert_eq!(map.address_of(&name("c"), after(113)), Ok(c));
        assert_eq!(map.table().len(), 3);
    }

    #[test]
    fn askers_at_the_same_time_agree() {
        let now = Instant::now();
        let map = AddressMap::new(now);
        let ask = || (0..500).map(|i| map.address_of(&name(&format!("n{i}")), now).unwrap()).collect::<Vec<_>>();
        let all = std::thread::scope(|scope| [scope.spawn(ask), scope.spawn(ask)].map(|thread| thread.join().unwrap()));
        assert_eq!(all[0], all[1]);
        assert_eq!(map.table().len(), 500);
    }
}
