#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

/// An engine whose binary is a shell script.
fn engine(script: &str) -> (Engine, PathBuf) {
    let folder = std::env::temp_dir().join(format!("k2-demo-engine-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&folder).unwrap();
    let binary = folder.join("k2");
    std::fs::write(&binary, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
    let engine = Engine { binary, config: folder.join("k2.toml"), log: folder.join("log"), child: None };
    (engine, folder)
}

fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn stops_with_sigterm_and_wants_exit_code_zero() {
    let (mut engine, folder) = engine("trap 'echo drained; exit 0' TERM; echo up; while :; do sleep 0.05; done");
    let log = folder.join("log");
    let pid = engine.start().unwrap();
    until("it is up", || std::fs::read_to_string(&log).unwrap_or_default().contains("up")).await;
    engine.check().unwrap();
    engine.stop().await.unwrap();
    assert!(!alive(pid));
    assert!(std::fs::read_to_string(&log).unwrap().ends_with("drained\n"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn an_end_by_itself_is_told_with_the_log() {
    let (mut engine, folder) = engine("echo table is not ours; exit 3");
    engine.start().unwrap();
    let mut told = String::new();
    until("the end is noticed", || match engine.check() {
        Ok(()) => false,
        Err(e) => {
            told = e.to_string();
            true
        }
    })
    .await;
    assert!(told.contains("exit status: 3") && told.contains("table is not ours"), "{told}");
    assert_eq!(engine.pid(), None);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn nothing_outlives_the_engine() {
    let (mut engine, folder) = engine("trap '' TERM; sleep 60");
    let killed = engine.start().unwrap();
    assert!(alive(killed));
    assert_eq!(engine.kill().await.unwrap(), killed);
    assert!(!alive(killed));
    let dropped = engine.start().unwrap();
    drop(engine);
    until("the dropped one is gone", || !alive(dropped) || is_zombie(dropped)).await;
    std::fs::remove_dir_all(folder).unwrap();
}

fn is_zombie(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") Z "))
}

#[tokio::test]
async fn tools_get_the_configuration_but_not_the_users_environment() {
    let (engine, folder) = engine("echo \"$@\"; env");
    let output = engine.tool(&["sql", "SELECT 1"]).await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let config = folder.join("k2.toml");
    assert!(said.starts_with(&format!("-c {} --log-format text sql SELECT 1\n", config.display())), "{said}");
    assert!(!said.lines().any(|line| line.starts_with("K2_")), "{said}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn memory_is_what_the_kernel_says() {
    let status = "Name:\tk2\nVmHWM:\t   70000 kB\nVmRSS:\t   65536 kB\n";
    assert_eq!(parse_memory(status), Some(Memory { now: 64 << 20, peak: 70_000 * 1024 }));
    assert_eq!(parse_memory("Name:\tk2\n"), None);
}
