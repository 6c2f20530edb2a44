//! Python's own client, those that everybody has, and the SDKs on top of them.
//!
//! Enters: nothing. Leaves: one client each. Never: an option about certificates.

use super::client::Client;

/// A program of the tests' Python, whose client is this package.
fn python(name: &'static str, package: &str, text: &'static str) -> Client {
    let version = format!(
        "{{tools}}/venv/bin/python3 -c 'import importlib.metadata; print(importlib.metadata.version(\"{package}\"))'"
    );
    Client::new(name, version, "{tools}/venv/bin/python3 call.py").program("call.py", text)
}

pub fn urllib() -> Client {
    let client = Client::new("Python urllib", "python3 -V | cut -d' ' -f2", "python3 call.py");
    client.program(
        "call.py",
        "import os, urllib.request
call = urllib.request.Request('https://api.example.com/leak/body', headers={'Authorization': 'Bearer ' + os.environ['API_KEY']})
print(urllib.request.urlopen(call).read().decode())
",
    )
}

pub fn urllib3() -> Client {
    python(
        "urllib3",
        "urllib3",
        "import os, urllib3
print(urllib3.request('GET', 'https://api.example.com/leak/body', headers={'Authorization': 'Bearer ' + os.environ['API_KEY']}).data)
",
    )
}

pub fn requests() -> Client {
    python(
        "requests",
        "requests",
        "import os, requests
print(requests.get('https://api.example.com/leak/body', headers={'Authorization': 'Bearer ' + os.environ['API_KEY']}).text)
",
    )
}

pub fn httpx() -> Client {
    python(
        "httpx",
        "httpx",
        "import os, httpx
print(httpx.get('https://api.example.com/leak/body', headers={'Authorization': 'Bearer ' + os.environ['API_KEY']}).text)
",
    )
}

pub fn httpx_over_http_2() -> Client {
    python(
        "httpx, `http2=True`",
        "httpx",
        "import os, httpx
with httpx.Client(http2=True) as client:
    print(client.get('https://api.example.com/leak/body', headers={'Authorization': 'Bearer ' + os.environ['API_KEY']}).text)
",
    )
}

pub fn aiohttp() -> Client {
    python(
        "aiohttp",
        "aiohttp",
        "import aiohttp, asyncio, os
async def main():
    async with aiohttp.ClientSession() as session:
        async with session.get('https://api.example.com/leak/body', headers={'Authorization': 'Bearer ' + os.environ['API_KEY']}) as answer:
            print(await answer.text())
asyncio.run(main())
",
    )
}

/// It signs; what is sent is the id of the pair.
pub fn boto3() -> Client {
    python(
        "boto3",
        "boto3",
        "import boto3
s3 = boto3.client('s3', endpoint_url='https://api.example.com', region_name='us-east-1')
print(s3.list_buckets()['Buckets'][0]['Name'])
",
    )
    .env("AWS_ACCESS_KEY_ID")
    .lines("shape = \"aws\"\nenv = [\"AWS_ACCESS_KEY_ID\", \"AWS_SECRET_ACCESS_KEY\"]")
    .secret("AKIAREALREALREALREAL:the/real+secret/of+the/pair+00000000000000", "AKIAREALREALREALREAL")
    .answers(&[(
        "/",
        "<?xml version=\"1.0\"?><ListAllMyBucketsResult><Buckets><Bucket><Name>a-bucket</Name></Bucket></Buckets></ListAllMyBucketsResult>",
    )])
    .prints("a-bucket")
}

pub const OPENAI: &str = "{\"id\": \"1\", \"object\": \"chat.completion\", \"created\": 1, \"model\": \"m\", \"choices\": [{\"index\": 0, \
    \"finish_reason\": \"stop\", \"message\": {\"role\": \"assistant\", \"content\": \"{shown}\"}}]}";

