//! A process with one way out.
//!
//! For: running a command that may not be trusted with the network or with a secret. In: a [`Spec`]. Out: sockets that all
//! its connections arrive at, and the command, running. Never: a word about what arrives there; proxy and policy are not
//! known here. It needs no privilege, and uses none it has.
//!
//! In the order things happen:
//!
//! | module | |
//! |---|---|
//! | `spec` | what the caller wants |
//! | [`expand`](expand()) | what the patterns of a policy stand for on this machine |
//! | `plan` | read against the machine: which user, which paths |
//! | `walk`, `secrets`, `outlets`, `cover` | what of them is not to be seen: by its name, by the policy, or as it leads out |
//! | `trail`, `own` | nor is what exeat goes by, wherever links lead; where the command could change it nothing starts |
//! | `closed` | where a cover cannot be put now and would be missed later |
//! | `spawn` | [`begin`], [`Preparing::finish`], [`Prepared::start`]: the parent's side |
//! | `namespace`, `cgroup`, `limits`, `nested` | what the parent alone can do: maps, idmapped mounts, limits |
//! | `message` | what parent and child say to each other |
//! | `child` | **the irreversible steps, one list** |
//! | `network`, `netlink`, `nft` | every address leads to two listeners |
//! | `filesystem`, `etc`, `trust`, `certificate`, `keystore`, `stores`, `nss`, `sqlite` | a private root |
//! | `overlay` | a directory under a layer for what is written |
//! | `terminal`, `relay` | a terminal of its own |
//! | `landlock` | a second wall behind the mounts |
//! | `confine`, `filter` | no privilege, ever again, and a list of system calls |
//! | `home` | files of the caller's in the private home |
//! | `init` | pid 1, and the command's `exec` |
//! | `lock` | the worker takes from itself what it needs no more |
//! | `keeper`, `disk`, `uncounted` | beside the worker: limits that the kernel does not hold by itself |
//! | `aside`, `memory` | processes of the run's own beside the worker; what none of them holds on to |
//! | `running`, `process`, `met`, `hangup` | until the end, what came of the limits, and which SIGHUP is whose |
//! | `status`, `probe`, `offer`, `error` | what is in force; what this machine can; what went wrong |
//! | [`attempt`] | what a hostile command would ask the kernel for |
//! | `sys` | every unsafe line |

#![deny(unsafe_code)]

mod aside;
pub mod attempt;
mod certificate;
mod cgroup;
mod child;
mod closed;
mod confine;
mod cover;
mod disk;
mod error;
mod etc;
mod expand;
mod filesystem;
mod filter;
mod hangup;
mod home;
mod init;
mod keeper;
mod keystore;
mod landlock;
mod limits;
mod lock;
mod memory;
mod message;
mod met;
mod namespace;
mod nested;
mod netlink;
mod network;
mod nft;
mod nss;
mod offer;
mod outlets;
mod overlay;
mod own;
mod plan;
mod probe;
mod process;
mod relay;
mod running;
mod secrets;
mod spawn;
mod spec;
mod sqlite;
mod status;
mod stores;
#[expect(unsafe_code, reason = "the only place for it")]
mod sys;
mod terminal;
mod trail;
mod trust;
mod uncounted;
mod walk;

pub use aside::{fork_aside, keep_to_directory};
pub use error::{Error, ErrorKind, Step};
pub use expand::{Expanded, Purpose, expand};
pub use filesystem::HOME;
pub use hangup::{Hangup, Hangups};
pub use home::HomeFile;
pub use landlock::keeps_files;
pub use limits::raise_open_files;
pub use lock::{Bolt, Lacking, Lock, Reach, close_memory, lock_in};
pub use memory::{bound_heaps, give_back_freed, give_back_memory};
pub use met::{Limit, Met};
pub use offer::Offered;
pub use probe::{Capability, probe};
pub use process::{ChildProcess, fork_process};
pub use running::{Exit, Running};
pub use spawn::{Prepared, Preparing, Sockets, begin, foresee};
pub use spec::{CaptureChoice, Layered, Limits, Spec, Trust};
pub use status::{Capture, HiddenInForce, Landlock, LimitsInForce, Means, Status, SyscallFilter};
pub use trail::Trail;
pub use trust::{BUNDLE, trust_environment};
