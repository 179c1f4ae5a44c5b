//! What an error of librdkafka means. Pure: a failure in, a verdict or an error with its class out.

use crate::native::{Failure, code};
use k2_model::{Class, Error};

/// What to do about an error that came with the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// librdkafka goes on trying by itself.
    Transient,
    /// The partition has stopped, or records were skipped: place it anew, at our own position.
    Replace,
    /// The topic does not exist, the brokers say; they also say so for a moment while they start.
    Missing,
    /// The consumer is useless from now on.
    Fatal,
    /// The configuration, or a right, is wrong.
    Config,
}

/// Errors that pass.
const TRANSIENT: &[i32] = &[
    code::TRANSPORT,
    code::ALL_BROKERS_DOWN,
    code::RESOLVE,
    code::TIMED_OUT,
    code::TIMED_OUT_QUEUE,
    code::WAIT_COORD,
    code::LEADER_UNKNOWN,
    code::NOT_LEADER,
    code::REQUEST_TIMED_OUT,
    code::BROKER_NOT_AVAILABLE,
    code::REPLICA_NOT_AVAILABLE,
    code::NETWORK_EXCEPTION,
    code::COORDINATOR_LOADING,
    code::COORDINATOR_NOT_AVAILABLE,
    code::NOT_COORDINATOR,
    code::OFFSET_NOT_AVAILABLE,
    code::UNKNOWN_LEADER_EPOCH,
    code::FENCED_LEADER_EPOCH,
    code::REBALANCE_IN_PROGRESS,
    code::ILLEGAL_GENERATION,
    code::UNKNOWN_MEMBER_ID,
    code::MAX_POLL_EXCEEDED,
    // a broker that restarts cuts handshakes off
    code::SSL,
];

const MISSING: &[i32] =
    &[code::UNKNOWN_TOPIC_OR_PART, code::UNKNOWN_TOPIC, code::UNKNOWN_PARTITION, code::TOPIC_EXCEPTION];

const RIGHTS: &[i32] =
    &[code::TOPIC_AUTHORIZATION_FAILED, code::GROUP_AUTHORIZATION_FAILED, code::CLUSTER_AUTHORIZATION_FAILED];

const LOGIN: &[i32] = &[code::AUTHENTICATION, code::SASL_AUTHENTICATION_FAILED];

const GROUP: &[i32] = &[
    code::INCONSISTENT_GROUP_PROTOCOL,
    code::INVALID_SESSION_TIMEOUT,
    code::INVALID_GROUP_ID,
    code::GROUP_MAX_SIZE_REACHED,
];

/// Whether an error that names a partition says that it stopped, or that records of it were left out.
pub(crate) fn of_partition(failure: &Failure) -> bool {
    judge(failure, true, true) == Verdict::Replace
}

/// Judges an error. `partition`: whether it names one. `connected`: whether this consumer ever had partitions, so the
/// login is right.
pub(crate) fn judge(failure: &Failure, partition: bool, connected: bool) -> Verdict {
    let is = |codes: &[i32]| codes.contains(&failure.code);
    match failure.code {
        code::FATAL | code::FENCED_INSTANCE_ID => Verdict::Fatal,
        _ if is(TRANSIENT) => Verdict::Transient,
        _ if is(MISSING) => Verdict::Missing,
        _ if is(RIGHTS) || is(GROUP) => Verdict::Config,
        _ if is(LOGIN) && connected => Verdict::Transient,
        _ if is(LOGIN) => Verdict::Config,
        // out of range, truncated, a damaged or oversized batch, or anything new
        _ if partition => Verdict::Replace,
        _ => Verdict::Transient,
    }
}

