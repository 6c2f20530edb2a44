//! The variables of the environment in which SDKs look for credentials, and what each becomes.
//!
//! Enters: which of them are set, and settings beside them that name places. Leaves: credentials, each with the rule that it is for. Never: a
//! value of one that holds a secret; how it begins tells its kind, where its issuer has several.

use super::place::Place;
use super::project::Project;

/// A variable that an SDK knows.
pub(super) struct Known {
    /// Its names, the first that is set counts.
    pub(super) variables: &'static [&'static str],
    /// The section of credentials.toml.
    pub(super) name: &'static str,
    /// Settings that say where it is used, instead of the host; of those that hold a host and no URL too.
    settings: &'static [&'static str],
    /// Where it is used unless a setting says otherwise; `None` where only a setting can say.
    host: Option<&'static str>,
    pub(super) paths: &'static [&'static str],
    pub(super) methods: &'static [&'static str],
    /// The looks of it: what it begins with, and the preset.
    shapes: &'static [(&'static str, &'static str)],
    /// More lines of its section.
    pub(super) lines: &'static [&'static str],
    /// What to have instead, or to mind.
    pub(super) instead: &'static str,
}

const GET_POST: &[&str] = &["GET", "POST"];
const ALL: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE"];
const ROTATED: &str = "Made by hand, it lives until somebody rotates it: have one made for this agent alone, with as little as it \
    needs, and write who rotates it, and when: accept = { NHI7 = \"the platform team, monthly\" }";

const fn bearer(
    variables: &'static [&'static str],
    name: &'static str,
    settings: &'static [&'static str],
    host: &'static str,
    paths: &'static [&'static str],
) -> Known {
    Known {
        variables,
        name,
        settings,
        host: Some(host),
        paths,
        methods: GET_POST,
        shapes: &[],
        lines: &[],
        instead: ROTATED,
    }
}

/// All that are known, but for those that are more than one variable (`cloud.rs`) and git's hosts (`forge.rs`).
pub(super) const KNOWN: [Known; 15] = [
    Known {
        shapes: &[("sk-", "openai")],
        ..bearer(&["OPENAI_API_KEY"], "openai", &["OPENAI_BASE_URL", "OPENAI_API_BASE"], "api.openai.com", &["/v1/**"])
    },
    Known {
        shapes: &[("", "anthropic")],
        ..bearer(&["ANTHROPIC_API_KEY"], "anthropic", &["ANTHROPIC_BASE_URL"], "api.anthropic.com", &["/v1/**"])
    },
    bearer(
        &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        "gemini",
        &[],
        "generativelanguage.googleapis.com",
        &["/v1/**", "/v1beta/**"],
    ),
    bearer(&["MISTRAL_API_KEY"], "mistral", &[], "api.mistral.ai", &["/v1/**"]),
    bearer(&["OPENROUTER_API_KEY"], "openrouter", &[], "openrouter.ai", &["/api/v1/**"]),
    bearer(&["GROQ_API_KEY"], "groq", &[], "api.groq.com", &["/openai/v1/**"]),
    Known {
        shapes: &[("", "slack-bot")],
        lines: &["in = [\"header\", \"body\"]"],
        ..bearer(&["SLACK_BOT_TOKEN"], "slack", &[], "slack.com", &["/api/**"])
    },
    Known {
        shapes: &[("sk_live_", "stripe-live"), ("sk_test_", "stripe-test")],
        methods: ALL,
        lines: &["in = [\"header\", \"basic\"]"],
        ..bearer(&["STRIPE_API_KEY", "STRIPE_SECRET_KEY"], "stripe", &[], "api.stripe.com", &["/v1/**"])
    },
    Known {
        instead: "Better: a login of its own for each worker, and secrets that end with it: issuer = \"vault\" (README, *Vault and OpenBao*)",
        methods: ALL,
        ..bearer(&["VAULT_TOKEN"], "vault", &["VAULT_ADDR", "BAO_ADDR"], "", &["/v1/**"])
    },
    Known { host: None, ..bearer(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"], "huggingface", &["HF_ENDPOINT"], "", &[]) },
    bearer(&["SENTRY_AUTH_TOKEN"], "sentry", &["SENTRY_URL"], "sentry.io", &["/api/0/**"]),
    Known {
        methods: ALL,
        ..bearer(&["CLOUDFLARE_API_TOKEN"], "cloudflare", &[], "api.cloudflare.com", &["/client/v4/**"])
    },
    bearer(&["LINEAR_API_KEY"], "linear", &[], "api.linear.app", &["/graphql"]),
    bearer(&["NOTION_API_KEY", "NOTION_TOKEN"], "notion", &[], "api.notion.com", &["/v1/**"]),
    bearer(&["AZURE_OPENAI_API_KEY"], "azure-openai", &["AZURE_OPENAI_ENDPOINT"], "", &["/openai/**"]),
];

impl Known {
    /// Which of its variables is set.
    pub(super) fn set(&self, project: &Project) -> Option<&'static str> {
        self.variables.iter().copied().find(|variable| project.has(variable))
    }

    /// Where it is used, if that is known.
    pub(super) fn place(&self, project: &Project) -> Option<Place> {
        let said = self.settings.iter().find_map(|setting| project.setting(setting));
        match said {
            Some(url) if url.contains("://") => Place::parse(url),
            Some(host) => Place::of(host),
            None => self.host.and_then(Place::of),
        }
    }

    /// The settings that could have said so.
    pub(super) fn settings(&self) -> &'static [&'static str] {
        self.settings
    }

    /// The preset that it looks like.
    pub(super) fn shape(&self, project: &Project, variable: &str) -> Option<&'static str> {
        self.shapes.iter().find(|(start, _)| project.begins(variable, start)).map(|(_, shape)| *shape)
    }
}
