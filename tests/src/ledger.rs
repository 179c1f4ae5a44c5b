//! The ledger: which records a topic holds, told by the broker's own delivery reports.

use std::collections::BTreeMap;

/// The records of one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The topic's name.
    pub topic: String,
    /// Per partition: (offset, checksum) of every record that was delivered and, in transactions, committed. Sorted by
    /// offset once the producing is over.
    pub records: BTreeMap<i32, Vec<(i64, u32)>>,
    /// Records whose delivery was reported as failed: they may be in the topic all the same.
    pub unsure: u64,
    /// Records of aborted transactions.
    pub aborted: u64,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(topic: impl Into<String>) -> Self {
        Self { topic: topic.into(), ..Self::default() }
    }

    /// The number of records.
    pub fn len(&self) -> u64 {
        self.records.values().map(|records| records.len() as u64).sum()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds another ledger of the same topic.
    pub fn merge(&mut self, other: Ledger) {
        assert_eq!(self.topic, other.topic);
        for (partition, records) in other.records {
            self.records.entry(partition).or_default().extend(records);
        }
        self.unsure += other.unsure;
        self.aborted += other.aborted;
        self.sort();
    }

    pub(crate) fn sort(&mut self) {
        self.records.values_mut().for_each(|records| records.sort_unstable());
    }

    /// What the topic truly holds: the re-read, after checking that every delivered record is in it unchanged and, if
    /// no delivery failed, nothing else. Needed where deliveries were unsure or the broker was disturbed.
    pub fn confirmed_by(self, reread: Ledger) -> Ledger {
        assert_eq!(self.topic, reread.topic);
        let none = Vec::new();
        for (partition, records) in &self.records {
            let held = reread.records.get(partition).unwrap_or(&none);
            for record in records {
                if held.binary_search(record).is_err() {
                    let near: Vec<_> = held.iter().filter(|(o, crc)| *o == record.0 || *crc == record.1).collect();
                    panic!(
                        "topic {}/{partition}: {record:?} was reported as delivered; the broker holds {near:?}",
                        self.topic
                    );
                }
            }
        }
        if self.unsure == 0 {
            assert_eq!(
                self.len(),
                reread.len(),
                "topic {} holds records that nobody reported as delivered",
                self.topic
            );
        }
        reread
    }
}
