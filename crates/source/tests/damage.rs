//! A record that is damaged on the way becomes no row: a proxy flips one bit in what the broker sends. Needs a real broker
//! with a listener for proxies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]
#![allow(clippy::disallowed_methods, reason = "tests take their servers from the environment")]

mod support;

use k2_model::Class;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use support::*;

/// What is looked for in the stream, and damaged.
const MARK: &[u8] = b"a-value-that-is-damaged-on-the-way";

/// A proxy between the broker and the source, whose advertised address it has.
struct Proxy {
    address: String,
    /// How many more damages it does.
    left: Arc<AtomicI64>,
}

impl Proxy {
    fn start(times: i64) -> Option<Self> {
        let (Ok(listen), Ok(to)) =
            (std::env::var("K2_TEST_KAFKA_PROXY_LISTEN"), std::env::var("K2_TEST_KAFKA_PROXY_TO"))
        else {
            println!("skipped: K2_TEST_KAFKA_PROXY_LISTEN names no listener");
            return None;
        };
        let left = Arc::new(AtomicI64::new(times));
        let (address, count) = (listen.clone(), Arc::clone(&left));
        let listener = TcpListener::bind(listen).unwrap();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&to) else { continue };
                let (c, s, count) = (client.try_clone().unwrap(), server.try_clone().unwrap(), Arc::clone(&count));
                std::thread::spawn(move || pump(c, s, None));
                std::thread::spawn(move || pump(server, client, Some(&count)));
            }
        });
        Some(Self { address, left })
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, damage: Option<&AtomicI64>) {
    let mut chunk = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        if let Some(left) = damage
            && let Some(at) = chunk[..length].windows(MARK.len()).position(|window| window == MARK)
            && left.fetch_sub(1, Ordering::Relaxed) > 0
        {
            chunk[at + 3] ^= 0b0001_0000;
        }
        if to.write_all(&chunk[..length]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[test]
fn a_damaged_record_is_read_again_or_halts_but_never_a_row() {
    let Some(cluster) = real() else { return };
    let Some(proxy) = Proxy::start(2) else { return };
    let topic = cluster.topic(1);
    let feeder = cluster.producer();
    let mut config = config(&cluster, &topic);
    config.client.brokers.clone_from(&proxy.address);

    // damaged twice, then whole
    feeder.numbers(&topic, 0, 0, 100);
    feeder.send(&topic, 0, None, Some(MARK), &[]);
    feeder.numbers(&topic, 0, 101, 100);
    let table = Shared::default();
    let running = start(config.clone(), &table);
    until("all rows", || lock(&table).total() == 201);
    assert!(proxy.left.load(Ordering::Relaxed) <= 0, "nothing was damaged");
    assert!(lock(&table).rows.iter().map(|r| r.offset).eq(0..201));
    assert_eq!(lock(&table).rows[100].value.as_deref(), Some(MARK));

    // damaged each time
    proxy.left.store(i64::MAX, Ordering::Relaxed);
    feeder.numbers(&topic, 0, 201, 10);
    until("what is whole", || lock(&table).total() == 211);
    feeder.send(&topic, 0, None, Some(MARK), &[]);
    let error = running.ended().unwrap_err();
    assert_eq!(error.class(), Class::Halt, "{error}");
    let text = error.to_string();
    assert!(text.contains("cannot read on") && text.contains("k2 offsets accept-loss"), "{text}");
    assert_eq!(lock(&table).total(), 211);

    // and whole again
    proxy.left.store(0, Ordering::Relaxed);
    let running = start(config, &table);
    until("the last one", || lock(&table).total() == 212);
    running.stop().unwrap();
    lock(&table).assert_nothing_twice();
}
