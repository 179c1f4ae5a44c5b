//! Which offsets a file holds, as compressed bitmaps: 100 million rows in runs take a few MiB.

use super::report::Finding;
use roaring::RoaringTreemap;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// One partition of one incarnation of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) topic: Arc<str>,
    /// None: written by Spark, or the brokers knew no ids, or it is not to be told from the row.
    pub(super) topic_id: Option<Arc<str>>,
    pub(super) partition: i32,
}

impl Key {
    pub(super) fn finding(&self, what: impl Into<String>) -> Finding {
        Finding::new(what).topic(&*self.topic, self.partition)
    }
}

/// Offsets by key.
pub(super) type Offsets = BTreeMap<Key, RoaringTreemap>;

/// Takes a file's rows in, one by one, and keeps runs together.
#[derive(Debug, Default)]
pub(super) struct OffsetSets {
    keys: Vec<(Key, Open)>,
    /// The incarnation of the last row, and where its partitions are in `keys`.
    topic: Option<(Arc<str>, Option<Arc<str>>)>,
    by_partition: HashMap<i32, usize>,
    last: Option<(i32, usize)>,
}

#[derive(Debug, Default)]
struct Open {
    set: RoaringTreemap,
    twice: RoaringTreemap,
    run: Option<(u64, u64)>,
}

impl OffsetSets {
    pub(super) fn add(&mut self, topic: &str, topic_id: Option<&str>, partition: i32, offset: u64) {
        let same = self.topic.as_ref().is_some_and(|(t, id)| &**t == topic && id.as_deref() == topic_id);
        if !same {
            self.turn_to(topic, topic_id);
        }
        let at = match self.last {
            Some((p, at)) if p == partition => at,
            _ => self.find(partition),
        };
        let Some((_, open)) = self.keys.get_mut(at) else { return };
        match &mut open.run {
            Some((_, last)) if *last + 1 == offset => *last = offset,
            run => {
                let done = run.replace((offset, offset));
                open.flush(done);
            }
        }
    }

    fn turn_to(&mut self, topic: &str, topic_id: Option<&str>) {
        let topic: Arc<str> = topic.into();
        let topic_id: Option<Arc<str>> = topic_id.map(Into::into);
        self.by_partition.clear();
        for (at, (key, _)) in self.keys.iter().enumerate() {
            if key.topic == topic && key.topic_id == topic_id {
                self.by_partition.insert(key.partition, at);
            }
        }
        (self.topic, self.last) = (Some((topic, topic_id)), None);
    }

    fn find(&mut self, partition: i32) -> usize {
        let at = match (self.by_partition.get(&partition), &self.topic) {
            (Some(at), _) => *at,
            (None, Some((topic, topic_id))) => {
                let key = Key { topic: Arc::clone(topic), topic_id: topic_id.clone(), partition };
                self.keys.push((key, Open::default()));
                self.by_partition.insert(partition, self.keys.len() - 1);
                self.keys.len() - 1
            }
            (None, None) => return usize::MAX,
        };
        self.last = Some((partition, at));
        at
    }

    /// The offsets, and those of them that came up more than once.
    pub(super) fn finish(self) -> (Offsets, Offsets) {
        let (mut sets, mut twice) = (Offsets::new(), Offsets::new());
        for (key, mut open) in self.keys {
            let run = open.run.take();
            open.flush(run);
            if !open.twice.is_empty() {
                twice.insert(key.clone(), open.twice);
            }
            sets.insert(key, open.set);
        }
        (sets, twice)
    }
}

impl Open {
    fn flush(&mut self, run: Option<(u64, u64)>) {
        let Some((first, last)) = run else { return };
        // files hold a partition's records in order: almost every run is new and at the end
        if self.set.max().is_none_or(|max| max < first) {
            self.set.insert_range(first..=last);
            return;
        }
        for offset in first..=last {
            if !self.set.insert(offset) {
                self.twice.insert(offset);
            }
        }
    }
}