/// An error for whoever called, with the class that follows from the code.
pub(crate) fn error(what: impl Into<String>, failure: Failure) -> Error {
    let is = |codes: &[i32]| codes.contains(&failure.code);
    let (class, fix) = match failure.code {
        code::FENCED_INSTANCE_ID => (
            Class::Config,
            Some("another process uses the same `group.instance.id`: give each its own, or remove the property"),
        ),
        code::TOPIC_AUTHORIZATION_FAILED => {
            (Class::Config, Some("grant this user the operations READ and DESCRIBE on the topic"))
        }
        code::GROUP_AUTHORIZATION_FAILED => {
            (Class::Config, Some("grant this user the operations READ and DESCRIBE on the consumer group"))
        }
        code::CLUSTER_AUTHORIZATION_FAILED => (Class::Config, Some("grant this user DESCRIBE on the cluster")),
        code::INCONSISTENT_GROUP_PROTOCOL => (
            Class::Config,
            Some(
                "other consumers are in this group with another assignment strategy: stop them; the group is K2's own",
            ),
        ),
        code::INVALID_SESSION_TIMEOUT => {
            (Class::Config, Some("set `session.timeout.ms` in `kafka.properties` within the broker's bounds"))
        }
        code::AUTO_OFFSET_RESET | code::LOG_TRUNCATION | code::OFFSET_OUT_OF_RANGE => (Class::Halt, None),
        _ if is(LOGIN) => (Class::Config, Some("check `security.protocol` and the credentials in `kafka.properties`")),
        _ if is(MISSING) => (Class::Config, Some("check the topic's name, and create it if it is new")),
        _ if is(GROUP) => (Class::Config, None),
        code::INVALID_ARG => (Class::Config, None),
        code::ALL_BROKERS_DOWN | code::TRANSPORT | code::RESOLVE | code::TIMED_OUT | code::TIMED_OUT_QUEUE => {
            (Class::Retry, Some("check `kafka.brokers` and that they can be reached from here"))
        }
        _ if is(TRANSIENT) => (Class::Retry, None),
        _ => (Class::Unknown, None),
    };
    let error = Error::new(class, what).caused_by(failure);
    match fix {
        Some(fix) => error.fix(fix),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        const BAD_MSG: i32 = rdkafka_sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__BAD_MSG as i32;
        let judged = |code, partition, connected| judge(&Failure::new(code, ""), partition, connected);
        for (code, partition, connected, verdict) in [
            (code::TRANSPORT, false, true, Verdict::Transient),
            (code::ALL_BROKERS_DOWN, false, false, Verdict::Transient),
            (code::NOT_LEADER, true, true, Verdict::Transient),
            (code::AUTO_OFFSET_RESET, true, true, Verdict::Replace),
            (code::OFFSET_OUT_OF_RANGE, true, true, Verdict::Replace),
            (code::LOG_TRUNCATION, true, true, Verdict::Replace),
            // librdkafka skips a batch whose CRC is wrong
            (BAD_MSG, true, true, Verdict::Replace),
            (code::UNKNOWN_TOPIC_OR_PART, false, true, Verdict::Missing),
            (code::TOPIC_AUTHORIZATION_FAILED, true, true, Verdict::Config),
            (code::GROUP_AUTHORIZATION_FAILED, false, false, Verdict::Config),
            (code::AUTHENTICATION, false, false, Verdict::Config),
            (code::AUTHENTICATION, false, true, Verdict::Transient),
            (code::FATAL, false, true, Verdict::Fatal),
            (code::FENCED_INSTANCE_ID, false, true, Verdict::Fatal),
            // a code that this binary does not know
            (9999, true, true, Verdict::Replace),
            (9999, false, true, Verdict::Transient),
        ] {
            assert_eq!(judged(code, partition, connected), verdict, "{code} {partition} {connected}");
        }
    }

    #[test]
    fn classes() {
        let class = |code| error("x", Failure::new(code, "why")).class();
        assert_eq!(class(code::TRANSPORT), Class::Retry);
        assert_eq!(class(code::FENCED_INSTANCE_ID), Class::Config);
        assert_eq!(class(code::TOPIC_AUTHORIZATION_FAILED), Class::Config);
        assert_eq!(class(code::OFFSET_OUT_OF_RANGE), Class::Halt);
        assert_eq!(class(9999), Class::Unknown);
        let text = error("x", Failure::new(code::FENCED_INSTANCE_ID, "why")).to_string();
        assert!(text.contains("group.instance.id") && text.contains("why"), "{text}");
    }
}
