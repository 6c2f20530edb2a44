//! Names and the addresses they were given, both ways.
//!
//! Enters: a name, or an address that a connection goes to. Leaves: the other half. Never: one address for two names at
//! a time; an address given to another name while it may still be in use; more entries than there are addresses.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use config::DnsName;
use dashmap::DashMap;

/// 198.18.0.0/15 (RFC 2544, never on the Internet) less .0.0, the name server's own .0.1, and 198.19.255.255.
const ADDRESSES: Range<u32> = 0xc612_0002..0xc613_ffff;
/// Clients keep an address past its TTL, Java ones up to for ever, but they use it again within the hour.
const IN_USE: Duration = Duration::from_secs(60 * 60);

/// Which address stands for which name. One per worker; shared by its name server and its connections.
#[derive(Debug)]
pub struct AddressMap {
    by_name: DashMap<DnsName, Ipv4Addr>,
    by_address: DashMap<Ipv4Addr, Held>,
    supply: Mutex<Supply>,
    start: Instant,
}

/// Every address stands for a name that was used within the hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all addresses of 198.18.0.0/15 stand for names used within the hour: this sandbox asks for too many names")]
pub struct Exhausted;

#[derive(Debug)]
struct Held {
    name: DnsName,
    /// Seconds from the map's start to the latest use.
    used: AtomicU64,
}

/// What can be given out: addresses never used, then those longest unused.
#[derive(Debug)]
struct Supply {
    unused: Range<u32>,
    /// Each held address with a use of it, not always the latest: brought up to date only when it comes to the top.
    oldest: BinaryHeap<Reverse<(u64, Ipv4Addr)>>,
}

impl AddressMap {
    /// An empty map; `now` is the start of its clock.
    pub fn new(now: Instant) -> Self {
        Self::over(ADDRESSES, now)
    }

    fn over(unused: Range<u32>, now: Instant) -> Self {
        let supply = Mutex::new(Supply { unused, oldest: BinaryHeap::new() });
        Self { by_name: DashMap::new(), by_address: DashMap::new(), supply, start: now }
    }

    /// Whether `address` is one that a name server of ours gives out, in this worker or another.
    pub fn holds(address: Ipv4Addr) -> bool {
        ADDRESSES.contains(&address.into())
    }

    /// The name that `address` stands for. Counts as a use of it.
    pub fn name_of(&self, address: Ipv4Addr, now: Instant) -> Option<DnsName> {
        let held = self.by_address.get(&address)?;
        held.used.fetch_max(self.seconds(now), Ordering::Relaxed);
        Some(held.name.clone())
    }

    /// The address that stands for `name`, a new one where it has none. Counts as a use of it.
    ///
    /// # Errors
    /// When all addresses are in use.
    pub fn address_of(&self, name: &DnsName, now: Instant) -> Result<Ipv4Addr, Exhausted> {
        if let Some(address) = self.known(name, now) {
            return Ok(address);
        }
        let mut supply = self.supply.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = self.known(name, now) {
            return Ok(address);
        }
        let now = self.seconds(now);
        let address = match supply.unused.next() {
            Some(address) => address.into(),
            None => self.recycled(&mut supply, now)?,
        };
        supply.oldest.push(Reverse((now, address)));
        self.by_address.insert(address, Held { name: name.clone(), used: AtomicU64::new(now) });
        self.by_name.insert(name.clone(), address);
        Ok(address)
    }

    fn known(&self, name: &DnsName, now: Instant) -> Option<Ipv4Addr> {
        let address = *self.by_name.get(name)?;
        // The address may have been recycled since it was read.
        (self.name_of(address, now)? == *name).then_some(address)
    }

    /// Takes the address that was unused the longest away from its name.
    fn recycled(&self, supply: &mut Supply, now: u64) -> Result<Ipv4Addr, Exhausted> {
        while let Some(Reverse((noted, address))) = supply.oldest.pop() {
            let used = self.by_address.get(&address).map_or(0, |held| held.used.load(Ordering::Relaxed));
            if used > noted {
                supply.oldest.push(Reverse((used, address)));
            } else if now.saturating_sub(used) < IN_USE.as_secs() {
                supply.oldest.push(Reverse((noted, address)));
                return Err(Exhausted);
            } else {
                if let Some((_, held)) = self.by_address.remove(&address) {
                    self.by_name.remove(&held.name);
                }
                return Ok(address);
            }
        }
        Err(Exhausted)
    }

    fn seconds(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs()
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
        assert_eq!(map.address_of(&name("b"), after(110)), Ok(a));
        assert_eq!(map.address_of(&name("c"), after(110)), Ok(c));
        assert_eq!((map.by_name.len(), map.by_address.len()), (3, 3));
    }

    #[test]
    fn askers_at_the_same_time_agree() {
        let now = Instant::now();
        let map = AddressMap::new(now);
        let ask = || (0..500).map(|i| map.address_of(&name(&format!("n{i}")), now).unwrap()).collect::<Vec<_>>();
        let all = std::thread::scope(|scope| [scope.spawn(ask), scope.spawn(ask)].map(|thread| thread.join().unwrap()));
        assert_eq!(all[0], all[1]);
        assert_eq!(map.by_address.len(), 500);
    }
}
