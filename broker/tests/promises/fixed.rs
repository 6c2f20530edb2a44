//! A fixed secret, from each of its sources.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use broker::{ClientError, Secret};

use crate::rig::{from_toml, lease, worker};

fn fixed(value: &str) -> broker::Settings {
    let mut settings = from_toml(&format!(
        "[api]\nissuer = \"fixed\"\nvalue = {value}\nagents = [\"bot\"]\nto = [\"api.example\"]\nenv = \"API_KEY\"\n"
    ));
    settings.environment.insert("API_KEY_FILE".to_owned(), Secret::new("from the environment"));
    settings.environment.insert("PATH".to_owned(), Secret::new("/usr/bin:/bin"));
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_comes_from_a_file_a_variable_or_a_command() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "from a file\n").unwrap();
    for (value, expected) in [
        (format!("{{ file = \"{}\" }}", file.path().display()), "from a file"),
        ("{ env = \"API_KEY_FILE\" }".to_owned(), "from the environment"),
        (
            "{ command = [\"sh\", \"-c\", \"echo $API_KEY_FILE by command\"] }".to_owned(),
            "from the environment by command",
        ),
    ] {
        let (client, serving) = worker(fixed(&value)).await;
        let held = lease(&client).await.unwrap();
        assert_eq!((held.secret.expose(), held.expires), (expected, None));
        let ended = client.end().await.unwrap();
        assert_eq!((ended.kept[0].lease, ended.kept[0].again), (held.id, false));
        assert!(ended.kept[0].reason.contains("rotated"));
        assert!(serving.await.unwrap().unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_all_can_read_or_that_breaks_lines_is_refused_with_the_reason() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let value = format!("{{ file = \"{}\" }}", file.path().display());
    for (content, mode, word) in [("s3cret", 0o644, "chmod o="), ("s3cret\r\nx-more: 1", 0o600, "control character")] {
        fs::write(file.path(), content).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
        let (client, _serving) = worker(fixed(&value)).await;
        let Err(ClientError::Unavailable { reason }) = lease(&client).await else { panic!("it was available") };
        assert!(reason.contains(word) && !reason.contains("s3cret"), "{reason}");
    }
}
