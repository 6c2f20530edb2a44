//! What of an answer's lists may be seen: the tools, prompts and resources that the rule lists.
//!
//! Enters: a message of the server's. Leaves: the same with its lists cut down, whatever request it says it answers. Never: a
//! list that could not be read; an entry whose name could be read in two ways.

use config::{Mcp, NameGlob, RuleId};

use super::json::{Json, Members};
use super::message::read_answer;
use super::objection::{Objection, Waiting, Why, shown};

/// What the way to a list, and an entry of one, is named by.
const KNOWN: [&str; 12] = [
    "jsonrpc",
    "id",
    "method",
    "result",
    "error",
    "tools",
    "prompts",
    "resources",
    "resourceTemplates",
    "name",
    "uri",
    "uriTemplate",
];

/// A list as it stands in a message, and what is left of it.
type Cut<'a> = (&'a str, String);

/// Cuts answers down to what a rule lists.
#[derive(Debug, Clone)]
pub struct Listing {
    id: RuleId,
    rule: Mcp,
    waiting: Waiting,
}

impl Listing {
    /// For the answer to requests that ask for lists.
    pub(super) fn of(id: &RuleId, rule: &Mcp, waiting: Waiting) -> Self {
        Self { id: id.clone(), rule: rule.clone(), waiting }
    }

    /// For a stream that nobody in particular waits for. One that is resumed repeats answers to requests that are long gone.
    pub fn of_stream(id: &RuleId, rule: &Mcp) -> Self {
        Self::of(id, rule, Waiting::default())
    }

    /// Why an answer goes no further.
    pub(super) fn objection(&self, what: &str) -> Objection {
        Objection { rule: self.id.clone(), mcp: true, why: Why::answer(what).to(self.waiting.clone()) }
    }

    /// A message as the client may see it; `None` where there is no list in it.
    ///
    /// # Errors
    /// In words, when it cannot be read.
    pub async fn cut(&self, text: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let answer = read_answer(text).await;
        let answer = answer.map_err(|error| format!("a message of it has no single reading: {error}"))?;
        let mut cuts = Vec::new();
        match answer.elements().await {
            Some(mut messages) => {
                while let Some(message) = messages.next().await {
                    self.cut_one(message, &mut cuts).await?;
                }
            }
            None => self.cut_one(answer, &mut cuts).await?,
        }
        Ok((!cuts.is_empty()).then(|| without(answer.text(), cuts).into_bytes()))
    }

    async fn cut_one<'a>(&self, message: Json<'a>, cuts: &mut Vec<Cut<'a>>) -> Result<(), String> {
        let Some(message) = message.members(&KNOWN).await else { return Ok(()) };
        one_spelling(&message)?;
        let Some(result) = message.get("result") else { return Ok(()) };
        let Some(result) = result.members(&KNOWN).await else { return Ok(()) };
        one_spelling(&result)?;
        let lists: [(&str, &str, &[NameGlob]); 4] = [
            ("tools", "name", self.rule.tools()),
            ("prompts", "name", self.rule.prompts()),
            ("resources", "uri", self.rule.resources()),
            ("resourceTemplates", "uriTemplate", self.rule.resources()),
        ];
        for (name, named_by, globs) in lists {
            let Some(list) = result.get(name) else { continue };
            let mut listed = Vec::new();
            let mut entries = list.elements().await.ok_or_else(|| format!("its `{name}` is no list"))?;
            while let Some(entry) = entries.next().await {
                if is_listed(entry, named_by, globs).await {
                    listed.push(entry.text());
                }
            }
            cuts.push((list.text(), format!("[{}]", listed.join(","))));
        }
        Ok(())
    }
}

async fn is_listed(entry: Json<'_>, named_by: &str, globs: &[NameGlob]) -> bool {
    let Some(entry) = entry.members(&KNOWN).await else { return false };
    let name = entry.get(named_by).and_then(Json::string);
    one_spelling(&entry).is_ok() && name.is_some_and(|name| globs.iter().any(|glob| glob.matches(&name)))
}

