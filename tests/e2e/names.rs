//! The name server: who comes back to a name is answered, however often and whatever else is asked for; new names are not to be had without end.

use std::time::Duration;

use crate::harness::{Exeat, Upstream};

/// What clients without a cache do, eight at once: each connection begins with a look at the name server.
const CROWD: &str = "
import http.client, socket, ssl, threading, time
def all_of(work, threads=8):
    failed = []
    def guarded():
        try:
            work()
        except OSError as error:
            failed.append(str(error))
    threads = [threading.Thread(target=guarded) for _ in range(threads)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return failed
def request():
    connection = http.client.HTTPSConnection('api.example.com')
    connection.request('GET', '/echo')
    assert connection.getresponse().read()
    connection.close()
";

#[test]
fn a_name_that_is_known_is_never_refused_however_often_it_is_asked_for() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream).limit(Duration::from_secs(60));
    let run = exeat.python(&format!(
        "{CROWD}
def work():
    for number in range(400):
        assert len(socket.getaddrinfo('api.example.com', 443)) == 3
        if number % 40 == 0:
            request()
print(all_of(work))"
    ));
    let run = run.ok();
    assert_eq!(run.stdout, "[]\n");
    // Asked for 3,280 times, of two types; it is told once in a while.
    let told = run.log.names().iter().filter(|(name, _)| *name == "api.example.com").count();
    assert!((2..=20).contains(&told), "told {told} times");
    assert_eq!(run.log.ends().len(), 80);
}

#[test]
fn names_as_fast_as_one_can_are_refused_and_a_known_one_beside_them_is_not() {
    let upstream = Upstream::start();
    let exeat = Exeat::new().allow("api.example.com", &upstream).limit(Duration::from_secs(60));
    let run = exeat.python(&format!(
        "{CROWD}
import itertools, subprocess
request()
number, over, refused = itertools.count(), time.monotonic() + 6, []
def flood():
    while time.monotonic() < over:
        try:
            socket.getaddrinfo(f'n{{next(number)}}.flood.example.net', 443)
        except socket.gaierror:
            refused.append(1)
def clients():
    while time.monotonic() < over - 1:
        request()
        for program in (['curl', '-sS', '-o', '/dev/null', 'https://api.example.com/'], ['getent', 'ahosts', 'api.example.com']):
            subprocess.run(program, check=True, stdout=subprocess.DEVNULL)
flooding = threading.Thread(target=lambda: all_of(flood, 4))
flooding.start()
while not refused:
    time.sleep(0.01)
try:
    clients()
    print('served')
finally:
    flooding.join()"
    ));
    let run = run.ok();
    assert_eq!(run.stdout, "served\n");
    // A burst, and what comes in six seconds.
    let told = run.log.names().len();
    assert!(told < 1000 + 200 * 8, "{told} names in the log");
}
