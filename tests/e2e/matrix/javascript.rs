//! Node, Bun and Deno, and the clients and SDKs that are written for them.
//!
//! Enters: nothing. Leaves: one client each. Never: an option about certificates.

use super::client::Client;
use super::python::{ANTHROPIC, OPENAI};

const FETCH: &str = "const answer = await fetch('https://api.example.com/leak/body', { headers: { Authorization: `Bearer ${process.env.API_KEY}` } })
console.log(await answer.text())
";

/// Packages are looked for beside the program.
pub const NODE: &str = "ln -s {tools}/node/node_modules /tmp/node_modules\ncp call.mjs /tmp\nnode /tmp/call.mjs";

/// A program with this package.
fn node(name: &'static str, package: &str, text: &'static str) -> Client {
    let version = format!(
        "node -p 'JSON.parse(fs.readFileSync(\"{{tools}}/node/node_modules/{package}/package.json\")).version'"
    );
    Client::new(name, version, NODE).program("call.mjs", text)
}

pub fn node_fetch() -> Client {
    Client::new("Node fetch", "node -p process.versions.node", "node call.mjs").program("call.mjs", FETCH)
}

pub fn undici() -> Client {
    node(
        "undici, `allowH2`",
        "undici",
        "import { Agent, request } from 'undici'
const options = { headers: { authorization: `Bearer ${process.env.API_KEY}` }, dispatcher: new Agent({ allowH2: true }) }
const { body } = await request('https://api.example.com/leak/body', options)
console.log(await body.text())
",
    )
}

pub fn axios() -> Client {
    node(
        "axios",
        "axios",
        "import axios from 'axios'
const answer = await axios.get('https://api.example.com/leak/body', { headers: { Authorization: `Bearer ${process.env.API_KEY}` } })
console.log(answer.data)
",
    )
}

pub fn got() -> Client {
    node(
        "got, `http2`",
        "got",
        "import got from 'got'
const options = { http2: true, headers: { authorization: `Bearer ${process.env.API_KEY}` } }
console.log(await got('https://api.example.com/leak/body', options).text())
",
    )
}

pub fn octokit() -> Client {
    node(
        "octokit",
        "octokit",
        "import { Octokit } from 'octokit'
const octokit = new Octokit({ auth: process.env.GITHUB_TOKEN, baseUrl: 'https://api.example.com/api/v3' })
console.log((await octokit.rest.users.getAuthenticated()).data.login)
",
    )
    .env("GITHUB_TOKEN")
    .lines("shape = \"github-app\"")
    .answers(&[("/api/v3/user", "{\"login\": \"{shown}\"}")])
}

pub fn openai_for_node() -> Client {
    node(
        "openai (Node)",
        "openai",
        "import OpenAI from 'openai'
const client = new OpenAI({ baseURL: 'https://api.example.com/v1' })
const answer = await client.chat.completions.create({ model: 'm', messages: [{ role: 'user', content: 'hello' }] })
console.log(answer.choices[0].message.content)
",
    )
    .env("OPENAI_API_KEY")
    .lines("shape = \"openai\"")
    .answers(&[("/v1/chat/completions", OPENAI)])
}

pub fn anthropic_for_node() -> Client {
    node(
        "anthropic (Node)",
        "@anthropic-ai/sdk",
        "import Anthropic from '@anthropic-ai/sdk'
const client = new Anthropic({ baseURL: 'https://api.example.com' })
const answer = await client.messages.create({ model: 'm', max_tokens: 9, messages: [{ role: 'user', content: 'hello' }] })
console.log(answer.content[0].text)
",
    )
    .env("ANTHROPIC_API_KEY")
    .lines("shape = \"anthropic\"")
    .answers(&[("/v1/messages", ANTHROPIC)])
}

pub fn bun() -> Client {
    let bun = "{tools}/node/node_modules/.bin/bun";
    Client::new("Bun fetch", format!("{bun} --version"), &format!("{bun} call.mjs")).program("call.mjs", FETCH)
}

pub fn deno() -> Client {
    let deno = "{tools}/node/node_modules/.bin/deno";
    let version = format!("{deno} --version | awk '{{ print $2; exit }}'");
    Client::new("Deno fetch", version, &format!("{deno} run --allow-net --allow-env call.mjs"))
        .program("call.mjs", FETCH)
}
