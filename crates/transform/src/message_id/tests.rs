#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use arrow::array::Array;
use k2_model::{ClusterId, TopicId};
use proptest::prelude::*;

fn identity(topic_id: Option<&str>) -> TopicIdentity {
    TopicIdentity {
        cluster_id: ClusterId::new("MkU3OEVBNTcwNTJENDM2Qk"),
        topic: "market.crypto.trades.binance.raw".into(),
        topic_id: topic_id.map(TopicId::new),
    }
}

#[test]
fn the_namespace_is_the_contracts() {
    assert_eq!(NAMESPACE.to_string(), "4aa63622-8c4a-56f0-9c65-d4ee721720cb");
    assert_eq!(Uuid::new_v5(&Uuid::NAMESPACE_URL, b"k2:record"), NAMESPACE);
}

#[test]
fn ids_are_the_uuid_libraries() {
    let (partitions, offsets) = (vec![0, 0, 39, 3, 0], vec![0, 7, 1_234_567_890_123, i64::MAX, 10]);
    for (topic_id, name) in
        [(Some("vNn1IX_vRrWBb1yP2aaSaw"), "vNn1IX_vRrWBb1yP2aaSaw"), (None, "market.crypto.trades.binance.raw")]
    {
        let ids = message_ids(&identity(topic_id), &partitions.clone().into(), &offsets.clone().into()).unwrap();
        for row in 0..ids.len() {
            let name = format!("MkU3OEVBNTcwNTJENDM2Qk/{name}/{}/{}", partitions[row], offsets[row]);
            assert_eq!(ids.value(row), Uuid::new_v5(&NAMESPACE, name.as_bytes()).to_string(), "{name}");
        }
    }
}

#[test]
fn none_for_none() {
    let ids = message_ids(&identity(None), &Vec::<i32>::new().into(), &Vec::<i64>::new().into()).unwrap();
    assert_eq!(ids.len(), 0);
}

proptest! {
    #[test]
    fn digits_are_those_of_the_standard_library(value: i64) {
        let (digits, text) = (Digits::of(value), value.to_string());
        prop_assert_eq!(digits.as_bytes(), text.as_bytes());
    }

    #[test]
    fn any_name(name: Vec<u8>) {
        let id = Uuid::new_v5(&NAMESPACE, &name).to_string();
        let ours = uuid5(&NAMESPACE, &name);
        prop_assert_eq!(ours.as_slice(), id.as_bytes());
    }
}
