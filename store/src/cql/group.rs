//! Which writes go into one request: those of one partition, as one batch, which is one mutation for the database
//! and so written and seen as a whole. Pure.

use std::collections::HashMap;

use super::cells::{BoundWrite, Nulls};
use super::statement::Statement;
use crate::encoding::key;
use crate::{Rows, Value, Write};

/// Most bytes of a batch that need not be whole.
const BATCH_BYTES: usize = 64 * 1024;
/// Most bytes of the batch of an entity; the databases' limit for a mutation is 16 MiB by default.
const ENTITY_BYTES: usize = 4 * 1024 * 1024;
/// Most statements of a batch; the protocol counts them in 16 bits.
const STATEMENTS_MAX: usize = 32 * 1024;
/// What a cell and a statement cost beside their values, roughly.
const CELL_BYTES: usize = 12;
/// What an item of a list counts for, in cells: its fields and its length.
const ITEM_CELLS: usize = 24;
const STATEMENT_BYTES: usize = 40;

/// Requests that are sent one after the other; each is one batch of one partition.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) batches: Vec<Vec<BoundWrite<'a>>>,
}

struct Open<'a> {
    writes: Vec<&'a Write>,
    bytes: usize,
}

/// The statements a write needs. With `known`, the writes are those of a source that keeps the promise of the
/// table's [`Rows`]; others (that mend rows, for one) may put anything over anything.
fn statements(write: &Write, known: bool) -> impl Iterator<Item = BoundWrite<'_>> {
    let is_static = write.key.clustering.is_none();
    let bound = |statement, timestamp_us, nulls| BoundWrite { statement, write, timestamp_us, nulls };
    let (first, second) = match (&write.columns, is_static) {
        (None, true) => (bound(Statement::DeleteStatic, write.timestamp_us, Nulls::Deleted), None),
        (None, false) => (bound(Statement::Delete, write.timestamp_us, Nulls::Deleted), None),
        (Some(_), true) => (bound(Statement::PutStatic, write.timestamp_us, Nulls::Deleted), None),
        (Some(columns), false) => {
            let put = bound(Statement::Put, write.timestamp_us, Nulls::Unset);
            let is_whole = !columns.contains(&Value::Null);
            let hides_nothing = known && write.table.rows != Rows::Current;
            // A put replaces the whole row. One deletion of the row just before hides older values under the nulls
            // and is one thing to keep and to read, where deleted cells would be as many as there are nulls.
            let hiding = (!is_whole && !hides_nothing)
                .then(|| bound(Statement::Delete, write.timestamp_us.saturating_sub(1), Nulls::Deleted));
            (put, hiding)
        }
    };
    [Some(first), second].into_iter().flatten()
}

fn cost(write: &Write) -> usize {
    let values = write.key.partition.iter().chain(write.key.clustering.iter().flatten());
    let values = values.chain(write.columns.iter().flatten());
    let cells = |value: &Value| match value {
        Value::List(items) => 1 + items.len() * ITEM_CELLS,
        _ => 1,
    };
    2 * STATEMENT_BYTES + values.map(|value| CELL_BYTES * cells(value) + value.bytes()).sum::<usize>()
}

/// Groups the writes of a stage. `whole` keeps all of a partition in one batch as far as a batch may go; its static
/// row comes last, so that a reader of a batch that had to be cut finds parts ahead of the header, never behind.
pub(super) fn groups(writes: &[Write], whole: bool, known: bool) -> Vec<Group<'_>> {
    let bytes_max = if whole { ENTITY_BYTES } else { BATCH_BYTES };
    let mut groups = Vec::new();
    let mut open: HashMap<(u16, Vec<u8>), Open<'_>> = HashMap::with_capacity(writes.len());
    for write in writes {
        let mut partition = Vec::new();
        key::push_partition(&mut partition, &write.key.partition);
        let open = open
            .entry((write.table.number, partition))
            .or_insert_with(|| Open { writes: Vec::new(), bytes: 0 });
        let bytes = cost(write);
        let is_full = open.bytes + bytes > bytes_max || 2 * open.writes.len() + 2 > STATEMENTS_MAX;
        if !whole && is_full && !open.writes.is_empty() {
            groups.push(Group { batches: vec![bound(std::mem::take(&mut open.writes), known)] });
            open.bytes = 0;
        }
        open.writes.push(write);
        open.bytes += bytes;
    }
    for (_, open) in open {
        let batches = if whole { cut(open, bytes_max, known) } else { vec![bound(open.writes, known)] };
        groups.push(Group { batches });
    }
    groups
}

