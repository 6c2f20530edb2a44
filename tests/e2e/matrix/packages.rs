//! Package managers, each with a registry of the house that wants a password.
//!
//! Enters: nothing. Leaves: one client each. Never: a registry of the world; tests/e2e/packages.rs installs from these.

use super::client::Client;

/// A page of the simple index, PEP 503, which also has what PEP 658 says of the file.
const SIMPLE: &str = "<!DOCTYPE html><html><body>
<a href=\"/files/thing-1.0-py3-none-any.whl\" data-core-metadata=\"true\" data-dist-info-metadata=\"true\">thing-1.0-py3-none-any.whl</a>
</body></html>";
const METADATA: &str = "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n";

/// `pip` is the command for it.
fn any_pip(name: &'static str, pip: &str) -> Client {
    let pip = format!("{pip} --isolated --disable-pip-version-check");
    let call =
        format!("{pip} index versions --retries 0 --index-url https://bot:$API_KEY@api.example.com/simple/ thing");
    Client::new(name, format!("{pip} --version | cut -d' ' -f2"), &call)
        .answers(&[("/simple/thing/", SIMPLE)])
        .prints("thing (1.0)")
}

/// As Debian has it: of its own roots.
pub fn pip() -> Client {
    any_pip("pip 23", "{tools}/venv/bin/python3 -m pip")
}

/// Of the system's roots.
pub fn newer_pip() -> Client {
    any_pip("pip 26", "env PYTHONPATH={tools}/pip26 {tools}/venv/bin/python3 -m pip")
}

pub fn uv() -> Client {
    let uv = "{tools}/venv/bin/uv";
    let call =
        format!("echo thing | {uv} pip compile --no-config --index-url https://bot:$API_KEY@api.example.com/simple/ -");
    Client::new("uv", format!("{uv} --version | cut -d' ' -f2"), &call)
        .answers(&[("/simple/thing/", SIMPLE), ("/files/thing-1.0-py3-none-any.whl.metadata", METADATA)])
        .prints("thing==1.0")
}

pub fn twine() -> Client {
    let python = "{tools}/venv/bin/python3";
    let version = format!("{python} -c 'import importlib.metadata; print(importlib.metadata.version(\"twine\"))'");
    let call = format!(
        "{python} - <<'PROGRAM'
import zipfile
with zipfile.ZipFile('thing-1.0-py3-none-any.whl', 'w') as wheel:
    wheel.writestr('thing-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: thing\\nVersion: 1.0\\n')
    wheel.writestr('thing-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr('thing-1.0.dist-info/RECORD', '')
PROGRAM
{python} -m twine upload --non-interactive --disable-progress-bar --repository api thing-1.0-py3-none-any.whl && echo uploaded"
    );
    Client::new("twine", version, &call).lines("files = [\"pypirc\"]").prints("uploaded")
}

pub fn npm() -> Client {
    let call = "npm view thing description --fetch-retries 0 --no-update-notifier";
    Client::new("npm", "npm --version", call)
        .lines("files = [{ template = \"npmrc\", url = \"https://api.example.com/packages/\" }]")
        .answers(&[(
            "/packages/thing",
            "{\"name\": \"thing\", \"dist-tags\": {\"latest\": \"1.0.0\"}, \"versions\": {\"1.0.0\": {\"name\": \"thing\", \
             \"version\": \"1.0.0\", \"description\": \"{shown}\", \"dist\": {\"tarball\": \"https://api.example.com/thing.tgz\"}}}}",
        )])
}

pub fn go_modules() -> Client {
    let call = "GOPROXY=https://bot:$API_KEY@api.example.com/go GONOSUMDB=* GOFLAGS=-mod=mod go list -m -versions example.com/thing";
    Client::new("go (modules)", "go version | awk '{ print substr($3, 3) }'", call)
        .answers(&[
            ("/go/example.com/thing/@v/list", "v1.0.0\nv1.1.0\n"),
            ("/go/example.com/thing/@v/v1.1.0.info", "{\"Version\": \"v1.1.0\", \"Time\": \"2026-01-01T00:00:00Z\"}"),
            ("/go/example.com/thing/@v/v1.1.0.mod", "module example.com/thing\n"),
        ])
        .prints("example.com/thing v1.0.0 v1.1.0")
}

pub fn cargo() -> Client {
    let cargo = "{tools}/cargo/bin/cargo";
    let call = format!(
        "export CARGO_REGISTRIES_HOUSE_INDEX=sparse+https://api.example.com/index/ CARGO_REGISTRIES_HOUSE_TOKEN=$API_KEY
export CARGO_REGISTRY_GLOBAL_CREDENTIAL_PROVIDERS=cargo:token
{cargo} search --registry house thing"
    );
    Client::new("cargo", format!("{cargo} --version | cut -d' ' -f2"), &call)
        .answers(&[
            ("/index/config.json", "{\"dl\": \"https://api.example.com/dl\", \"api\": \"https://api.example.com\", \"auth-required\": true}"),
            (
                "/api/v1/crates",
                "{\"crates\": [{\"name\": \"thing\", \"max_version\": \"1.0.0\", \"description\": \"{shown}\"}], \"meta\": {\"total\": 1}}",
            ),
        ])
        .prints("thing = \"1.0.0\"")
}

/// A parent is what a project needs before anything else, and a build of nothing needs nothing else.
pub fn maven() -> Client {
    let call = "mkdir project
cat > project/pom.xml <<'POM'
<project xmlns=\"http://maven.apache.org/POM/4.0.0\">
<modelVersion>4.0.0</modelVersion>
<parent><groupId>com.example</groupId><artifactId>parent</artifactId><version>1.0</version><relativePath/></parent>
<artifactId>thing</artifactId><packaging>pom</packaging><name>a thing of ${house}</name>
</project>
POM
mvn -B --settings settings.xml -f project/pom.xml validate";
    Client::new("Maven", "mvn --version | sed -n 's/.*Apache Maven \\([0-9.]*\\).*/\\1/p'", call)
        .program(
            "settings.xml",
            "<settings>
<mirrors><mirror><id>house</id><mirrorOf>*</mirrorOf><url>https://api.example.com/maven</url></mirror></mirrors>
<servers><server><id>house</id><username>bot</username><password>${env.API_KEY}</password></server></servers>
</settings>
",
        )
        .answers(&[(
            "/maven/com/example/parent/1.0/parent-1.0.pom",
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion><groupId>com.example</groupId>\
             <artifactId>parent</artifactId><version>1.0</version><packaging>pom</packaging><properties><house>example</house></properties></project>",
        )])
        .prints("a thing of example")
}
