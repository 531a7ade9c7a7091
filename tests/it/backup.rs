//! Backups of a working server, and their way back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client::Client;
use crate::server::{PASSWORD, Server, until};

/// One message from alice to bob, acknowledged.
fn send(client: &mut Client, number: usize) {
    client.say(&format!(
        "<message to='bob@example.org' type='chat' id='m{number}'><body>number {number}</body></message>"
    ));
    let ping = format!("<iq type='get' id='p{number}'><ping xmlns='urn:xmpp:ping'/></iq>");
    client.ask(&format!("p{number}"), &ping);
}

fn messages(server: &Server) -> u64 {
    let made = server.json(&["backup", "now"]);
    fs::remove_file(made["file"].as_str().unwrap()).unwrap();
    made["messages"].as_u64().unwrap()
}

fn file_of(made: &serde_json::Value) -> PathBuf {
    PathBuf::from(made["file"].as_str().unwrap())
}

/// What confirms the restore of this backup.
fn time_of(file: &Path) -> String {
    let name = file.file_name().unwrap().to_str().unwrap();
    let (day, time) = name[..16].split_once('T').unwrap();
    format!("{day}T{}", time.replace('-', ":"))
}

#[test]
fn a_backup_of_a_working_server_is_tested_listed_and_removed() {
    let server = Server::start();
    let mut alice = server.sign_in("alice@example.org/a");
    for number in 0..20 {
        send(&mut alice, number);
    }
    let made = server.json(&["backup", "now"]);
    assert!(made["messages"].as_u64().unwrap() >= 20, "{made}");
    assert_eq!(made["accounts"], 3);
    assert!(made["warnings"][0].as_str().unwrap().contains("on the disk"), "{made}");
    let file = file_of(&made);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(server.run(&["backup", "list"]).contains(name));
    let told = server.run(&["backup", "test", name]);
    assert!(told.contains("can be restored: 3 accounts"), "{told}");
    assert!(!server.json(&["backup", "list"])["backups"][0]["tested"].is_null());

    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(server.path("bad.coucou"), &bytes).unwrap();
    let bad = server.path("bad.coucou").display().to_string();
    let told = server.refuses(&["backup", "test", &bad]);
    assert!(told.contains("it is damaged"), "{told}");
    let told = server.refuses(&["backup", "restore", &bad, "--yes", &time_of(&file)]);
    assert!(told.contains("it is damaged"), "{told}");
    assert_eq!(server.session_state("alice@example.org/a").as_deref(), Some("connected"));

    server.refuses(&["backup", "remove", name]);
    server.run(&["backup", "remove", name, "--yes", name]);
    assert!(!file.exists());
    server.refuses(&["backup", "cancel"]);
}

#[test]
fn a_running_server_comes_back_with_the_backup_in_the_same_process() {
    let server = Server::start();
    let mut alice = server.sign_in("alice@example.org/a");
    for number in 0..5 {
        send(&mut alice, number);
    }
    let file = file_of(&server.json(&["backup", "now"]));
    for number in 5..9 {
        send(&mut alice, number);
    }
    server.add_account("dora@example.org");
    let before = server.json(&["status"])["process"]["pid"].clone();
    let path = file.display().to_string();
    let told = server.refuses(&["backup", "restore", &path]);
    assert!(told.contains("3 accounts") && told.contains("replaces 4 accounts"), "{told}");
    assert!(told.contains("4 messages that came since"), "{told}");
    server.refuses(&["backup", "restore", &path, "--yes", "2000-01-01T00:00"]);

    let told = server.run(&["backup", "restore", &path, "--yes", &time_of(&file)]);
    assert!(told.contains("the server serves it"), "{told}");
    let status = server.json(&["status"]);
    assert_eq!(status["process"]["pid"], before);
    assert_eq!(status["hosts"][0]["accounts"], 3);
    assert_eq!(messages(&server), 5);
    // The backup of the moment before has all of it.
    let listed = server.json(&["backup", "list"]);
    assert_eq!(listed["backups"][0]["kind"], "before_restore");
    let safety = listed["backups"][0]["name"].as_str().unwrap();
    assert_eq!(server.json(&["backup", "test", safety])["messages"], 9);
    drop(Client::sign_in(server.c2s_tls(), "alice@example.org/b", PASSWORD));
}

