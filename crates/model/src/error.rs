//! One error type for the house: what failed, where, why, the way out, and the class that decides what happens next.
//!
//! Nobody matches on text (ARCHITECTURE.md, invariant 8). The default class is [`Class::Unknown`].

use std::fmt;

/// What the one who meets an error has to do. The class decides, nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// It did not happen and may work later: try again with back-off.
    Retry,
    /// What we hold is out of date: drop it, read the table's position, go on from there.
    ReRead,
    /// This one record (or request) is wrong for good; the rest is fine.
    Reject,
    /// The data needs a decision by a person. Nothing more is written; exit code 3.
    Halt,
    /// The configuration or the call is wrong; exit code 2.
    Config,
    /// It may or may not have happened. Find out before anything else.
    Unknown,
}

/// The result of anything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// An error with its class. Reads as `what [place]: cause. Way out`.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    class: Class,
    what: String,
    place: Vec<String>,
    fix: Option<String>,
    source: Option<Source>,
}

impl Error {
    /// An error of a class.
    pub fn new(class: Class, what: impl Into<String>) -> Self {
        Self(Box::new(Inner { class, what: what.into(), place: Vec::new(), fix: None, source: None }))
    }
    /// [`Class::Retry`].
    pub fn retry(what: impl Into<String>) -> Self {
        Self::new(Class::Retry, what)
    }
    /// [`Class::ReRead`].
    pub fn re_read(what: impl Into<String>) -> Self {
        Self::new(Class::ReRead, what)
    }
    /// [`Class::Halt`].
    pub fn halt(what: impl Into<String>) -> Self {
        Self::new(Class::Halt, what)
    }
    /// [`Class::Config`].
    pub fn config(what: impl Into<String>) -> Self {
        Self::new(Class::Config, what)
    }
    /// [`Class::Unknown`].
    pub fn unknown(what: impl Into<String>) -> Self {
        Self::new(Class::Unknown, what)
    }

    /// Adds where it happened, innermost first: `table x`, `topic t/3`, `offsets 5..9`.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        let place = place.into();
        // two rooms may know the same place
        if !self.0.place.contains(&place) {
            self.0.place.push(place);
        }
        self
    }
    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }
    /// Adds the way out, as an instruction to the reader.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.0.fix = Some(fix.into());
        self
    }
    /// The same error in another class, where the caller knows more.
    #[must_use]
    pub fn with_class(mut self, class: Class) -> Self {
        self.0.class = class;
        self
    }
    /// The class.
    pub fn class(&self) -> Class {
        self.0.class
    }
    /// The way out, if one is known.
    pub fn way_out(&self) -> Option<&str> {
        self.0.fix.as_deref()
    }
    /// What failed, without place, cause and way out.
    pub fn what(&self) -> &str {
        &self.0.what
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)?;
        if !self.0.place.is_empty() {
            write!(f, " [{}]", self.0.place.join(", "))?;
        }
        let mut cause = self.0.source.as_deref().map(|e| e as &dyn std::error::Error);
        let mut said = self.0.what.clone();
        while let Some(e) = cause {
            let text = e.to_string();
            // libraries like to repeat their cause in their own text
            if !said.contains(&text) {
                write!(f, ": {text}")?;
                said.push_str(&text);
            }
            cause = e.source();
        }
        if let Some(fix) = &self.0.fix {
            write!(f, ". {fix}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|e| e as &(dyn std::error::Error + 'static))
    }
}