pub fn openai() -> Client {
    python(
        "openai",
        "openai",
        "import openai
client = openai.OpenAI(base_url='https://api.example.com/v1')
print(client.chat.completions.create(model='m', messages=[{'role': 'user', 'content': 'hello'}]).choices[0].message.content)
",
    )
    .env("OPENAI_API_KEY")
    .lines("shape = \"openai\"")
    .answers(&[("/v1/chat/completions", OPENAI)])
}

pub const ANTHROPIC: &str = "{\"id\": \"1\", \"type\": \"message\", \"role\": \"assistant\", \"model\": \"m\", \"stop_reason\": \"end_turn\", \
    \"content\": [{\"type\": \"text\", \"text\": \"{shown}\"}], \"usage\": {\"input_tokens\": 1, \"output_tokens\": 1}}";

pub fn anthropic() -> Client {
    python(
        "anthropic",
        "anthropic",
        "import anthropic
client = anthropic.Anthropic(base_url='https://api.example.com')
print(client.messages.create(model='m', max_tokens=9, messages=[{'role': 'user', 'content': 'hello'}]).content[0].text)
",
    )
    .env("ANTHROPIC_API_KEY")
    .lines("shape = \"anthropic\"")
    .answers(&[("/v1/messages", ANTHROPIC)])
}

pub fn google_auth() -> Client {
    python(
        "google-auth",
        "google-auth",
        "import google.auth
from google.auth.transport.requests import AuthorizedSession
credentials, project = google.auth.default(scopes=['https://www.googleapis.com/auth/cloud-platform'])
print(AuthorizedSession(credentials).get('https://api.example.com/leak/body').text)
",
    )
    .lines(
        "shape = \"google-service-account\"\nfiles = [{ template = \"google-service-account\", url = \"https://api.example.com/token\" }]",
    )
}

pub fn kubernetes() -> Client {
    python(
        "kubernetes (Python)",
        "kubernetes",
        "from kubernetes import client, config
config.load_kube_config()
print(client.VersionApi().get_code().git_version)
",
    )
    .lines("files = [\"kubeconfig\"]")
    .answers(&[(
        "/version/",
        "{\"major\": \"1\", \"minor\": \"1\", \"gitVersion\": \"{shown}\", \"gitCommit\": \"\", \"gitTreeState\": \"\", \
         \"buildDate\": \"\", \"goVersion\": \"\", \"compiler\": \"\", \"platform\": \"\"}",
    )])
}

pub fn websockets() -> Client {
    python(
        "websockets",
        "websockets",
        "import os
from websockets.sync.client import connect
with connect('wss://api.example.com/ws', additional_headers={'Authorization': 'Bearer ' + os.environ['API_KEY']}) as socket:
    socket.send('there and back')
    print(socket.recv())
",
    )
    .prints("there and back")
}

pub fn grpcio() -> Client {
    python(
        "gRPC (grpcio)",
        "grpcio",
        "import grpc, os
channel = grpc.secure_channel('rpc.example.com:443', grpc.ssl_channel_credentials())
key = (('authorization', 'Bearer ' + os.environ['API_KEY']),)
channel.unary_unary('/test.Echo/Unary')(b'hello', metadata=key, timeout=20)
answer, call = channel.unary_unary('/test.Echo/Leak').with_call(b'hello', metadata=key, timeout=20)
print(dict(call.trailing_metadata())['x-shown'])
",
    )
    .of_rpc()
}

/// As what has its roots compiled in, or pins its server: it trusts the upstream's own authority and no other.
fn pinned(name: &'static str) -> Client {
    let client = Client::new(name, "python3 -V | cut -d' ' -f2", "python3 call.py").prints("nothing");
    client.program(
        "call.py",
        "import ssl, urllib.request
print(urllib.request.urlopen('https://api.example.com/leak/body', context=ssl.create_default_context(cafile='upstream.pem')).read().decode())
",
    )
}

pub fn roots_of_its_own() -> Client {
    pinned("Python with roots of its own")
}

pub fn roots_of_its_own_unread() -> Client {
    pinned("the same, `tls = \"passthrough\"`").unread()
}
