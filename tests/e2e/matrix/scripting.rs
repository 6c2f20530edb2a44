//! Ruby, PHP and Perl.
//!
//! Enters: nothing. Leaves: one client each. Never: an option about certificates.

use super::client::Client;

pub fn ruby() -> Client {
    Client::new("Ruby net/http", "ruby -e 'puts RUBY_VERSION'", "ruby call.rb").program(
        "call.rb",
        "require 'net/http'
address = URI('https://api.example.com/leak/body')
puts Net::HTTP.get(address, { 'Authorization' => 'Bearer ' + ENV['API_KEY'] })
",
    )
}

const PHP: &str = "php -r 'echo PHP_VERSION;'";

pub fn php_streams() -> Client {
    Client::new("PHP streams", PHP, "php call.php").program(
        "call.php",
        "<?php
$options = ['http' => ['header' => 'Authorization: Bearer ' . getenv('API_KEY')]];
echo file_get_contents('https://api.example.com/leak/body', false, stream_context_create($options));
",
    )
}

pub fn php_curl() -> Client {
    Client::new("PHP curl", PHP, "php call.php").program(
        "call.php",
        "<?php
$call = curl_init('https://api.example.com/leak/body');
curl_setopt($call, CURLOPT_HTTPHEADER, ['Authorization: Bearer ' . getenv('API_KEY')]);
curl_exec($call) || exit(curl_error($call));
",
    )
}

pub fn perl() -> Client {
    Client::new("Perl LWP", "perl -MLWP -e 'print $LWP::VERSION'", "perl call.pl").program(
        "call.pl",
        "use LWP::UserAgent;
my $answer = LWP::UserAgent->new->get('https://api.example.com/leak/body', Authorization => \"Bearer $ENV{API_KEY}\");
print $answer->decoded_content;
",
    )
}
