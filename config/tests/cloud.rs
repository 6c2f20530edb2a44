//! `issuer = "google-sts"` and `issuer = "azure-federated"` in credentials.toml: what is read, and what is said about each mistake.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use config::{ClientProof, Credentials, GoogleFederation, IssuerSettings, LoadError, OAuthGrant, SigningAlgorithm};

const GOOGLE: &str = r#"
[google]
issuer          = "google-sts"
provider        = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x"
scope           = ["https://www.googleapis.com/auth/devstorage.read_only"]
service_account = "bot@project.iam.gserviceaccount.com"
lifetime        = "5m"
agents          = ["release-bot"]
to              = ["storage.googleapis.com"]
"#;

const AZURE: &str = r#"
[azure]
issuer    = "azure-federated"
tenant    = "example.onmicrosoft.com"
client_id = "66666666-7777-8888-9999-000000000000"
scope     = "https://storage.azure.com/.default"
agents    = ["release-bot"]
to        = ["account.blob.core.windows.net"]
"#;

fn read(text: &str) -> Result<Credentials, LoadError> {
    Credentials::parse("/etc/exeat/credentials.toml", text)
}

fn issuer(text: &str) -> IssuerSettings {
    read(text).unwrap().iter().next().unwrap().issuer.clone()
}

fn google(text: &str) -> GoogleFederation {
    let IssuerSettings::Google(google) = issuer(text) else { panic!("{text}") };
    *google
}

#[test]
fn a_provider_of_google_with_a_service_account_or_without() {
    let provider = "iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x";
    let read = google(GOOGLE);
    assert_eq!(read.server.token_endpoint, "https://sts.googleapis.com/v1/token");
    assert_eq!(read.wanted.audience, Some(format!("//{provider}")));
    assert_eq!(read.wanted.scope.as_deref(), Some("https://www.googleapis.com/auth/iam"), "what the exchange needs");
    assert_eq!((read.audience.name, read.audience.algorithm), (format!("https://{provider}"), None));
    let account = read.account.unwrap();
    let url = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/bot@project.iam.gserviceaccount.com:generateAccessToken";
    assert_eq!((account.endpoint.as_str(), account.lifetime), (url, Duration::from_secs(300)));
    assert_eq!(account.scope, ["https://www.googleapis.com/auth/devstorage.read_only"]);

    let unsaid = google(&GOOGLE.replace("lifetime        = \"5m\"\n", "")).account.unwrap();
    assert_eq!(unsaid.lifetime, Duration::from_secs(900));
    let itself =
        GOOGLE.replace("service_account = \"bot@project.iam.gserviceaccount.com\"\nlifetime        = \"5m\"\n", "");
    let itself = google(&itself);
    assert_eq!(
        (itself.account, itself.wanted.scope.as_deref()),
        (None, Some("https://www.googleapis.com/auth/devstorage.read_only"))
    );
}

#[test]
fn an_application_at_entra() {
    let IssuerSettings::OAuth2(read) = issuer(AZURE) else { panic!() };
    assert_eq!(
        read.server.token_endpoint,
        "https://login.microsoftonline.com/example.onmicrosoft.com/oauth2/v2.0/token"
    );
    assert_eq!(read.server.client.unwrap().proof, ClientProof::None);
    let OAuthGrant::Federated(audience) = read.grant else { panic!() };
    assert_eq!((&*audience.name, audience.algorithm), ("api://AzureADTokenExchange", Some(SigningAlgorithm::Rs256)));
    let own = AZURE.replace("tenant ", "authority = \"https://login.microsoftonline.us/\"\ntenant ");
    let IssuerSettings::OAuth2(read) = issuer(&own) else { panic!() };
    assert!(read.server.token_endpoint.starts_with("https://login.microsoftonline.us/example.onmicrosoft.com/oauth2"));
}

#[test]
fn every_mistake_says_where_and_what_to_write() {
    let scope = "[\"https://www.googleapis.com/auth/devstorage.read_only\"]";
    for (text, from, to, line, said) in [
        (
            GOOGLE,
            "//iam.googleapis.com/projects/1",
            "//iam.googleapis.com/projects/a b",
            4,
            "resource name of a provider",
        ),
        (GOOGLE, "/providers/x", "", 4, "resource name of a provider"),
        (GOOGLE, "scope           =", "scopes =", 5, "did you mean `scope`"),
        (GOOGLE, scope, "[]", 5, "the list is empty"),
        (GOOGLE, scope, "[\"a b\"]", 5, "each as an element"),
        (GOOGLE, "bot@project.iam.gserviceaccount.com", "bot", 6, "its email address"),
        (GOOGLE, "bot@project.iam.gserviceaccount.com", "bot@x/../y", 6, "its email address"),
        (GOOGLE, "\"5m\"", "\"13h\"", 7, "twelve hours"),
        (GOOGLE, "\"5m\"", "\"30s\"", 7, "twelve hours"),
        (GOOGLE, "service_account = \"bot@project.iam.gserviceaccount.com\"\n", "", 6, "there is no `service_account`"),
        (GOOGLE, "lifetime        = \"5m\"", "credentials_endpoint = \"https://x.example/?y\"", 7, "has a query"),
        (GOOGLE, "lifetime        = \"5m\"", "client_secret = { env = \"S\" }", 7, "not known"),
        (AZURE, "example.onmicrosoft.com", "a/b", 4, "not a tenant"),
        (AZURE, "tenant    = \"example.onmicrosoft.com\"\n", "", 2, "`tenant` is missing"),
        (AZURE, "66666666-7777-8888-9999-000000000000", "My App", 5, "the id, not the name"),
        (AZURE, "scope     = \"https://storage.azure.com/.default\"\n", "", 2, "`scope` is missing"),
        (AZURE, "scope     =", "algorithm = \"ES256\"\nscope =", 6, "not known"),
        (AZURE, "scope     =", "authority = \"http://login.example\"\nscope =", 6, "loopback"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let error = read(&changed).unwrap_err();
        let found = error.mistakes().iter().any(|mistake| mistake.line == line && mistake.to_string().contains(said));
        assert!(found, "{said} in line {line}: {error}");
    }
}
