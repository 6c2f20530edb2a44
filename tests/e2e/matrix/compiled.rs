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
