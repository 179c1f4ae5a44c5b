//! Who a topic is, in Kafka's own protocol: rdkafka tells no topic ids, and the engine's word is not taken for it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Asks a broker with a Metadata request, version 12: (cluster id, topic id as Kafka prints it).
pub(super) fn ask(broker: &str, topic: &str) -> (String, String) {
    let mut stream = TcpStream::connect(broker).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&request(topic)).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut answer).unwrap();
    read(&mut Reader { rest: &answer }, topic)
}

fn request(topic: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend([0, 3, 0, 12]); // Metadata, version 12
    body.extend([0, 0, 0, 7]); // correlation id
    body.extend([0xff, 0xff]); // no client id
    body.push(0); // no tagged fields
    body.push(2); // one topic,
    body.extend([0; 16]); // not by its id
    body.push(u8::try_from(topic.len() + 1).unwrap()); // but by its name
    assert!(topic.len() < 127, "the length takes one byte");
    body.extend(topic.as_bytes());
    body.push(0);
    body.extend([0, 0, 0]); // don't make it, no authorised operations, no tagged fields
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

fn read(answer: &mut Reader<'_>, topic: &str) -> (String, String) {
    answer.take(4); // correlation id
    answer.tags();
    answer.take(4); // throttle time
    for _ in 0..answer.count() {
        answer.take(4); // node id
        answer.string();
        answer.take(4); // port
        answer.string(); // rack
        answer.tags();
    }
    let cluster_id = answer.string().expect("the cluster has an id");
    answer.take(4); // controller
    assert_eq!(answer.count(), 1, "one topic was asked for");
    assert_eq!(answer.take(2), [0, 0], "the broker has an error for topic {topic}");
    assert_eq!(answer.string().as_deref(), Some(topic));
    (cluster_id, URL_SAFE_NO_PAD.encode(answer.take(16)))
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn varint(&mut self) -> usize {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = self.take(1)[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }

    /// The length of a compact array.
    fn count(&mut self) -> usize {
        self.varint().saturating_sub(1)
    }

    /// A compact string; none is null.
    fn string(&mut self) -> Option<String> {
        let length = self.varint().checked_sub(1)?;
        Some(String::from_utf8(self.take(length).to_vec()).unwrap())
    }

    fn tags(&mut self) {
        for _ in 0..self.varint() {
            self.varint();
            let length = self.varint();
            self.take(length);
        }
    }
}