fn one_spelling(object: &Members<'_, '_>) -> Result<(), String> {
    let key = object.misspelt();
    key.map_or(Ok(()), |key| Err(format!("its key `{}` is no key that is read in one way", shown(key))))
}

/// The text with what is left of each list in its place.
fn without(text: &str, mut cuts: Vec<Cut<'_>>) -> String {
    let place = |list: &str| list.as_ptr().addr() - text.as_ptr().addr();
    cuts.sort_unstable_by_key(|(list, _)| place(list));
    let (mut left, mut passed) = (String::with_capacity(text.len()), 0);
    for (list, listed) in cuts {
        left.push_str(&text[passed..place(list)]);
        left.push_str(&listed);
        passed = place(list) + list.len();
    }
    left.push_str(&text[passed..]);
    left
}

#[cfg(test)]
mod tests {
    use config::{Policy, Protocol};
    use serde_json::{Value, json};

    use super::*;
    use crate::turn::at_once;

    fn cut(answer: &str) -> Result<Option<Value>, String> {
        let text = "[[allow]]\nto = \"mcp.example.com\"\nmcp = { tools = [\"search\", \"read_*\"], resources = [\"file:///a/*\"] }\n";
        let policy = Policy::parse("bot".parse().unwrap(), "bot.toml", text).unwrap();
        let Some(Protocol::Mcp(rule)) = policy.rules()[0].protocol() else { panic!("no mcp") };
        let cut = at_once(Listing::of_stream(policy.rules()[0].id(), rule).cut(answer.as_bytes()))?;
        Ok(cut.map(|cut| serde_json::from_slice(&cut).unwrap()))
    }

    fn result(result: &Value) -> String {
        json!({ "jsonrpc": "2.0", "id": "1", "result": result }).to_string()
    }

    #[test]
    fn lists_are_cut_down_whatever_they_answer() {
        let answer = result(&json!({
            "tools": [{ "name": "search", "inputSchema": { "a": 1, "A": 2 } }, { "name": "delete" }, { "name": "read_x" },
                { "Name": "read_y", "name": "read_x" }, { "title": "search" }, "search", { "name": ["search"] }],
            "prompts": [{ "name": "search" }],
            "resources": [{ "uri": "file:///a/b" }, { "uri": "file:///b" }],
            "resourceTemplates": [{ "uriTemplate": "file:///a/{x}" }, { "uriTemplate": "file:///{x}" },
                { "uriTemplate": "file:///a/{x}", "URITemplate": "file:///{x}" }],
            "nextCursor": "x",
        }));
        let left = json!({
            "tools": [{ "name": "search", "inputSchema": { "a": 1, "A": 2 } }, { "name": "read_x" }],
            "prompts": [],
            "resources": [{ "uri": "file:///a/b" }],
            "resourceTemplates": [{ "uriTemplate": "file:///a/{x}" }],
            "nextCursor": "x",
        });
        assert_eq!(cut(&answer).unwrap().unwrap()["result"], left);
        assert_eq!(cut(&format!("[{answer}]")).unwrap().unwrap()[0]["result"], left);
    }

    #[test]
    fn what_has_no_list_passes_and_what_hides_one_does_not() {
        for answer in [
            result(&json!({ "content": [{ "type": "text", "text": "tools" }] })),
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}"#.to_owned(),
            r#"{"error":"invalid_token"}"#.to_owned(),
        ] {
            assert_eq!(cut(&answer).unwrap(), None, "{answer}");
        }
        for answer in [
            result(&json!({ "tools": { "0": { "name": "delete" } } })),
            result(&json!({ "Tools": [{ "name": "delete" }] })),
            result(&json!({ "tool\u{17f}": [{ "name": "delete" }] })),
            r#"{"jsonrpc":"2.0","id":1,"Result":{"tools":[{"name":"delete"}]}}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":1,"result":{},"result":{"tools":[{"name":"delete"}]}}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":1,"result":{"\u0074ools":[{"name":"delete"}]}}"#.to_owned(),
            "\u{feff}{}".to_owned(),
            "{} {}".to_owned(),
        ] {
            assert!(cut(&answer).is_err(), "{answer}");
        }
    }
}
