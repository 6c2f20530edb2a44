//! The clouds, whose credentials are more than one variable, and for which there are issuers that need no secret at all.
//!
//! Enters: which of AWS's, Google's and Azure's variables are set. Leaves: credentials and rules, and the issuer to have instead. Never: a
//! secret; regions, accounts and paths of files are none.

use super::draft::Draft;
use super::place::Place;
use super::project::Project;
use super::rule::Rule;
use super::stub::Stub;
use super::writing::quoted;

const ALL: &[&str] = &["GET", "HEAD", "PUT", "POST", "DELETE"];

/// Adds them.
pub(super) fn add(project: &Project, draft: &mut Draft) {
    aws(project, draft);
    google(project, draft);
    azure(project, draft);
}

/// A word as a part of a host or an address: nothing that could be more than that.
fn word(text: &str) -> Option<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    ((1..=63).contains(&text.len()) && text.bytes().all(plain)).then_some(text)
}

fn aws(project: &Project, draft: &mut Draft) {
    let region = ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| word(project.setting(name)?));
    let region = region.unwrap_or("us-east-1");
    let own = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].iter().find_map(|name| Place::parse(project.setting(name)?));
    let has_pair = project.has("AWS_ACCESS_KEY_ID") && project.has("AWS_SECRET_ACCESS_KEY");
    if !has_pair && !project.has("AWS_ROLE_ARN") && !project.has("AWS_PROFILE") {
        return;
    }
    let hosts = match own.filter(|own| !own.is_plain() && !own.is_here()) {
        Some(own) => vec![own.to()],
        None => vec![format!("s3.{region}.amazonaws.com"), format!("*.s3.{region}.amazonaws.com")],
    };
    let why = "AWS: S3 of this region. Other services have hosts of their own, such as \"sqs.REGION.amazonaws.com\"; what a call may do is the role's to say";
    let role = project
        .setting("AWS_ROLE_ARN")
        .filter(|role| role.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":/_+=,.@-".contains(&byte)));
    let instead = format!(
        "issuer = \"aws-sts\"               # a session of the role for each worker: no secret of yours at all; broker.toml names the issuer\n\
         role = {}\nduration = \"15m\"\n",
        quoted(role.unwrap_or("arn:aws:iam::123456789012:role/agents"))
    );
    let with_session = project.has("AWS_SESSION_TOKEN");
    let mut parts = vec!["$AWS_ACCESS_KEY_ID", "$AWS_SECRET_ACCESS_KEY"];
    parts.extend(with_session.then_some("$AWS_SESSION_TOKEN"));
    let line = format!("printf %s \"{}\"", parts.join(":"));
    let issuer = format!(
        "issuer = \"fixed\"\nvalue = {{ command = [\"sh\", \"-c\", {}] }}   # ID:SECRET in one line\n",
        quoted(&line)
    );
    let lines = vec!["env = [\"AWS_ACCESS_KEY_ID\", \"AWS_SECRET_ACCESS_KEY\"]".to_owned()];
    let name = if has_pair {
        "AWS_ACCESS_KEY_ID"
    } else if role.is_some() {
        "AWS_ROLE_ARN"
    } else {
        "AWS_PROFILE"
    };
    let told = format!("{name}: requests are signed with a pair of placeholders, and signed anew with the real pair.");
    let stub = Stub {
        name: "aws",
        why: vec![told],
        issuer,
        to: hosts.clone(),
        shape: Some("aws"),
        lines,
        instead: Some(instead),
        draft: !has_pair,
    };
    for host in &hosts {
        let mut rule = Rule::named(host, ALL, why);
        rule.draft = !has_pair;
        rule.credential = Some("aws");
        draft.rules.add(rule);
    }
    draft.credential(name, stub);
}

