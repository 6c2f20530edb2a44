//! The machine's resolver, asked for one name and for no other.
//!
//! Enters: a name that is permitted, or that of the house's proxy, and the rule of the call. Leaves: its addresses. Never: a name to
//! which the machine's search domains were added, as that is not the one that was judged or written; more questions of one rule under
//! way than leave room for those of others: one whose servers do not answer keeps a thread for as long as the C library waits, also
//! when nobody waits for it any more.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock};

use config::{DnsName, RuleId};
use dashmap::DashMap;
use tokio::sync::Semaphore;

use crate::limit;

/// Which names this machine knows itself.
const HOSTS: &str = "/etc/hosts";

/// By rule. A process is one worker's.
static UNDER_WAY: LazyLock<DashMap<RuleId, Arc<Semaphore>>> = LazyLock::new(DashMap::new);

/// The addresses of `name`; waits while others of its rule are looked up.
pub(super) async fn addresses(name: &DnsName, rule: &RuleId) -> io::Result<Vec<IpAddr>> {
    let name = name.clone();
    one_of(rule, move || found(name.as_str())).await
}

/// Has `look` run on a thread where it may wait, if not too many of `rule` do.
async fn one_of<T: Send + 'static>(
    rule: &RuleId,
    look: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    if UNDER_WAY.len() >= limit::LOOKUP_RULES {
        // What is under way keeps its own.
        UNDER_WAY.retain(|_, places| Arc::strong_count(places) > 1);
    }
    let new = || Arc::new(Semaphore::new(limit::LOOKUPS));
    let places = Arc::clone(&*UNDER_WAY.entry(rule.clone()).or_insert_with(new));
    let place = places.acquire_owned().await.map_err(io::Error::other)?;
    let looked = tokio::task::spawn_blocking(move || {
        let found = look();
        drop(place);
        found
    });
    looked.await.map_err(io::Error::other)?
}

/// With a dot at its end a name is whole; but glibc does not find it in the machine's own list then.
fn found(name: &str) -> io::Result<Vec<IpAddr>> {
    // Without the file, or where it cannot be read, there is no such list, as the C library has it.
    let hosts = File::open(HOSTS).map(|file| BufReader::new(file.take(limit::HOSTS_BYTES)));
    let listed = hosts.and_then(|hosts| listed(hosts, name)).unwrap_or_default();
    if !listed.is_empty() {
        return Ok(listed);
    }
    Ok((format!("{name}."), 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

/// What a list as in hosts(5) says of a name, a line at a time: such lists have hundreds of thousands where they keep people from advertisers. A
/// line that has no end is none where the list was cut off.
fn listed(mut hosts: impl BufRead, name: &str) -> io::Result<Vec<IpAddr>> {
    let (mut found, mut line, mut read) = (Vec::new(), Vec::new(), 0);
    loop {
        line.clear();
        read += hosts.read_until(b'\n', &mut line)? as u64;
        let is_cut = read >= limit::HOSTS_BYTES && !line.ends_with(b"\n");
        if line.is_empty() || is_cut {
            return Ok(found);
        }
        let text = String::from_utf8_lossy(&line);
        let mut words = text.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
        found.extend(address.filter(|_| words.any(|word| word.eq_ignore_ascii_case(name))));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use config::{CallFacts, Destination, Policy, Scheme};

    use super::*;

    fn rule(host: &str) -> RuleId {
        let text = "[[allow]]\nto = \"a.example\"\n[[allow]]\nto = \"b.example\"\n";
        let policy = Policy::parse("bot".parse().unwrap(), "bot.toml", text).unwrap();
        let (destination, method) = (Destination::new(host.parse().unwrap(), 443), "GET".parse().unwrap());
        let path = config::NormalPath::parse("/").unwrap();
        let facts = CallFacts { destination: &destination, scheme: Scheme::Https, method: &method, path: &path };
        policy.call(&facts).unwrap().rule().clone()
    }

    #[test]
    fn a_name_is_found_in_the_machines_list_as_it_is_written_and_whole() {
        let listed = |hosts: &str, name| listed(hosts.as_bytes(), name).unwrap();
        let hosts = "127.0.0.1 localhost\n10.0.0.1\tdb.example DB # not.example\nfe80::1%lo x.example\n::2 db.example";
        assert_eq!(listed(hosts, "db.example"), ["10.0.0.1", "::2"].map(|text| text.parse::<IpAddr>().unwrap()));
        assert_eq!(listed(hosts, "db").len(), 1);
        for other in ["not.example", "b.example", "example", "x.example"] {
            assert!(listed(hosts, other).is_empty(), "{other}");
        }
    }

    #[tokio::test]
    async fn a_rule_whose_servers_do_not_answer_leaves_room_for_others() {
        let (silent, other) = (rule("a.example"), rule("b.example"));
        let (answers, told) = mpsc::channel::<()>();
        let told = Arc::new(std::sync::Mutex::new(told));
        let mut waiting = Vec::new();
        for _ in 0..600 {
            let (silent, told) = (silent.clone(), Arc::clone(&told));
            waiting.push(tokio::spawn(async move {
                let look = move || {
                    let _ = told.lock().unwrap().recv();
                    Ok(())
                };
                // As its caller has it: nobody waits for the thread any more.
                let _ = tokio::time::timeout(Duration::from_millis(50), one_of(&silent, look)).await;
            }));
        }
        for one in waiting {
            one.await.unwrap();
        }
        let found = tokio::time::timeout(Duration::from_secs(5), one_of(&other, || Ok(7))).await;
        drop(answers);
        assert_eq!(found.expect("another rule's name waits for it").unwrap(), 7);
    }
}
