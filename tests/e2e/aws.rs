//! Unmodified clients of AWS work with a pair of placeholders, and the store checks the signatures that exeat made of theirs: SeaweedFS,
//! with sessions that its STS gives for who the worker is, and with a pair that somebody made.

mod seaweed;

use std::time::Duration;

use self::seaweed::{HOST, Ports, ROLE, Seaweed};
use crate::federation::Broker;
use crate::harness::{Exeat, Run, assert_nowhere_below, free_address, python_tools, tools};

const FIXED: (&str, &str) = ("AKIAFIXEDFIXEDFIXED1", "the/fixed+secret/of+the/store+00000000000");

/// A store, and the broker of a team that it trusts.
struct House {
    broker: Broker,
    ports: Ports,
    seaweed: Seaweed,
}

impl House {
    /// `lines` are more of the credential `s3`.
    fn start(lines: &str) -> Self {
        let (ports, address) = (Ports::choose(), free_address());
        let pair = "shape = \"aws\"\nenv = [\"AWS_ACCESS_KEY_ID\", \"AWS_SECRET_ACCESS_KEY\"]\n";
        let to = format!("to = [\"{HOST}\"]\n{pair}");
        let role = format!("issuer = \"aws-sts\"\nrole = \"{ROLE}\"\nendpoint = \"{}\"\n{to}{lines}", ports.sts);
        let credentials = |team: Exeat| {
            let fixed = format!("{}:{}", FIXED.0, FIXED.1);
            let named = to.replace("AWS_", "FIXED_");
            team.credential("s3", &role).fixed("fixed", &fixed, &named)
        };
        let broker = Broker::start(Exeat::new(), credentials, &address);
        let seaweed = Seaweed::start(&ports, &broker.issuer, FIXED);
        Self { broker, ports, seaweed }
    }

    /// An agent that may use the store by this credential.
    fn agent(&self, credential: &str) -> Exeat {
        self.agent_for(credential, "")
    }

    /// The same for what `lines` of its rule say.
    fn agent_for(&self, credential: &str, lines: &str) -> Exeat {
        let rule = format!(
            "[[allow]]\nto = \"{HOST}\"\ndial = \"{}\"\ncredential = \"{credential}\"\n{lines}\n",
            self.ports.https
        );
        Exeat::new()
            .sandbox(&format!("read = [\"{}\"]", tools().display()))
            .rule(&rule)
            .option(&["--broker", &self.broker.socket])
            .limit(Duration::from_secs(180))
    }

    fn python(&self, credential: &str, program: &str) -> Run {
        self.ran(self.agent(credential).run(&[&python_tools(), "-c", &format!("{PRELUDE}{program}")]))
    }

    fn ran(&self, run: Run) -> Run {
        assert_eq!(run.code, Some(0), "{run:#?}\n{}", self.seaweed.log());
        run
    }
}

const PRELUDE: &str = "import boto3, io, os, urllib.error, urllib.request
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
URL = 'https://s3.bench.example'
s3 = boto3.client('s3', endpoint_url=URL, region_name='us-east-1', config=Config(s3={'addressing_style': 'path'}, signature_version='s3v4'))
";

/// What boto3 does, from the bucket to its emptiness.
const BOTO3: &str = "
class Stream:                       # without a length, and without a way back
    def __init__(self, length): self.left = length
    def read(self, length=-1):
        piece = min(self.left, length if length >= 0 else self.left)
        self.left -= piece
        return b'x' * piece
def all_of(key): return s3.get_object(Bucket='box', Key=key)['Body'].read()
s3.create_bucket(Bucket='box')
for key in ('plain', 'a/b c+d$=&;,@é!(1)~.txt'):
    s3.put_object(Bucket='box', Key=key, Body=b'hello ' * 3, Metadata={'note': 'two  blanks'})
    assert all_of(key) == b'hello ' * 3, key
    assert s3.get_object(Bucket='box', Key=key, Range='bytes=1-3')['Body'].read() == b'ell'
    assert s3.head_object(Bucket='box', Key=key)['Metadata'] == {'note': 'two  blanks'}
parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
s3.upload_fileobj(Stream(12 << 20), 'box', 'stream', Config=parts)
back = io.BytesIO()
s3.download_fileobj('box', 'stream', back, Config=parts)
assert back.getvalue() == b'x' * (12 << 20)
s3.copy_object(Bucket='box', Key='copy', CopySource={'Bucket': 'box', 'Key': 'plain'})
link = s3.generate_presigned_url('put_object', Params={'Bucket': 'box', 'Key': 'linked'})
urllib.request.urlopen(urllib.request.Request(link, data=b'by a link', method='PUT'))
link = s3.generate_presigned_url('get_object', Params={'Bucket': 'box', 'Key': 'linked'})
assert urllib.request.urlopen(link).read() == b'by a link'
pages = s3.get_paginator('list_objects_v2').paginate(Bucket='box', PaginationConfig={'PageSize': 2})
keys = [entry['Key'] for page in pages for entry in page['Contents']]
print(keys)
assert len(keys) == 5
s3.delete_objects(Bucket='box', Delete={'Objects': [{'Key': key} for key in keys]})
assert 'Contents' not in s3.list_objects_v2(Bucket='box')
print(dict(os.environ))
";

const CLI: &str = "set -e
export AWS_DEFAULT_REGION=us-east-1
cli=$(command -v aws) # its first line names an interpreter that may not be in sight
aws() { python3 $cli --endpoint-url https://s3.bench.example \"$@\"; }
head -c 20000000 /dev/urandom > big; echo hello > small
aws s3 cp small s3://box/small; aws s3 cp big s3://box/big --no-progress; aws s3 cp - s3://box/piped < small
aws s3 ls s3://box/
aws s3 cp s3://box/big back --no-progress; cmp big back
aws s3 cp s3://box/piped -
aws s3 rm s3://box --recursive
";

#[test]
fn boto3_and_the_cli_work_with_a_session_that_the_store_gave_for_who_the_worker_is() {
    let house = House::start("algorithm = \"RS256\"\n");
    let exeat = house.agent("s3");
    let mut live = exeat.start_with_input(&[
        &python_tools(),
        "-c",
        &format!("{PRELUDE}{BOTO3}\nprint('ready', flush=True)\ninput()"),
    ]);
    live.wait_for("ready");
    // What STS gave is nowhere inside, nor in any file of the worker's.
    let [id, secret, session] =
        ["AccessKeyId", "SecretAccessKey", "SessionToken"].map(|part| house.ports.given(part).remove(0));
    let stdout = live.stdout();
    for part in [&id, &secret, &session] {
        assert!(!stdout.contains(part.as_str()), "{part} is inside");
    }
    assert!(stdout.contains("'stream'") && stdout.contains("'AWS_ACCESS_KEY_ID': 'AKIA"), "{stdout}");
    assert_nowhere_below(&exeat.state(), &[&secret, &session]);
    assert_nowhere_below(&exeat.work(), &[&secret, &session]);
    assert_nowhere_below(&house.broker.team.state(), &[&secret, &session]);
    live.write("\n");
    let run = house.ran(live.finish());
    assert!(run.log.refusals().is_empty(), "{:?}", run.log.refusals());
    let calls = run.log.calls();
    let used = calls[0].credential.as_ref().unwrap();
    assert_eq!((&*used.name, &*used.places), ("s3", &["signature".into()][..]));
    assert!(calls.iter().all(|call| call.credential.is_some()) && !run.log.text.contains("X-Amz-Signature="));
    // A session cannot be taken back, and is shown until it runs out.
    assert_eq!((run.log.end().revoked, run.log.end().kept), (0, 1));

    let path = format!("PATH={}/venv/bin:$PATH", tools().display());
    let run = house.ran(house.agent("s3").sh(&format!("export {path}\n{CLI}")));
    assert!(run.stdout.contains("20000000 big") && run.stdout.contains("hello\n"), "{run:#?}");
    assert_eq!(run.stdout.matches("delete: s3://box/").count(), 3, "{run:#?}");
    assert!(run.log.refusals().is_empty(), "{:?}", run.log.refusals());
}

/// A body whose chunks are signed one by one, as older SDKs send it: written by hand, as none of today's Python clients does so. `spoil` is
/// the chunk that is changed after it was signed.
const CHUNKS: &str = "
import datetime, hashlib, hmac, http.client, sys
ID, SECRET = os.environ['FIXED_ACCESS_KEY_ID'], os.environ['FIXED_SECRET_ACCESS_KEY']
def mac(key, text): return hmac.new(key, text.encode(), 'sha256').digest()
def sha(data): return hashlib.sha256(data).hexdigest()
def put(key, chunks, trailer=None, spoil=None):
    time = datetime.datetime.now(datetime.timezone.utc).strftime('%Y%m%dT%H%M%SZ')
    scope = time[:8] + '/us-east-1/s3/aws4_request'
    signing = mac(mac(mac(mac(b'AWS4' + SECRET.encode(), time[:8]), 'us-east-1'), 's3'), 'aws4_request')
    payload = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' + ('-TRAILER' if trailer else '')
    fields = {'content-encoding': 'aws-chunked', 'host': 's3.bench.example', 'x-amz-content-sha256': payload, 'x-amz-date': time,
              'x-amz-decoded-content-length': str(sum(map(len, chunks)))}
    if trailer: fields['x-amz-trailer'] = trailer[0]
    names = ';'.join(sorted(fields))
    request = f'PUT\\n/box/{key}\\n\\n' + ''.join(f'{name}:{fields[name]}\\n' for name in sorted(fields)) + f'\\n{names}\\n{payload}'
    before = mac(signing, f'AWS4-HMAC-SHA256\\n{time}\\n{scope}\\n{sha(request.encode())}').hex()
    fields['authorization'] = f'AWS4-HMAC-SHA256 Credential={ID}/{scope}, SignedHeaders={names}, Signature={before}'
    body = b''
    for index, chunk in enumerate([*chunks, b'']):
        before = mac(signing, f'AWS4-HMAC-SHA256-PAYLOAD\\n{time}\\n{scope}\\n{before}\\n{sha(b\"\")}\\n{sha(chunk)}').hex()
        if index == spoil: chunk = b'y' + chunk[1:]
        body += f'{len(chunk):x};chunk-signature={before}\\r\\n'.encode() + chunk + (b'\\r\\n' if chunk else b'')
    if trailer:
        line = ':'.join(trailer)
        before = mac(signing, f'AWS4-HMAC-SHA256-TRAILER\\n{time}\\n{scope}\\n{before}\\n{sha((line + chr(10)).encode())}').hex()
        body += f'{line}\\r\\nx-amz-trailer-signature:{before}\\r\\n'.encode()
    connection = http.client.HTTPSConnection('s3.bench.example')
    try: connection.request('PUT', f'/box/{key}', body + b'\\r\\n', {name: value for name, value in fields.items() if name != 'host'})
    except OSError: pass        # refused before all of it was sent
    answer = connection.getresponse()
    return answer.status, answer.read().decode()
s3 = boto3.client('s3', endpoint_url=URL, region_name='us-east-1', aws_access_key_id=ID, aws_secret_access_key=SECRET)
s3.create_bucket(Bucket='box')
chunks = [b'x' * 65536] * 9 + [b'the end']
for key, trailer in (('signed', None), ('trailer', ('x-amz-checksum-sha256', '%s'))):
    if trailer:
        import base64
        trailer = (trailer[0], base64.b64encode(hashlib.sha256(b''.join(chunks)).digest()).decode())
    print(key, put(key, chunks, trailer))
    assert s3.get_object(Bucket='box', Key=key)['Body'].read() == b''.join(chunks)
print('short', put('short', [b'hello']))
for spoil in (0, 4, 8):
    status, text = put('spoilt', [b'x' * 9000] * 9, spoil=spoil)
    assert status == 403 and 'urn:exeat:refusal:signature' in text, (status, text)
assert [entry['Key'] for entry in s3.list_objects_v2(Bucket='box')['Contents']] == ['short', 'signed', 'trailer']
";

/// curl, which speaks HTTP/2 and signs by itself.
const CURL: &str = "set -e
pair=\"$FIXED_ACCESS_KEY_ID:$FIXED_SECRET_ACCESS_KEY\"
curl() { command curl -sSf --http2 --aws-sigv4 aws:amz:us-east-1:s3 --user \"$pair\" -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' \"$@\"; }
curl -T /etc/passwd https://s3.bench.example/box/curl
curl https://s3.bench.example/box/curl | cmp - /etc/passwd
curl https://s3.bench.example/box/curl -r 0-3
curl -X DELETE https://s3.bench.example/box/curl
env; cat /proc/self/environ
";

#[test]
fn chunks_that_are_signed_one_by_one_are_signed_anew_and_a_fixed_pair_serves_too() {
    let house = House::start("");
    let run = house.python("fixed", CHUNKS);
    assert_eq!(run.stdout, "signed (200, '')\ntrailer (200, '')\nshort (200, '')\n");
    assert_eq!(run.log.ends().iter().filter(|end| end.status == Some(403)).count(), 3, "{:#?}", run.log.ends());

    let exeat = house.agent("fixed");
    let run = house.ran(exeat.sh(CURL));
    assert!(run.log.calls().iter().all(|call| call.http == "HTTP/2.0" && call.credential.is_some()), "{run:#?}");
    assert_eq!(run.log.calls().len(), 4);
    assert!(run.stdout.starts_with("agen") && run.stdout.contains("FIXED_ACCESS_KEY_ID=AKIA"), "{run:#?}");
    for part in [FIXED.0, FIXED.1] {
        assert!(!run.stdout.contains(part), "{run:#?}");
        assert_nowhere_below(&exeat.state(), &[part]);
        assert_nowhere_below(&exeat.work(), &[part]);
    }
}

const COPIES: &str = "
from botocore.exceptions import ClientError
box, body = {'Bucket': 'box'}, lambda key: s3.get_object(Bucket='box', Key=key)['Body'].read()
s3.copy_object(**box, Key='ours/copy', CopySource={**box, 'Key': 'ours/a b+c'})
print(body('ours/copy'))
for key in ('theirs/secret', 'ours/../theirs/secret'):
    try: print(s3.copy_object(**box, Key='ours/stolen', CopySource={**box, 'Key': key}))
    except ClientError as error: print(error.response['ResponseMetadata']['HTTPStatusCode'])
print([entry['Key'] for entry in s3.list_objects_v2(**box, Prefix='ours/')['Contents']])
";

#[test]
fn an_object_is_copied_from_where_the_agent_may_read_and_from_nowhere_else() {
    let house = House::start("");
    let fill = "
s3.create_bucket(Bucket='box')
for key in ('ours/a b+c', 'theirs/secret'): s3.put_object(Bucket='box', Key=key, Body=key.encode())
";
    house.python("s3", fill);
    let exeat = house.agent_for("s3", "paths = [\"/box\", \"/box/ours/**\"]");
    let run = house.ran(exeat.run(&[&python_tools(), "-c", &format!("{PRELUDE}{COPIES}")]));
    assert_eq!(run.stdout, "b'ours/a b+c'\n400\n400\n['ours/a b+c', 'ours/copy']\n", "{run:#?}");
    let reasons: Vec<&str> = run.log.refusals().iter().map(|refused| refused.reason.as_str()).collect();
    assert!(reasons[0].contains("GET https://s3.bench.example/box/theirs/secret is not allowed"), "{reasons:?}");
}
