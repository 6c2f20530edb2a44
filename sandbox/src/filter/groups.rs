//! The system calls by group, with their numbers on both processors: who needs them, and what nobody gets.
//!
//! For: the filter. In: nothing. Out: tables; what is in none of them does not exist inside. Never: a call whose arguments decide;
//! those are in `arguments`.

/// A system call's name, and its number on x86-64 and on AArch64; not every call is on both.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    /// As in the kernel's headers.
    #[cfg_attr(not(test), expect(dead_code, reason = "for tests and readers"))]
    pub name: &'static str,
    pub x86_64: Option<u32>,
    pub aarch64: Option<u32>,
}

macro_rules! number {
    (-) => {
        None
    };
    ($number:literal) => {
        Some($number)
    };
}

/// Name, x86-64, AArch64.
macro_rules! calls {
    ($($name:ident $x86_64:tt $aarch64:tt),* $(,)?) => {
        &[$(Call { name: stringify!($name), x86_64: number!($x86_64), aarch64: number!($aarch64) }),*]
    };
}
pub(super) use {calls, number};

/// What every command may do.
pub(super) const ALLOWED: &[&[Call]] =
    &[FILES, NAMES, MEMORY, THREADS, PROCESSES, SCHEDULING, SIGNALS, TIME, POLLING, SOCKETS, QUEUES, IDENTITY];

/// Opening apart, which is judged: reading, writing and moving about in files. Every program.
const FILES: &[Call] = calls![
    read 0 63, write 1 64, close 3 57, lseek 8 62, pread64 17 67, pwrite64 18 68, readv 19 65, writev 20 66,
    preadv 295 69, pwritev 296 70, preadv2 327 286, pwritev2 328 287, sendfile 40 71, splice 275 76, tee 276 77,
    vmsplice 278 75, copy_file_range 326 285, readahead 187 213, fadvise64 221 223, fsync 74 82, fdatasync 75 83,
    sync 162 81, syncfs 306 267, sync_file_range 277 84, truncate 76 45, ftruncate 77 46, fallocate 285 47, flock 73 32,
    fcntl 72 25, dup 32 23, dup2 33 -, dup3 292 24, pipe 22 -, pipe2 293 59, close_range 436 436, cachestat 451 451,
];

/// Names, metadata and directories. Every program; extended attributes: cp, tar, git, package managers.
const NAMES: &[Call] = calls![
    stat 4 -, fstat 5 80, lstat 6 -, newfstatat 262 79, statx 332 291, access 21 -, faccessat 269 48,
    faccessat2 439 439, readlink 89 -, readlinkat 267 78, getdents 78 -, getdents64 217 61, getcwd 79 17, chdir 80 49,
    fchdir 81 50, statfs 137 43, fstatfs 138 44, rename 82 -, renameat 264 38, renameat2 316 276, link 86 -,
    linkat 265 37, symlink 88 -, symlinkat 266 36, unlink 87 -, unlinkat 263 35, mkdir 83 -, mkdirat 258 34, rmdir 84 -,
    umask 95 166, chown 92 -, fchown 93 55, lchown 94 -, fchownat 260 54, utime 132 -, utimes 235 -, futimesat 261 -,
    utimensat 280 88, setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7, getxattr 191 8, lgetxattr 192 9,
    fgetxattr 193 10, listxattr 194 11, llistxattr 195 12, flistxattr 196 13, removexattr 197 14, lremovexattr 198 15,
    fremovexattr 199 16, inotify_init 253 -, inotify_init1 294 26, inotify_add_watch 254 27, inotify_rm_watch 255 28,
];

/// Memory of one's own. Every allocator and loader; keys for pages: V8; shadow stacks and sealing: the C library;
/// locking: gpg, databases.
const MEMORY: &[Call] = calls![
    mmap 9 222, munmap 11 215, mprotect 10 226, mremap 25 216, brk 12 214, madvise 28 233, msync 26 227, mincore 27 232,
    mlock 149 228, mlock2 325 284, munlock 150 229, mlockall 151 230, munlockall 152 231, membarrier 324 283,
    memfd_create 319 279, pkey_alloc 330 289, pkey_free 331 290, pkey_mprotect 329 288, map_shadow_stack 453 453,
    mseal 462 462, arch_prctl 158 -,
];

/// Threads and what they wait on. Every threaded program and the C library's start-up code.
const THREADS: &[Call] = calls![
    set_tid_address 218 96, set_robust_list 273 99, get_robust_list 274 100, rseq 334 293, futex 202 98,
    futex_waitv 449 449, futex_wake 454 454, futex_wait 455 455, futex_requeue 456 456, gettid 186 178,
    sched_yield 24 124, getcpu 309 168,
];

/// Making processes (the flags of `clone` are judged), and their ends. Shells, make, every language's way to start a
/// program.
const PROCESSES: &[Call] = calls![
    fork 57 -, vfork 58 -, execve 59 221, execveat 322 281, exit 60 93, exit_group 231 94, wait4 61 260, waitid 247 95,
    pidfd_open 434 434, getpid 39 172, getppid 110 173, setpgid 109 154, getpgid 121 155, getpgrp 111 -, setsid 112 157,
    getsid 124 156, prctl 157 167, seccomp 317 277, landlock_create_ruleset 444 444, landlock_add_rule 445 445,
    landlock_restrict_self 446 446, restart_syscall 219 128, uretprobe 335 -, uprobe 336 -,
];

