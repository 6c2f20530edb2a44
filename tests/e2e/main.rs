//! The promises of exeat, end to end: real processes, real clients, a file for each promise.
//!
//! Enters: the built command. Leaves: a failure for each promise that does not hold. Never: a test that is skipped for want of
//! something; `tests/run` installs all that is needed and says what is missing.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, and its line says where")]

mod hangups;
mod harness;

mod addresses;
mod approve;
mod aws;
mod bodies;
mod broker_service;
mod capture;
mod check;
mod client_certificates;
mod clients;
mod clouds;
mod command;
mod crash;
mod credentials;
mod crowd;
mod differential;
mod ends;
mod evidence;
mod expectations;
mod explain;
mod export;
mod extended_connect;
mod federation;
mod files;
mod find;
mod floods;
mod git;
mod github_app;
mod graphql;
mod grpc;
mod hints;
mod home;
mod init;
mod inject;
mod invariants;
mod jobs;
mod leases;
mod limits;
mod locked;
mod log;
mod malformed;
mod matrix;
mod mcp;
mod misdirected;
mod names;
mod observe;
mod oidc;
mod operators;
mod overlay;
mod packages;
mod probe;
mod refusals;
mod reload;
mod reloads;
mod replay;
mod report;
mod sandbox;
mod scrubbing;
mod segments;
mod shell;
mod ship;
mod shown;
mod signing;
mod sources;
mod standing;
mod streaming;
mod suggest;
mod terminal;
mod tls;
mod trace;
mod tunnels;
mod unauthorized;
mod unread;
mod upstream_proxy;
mod vault;
mod verify;
mod walls;
mod websocket;
mod witnesses;
