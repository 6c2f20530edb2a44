//! Clients nobody adapted, each under default settings: whether its call works, whether the credential in it is swapped, which HTTP
//! it speaks. The table in the README is what a run of this finds.

mod browser;
mod client;
mod compiled;
mod javascript;
mod jvm;
mod packages;
mod python;
mod scripting;
mod shell;
mod table;

/// A test for each client, in the order of the table.
macro_rules! clients {
    ($($module:ident: $($name:ident),+;)+) => {
        fn names() -> Vec<&'static str> {
            vec![$($($module::$name().name()),+),+]
        }
        $($(
            #[test]
            fn $name() {
                table::check(&$module::$name(), &names());
            }
        )+)+
    };
}

clients! {
    shell: curl, wget, git, gh, kubectl;
    python: urllib, urllib3, requests, httpx, httpx_over_http_2, aiohttp, boto3, openai, anthropic, google_auth, kubernetes, websockets, grpcio;
    javascript: node_fetch, undici, axios, got, octokit, openai_for_node, anthropic_for_node, bun, deno;
    compiled: go, dot_net, mono;
    jvm: java_http_client, java_url_connection, java_with_roots_of_its_own;
    scripting: ruby, php_streams, php_curl, perl;
    packages: pip, newer_pip, uv, twine, npm, go_modules, cargo, maven;
    browser: chromium, firefox;
    python: roots_of_its_own, roots_of_its_own_unread;
}

#[test]
fn the_readme_has_these_clients_and_no_others() {
    table::check_names(&names());
}
