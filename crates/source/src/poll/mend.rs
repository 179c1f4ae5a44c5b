//! Partitions that librdkafka gave up on, or of which it left records out: placed anew at our own position.
//!
//! Out of range, truncated, a batch whose CRC is wrong: in each case the same question is asked as at an assignment, and
//! the last record must be found again. The epoch stays, since nothing was lost or doubled. What does not get better halts.

use super::Poller;
use super::survey::Survey;
use super::turn::{SHORTER_FOR, Turn};
use crate::fault::{self, Verdict};
use crate::start::{self, Refusal};
use k2_model::{Error, Partition, Result, StartAt, StartPosition};
use std::time::Instant;

/// After so many attempts without a record a person is asked; they take about 25 s.
const ATTEMPTS: u32 = 8;

/// A partition that Kafka is asked about.
pub(super) struct Mending {
    partition: i32,
    survey: Survey,
}

impl Poller {
    /// Works on faults, one partition at a time.
    pub(super) fn mend(&mut self, now: Instant) -> Result<()> {
        if !matches!(self.turn, Turn::Idle) {
            // librdkafka waits for another answer, or all partitions are being placed anyway
            self.mending = None;
            return Ok(());
        }
        if let Some(mending) = &mut self.mending {
            if mending.survey.poll(&self.client, &self.topic, &mut self.watch)
                && let Some(done) = self.mending.take()
            {
                return self.replace(done, now);
            }
            return Ok(());
        }
        let due = self.intake.readings.iter().find_map(|(p, r)| Some((p, r.due_fault(now)?.clone())));
        let Some((partition, fault)) = due else { return Ok(()) };
        if fault.attempts > ATTEMPTS {
            return Err(Error::halt(format!("cannot read on: {}", fault.text))
                .at(self.place(partition))
                .fix("repair the log on the broker, or skip what cannot be read: `k2 offsets accept-loss`"));
        }
        tracing::warn!(place = self.place(partition), error = fault.text, attempt = fault.attempts, "reading it again");
        // the open span ends here, so that its last record is known
        self.intake.flush()?;
        let survey = Survey::ask(&self.client, &self.topic, &[partition]);
        self.mending = Some(Mending { partition, survey });
        Ok(())
    }

    /// Decides, and starts the partition again.
    fn replace(&mut self, done: Mending, now: Instant) -> Result<()> {
        let partition = done.partition;
        let surveyed = match done.survey.read(&self.client, &self.config.topic) {
            Ok(surveyed) => surveyed,
            Err(failure) => {
                if fault::judge(&failure, false, self.connected) == Verdict::Config {
                    return Err(self.error("cannot learn where a partition begins and ends", failure));
                }
                self.watch.trouble(&failure, now);
                return Ok(());
            }
        };
        let Some(identity) = self.intake.identity.clone() else { return Ok(()) };
        let Some(reading) = self.intake.readings.get_mut(partition) else { return Ok(()) };
        let Some(log) = surveyed.logs.get(&partition) else { return Ok(()) };
        let position = StartPosition {
            partition: Partition(partition),
            at: StartAt::Table {
                topic_id: identity.topic_id.clone(),
                cluster_id: identity.cluster_id.clone(),
                next: reading.next(),
                leader_epoch: reading.leader_epoch(),
                last: reading.last(),
            },
        };
        let since = reading.due_fault(now).map_or(now, |fault| fault.since);
        let plan = match start::decide(self.config.start, &surveyed.identity, *log, &position) {
            Ok(plan) => plan,
            Err(Refusal::Truncated { .. }) if now.duration_since(since) < SHORTER_FOR => {
                reading.fail("the log seems shorter than what was read".into(), now);
                return Ok(());
            }
            Err(refusal) => return Err(refusal.into_error(&surveyed.identity, Partition(partition))),
        };
        self.anchor(surveyed.before)?;
        if let Some(reading) = self.intake.readings.get_mut(partition) {
            reading.replaced(&plan);
        }
        let cannot = |f| self.error("cannot start reading a partition again", f);
        self.client.unassign(&self.topic, &[partition]).map_err(cannot)?;
        self.client.assign(&self.topic, &[plan.seat]).map_err(cannot)
    }
}
