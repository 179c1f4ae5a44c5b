//! Is what librdkafka fetches of the incarnation of the topic that we know? The proof that no row of a topic that was
//! created again is ever sent under the old topic's identity.
//!
//! librdkafka 2.12 fetches by topic id (Fetch 13 and later, brokers since Kafka 3.1), so a broker refuses what is asked of
//! a topic that is gone. But when an answer about the topic (Metadata) brings another id, librdkafka takes it and goes on
//! at the old offsets without a word. So the id that it fetches by changes **only** when such an answer arrives, and:
//!
//! 1. Every answer about topics is counted twice: as it comes in, and on librdkafka's main thread, right before librdkafka acts
//!    on it (`native::client`). The count is read after a batch's last record was taken.
//! 2. Our own question for the topic's id is answered by such an answer too, and librdkafka acts on it before it hands it to
//!    us. If it told our id, and no other answer came in or was acted on between question and reading, then librdkafka
//!    fetches by our id at that count: we are *sure* at it.
//! 3. While the count stays where we are sure, so does the id, and batches leave. At any other count nothing leaves: what was
//!    taken is dropped, the id is asked for, and reading goes on at our own positions once we are sure again. Another id
//!    halts.
//!
//! No broker has to be up to date for this: one that tells an id that is out of date makes librdkafka fetch by that id.

/// How often an answer is counted.
const COUNTED: u64 = 2;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Incarnation {
    /// The count at which librdkafka is known to fetch by our topic id.
    sure_at: Option<u64>,
}

/// What an answer to our question, with our id in it, is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// We were sure until then, and are.
    Unbroken,
    /// We are sure from now on; what was taken before is not to be trusted.
    Anew,
    /// Nothing: another answer came in between. Ask again.
    Nothing,
}

impl Incarnation {
    /// Whether all that has been taken since we became sure is of our incarnation. `heard`: the answers counted by now.
    pub(crate) fn is_sure(&self, heard: u64) -> bool {
        self.sure_at == Some(heard)
    }

    /// The brokers told our id. `before`: the answers counted before the question, `heard`: by now.
    pub(crate) fn told(&mut self, before: u64, heard: u64) -> Told {
        if before.checked_add(COUNTED) != Some(heard) {
            return Told::Nothing;
        }
        let unbroken = self.is_sure(before);
        self.sure_at = Some(heard);
        if unbroken { Told::Unbroken } else { Told::Anew }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_was_alone_makes_sure() {
        let mut id = Incarnation::default();
        assert!(!id.is_sure(0), "nothing is known at first");
        assert_eq!(id.told(0, 4), Told::Nothing);
        assert!(!id.is_sure(4));
        assert_eq!(id.told(4, 6), Told::Anew);
        assert!(id.is_sure(6));

        // an answer of our own does not shake it
        assert_eq!(id.told(6, 8), Told::Unbroken);
        assert!(id.is_sure(8) && !id.is_sure(6));

        // any other does, from the moment it comes in
        assert!(!id.is_sure(9) && !id.is_sure(10));
        assert_eq!(id.told(10, 12), Told::Anew);
        // also one between question and reading: which of the two was acted on last cannot be known
        assert_eq!(id.told(12, 16), Told::Nothing);
        assert!(!id.is_sure(16));
        assert_eq!(id.told(16, 18), Told::Anew);
        // or one that came in before the question, and was acted on behind it
        assert_eq!(id.told(19, 22), Told::Nothing);
        // or before both, unnoticed by anybody
        assert_eq!(id.told(22, 24), Told::Anew);
        // an answer that was counted otherwise is none that we understand
        assert_eq!(id.told(24, 25), Told::Nothing);
    }
}