/// Priorities, processors and limits of one's own. nice, taskset, Java, Go, make -j; what is said of the machine:
/// free, nproc.
const SCHEDULING: &[Call] = calls![
    sched_getaffinity 204 123, sched_setaffinity 203 122, sched_getparam 143 121, sched_setparam 142 118,
    sched_getscheduler 145 120, sched_setscheduler 144 119, sched_getattr 315 275, sched_setattr 314 274,
    sched_get_priority_max 146 125, sched_get_priority_min 147 126, sched_rr_get_interval 148 127, getpriority 140 141,
    setpriority 141 140, ioprio_get 252 31, ioprio_set 251 30, getrlimit 97 163, setrlimit 160 164, prlimit64 302 261,
    getrusage 98 165, times 100 153, sysinfo 99 179, uname 63 160, getrandom 318 278,
];

/// Sending and taking them; only processes of the sandbox can be named. Shells, timeouts, garbage collectors.
const SIGNALS: &[Call] = calls![
    kill 62 129, tkill 200 130, tgkill 234 131, pidfd_send_signal 424 424, rt_sigaction 13 134, rt_sigprocmask 14 135,
    rt_sigreturn 15 139, rt_sigpending 127 136, rt_sigsuspend 130 133, rt_sigtimedwait 128 137, rt_sigqueueinfo 129 138,
    rt_tgsigqueueinfo 297 240, sigaltstack 131 132, pause 34 -, signalfd 282 -, signalfd4 289 74,
];

/// Reading the clock and waiting; it cannot be set. Every program that sleeps or has a deadline.
const TIME: &[Call] = calls![
    time 201 -, gettimeofday 96 169, clock_gettime 228 113, clock_getres 229 114, nanosleep 35 101,
    clock_nanosleep 230 115, alarm 37 -, getitimer 36 102, setitimer 38 103, timer_create 222 107,
    timer_settime 223 110, timer_gettime 224 108, timer_getoverrun 225 109, timer_delete 226 111, timerfd_create 283 85,
    timerfd_settime 286 86, timerfd_gettime 287 87,
];

/// Waiting for many descriptors. Servers, libuv, asyncio, curl; the older asynchronous I/O: MySQL, nginx, qemu.
const POLLING: &[Call] = calls![
    poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72, epoll_create 213 -, epoll_create1 291 20, epoll_ctl 233 21,
    epoll_wait 232 -, epoll_pwait 281 22, epoll_pwait2 441 441, eventfd 284 -, eventfd2 290 19, io_setup 206 0,
    io_submit 209 2, io_getevents 208 4, io_pgetevents 333 292, io_cancel 210 3, io_destroy 207 1,
];

/// Using a socket; making one is judged. Every client and server.
const SOCKETS: &[Call] = calls![
    bind 49 200, listen 50 201, accept 43 202, accept4 288 242, connect 42 203, getsockname 51 204, getpeername 52 205,
    getsockopt 55 209, sendto 44 206, recvfrom 45 207, sendmsg 46 211, recvmsg 47 212, sendmmsg 307 269,
    recvmmsg 299 243, shutdown 48 210,
];

/// System V and POSIX shared memory, semaphores and queues, of this IPC namespace. PostgreSQL, Python's
/// multiprocessing.
const QUEUES: &[Call] = calls![
    shmget 29 194, shmat 30 196, shmctl 31 195, shmdt 67 197, semget 64 190, semop 65 193, semtimedop 220 192,
    semctl 66 191, msgget 68 186, msgsnd 69 189, msgrcv 70 188, msgctl 71 187, mq_open 240 180, mq_unlink 241 181,
    mq_timedsend 242 182, mq_timedreceive 243 183, mq_notify 244 184, mq_getsetattr 245 185,
];

/// Who one is, and becoming who one is already, or less. id, ssh, git, daemons that drop privileges they do not have.
const IDENTITY: &[Call] = calls![
    getuid 102 174, geteuid 107 175, getgid 104 176, getegid 108 177, getresuid 118 148, getresgid 120 150,
    getgroups 115 158, setuid 105 146, setgid 106 144, setreuid 113 145, setregid 114 143, setresuid 117 147,
    setresgid 119 149, setfsuid 122 151, setfsgid 123 152, setgroups 116 159, capget 125 90, capset 126 91,
];

/// Only where the policy has `nested`: namespaces, mounts and names of hosts in them. bubblewrap, Chromium's own
/// sandbox, rootless containers.
pub(super) const NAMESPACES: &[Call] = calls![
    setns 308 268, mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51, fsopen 430 430, fsconfig 431 431,
    fsmount 432 432, fspick 433 433, open_tree 428 428, open_tree_attr 467 467, move_mount 429 429,
    mount_setattr 442 442, sethostname 170 161, setdomainname 171 162,
];

/// What needs a privilege that nobody here has, what reaches into other processes, and the kernel's favourite ways to
/// lose: keyrings, BPF, performance counters, modules, handles of files, accounting, the clock, swap, the kernel's
/// log. Programs that try them are used to being told so.
pub(super) const NOT_PERMITTED: &[Call] = calls![
    add_key 248 217, request_key 249 218, keyctl 250 219, bpf 321 280, perf_event_open 298 241,
    process_vm_readv 310 270, process_vm_writev 311 271, pidfd_getfd 438 438, fanotify_init 300 262,
    fanotify_mark 301 263, name_to_handle_at 303 264, open_by_handle_at 304 265, init_module 175 105,
    finit_module 313 273, delete_module 176 106, kexec_load 246 104, kexec_file_load 320 294, reboot 169 142,
    swapon 167 224, swapoff 168 225, quotactl 179 60, quotactl_fd 443 443, acct 163 89, syslog 103 116, vhangup 153 58,
    iopl 172 -, ioperm 173 -, settimeofday 164 170, clock_settime 227 112, adjtimex 159 171, clock_adjtime 305 266,
    lookup_dcookie 212 18,
];
