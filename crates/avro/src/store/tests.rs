#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;

/// Every way to cut a column of values and nulls, and to go on from there.
#[test]
fn what_is_cut_leaves_no_trace() {
    let nulls_at = |index: usize| index.is_multiple_of(3) || index == 8;
    for full in 0..40 {
        for kept in 0..=full {
            let (mut cut, mut clean) = (Plain::<i32>::default(), Plain::<i32>::default());
            let fill = |column: &mut Plain<i32>, from: usize, to: usize, nulls: &dyn Fn(usize) -> bool| {
                for index in from..to {
                    if nulls(index) { column.blank(true) } else { column.push(i32::try_from(index).unwrap()) }
                }
            };
            fill(&mut cut, 0, full, &nulls_at);
            cut.truncate(kept);
            fill(&mut clean, 0, kept, &nulls_at);
            // what comes next is not null where the cut values were
            fill(&mut cut, kept, kept + 9, &|_| false);
            fill(&mut clean, kept, kept + 9, &|_| false);
            let (cut, clean) = (cut.take(), clean.take());
            assert_eq!(cut.0, clean.0);
            let bits = |nulls: Option<arrow_buffer::NullBuffer>| {
                nulls.map_or_else(|| vec![true; kept + 9], |nulls| nulls.iter().collect::<Vec<_>>())
            };
            assert_eq!(bits(cut.1), bits(clean.1), "{kept} of {full}");
        }
    }
}

#[test]
fn a_column_without_nulls_has_no_mask() {
    let mut column = Plain::<i64>::default();
    column.push(1);
    assert_eq!(column.take(), (vec![1], None));
    column.blank(true);
    column.push(2);
    let (values, nulls) = column.take();
    assert_eq!((values.len(), nulls.unwrap().null_count()), (2, 1));
}

#[test]
fn cut_bytes_end_where_the_last_value_ends() {
    let mut column = Bytes::default();
    for value in [b"one".as_slice(), b"", b"three"] {
        column.push(value).unwrap();
    }
    column.blank(true);
    column.truncate(1);
    column.push(b"four").unwrap();
    let (offsets, bytes, nulls) = column.take();
    assert_eq!((offsets.to_vec(), bytes, nulls.map_or(0, |n| n.null_count())), (vec![0, 3, 7], b"onefour".to_vec(), 0));
}

#[test]
fn memory_of_a_huge_row_is_given_back() {
    let mut column = Bytes::default();
    column.push(b"small").unwrap();
    column.push(&vec![7; 1 << 20]).unwrap();
    column.truncate(1);
    assert!(column.memory() < 64 << 10, "{} bytes", column.memory());
}

#[test]
fn values_without_a_size_are_counted() {
    let mut column = Fixeds::new(0);
    column.push(b"").unwrap();
    column.blank(true).unwrap();
    let (bytes, nulls) = column.take();
    let nulls = nulls.unwrap();
    assert_eq!((bytes.len(), nulls.len(), nulls.null_count()), (0, 2, 1));
    column.push(b"").unwrap();
    assert_eq!(column.take().1.unwrap().len(), 1);
}
