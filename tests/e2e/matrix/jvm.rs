//! Java.
//!
//! Enters: nothing. Leaves: one client each. Never: an option about certificates.

use super::client::Client;

const VERSION: &str = "java -version 2>&1 | sed -n 's/.* version \"\\(.*\\)\".*/\\1/p'";

const HTTP_CLIENT: &str = "import java.net.URI;
import java.net.http.*;

class Call {
    public static void main(String[] arguments) throws Exception {
        var call = HttpRequest.newBuilder(URI.create(\"https://api.example.com/leak/body\"))
            .header(\"Authorization\", \"Bearer \" + System.getenv(\"API_KEY\")).build();
        System.out.println(HttpClient.newHttpClient().send(call, HttpResponse.BodyHandlers.ofString()).body());
    }
}
";

pub fn java_http_client() -> Client {
    Client::new("Java HttpClient", VERSION, "java Call.java").program("Call.java", HTTP_CLIENT)
}

/// As those are that somebody unpacked somewhere. Distributions make their Java's a link into /etc.
pub fn java_with_roots_of_its_own() -> Client {
    let call = "system=$(dirname $(dirname $(readlink -f $(command -v java))))
mkdir -p /tmp/java/bin /tmp/java/lib/security
cp $system/bin/java /tmp/java/bin
cp -r $system/lib/*.so $system/lib/server $system/lib/jvm.cfg $system/lib/tzdb.dat /tmp/java/lib
ln -s $system/lib/modules $system/lib/jrt-fs.jar /tmp/java/lib
ln -s $system/conf /tmp/java
keytool -genkeypair -keystore /tmp/java/lib/security/cacerts -storepass changeit -alias other -keyalg EC -dname CN=other 2>&1
/tmp/java/bin/java Call.java";
    Client::new("Java with roots of its own", VERSION, call).program("Call.java", HTTP_CLIENT)
}

pub fn java_url_connection() -> Client {
    Client::new("Java URLConnection", VERSION, "java Call.java").program(
        "Call.java",
        "import java.net.URL;

class Call {
    public static void main(String[] arguments) throws Exception {
        var call = new URL(\"https://api.example.com/leak/body\").openConnection();
        call.setRequestProperty(\"Authorization\", \"Bearer \" + System.getenv(\"API_KEY\"));
        call.getInputStream().transferTo(System.out);
    }
}
",
    )
}
