//! One worker's proxy: every connection of one sandbox, judged, swapped, scrubbed and recorded.
//!
//! The modules in reading order are the life of a request:
//!
//! | step | module | enters → leaves |
//! |---|---|---|
//! | accept | [`serve`] | listeners of the sandbox → connections, and their graceful end |
//! | | `seats` | a place for each connection; the idle make room |
//! | | `turn` | whose work goes on: whoever has had least |
//! | | [`connection`] | one connection, a line per step |
//! | hello | [`hello`] | first bytes → TLS server name, or HTTP, or refused |
//! | | [`names`] | name server; address ↔ name |
//! | authorize | [`authorize`] | policy and witnesses → permit or refusal |
//! | leaf | [`leaf`] | a name → a certificate of the worker's CA |
//! | terminate | [`terminate`] | the client's handshake, finished |
//! | | `gathered` | TLS records, many at a time, on both sides |
//! | | [`tunnel`] | a connection that its rule lets pass unread |
//! | | [`exchange`] | one request, a line per step |
//! | request | [`request`] | an HTTP request → a `Call` with one reading |
//! | | [`trace`] | the trace that the call belongs to, and its own span |
//! | | [`grpc`] | whose messages are looked at one by one |
//! | swap | [`swap`] | placeholder → credential, only where granted |
//! | | [`sign`] | what the agent signed with placeholders → checked, and signed anew |
//! | | [`tool`] | the body of an MCP or GraphQL request → what it asks for, if that is listed |
//! | upstream | [`resolve`], [`upstream`] | permit → checked address → connection → answer |
//! | | `exchange::attempt` | sent; once more with another lease where the first is refused |
//! | | `aside` | what a connection or call is ended by, waited for at next to no cost |
//! | | `leave` | what a call under way stands on; taken back → cut off |
//! | | `memory` | how much of it there is for what waits; who reads nothing makes room |
//! | scrub | [`scrub`] | credential → placeholder, in the answer |
//! | record | [`record`] | the call log |
//! | | [`respond`] | refusals → answers, one table |
//! | | [`tally`] | refusals, counted for the end of the run |
//! | | [`limit`] | every bound and its reason |
//! | | `sabotage` | what a test may take away of all this, and no build but a test's |
//!
//! Never: it holds no long-lived secret, dials nothing without a permit, tunnels nothing that no rule says it shall.
#![forbid(unsafe_code)]

mod aside;
pub mod authorize;
mod coding;
pub mod connection;
pub mod error;
pub mod exchange;
mod gathered;
pub mod grpc;
pub mod hello;
pub mod leaf;
mod leave;
pub mod limit;
mod memory;
pub mod names;
pub mod record;
pub mod request;
pub mod resolve;
pub mod respond;
mod sabotage;
pub mod scrub;
mod seats;
pub mod serve;
pub mod sign;
mod spelling;
pub mod swap;
pub mod tally;
pub mod terminate;
pub mod tool;
pub mod trace;
pub mod tunnel;
mod turn;
pub mod upstream;
