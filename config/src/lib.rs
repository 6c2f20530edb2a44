//! What is allowed: pure values and a total decision.
//!
//! Enters: the files that people write, and facts about connections and calls. Leaves: permits and denials. Never:
//! I/O but the reading of those files; no clock, no environment, no network.
//!
//! In reading order:
//!
//! - names: [`DnsName`], [`Host`], [`Destination`], [`AgentId`], [`CredentialName`], [`WorkerId`], [`Method`],
//!   [`NormalPath`]
//! - what a rule says: [`Pattern`], [`PathGlob`], [`Rate`], [`Protocol`], [`Rule`]
//! - the decision: [`Policy::connect`] and [`Policy::call`] give a [`ConnectPermit`], a [`CallPermit`] or a [`Denial`]
//! - what a policy that observes lets pass, and the rules that would cover it: [`Policy::observing`], [`suggest()`], [`Suggested`]
//! - what is asked of a policy that is not at work: [`Asked`], a call; [`Expectation`], `[[expect]]` in its file
//! - where the calls of a battery end: [`Policy::diverted`], [`Diversion`]
//! - [`Standing`], the policy in force; what it shows of the machine: [`SandboxSettings`], [`FileGlob`]
//! - credentials: [`Credentials`], [`Grant`], [`Shape`], [`Placeholder`], [`Injection`]; [`home_files`], how the sandbox is given them
//! - who a worker is to others: [`IdentitySettings`], [`SigningAlgorithm`], [`Audience`]; how a credential is had: [`IssuerSettings`], with
//!   authorization servers: [`OAuthSettings`]; a role at AWS: [`AwsRole`]; Vault: [`VaultSecret`]; a program: [`CommandSettings`]
//! - what becomes of the call logs: [`LogSettings`]
//! - what is wrong with a file: [`LoadError`], [`Mistake`]; what may be wrong with a credential in it: [`audit()`], [`Finding`], [`Risk`]
#![forbid(unsafe_code)]

mod agent;
mod asked;
mod audit;
mod aws;
mod by_host;
mod client_certificate;
mod command;
mod credential;
mod decision;
mod delivery;
mod denial;
mod destination;
mod divert;
mod dns_name;
mod error;
mod expectation;
mod file;
mod file_glob;
mod github;
mod glob;
mod google;
mod grant;
mod identity;
mod index;
mod injection;
mod limits;
mod literals;
mod log_file;
mod method;
mod oauth;
mod observe;
mod path;
mod paths;
mod pattern;
mod placeholder;
mod policy;
mod preset;
mod protocol;
mod reading;
mod reload;
mod risk;
mod rule;
mod sandbox;
mod shape;
mod suggest;
mod text;
mod upstream;
mod variable;
mod vault;

pub use agent::{AgentId, CredentialName, WorkerId};
pub use asked::{Asked, Permit};
pub use audit::audit;
pub use aws::AwsRole;
pub use client_certificate::ClientCertificate;
pub use command::CommandSettings;
pub use credential::{Credential, Credentials, Id, IssuerSettings, PERMISSION_WAIT, Source, Written, cross_check};
pub use decision::{CallFacts, CallPermit, ConnectPermit, Route, Scheme, TunnelPermit};
pub use delivery::{HomeFile, home_files};
pub use denial::{Denial, DenialKind, command_in};
pub use destination::{Destination, Host};
pub use divert::Diversion;
pub use dns_name::DnsName;
pub use error::{LoadError, Malformed, Mistake};
pub use expectation::{Expectation, Unmet};
pub use file_glob::{Dots, FileGlob, Progress};
pub use github::{Access, GitHubApp};
pub use glob::PathGlob;
pub use google::{GoogleFederation, ServiceAccount};
pub use grant::{Grant, Part, Places};
pub use identity::{Audience, IdentityKeys, IdentitySettings, SigningAlgorithm, TrustDomain};
pub use injection::Injection;
pub use ipnet::IpNet;
pub use limits::{Rate, parse_duration};
pub use log_file::{ClientFiles, KeepSettings, LogSettings, Receiver, RoomSettings, SegmentSettings, ShipTarget};
pub use method::Method;
pub use oauth::{ClientProof, OAuthClient, OAuthGrant, OAuthServer, OAuthSettings, Wanted};
pub use observe::Way;
pub use path::{NormalPath, PathError};
pub use pattern::Pattern;
pub use placeholder::{NoRandomBytes, Placeholder};
pub use policy::Policy;
pub use protocol::{GraphQl, Mcp, NameGlob, Operation, Protocol};
pub use reload::{Draft, Standing};
pub use risk::{Finding, Risk};
pub use rule::{Effect, Rule, RuleId, TlsMode};
pub use sandbox::{LimitsMode, SandboxSettings};
pub use shape::Shape;
pub use suggest::{Barred, Sighting, Suggested, Suggestion, Times, suggest};
pub use upstream::{ProxyLogin, UpstreamProxy};
pub use vault::{VaultLogin, VaultSecret};
