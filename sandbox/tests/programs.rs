//! Programs as they are go on working behind the filter: what they fall back to is there.

mod harness;
use harness::{Sandbox, starters};

#[test]
fn python_starts_processes_and_threads_in_each_of_its_ways() {
    let script = r#"
import asyncio, ctypes, multiprocessing, os, pty, selectors, signal, socket, subprocess, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import shared_memory

def square(x): return x * x

async def echo():
    child = await asyncio.create_subprocess_exec("echo", "hi", stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()
    async def serve(reader, writer):
        writer.write(await reader.readline()); writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"line\n")
    return out + await reader.read()

if __name__ == "__main__":
    for way in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(way).Pool(2) as pool:
            assert pool.map(square, range(9)) == [x * x for x in range(9)], way
    queue = multiprocessing.Queue(); queue.put("x"); assert queue.get() == "x"
    memory = shared_memory.SharedMemory(create=True, size=64); memory.buf[0] = 1; memory.close(); memory.unlink()
    with ThreadPoolExecutor(4) as pool: assert sum(pool.map(square, range(5))) == 30
    assert asyncio.run(echo()) == b"hi\nline\n"
    assert subprocess.run(["cat"], input=b"in", capture_output=True).stdout == b"in"
    assert os.posix_spawn("/bin/true", ["true"], {}) > 0 and os.wait()[1] == 0
    pid, terminal = pty.fork()
    if pid == 0: os.execv("/bin/sh", ["sh", "-c", "tty"])
    assert os.read(terminal, 64).startswith(b"/dev/pts/"); os.waitpid(pid, 0)
    fd = os.pidfd_open(os.getpid()); signal.pidfd_send_signal(fd, 0); os.close(fd)
    os.memfd_create("m"); os.eventfd(0); os.sched_setaffinity(0, os.sched_getaffinity(0)); os.nice(1)
    assert os.cpu_count() == os.sysconf("SC_NPROCESSORS_ONLN") and socket.if_nameindex()[0][1] == "lo"
    assert {a.split(":")[0] for a in open("/proc/self/cgroup")}
    print("all")
"#;
    for starter in starters() {
        let sandbox = Sandbox::of(starter).writable();
        // A file, for the ways that import it anew.
        std::fs::write(sandbox.directory.path().join("ways.py"), script).unwrap();
        assert_eq!(sandbox.run(&["/usr/bin/python3", "ways.py"]).ok(), "all\n", "{starter:?}");
    }
}

#[test]
fn git_a_compiler_node_and_a_shell_with_jobs() {
    let script = r#"
set -e
export HOME=/home/agent GIT_CONFIG_NOSYSTEM=1
git init -q r; cd r; git config user.email a@example.com; git config user.name a
echo x > f; git add f; git commit -qm first; git gc -q; git clone -q . ../c; git -C ../c log --format=%s
cat > t.c <<'C'
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void *f(void *p) { return p; }
int main(void) { pthread_t t; pthread_create(&t, 0, f, 0); pthread_join(t, 0); printf("%ld\n", sysconf(_SC_NPROCESSORS_CONF)); return 0; }
C
cc -O2 -pthread t.c -o t; ./t > processors
node -e '
const { Worker } = require("worker_threads"), { execSync } = require("child_process"), fs = require("fs");
fs.promises.readFile("f").then((text) => new Worker(`require("worker_threads").parentPort.postMessage(1)`, { eval: true })
  .on("message", (m) => fs.watch(".", () => {}).close() || console.log(`${text}`.trim(), execSync("echo y").toString().trim(), m)));'
mkdir a b; echo 1 > a/1; ln a/1 b/2; mv a/1 b/3; mkfifo p; (echo through > p &); cat p; cp -a b d; flock f true
sleep 60 & kill %1; wait %1 || echo "ended $?"
[ "$(nproc)" = "$(cat processors)" ] || [ "$(nproc)" -lt "$(cat processors)" ]
"#;
    for starter in starters() {
        let out = Sandbox::of(starter).writable().with(&["--processes", "100"]).sh(script).ok();
        assert_eq!(out, "first\nx y 1\nthrough\nended 143\n", "{starter:?}");
    }
}
