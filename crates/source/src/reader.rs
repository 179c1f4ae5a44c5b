//! Reading a topic without a group, for those who compare tables with Kafka. Nothing is committed, nobody rebalanced.

use crate::native::{Client, Kind, Polled, Record, Standalone, code};
use crate::{ClientSettings, config, fault};
use k2_model::{Error, NextOffset, Partition, Result};
use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long Kafka may be silent before that is an error.
const SILENCE: Duration = Duration::from_secs(60);

/// Reads partitions of one topic, one range at a time, as read_committed sees it.
pub struct Reader {
    client: Arc<Client>,
    topic: String,
    name: CString,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Reader {
    /// A reader of a topic that prefetches no more than `prefetch` bytes.
    ///
    /// # Errors
    /// A property that librdkafka does not take.
    pub fn open(settings: &ClientSettings, client_id: &str, topic: &str, prefetch: u64) -> Result<Self> {
        let properties = config::reader_properties(settings, client_id, prefetch)?;
        let client = Client::new(Kind::Standalone, &properties)
            .map_err(|failure| fault::error("cannot create the Kafka reader", failure))?;
        let name = CString::new(topic).map_err(|_| Error::config("the topic's name holds a NUL byte"))?;
        Ok(Self { client, topic: topic.to_owned(), name })
    }

    /// Hands every record with an offset in `from..to` to `on`, in order, and blocks until `to` is reached or `on` fails.
    ///
    /// # Errors
    /// What `on` returned; [`Class::Halt`](k2_model::Class::Halt) if Kafka no longer has `from`; `Retry` if it is silent
    /// for a minute.
    pub fn read(
        &self,
        partition: Partition,
        from: NextOffset,
        to: NextOffset,
        mut on: impl FnMut(&Record<'_>) -> Result<()>,
    ) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        let at = |e: Error| e.at(format!("topic {}/{partition}", self.topic));
        let mut reading = Standalone::start(&self.client, &self.name, partition.0, from.0)
            .map_err(|f| at(fault::error("cannot read a partition", f)))?;
        let (mut next, mut done, mut result) = (from.0, false, Ok(()));
        let mut heard = Instant::now();
        while !done {
            let came = reading.take(Duration::from_millis(200), |polled| {
                if done {
                    return;
                }
                match polled {
                    Polled::Record(record) if record.offset >= to.0 => done = true,
                    Polled::Record(record) if record.offset >= next => {
                        next = record.offset + 1;
                        result = on(&record);
                        done = result.is_err() || next >= to.0;
                    }
                    Polled::Record(_) => {}
                    Polled::End { next: end, .. } => done = end >= to.0,
                    Polled::Failed { failure, .. } => {
                        if fault::of_partition(&failure) || failure.code == code::TOPIC_AUTHORIZATION_FAILED {
                            result = Err(at(fault::error("cannot read a partition", failure)));
                            done = true;
                        }
                    }
                }
            });
            while self.client.next_note().is_some() {}
            if came > 0 {
                heard = Instant::now();
            } else if heard.elapsed() > SILENCE {
                let what = format!("Kafka sent nothing for {} s", SILENCE.as_secs());
                return Err(at(Error::retry(what).at(format!("offset {next}"))));
            }
        }
        result
    }
}
