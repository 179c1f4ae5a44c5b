//! What is worth knowing of a table but breaks no promise.

use super::{Book, ends};
use crate::verify::Layer;
use crate::verify::report::count;
use std::collections::{BTreeMap, BTreeSet};

impl Book<'_> {
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let holes: u64 = self
            .offsets
            .values()
            .map(|set| {
                let (first, last) = ends(set);
                (last.abs_diff(first) + 1).saturating_sub(set.len())
            })
            .sum();
        // in silver and in the DLQ they are the other's rows
        if holes > 0 && self.layer == Layer::Bronze {
            notes.push(format!(
                "{} between the first and the last row of a partition {} no row: that is so in compacted and \
                 transactional topics{}",
                count(holes, "offset"),
                if holes == 1 { "has" } else { "have" },
                if self.all_read { "" } else { ", but here some files could not be read" },
            ));
        }
        if self.placeless > 0 {
            notes.push(format!("{} without a place in Kafka, as Spark wrote them", count(self.placeless, "row")));
        }
        if self.earlier > 0 {
            notes.push(format!(
                "{} whose message_id recomputes for no topic id that is known, of before `k2 offsets` moved the position: \
                 of an earlier topic, or wrong",
                count(self.earlier, "row")
            ));
        }
        let knows_ids = self.offsets.keys().any(|k| k.topic_id.is_some());
        if self.layer == Layer::Bronze && knows_ids && self.without_id > 0 {
            notes.push(format!("{} without a topic id, as Spark wrote them", count(self.without_id, "row")));
        }
        let mut doubled: BTreeMap<String, u64> = BTreeMap::new();
        for (key, set) in self.offsets.iter().filter(|(key, _)| key.topic_id.is_none()) {
            let with_id = self
                .offsets
                .iter()
                .filter(|(k, _)| k.topic_id.is_some() && k.topic == key.topic && k.partition == key.partition);
            *doubled.entry(key.topic.to_string()).or_default() +=
                with_id.map(|(_, s)| s.intersection_len(set)).sum::<u64>();
        }
        for (topic, offsets) in doubled.into_iter().filter(|(_, n)| *n > 0) {
            notes.push(format!(
                "{} of {topic} are there with and without a topic id: twice, unless the topic was made anew since",
                count(offsets, "offset")
            ));
        }
        let incarnations = |topic: &str| {
            self.offsets
                .keys()
                .filter(|k| &*k.topic == topic)
                .filter_map(|k| k.topic_id.as_ref())
                .collect::<BTreeSet<_>>()
                .len()
        };
        let topics: BTreeSet<&str> = self.offsets.keys().map(|k| &*k.topic).collect();
        for topic in topics.into_iter().filter(|t| incarnations(t) > 1) {
            notes.push(format!("rows of {} topics named {topic}: it was deleted and made anew", incarnations(topic)));
        }
        notes
    }
}
