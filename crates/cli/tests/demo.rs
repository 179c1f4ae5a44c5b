//! `k2 demo` as a new user meets it: it works, works twice in a row, and leaves nothing running when interrupted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn demo(folder: &Path, seconds: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_k2"));
    command.current_dir(folder).args(["demo", "--seconds", seconds, "--dir", "here"]).stdin(Stdio::null());
    // must not reach the demo: it would look for its records at another broker
    command.env("K2_KAFKA__BROKERS", "127.0.0.1:1").env_remove("RUST_LOG");
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn it_proves_its_point_twice_in_a_row() {
    let folder = tempfile::tempdir().unwrap();
    for run in ["run-1", "run-2"] {
        let output = demo(folder.path(), "4").output().unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        for expected in [
            "kill -9 of pid",
            "k2 run started again",
            "all promises hold",
            "Nothing lost, nothing doubled, nothing in the wrong place.",
        ] {
            assert!(said.contains(expected), "{expected:?} is missing in\n{said}");
        }
        assert!(said.contains(&format!("here/{run}")), "{said}");
        assert!(folder.path().join("here").join(run).join("catalog.db").is_file());
    }
}

/// The children of a process, by the kernel's books.
fn children(parent: u32) -> Vec<u32> {
    let of = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // after the name, which may hold anything: state, parent
        let (state, rest) = stat.rsplit_once(") ")?.1.split_once(' ')?;
        (state != "Z" && rest.split(' ').next()?.parse() == Ok(parent)).then_some(())
    };
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| of(pid).is_some()).collect()
}

fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn with_a_child(folder: &Path) -> (Child, u32) {
    let parent = demo(folder, "60").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut engine = None;
    until("the demo has started k2 run", || {
        engine = children(parent.id()).first().copied();
        engine.is_some()
    });
    (parent, engine.unwrap())
}

fn send(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

#[test]
fn an_interrupt_stops_everything() {
    let folder = tempfile::tempdir().unwrap();
    let (mut parent, engine) = with_a_child(folder.path());
    let log = folder.path().join("here/run-1/k2-run.log");
    until("k2 run works", || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("committed")));
    send("-INT", parent.id());
    assert_eq!(parent.wait().unwrap().code(), Some(130));
    assert!(!alive(engine));
    assert!(std::fs::read_to_string(&log).unwrap().contains("stopped"), "it was stopped in order");
}

#[test]
fn a_killed_demo_takes_its_engine_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut parent, engine) = with_a_child(folder.path());
    parent.kill().unwrap();
    parent.wait().unwrap();
    until("the engine is gone", || !alive(engine));
}
