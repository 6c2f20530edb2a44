//! How a credential shows in the sandbox, as credentials.toml has it: `shape`, `env`, `inject`, `files`.
//!
//! Enters: those keys of a credential. Leaves: what its grant says of them. Never: a placeholder that could be guessed, or one in a file
//! where a character of it would mean something else; two credentials of one agent in one place.

use super::home_file;
use super::reader::{Field, Reader, Section};
use crate::credential::{Credential, Credentials, Id};
use crate::delivery::Delivery;
use crate::grant::{Grant, Places};
use crate::injection::Injection;
use crate::pattern::Pattern;
use crate::preset::{Look, Usage};
use crate::variable::sandbox_variable;

/// What was read, and where it stands.
pub(super) struct Given<'f> {
    pub look: Look,
    pub id: Option<Id>,
    env: Option<String>,
    inject: Option<Injection>,
    files: Vec<(Field<'f>, Delivery)>,
    env_field: Option<Field<'f>>,
}

/// What else of the credential it depends on.
pub(super) struct Of<'a> {
    pub to: &'a [Pattern],
    pub places: Places,
    pub look: &'a Look,
}

pub(super) fn read<'f>(
    reader: &mut Reader<'_>,
    section: &mut Section<'f>,
    to: Option<&[Pattern]>,
    places: Option<Places>,
    places_field: Option<&Field<'f>>,
) -> Option<Given<'f>> {
    let look = section.take("shape").map_or(Some(Look::default()), |field| reader.value(&field, str::parse));
    let env_field = section.take("env");
    let env = env_field.as_ref().map_or(Some((None, None)), |field| read_env(reader, field, look.as_ref()));
    let inject_field = section.take("inject");
    let inject = inject_field.as_ref().map_or(Some(None), |field| read_inject(reader, field));
    let files_field = section.take("files");
    // Each depends on the others; what is wrong with them themselves was said.
    let (look, places, (env, env_of_id), inject, to) = (look?, places?, env?, inject?, to?);
    let of = Of { to, places, look: &look };
    if let (Some(field), Usage::Signs) = (places_field, look.usage) {
        reader.mistake_at(field, "requests are signed with a key pair, and it is sent nowhere", "leave the key out");
    }
    if let (Some(field), Some(inject)) = (&inject_field, &inject) {
        if look.usage == Usage::Signs {
            reader.mistake_at(field, "requests are signed with a key pair, and it is sent nowhere", "take it out");
        } else if !has(&places, inject.place()) {
            let (place, remedy) = (inject.place(), format!("add `{}` to `in`", inject.place()));
            reader.mistake_at(field, format!("it is put into the {place}, and `in` does not list that"), remedy);
        }
    }
    let files = files_field.map_or(Some(Vec::new()), |field| home_file::read(reader, &field, &of))?;
    let id = look.id.clone().map(|shape| Id { shape, env: env_of_id });
    Some(Given { look, id, env, inject, files, env_field })
}

impl Given<'_> {
    /// The grant with what it gives to the sandbox.
    pub fn grant(&self, grant: Grant) -> Grant {
        let places = if self.look.usage == Usage::Signs { Places::NONE } else { grant.places };
        let files = self.files.iter().map(|(_, delivery)| delivery.clone()).collect();
        Grant { places, files, env: self.env.clone(), inject: self.inject.clone(), ..grant }
    }

    /// Two credentials of one agent share neither a variable nor an entry of a file.
    pub fn check_is_free(&self, reader: &mut Reader<'_>, credential: &Credential, others: &Credentials) {
        let rivals = others.iter().filter(|other| other.agents.iter().any(|agent| credential.agents.contains(agent)));
        for other in rivals {
            let name = other.grant.credential();
            let taken = variables(credential).find(|own| variables(other).any(|others| others == *own));
            if let (Some(field), Some(env)) = (&self.env_field, taken) {
                let reason = format!("`{env}` is the variable of `{name}` too, for the same agent");
                reader.mistake_at(field, reason, "give each its own variable");
            }
            for (field, delivery) in &self.files {
                let clash = |others| delivery.clash(others, "another credential of the same agent");
                if let Some(clash) = other.grant.files().iter().find_map(clash) {
                    let remedy = format!("let `{name}` or this one be in another file, or for other hosts");
                    reader.mistake_at(field, clash, remedy);
                }
            }
        }
    }
}

fn variables(credential: &Credential) -> impl Iterator<Item = &str> {
    let id = credential.id.as_ref().and_then(|id| id.env.as_deref());
    credential.grant.env().into_iter().chain(id)
}

/// Whether a grant lists a place.
pub(super) fn has(places: &Places, place: &str) -> bool {
    match place {
        "header" => places.header,
        "basic" => places.basic,
        _ => false,
    }
}

/// One variable, or of a pair the id's and the secret's.
fn read_env(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    look: Option<&Look>,
) -> Option<(Option<String>, Option<String>)> {
    const OF_A_PAIR: &str = "write `env = [\"AWS_ACCESS_KEY_ID\", \"AWS_SECRET_ACCESS_KEY\"]`";
    let signs = look?.usage == Usage::Signs;
    if signs && !field.is_list() {
        reader.mistake_at(field, "a key pair has two placeholders", OF_A_PAIR);
        return None;
    }
    if !signs {
        return reader.value(field, sandbox_variable).map(|env| (Some(env), None));
    }
    let variables = reader.values(field, sandbox_variable)?;
    let Ok([id, secret]) = <[String; 2]>::try_from(variables) else {
        reader.mistake_at(field, "a key pair has two placeholders", OF_A_PAIR);
        return None;
    };
    Some((Some(secret), Some(id)))
}

fn read_inject(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Option<Injection>> {
    if field.is_flag() {
        return reader.flag(field).map(|inject| inject.then(Injection::default));
    }
    reader.value(field, str::parse).map(Some)
}
