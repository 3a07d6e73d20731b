//! Why a store operation failed: what happened, to which table, what to do.

/// A failed store operation.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The generation or table was not created.
    #[error("table {table} of generation {generation} does not exist; create the generation's tables first")]
    UnknownTable {
        /// The table.
        table: &'static str,
        /// The generation.
        generation: u32,
    },
    /// A key or row that does not fit its table's declaration; the store refuses it for good.
    #[error("row for table {table} refused: {what}")]
    Refused {
        /// The table.
        table: &'static str,
        /// What does not fit.
        what: String,
    },
    /// A cursor that this store did not make.
    #[error("the cursor is not one of table {table}: {what}")]
    BadCursor {
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// A stored row that cannot be read.
    #[error("a stored row of table {table} cannot be read: {what}; rebuild the view from the log")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The store's files cannot be read back.
    #[error("the store in {path} is damaged: {what}; delete that folder, it is rebuilt from the log")]
    Damaged {
        /// The folder.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The store is open in another process.
    #[error("the store in {path} is open in another process; stop that one first")]
    Locked {
        /// The folder.
        path: String,
    },
    /// The database refused the user or the password.
    #[error("the database refuses user {user} ({reason}); correct the user and password of the store")]
    Credentials {
        /// The user; never the password.
        user: String,
        /// The database's words.
        reason: String,
    },
    /// No node lies in the datacenter named.
    #[error(
        "the database has no node in a datacenter named {datacenter}, but in {found}; correct the datacenter of the store"
    )]
    UnknownDatacenter {
        /// The name given.
        datacenter: String,
        /// Those that there are.
        found: String,
    },
    /// The user lacks a permission.
    #[error("the database does not permit this ({reason}); an administrator must run: {grant}")]
    Forbidden {
        /// The database's words.
        reason: String,
        /// The statement that permits it.
        grant: String,
    },
    /// The keyspace is not there.
    #[error("keyspace {keyspace} does not exist; an administrator must run: {create}")]
    NoKeyspace {
        /// The keyspace.
        keyspace: String,
        /// The statement that creates it.
        create: String,
    },
    /// The keyspace is not replicated as the views need it.
    #[error("keyspace {keyspace} is replicated as {found}; an administrator must run: {alter}")]
    Keyspace {
        /// The keyspace.
        keyspace: String,
        /// How it is replicated.
        found: String,
        /// The statement that mends it.
        alter: String,
    },
    /// A setting of the store cannot be used.
    #[error("the store's setting `{setting}` cannot be used: {what}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// An earlier write failed and the store takes no more; trying again does not help.
    #[error("the store has failed: {0}")]
    Failed(String),
    /// The store cannot serve now; the operation may be tried again.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
}