fn google(project: &Project, draft: &mut Draft) {
    if !project.has("GOOGLE_APPLICATION_CREDENTIALS") {
        return;
    }
    let name = "GOOGLE_APPLICATION_CREDENTIALS";
    let hosts = ["storage.googleapis.com", "oauth2.googleapis.com"].map(str::to_owned).to_vec();
    let issuer = "issuer = \"fixed\"\n# gcloud asks Google with the key in the file that the variable names; only the broker sees it.\n\
        value = { command = [\"gcloud\", \"auth\", \"application-default\", \"print-access-token\"] }\n";
    let stub = Stub {
        name: "google",
        why: vec![format!("{name}: clients inside find a service account's file whose key was made for them.")],
        issuer: issuer.to_owned(),
        to: hosts,
        shape: Some("google-service-account"),
        lines: vec!["files = [\"google-service-account\"]".to_owned()],
        instead: Some(
            "issuer = \"google-sts\"            # workload identity federation: no key at all; broker.toml names the issuer\n\
             provider = \"projects/123/locations/global/workloadIdentityPools/agents/providers/exeat\"\n\
             scope = [\"https://www.googleapis.com/auth/devstorage.read_only\"]\nservice_account = \"bot@project.iam.gserviceaccount.com\"\nlifetime = \"15m\"\n"
                .to_owned(),
        ),
        draft: false,
    };
    let storage = Rule::named(
        "storage.googleapis.com",
        &["GET"],
        "Google Cloud Storage, to read. Other services have hosts of their own",
    );
    draft.rules.add(Rule { credential: Some("google"), ..storage });
    let why = "what Google's clients ask for access; exeat itself answers, with a placeholder";
    let access = Rule::named("oauth2.googleapis.com", &["POST"], why).paths(["/token".to_owned()]);
    draft.rules.add(Rule { credential: Some("google"), ..access });
    draft.credential(name, stub);
}

fn azure(project: &Project, draft: &mut Draft) {
    let Some(secret) =
        ["AZURE_CLIENT_SECRET", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"].into_iter().find(|name| project.has(name))
    else {
        return;
    };
    let zero = "00000000-0000-0000-0000-000000000000";
    let id = |name: &str| project.setting(name).and_then(word).unwrap_or(zero).to_owned();
    let (tenant, client) = (id("AZURE_TENANT_ID"), id("AZURE_CLIENT_ID"));
    let account = project.setting("AZURE_STORAGE_ACCOUNT").and_then(word);
    let (host, scope) = match account {
        Some(account) => {
            (format!("{}.blob.core.windows.net", account.to_ascii_lowercase()), "https://storage.azure.com/.default")
        }
        None => ("management.azure.com".to_owned(), "https://management.azure.com/.default"),
    };
    // Where only half of it is known, a person has to say the rest.
    let whole = ["AZURE_CLIENT_SECRET", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"].iter().all(|name| project.has(name));
    let whole = whole && tenant != zero && client != zero;
    let issuer = format!(
        "issuer = \"oauth2-client\"\ntoken_endpoint = {}\nclient_id = {}\nclient_secret = {{ env = \"AZURE_CLIENT_SECRET\" }}\nscope = {}\n",
        quoted(&format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token")),
        quoted(&client),
        quoted(scope)
    );
    let stub = Stub {
        name: "azure",
        why: vec![format!("{secret}: an access that Entra gives the broker, found under AZURE_ACCESS_TOKEN inside.")],
        issuer,
        to: vec![host.clone()],
        shape: None,
        lines: vec!["in = [\"header\"]".to_owned(), "env = \"AZURE_ACCESS_TOKEN\"".to_owned()],
        instead: Some(format!(
            "issuer = \"azure-federated\"       # no secret: Entra trusts the broker's identities; broker.toml names the issuer\n\
             tenant = {}\nclient_id = {}\nscope = {}\n",
            quoted(&tenant),
            quoted(&client),
            quoted(scope)
        )),
        draft: !whole,
    };
    let rule = Rule::named(&host, &["GET"], "Azure, to read. Other services have hosts and scopes of their own");
    draft.rules.add(Rule { credential: Some("azure"), draft: !whole, ..rule });
    draft.credential(secret, stub);
}
