//! Time travel: takes `… AS OF …` out of a statement's tokens before the parser, which knows it in few dialects, sees them.
//!
//! Every form that Spark, Trino and the SQL standard have is understood:
//! `t [FOR] VERSION | SYSTEM_VERSION AS OF <snapshot id> | '<branch or tag>'` and
//! `t [FOR] TIMESTAMP | SYSTEM_TIME AS OF <any constant expression>`.
//! The table's name is marked with the number of its clause; `rewrite` turns the mark into a snapshot.

use datafusion::sql::sqlparser::ast::{Expr, Ident};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use k2_model::{Error, Result};

/// Which state of a table is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AsOf {
    /// This snapshot.
    Snapshot(i64),
    /// The snapshot of this branch or tag.
    Reference(String),
    /// The one that was current at this time.
    Time(Box<Expr>),
}

/// The same with its time worked out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum State {
    /// This snapshot.
    Snapshot(i64),
    /// The snapshot of this branch or tag.
    Reference(String),
    /// The snapshot that was current at this time, in microseconds since 1970.
    At(i64),
}

/// Opens the mark.
const MARK: &str = "$as_of_clause_";

/// The name without its mark, and the number of the clause, if it is marked.
pub(crate) fn unmark(ident: &Ident) -> (Ident, Option<usize>) {
    match ident.value.rsplit_once(MARK).map(|(name, number)| (name, number.parse())) {
        Some((name, Ok(number))) => (Ident { value: name.to_owned(), ..ident.clone() }, Some(number)),
        _ => (ident.clone(), None),
    }
}

/// Takes the clauses out and marks the names they belong to.
pub(crate) fn take_clauses(mut tokens: Vec<TokenWithSpan>) -> Result<(Vec<TokenWithSpan>, Vec<AsOf>)> {
    let mut clauses = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let Some(clause) = Opening::at(&tokens, at) else {
            at += 1;
            continue;
        };
        let (as_of, end) = clause.operand(&tokens)?;
        let Token::Word(word) = &mut tokens[clause.name].token else {
            at += 1;
            continue;
        };
        // the quotes keep the mark's characters together; an unquoted name has lost its case before
        let name = if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() };
        *word = Word { value: format!("{name}{MARK}{}", clauses.len()), quote_style: Some('"'), keyword: word.keyword };
        clauses.push(as_of);
        tokens.drain(at..end);
    }
    Ok((tokens, clauses))
}

/// `[FOR] VERSION AS OF` after a name and before an operand.
struct Opening {
    /// Where the name's last word is.
    name: usize,
    /// Where the operand begins.
    operand: usize,
    /// A time, not a version.
    time: bool,
}

impl Opening {
    fn at(tokens: &[TokenWithSpan], at: usize) -> Option<Self> {
        let name = (0..at).rev().find(|&i| significant(&tokens[i]))?;
        // `SELECT DISTINCT timestamp AS of …`: a keyword is no table's name
        if !is_name(&tokens[name].token) {
            return None;
        }
        let mut next = at;
        if is_word(&tokens[next], "FOR") {
            next = following(tokens, next)?;
        }
        let time = if is_word(&tokens[next], "VERSION") || is_word(&tokens[next], "SYSTEM_VERSION") {
            false
        } else if is_word(&tokens[next], "TIMESTAMP") || is_word(&tokens[next], "SYSTEM_TIME") {
            true
        } else {
            return None;
        };
        for word in ["AS", "OF"] {
            next = following(tokens, next)?;
            if !is_word(&tokens[next], word) {
                return None;
            }
        }
        let operand = following(tokens, next)?;
        // otherwise `of` was an alias: `SELECT t.a timestamp AS of FROM …`
        match &tokens[operand].token {
            Token::Number(..) | Token::SingleQuotedString(_) | Token::LParen | Token::Minus => {}
            Token::Word(word) if is_name(&Token::Word(word.clone())) => {}
            _ => return None,
        }
        Some(Self { name, operand, time })
    }

    /// The operand and where it ends.
    fn operand(&self, tokens: &[TokenWithSpan]) -> Result<(AsOf, usize)> {
        if self.time {
            let mut parser = Parser::new(&GenericDialect).with_tokens_with_locations(tokens[self.operand..].to_vec());
            let expr = parser.parse_expr().map_err(|e| wrong("the time in AS OF can't be read").caused_by(e))?;
            return Ok((AsOf::Time(Box::new(expr)), self.operand + parser.index()));
        }
        let as_of = match &tokens[self.operand].token {
            Token::Number(digits, _) => digits.parse().map(AsOf::Snapshot).ok(),
            Token::SingleQuotedString(text) => {
                Some(text.parse().map_or_else(|_| AsOf::Reference(text.clone()), AsOf::Snapshot))
            }
            _ => None,
        };
        as_of.map(|as_of| (as_of, self.operand + 1)).ok_or_else(|| wrong("VERSION AS OF wants a snapshot id"))
    }
}

