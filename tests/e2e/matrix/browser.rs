//! Browsers without a screen.
//!
//! Enters: nothing. Leaves: one client each. Never: an option about certificates.

use super::client::Client;
use super::javascript::NODE;

/// Its own sandbox is made of namespaces, which nobody makes inside without leave.
pub fn chromium() -> Client {
    Client::new("Chromium (Playwright)", "chromium --version | awk '{ print $2 }'", NODE).program(
        "call.mjs",
        "import { chromium } from 'playwright-core'
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] })
const page = await browser.newPage({ extraHTTPHeaders: { Authorization: `Bearer ${process.env.API_KEY}` } })
await page.goto('https://api.example.com/leak/body')
console.log(await page.innerText('body'))
await browser.close()
",
    )
}

/// Asked in its own protocol for what it shows.
const MARIONETTE: &str = "import json, os, socket, subprocess, time
firefox = subprocess.Popen(['firefox', '--headless', '--marionette'], stdout=subprocess.DEVNULL)
for attempt in range(300):
    try:
        stream = socket.create_connection(('127.0.0.1', 2828))
        break
    except OSError:
        time.sleep(0.1)
def hear():
    length = b''
    while not length.endswith(b':'):
        length += stream.recv(1)
    text = b''
    while len(text) < int(length[:-1]):
        text += stream.recv(int(length[:-1]) - len(text))
    return json.loads(text)
def ask(command, **parameters):
    text = json.dumps([0, 1, 'WebDriver:' + command, parameters]).encode()
    stream.sendall(b'%d:%s' % (len(text), text))
    _, _, error, value = hear()
    assert error is None, error
    return value
hear()
ask('NewSession')
ask('Navigate', url='https://api.example.com/leak/body?key=' + os.environ['API_KEY'])
print(ask('GetPageSource'))
firefox.kill()
";

pub fn firefox() -> Client {
    let client = Client::new("Firefox", "firefox --version | sed 's/[^0-9]*\\([0-9.]*\\).*/\\1/'", "python3 call.py");
    client.lines("in = [\"query\"]").program("call.py", MARIONETTE)
}
