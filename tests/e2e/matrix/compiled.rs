//! Programs that are compiled to what the machine runs.
//!
//! Enters: nothing. Leaves: one client each. Never: an option about certificates.

use super::client::Client;

pub fn go() -> Client {
    Client::new("Go net/http", "go version | awk '{ print substr($3, 3) }'", "go run call.go").program(
        "call.go",
        "package main

import (
	\"io\"
	\"net/http\"
	\"os\"
)

func main() {
	call, err := http.NewRequest(\"GET\", \"https://api.example.com/leak/body\", nil)
	if err != nil {
		panic(err)
	}
	call.Header.Set(\"Authorization\", \"Bearer \"+os.Getenv(\"API_KEY\"))
	answer, err := http.DefaultClient.Do(call)
	if err != nil {
		panic(err)
	}
	io.Copy(os.Stdout, answer.Body)
}
",
    )
}

/// .NET as Debian has it.
pub fn mono() -> Client {
    let version = "mono --version | awk '{ print $5; exit }'";
    Client::new(".NET HttpClient (Mono)", version, "mcs -r:System.Net.Http call.cs\nmono call.exe").program(
        "call.cs",
        "using System;
using System.Net.Http;

class Call {
    static void Main() {
        var client = new HttpClient();
        client.DefaultRequestHeaders.Add(\"Authorization\", \"Bearer \" + Environment.GetEnvironmentVariable(\"API_KEY\"));
        Console.WriteLine(client.GetStringAsync(\"https://api.example.com/leak/body\").Result);
    }
}
",
    )
}

/// Microsoft's .NET, within the one program of it that a package manager brings; it logs in by a form.
pub fn dot_net() -> Client {
    let azmcp = "{tools}/node/node_modules/@azure/mcp-linux-*/dist/azmcp";
    let call = format!(
        "export AZURE_AUTHORITY_HOST=https://management.azure.com AZURE_TOKEN_CREDENTIALS=EnvironmentCredential
export AZURE_TENANT_ID=00000000-0000-0000-0000-000000000001 AZURE_CLIENT_ID=00000000-0000-0000-0000-000000000002
{azmcp} subscription list"
    );
    Client::new(".NET 10 (Azure MCP server)", format!("{azmcp} --version | cut -d+ -f1"), &call)
        .host("management.azure.com")
        .env("AZURE_CLIENT_SECRET")
        .lines("in = [\"header\", \"body\"]")
        .answers(&[
            (
                "/00000000-0000-0000-0000-000000000001/oauth2/v2.0/token",
                "{\"token_type\": \"Bearer\", \"expires_in\": 3600, \"access_token\": \"{shown}\"}",
            ),
            (
                "/subscriptions",
                "{\"value\": [{\"id\": \"/subscriptions/1\", \"subscriptionId\": \"1\", \"displayName\": \"{shown}\", \"state\": \"Enabled\"}]}",
            ),
        ])
}