fn wrong(what: &str) -> Error {
    Error::config(what).fix(
        "Write t VERSION AS OF 4711, t VERSION AS OF 'tag' or t TIMESTAMP AS OF '2026-01-31 12:00:00'; \
         the ids are in t.snapshots",
    )
}

fn significant(token: &TokenWithSpan) -> bool {
    !matches!(token.token, Token::Whitespace(_))
}

fn following(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    (at + 1..tokens.len()).find(|&i| significant(&tokens[i]))
}

fn is_word(token: &TokenWithSpan, text: &str) -> bool {
    matches!(&token.token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}

/// A word that can be a name: quoted, or none of those that stand before or after an expression.
fn is_name(token: &Token) -> bool {
    const NONE: [&str; 24] = [
        "SELECT",
        "DISTINCT",
        "ALL",
        "FROM",
        "WHERE",
        "GROUP",
        "ORDER",
        "HAVING",
        "LIMIT",
        "UNION",
        "EXCEPT",
        "INTERSECT",
        "INTO",
        "JOIN",
        "ON",
        "AS",
        "AND",
        "OR",
        "NOT",
        "WHEN",
        "THEN",
        "ELSE",
        "WINDOW",
        "BY",
    ];
    match token {
        Token::Word(word) => {
            word.quote_style.is_some() || !NONE.iter().any(|none| word.value.eq_ignore_ascii_case(none))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    fn taken(sql: &str) -> (String, Vec<AsOf>) {
        let tokens = Tokenizer::new(&GenericDialect, sql).tokenize_with_location().unwrap();
        let (tokens, clauses) = take_clauses(tokens).unwrap();
        (tokens.iter().map(|t| t.token.to_string()).collect(), clauses)
    }

    #[test]
    fn every_form_of_a_version() {
        for sql in [
            "SELECT * FROM a.t VERSION AS OF 42 AS x",
            "SELECT * FROM a.t FOR VERSION AS OF 42 AS x",
            "SELECT * FROM a.t for system_version as of 42 AS x",
            "SELECT * FROM a.T VERSION AS OF '42' AS x",
        ] {
            let (rest, clauses) = taken(sql);
            assert_eq!(rest, "SELECT * FROM a.\"t$as_of_clause_0\"  AS x", "{sql}");
            assert_eq!(clauses, [AsOf::Snapshot(42)], "{sql}");
        }
        assert_eq!(taken("SELECT * FROM t VERSION AS OF 'eod'").1, [AsOf::Reference("eod".into())]);
    }

    #[test]
    fn times_are_expressions_and_end_where_they_end() {
        let (rest, clauses) = taken(
            "SELECT * FROM t TIMESTAMP AS OF NOW() - INTERVAL '1 hour' x JOIN u FOR SYSTEM_TIME AS OF '2026-01-31' ON x.a = u.a",
        );
        assert_eq!(rest, "SELECT * FROM \"t$as_of_clause_0\"  x JOIN \"u$as_of_clause_1\"  ON x.a = u.a");
        let said: Vec<_> = clauses
            .iter()
            .map(|c| match c {
                AsOf::Time(e) => e.to_string(),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(said, ["NOW() - INTERVAL '1 hour'", "'2026-01-31'"]);
    }

    #[test]
    fn columns_of_these_names_are_left_alone() {
        for sql in [
            "SELECT timestamp AS of FROM t",
            "SELECT DISTINCT timestamp AS of, version AS of FROM t",
            "SELECT 'x VERSION AS OF 5' FROM t -- t VERSION AS OF 6",
            "SELECT a timestamp FROM t",
        ] {
            let (rest, clauses) = taken(sql);
            assert_eq!(clauses, [], "{sql}");
            assert_eq!(rest.trim_end(), sql.trim_end());
        }
    }

    #[test]
    fn a_version_is_an_id() {
        let tokens = Tokenizer::new(&GenericDialect, "SELECT * FROM t VERSION AS OF 1.5").tokenize_with_location();
        assert!(take_clauses(tokens.unwrap()).is_err());
    }
}
