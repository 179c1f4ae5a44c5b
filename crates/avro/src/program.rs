//! What to do with the bytes of one writer for the columns of one reader, settled once per pair of schemas.
//!
//! A program is a list of instructions for each record of the writer, in the order of the writer's fields, for this is
//! the order of the bytes; each names the column its value goes to. An instruction that has parts of its own refers to
//! a plan, by index. So instructions are small and are copied, plans are shared where a pair of types meets more than
//! once, and there is no pointer to chase for a flat record.
//!
//! Invariants: (1) an instruction's slot is of the kind that it writes; (2) a plan refers to plans made before it
//! only, so instructions are a tree no deeper than the reader's columns; (3) carrying out an instruction appends
//! exactly one value to its column, and to all beneath it as the column's shape asks.

mod resolve;

use crate::error::SchemaError;
use crate::reader::{ColumnId, Reader};
use crate::schema::{NodeId, Schema};
use crate::store::Slot;

/// A writer's schema resolved to a reader's, by the rules of the Avro specification.
///
/// - Fields meet by name, else by an alias of the reader's; the names of records and the writer's aliases do not
///   matter. A writer's field that nobody wants is checked and dropped, a reader's field that nobody wrote takes its
///   default.
/// - int → long, float, double; long → float, double; float → double; string ↔ bytes (UTF-8 required).
/// - Enums and fixeds meet by name without namespace, or by the reader's alias; a symbol the reader lacks becomes its
///   default.
/// - A value meets the branch of the reader's union that has its name or type, else the first branch that it is
///   promoted to.
/// - Two logical types meet only if they are the same: a timestamp in milliseconds is never taken for microseconds.
/// - Entries of a map stay as they were written and in their order, also where a key comes twice.
///
/// What cannot resolve for some values only (a branch of the writer's union, a symbol) fails for the records that have
/// them.
#[derive(Debug)]
pub struct Program {
    pub(crate) reader: Reader,
    pub(crate) writer: Schema,
    pub(crate) root: RecordPlan,
    pub(crate) records: Vec<RecordPlan>,
    pub(crate) lists: Vec<ListPlan>,
    pub(crate) maps: Vec<MapPlan>,
    pub(crate) unions: Vec<UnionPlan>,
    pub(crate) members: Vec<MemberPlan>,
    pub(crate) enums: Vec<EnumPlan>,
    /// Why a value can never be resolved.
    pub(crate) reasons: Vec<String>,
}

impl Program {
    /// Resolves a writer's schema to a reader's.
    ///
    /// # Errors
    /// A writer that is no record, and one that no record of could resolve: a type that is not the reader's nor
    /// promoted to it, a field without a default that the writer does not have.
    pub fn compile(writer: &Schema, reader: &Reader) -> Result<Self, SchemaError> {
        resolve::resolve(writer, reader)
    }
}

/// Index of a plan among those of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlanId(u32);

impl PlanId {
    #[inline(always)]
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// One value of the writer and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// Read by the letter and dropped.
    Skip(NodeId),
    /// No bytes; the column gets a null.
    Null(ColumnId),
    Boolean(Slot),
    Int(Slot),
    IntToLong(Slot),
    IntToFloat(Slot),
    IntToDouble(Slot),
    Long(Slot),
    LongToFloat(Slot),
    LongToDouble(Slot),
    Float(Slot),
    FloatToDouble(Slot),
    Double(Slot),
    /// The writer's string, which is UTF-8 though the reader may say bytes.
    Text(Slot),
    Bytes(Slot),
    /// The writer's bytes, which must be UTF-8 for the reader's string.
    BytesToText(Slot),
    Fixed(Slot, u32),
    /// With its precision.
    DecimalOfBytes(Slot, u8),
    DecimalOfFixed(Slot, u32, u8),
    Enum(PlanId),
    Record(PlanId),
    List(PlanId),
    Map(PlanId),
    /// A union of the writer: the branch decides.
    Union(PlanId),
    /// A union of the reader: one member of it.
    Member(PlanId),
    /// No value that the reader has a place for.
    Never(PlanId),
}

#[derive(Debug, Default)]
pub(crate) struct RecordPlan {
    /// Of the struct; the record itself has none.
    pub(crate) slot: Option<Slot>,
    /// One for each of the writer's fields, in their order.
    pub(crate) ops: Box<[Op]>,
    /// Their names, for errors.
    pub(crate) names: Box<[String]>,
    /// Columns that nobody wrote: they take their defaults.
    pub(crate) missing: Box<[ColumnId]>,
}

#[derive(Debug)]
pub(crate) struct ListPlan {
    pub(crate) slot: Slot,
    pub(crate) item: Op,
    /// Bytes that an item takes in its column, texts apart.
    pub(crate) cost: usize,
}

#[derive(Debug)]
pub(crate) struct MapPlan {
    pub(crate) slot: Slot,
    pub(crate) keys: Slot,
    pub(crate) value: Op,
    /// Bytes that an entry takes in its columns, texts apart.
    pub(crate) cost: usize,
}

#[derive(Debug)]
pub(crate) struct UnionPlan {
    /// One for each branch of the writer.
    pub(crate) branches: Box<[Op]>,
}

#[derive(Debug)]
pub(crate) struct MemberPlan {
    pub(crate) slot: Slot,
    pub(crate) member: Op,
    /// The members that are null then.
    pub(crate) others: Box<[ColumnId]>,
}

#[derive(Debug)]
pub(crate) struct EnumPlan {
    pub(crate) slot: Slot,
    /// For each of the writer's symbols what the reader makes of it.
    pub(crate) symbols: Box<[Symbol]>,
}

#[derive(Debug)]
pub(crate) enum Symbol {
    Becomes(Box<[u8]>),
    Unknown(String),
}
