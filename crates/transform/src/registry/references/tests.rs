#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;
use serde_json::json;

fn spliced(whole: Value, others: &[Value]) -> Value {
    let others: Vec<String> = others.iter().map(Value::to_string).collect();
    serde_json::from_str(&splice(&whole.to_string(), &others).unwrap()).unwrap()
}

#[test]
fn a_type_is_written_in_where_it_is_used_first_and_named_after() {
    let inner = json!({"type": "record", "name": "Inner", "namespace": "n", "fields": [{"name": "x", "type": "int"}]});
    let outer = json!({"type": "record", "name": "Outer", "namespace": "o", "fields": [
        {"name": "a", "type": ["null", "n.Inner"], "default": null},
        {"name": "b", "type": {"type": "array", "items": "n.Inner"}},
        {"name": "c", "type": {"type": "map", "values": {"type": "n.Inner"}}},
        {"name": "d", "type": "string", "default": "n.Inner"},
    ]});
    let want = json!({"type": "record", "name": "Outer", "namespace": "o", "fields": [
        {"name": "a", "type": ["null", inner], "default": null},
        {"name": "b", "type": {"type": "array", "items": "n.Inner"}},
        {"name": "c", "type": {"type": "map", "values": {"type": "n.Inner"}}},
        {"name": "d", "type": "string", "default": "n.Inner"},
    ]});
    assert_eq!(spliced(outer, &[inner]), want);
}

#[test]
fn names_are_resolved_in_the_namespace_around_them() {
    let inner = json!({"type": "enum", "name": "n.E", "symbols": ["A"]});
    let outer = json!({"type": "record", "name": "n.Outer", "fields": [{"name": "a", "type": "E"}, {"name": "b", "type": {"type": "E"}}]});
    let want = json!({"type": "record", "name": "Outer", "namespace": "n", "fields": [
        {"name": "a", "type": {"type": "enum", "name": "E", "namespace": "n", "symbols": ["A"]}},
        {"name": "b", "type": {"type": "n.E"}},
    ]});
    assert_eq!(spliced(outer, &[inner]), want);
}

#[test]
fn a_definition_keeps_its_namespace_wherever_it_is_written() {
    // Plain has no namespace, and must not take that of Outer; Deep takes that of Middle, in which it stands
    let plain = json!({"type": "fixed", "name": "Plain", "size": 2});
    let middle = json!({"type": "record", "name": "m.Middle", "fields": [
        {"name": "deep", "type": {"type": "record", "name": "Deep", "fields": []}}]});
    let outer = json!({"type": "record", "name": "Outer", "namespace": "o", "fields": [
        {"name": "a", "type": "Plain"}, {"name": "b", "type": "m.Deep"}, {"name": "c", "type": "m.Middle"}]});
    let want = json!({"type": "record", "name": "Outer", "namespace": "o", "fields": [
        {"name": "a", "type": {"type": "fixed", "name": "Plain", "namespace": "", "size": 2}},
        {"name": "b", "type": {"type": "record", "name": "Deep", "namespace": "m", "fields": []}},
        {"name": "c", "type": {"type": "record", "name": "Middle", "namespace": "m", "fields": [
            {"name": "deep", "type": "m.Deep"}]}},
    ]});
    assert_eq!(spliced(outer, &[plain, middle]), want);
}

#[test]
fn references_of_references_and_of_themselves() {
    let list = json!({"type": "record", "name": "n.List", "fields": [{"name": "next", "type": ["null", "List"]}, {"name": "v", "type": "n.Value"}]});
    let value = json!({"type": "record", "name": "n.Value", "fields": [{"name": "l", "type": ["null", "n.List"]}]});
    let outer = json!({"type": "record", "name": "n.Outer", "fields": [{"name": "l", "type": "List"}]});
    let got = spliced(outer, &[list, value]);
    let list = &got["fields"][0]["type"];
    assert_eq!(list["fields"][0]["type"], json!(["null", "n.List"]));
    assert_eq!(list["fields"][1]["type"]["fields"][0]["type"], json!(["null", "n.List"]));
}

#[test]
fn what_is_broken_or_too_deep_says_so() {
    assert!(splice("{", &[]).unwrap_err().contains("no Avro schema"));
    assert!(splice("\"a\"", &["{".into()]).unwrap_err().contains("broken"));
    let chain: Vec<String> = (0..200)
        .map(|n| {
            let next = format!("T{}", n + 1);
            json!({"type": "record", "name": format!("T{n}"), "fields": [{"name": "x", "type": next}]}).to_string()
        })
        .collect();
    assert!(splice("\"T0\"", &chain).unwrap_err().contains("deeper"));
}