fn bound(writes: Vec<&Write>, known: bool) -> Vec<BoundWrite<'_>> {
    writes.into_iter().flat_map(|write| statements(write, known)).collect()
}

fn cut<'a>(open: Open<'a>, bytes_max: usize, known: bool) -> Vec<Vec<BoundWrite<'a>>> {
    let Open { mut writes, bytes } = open;
    if bytes <= bytes_max && 2 * writes.len() <= STATEMENTS_MAX {
        return vec![bound(writes, known)];
    }
    // Stable: what is not a static row keeps its order.
    writes.sort_by_key(|write| write.key.clustering.is_none());
    let (mut batches, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
    for write in writes {
        let cost = cost(write);
        if !batch.is_empty() && (bytes + cost > bytes_max || 2 * batch.len() + 2 > STATEMENTS_MAX) {
            batches.push(bound(std::mem::take(&mut batch), known));
            bytes = 0;
        }
        batch.push(write);
        bytes += cost;
    }
    batches.push(bound(batch, known));
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::tables::{PLAIN, entry, header, part};
    use crate::{RowKey, TableSchema};

    fn statements_of(write: &Write, known: bool) -> Vec<(Statement, i64, Nulls)> {
        let bound = |bound: BoundWrite<'_>| (bound.statement, bound.timestamp_us, bound.nulls);
        statements(write, known).map(bound).collect()
    }

    #[test]
    fn a_partition_is_one_batch_and_others_are_others() {
        let writes = [
            part(1, 0, 8, Some("a")),
            header(2, 8, Some(1)),
            header(1, 8, Some(1)),
            part(1, 1, 8, None),
            entry("a", 1, 1, "n", 8, true),
        ];
        let mut sizes: Vec<_> = groups(&writes, true, true)
            .iter()
            .map(|group| group.batches.iter().map(Vec::len).collect::<Vec<_>>())
            .collect();
        sizes.sort();
        assert_eq!(sizes, [vec![1], vec![1], vec![3]]);
    }

    #[test]
    fn nulls_hide_older_values_where_there_may_be_some() {
        static FINAL: TableSchema = TableSchema { rows: Rows::Final, ..PLAIN };
        let put = |table, columns: Vec<Value>| Write {
            table,
            key: RowKey { partition: vec![Value::Uuid([1; 16])], clustering: Some(vec![]) },
            timestamp_us: 16,
            columns: Some(columns),
        };
        let some = vec![Value::Bool(true), Value::Null, Value::Null, Value::Null, Value::Null];
        let plain = [(Statement::Put, 16, Nulls::Unset)];
        let hiding = [plain[0], (Statement::Delete, 15, Nulls::Deleted)];
        assert_eq!(statements_of(&put(&PLAIN, some.clone()), true), hiding);
        assert_eq!(statements_of(&put(&FINAL, some.clone()), true), plain);
        assert_eq!(statements_of(&put(&FINAL, some), false), hiding);
        assert_eq!(statements_of(&part(1, 1, 16, Some("a")), false), plain);
        assert_eq!(
            statements_of(&header(1, 16, Some(1)), true),
            [(Statement::PutStatic, 16, Nulls::Deleted)]
        );
    }

    #[test]
    fn large_batches_are_cut_and_the_header_of_an_entity_comes_last() {
        let large = "x".repeat(900 * 1024);
        let mut writes = vec![header(1, 8, Some(1))];
        writes.extend((0..9).map(|slot| part(1, slot, 8, Some(&large))));
        let whole = groups(&writes, true, true);
        assert_eq!(whole.len(), 1);
        let sizes: Vec<_> = whole[0].batches.iter().map(Vec::len).collect();
        assert_eq!(sizes, [4, 4, 2]);
        let last = whole[0].batches.last().and_then(|batch| batch.last());
        assert_eq!(last.map(|bound| bound.statement), Some(Statement::PutStatic));
        let loose = groups(&writes[1..], false, true);
        assert_eq!(loose.len(), 9);
    }
}