#[test]
fn an_encrypted_backup_needs_its_passphrase_and_moves_to_another_machine() {
    let mut server = Server::start();
    fs::write(server.path("pass"), "correct horse\n").unwrap();
    fs::write(server.path("wrong"), "battery staple\n").unwrap();
    let (pass, wrong) = (server.path("pass"), server.path("wrong"));
    let (pass, wrong) = (pass.to_str().unwrap(), wrong.to_str().unwrap());
    let made = server.json(&["backup", "now", "--passphrase-file", pass]);
    assert_eq!(made["encrypted"], true);
    let file = file_of(&made);
    let path = file.to_str().unwrap();
    let bytes = fs::read(&file).unwrap();
    assert!(!bytes.windows(6).any(|bytes| bytes == b"SQLite"));
    let told = server.refuses(&["backup", "test", path]);
    assert!(told.contains("needs its passphrase"), "{told}");
    let told = server.refuses(&["backup", "test", path, "--passphrase-file", wrong]);
    assert!(told.contains("the passphrase is not the one"), "{told}");
    server.run(&["backup", "test", path, "--passphrase-file", pass]);
    server.stop();

    let other = tempfile::tempdir().unwrap();
    let home = other.path().join("there");
    let arguments =
        ["--dir", home.to_str().unwrap(), "backup", "restore", path, "--passphrase-file"];
    let output = crate::server::program(&[&arguments[..], &[wrong]].concat());
    assert!(!output.status.success());
    let output = crate::server::program(&[&arguments[..], &[pass]].concat());
    assert!(output.status.success(), "{output:?}");
    let output = crate::server::program(&["--dir", home.to_str().unwrap(), "account", "list"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("carol@example.org"), "{told}");
    assert!(home.join("secret").exists() && home.join("certs/example.org.pem").exists());
}

#[test]
fn a_damaged_database_is_restored_while_the_server_is_down() {
    let mut server = Server::start();
    let file = file_of(&server.json(&["backup", "now"]));
    server.stop();
    fs::write(server.path("coucou.db"), vec![b'x'; 100_000]).unwrap();
    let path = file.to_str().unwrap();
    let told = server.run(&["backup", "restore", path, "--yes", &time_of(&file)]);
    assert!(told.contains("no database that could be read"), "{told}");
    server.resume();
    drop(server.sign_in("alice@example.org/a"));
    let aside = fs::read_dir(server.path("")).unwrap().flatten().map(|entry| entry.path());
    let mut aside = aside.filter(|path| path.to_string_lossy().contains("before-restore-"));
    let old = fs::read(aside.next().unwrap().join("coucou.db")).unwrap();
    assert!(old.iter().all(|byte| *byte == b'x'));
}

#[test]
fn a_kill_at_any_moment_leaves_the_old_state_or_the_new_one() {
    let mut server = Server::start();
    let mut alice = server.sign_in("alice@example.org/a");
    for number in 0..300 {
        send(&mut alice, number);
    }
    let file = file_of(&server.json(&["backup", "now"]));
    for number in 300..303 {
        send(&mut alice, number);
    }
    drop(alice);
    let path = file.to_str().unwrap().to_owned();
    let mut seen = Vec::new();
    for after in [0, 5, 12, 20, 30, 45, 70, 110] {
        // During a backup: what is there goes on, and nothing half is listed.
        let mut child = server.spawn(&["backup", "now"]);
        std::thread::sleep(Duration::from_millis(after));
        server.kill();
        child.wait().unwrap();
        let listed: Vec<_> = fs::read_dir(server.path("backups")).unwrap().flatten().collect();
        server.resume();
        for entry in listed {
            let path = entry.path();
            if path.to_string_lossy().ends_with(".coucou")
                && !entry.file_name().to_string_lossy().starts_with('.')
            {
                server.run(&["backup", "test", path.to_str().unwrap()]);
            }
        }
        server.stop();
        // During a restore.
        let mut child = server.spawn(&["backup", "restore", &path, "--yes", &time_of(&file)]);
        std::thread::sleep(Duration::from_millis(after));
        child.kill().unwrap();
        child.wait().unwrap();
        server.resume();
        let count = messages(&server);
        assert!(count == 300 || (count == 303 && !seen.contains(&300)), "{count} after {seen:?}");
        seen.push(count);
        assert!(!server.path("restore-staging").exists());
        assert!(!server.path("backup-scratch").exists());
    }
}

#[test]
fn scheduled_backups_are_made_by_themselves() {
    let server = Server::start_with("[backup]\nschedule = \"1h\"\n");
    until("the first backup", || {
        let listed = server.json(&["backup", "list"]);
        listed["backups"][0]["kind"] == "scheduled" && !listed["next"].is_null()
    });
    let told = server.run(&["backup", "prune", "--dry-run"]);
    assert_eq!(told, "Nothing to delete.\n");
}
