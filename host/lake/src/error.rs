//! What can go wrong in the lake.

/// An error of the lake. None of them loses a row: what could not be written is tried again or read again.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// `lake.url` cannot be used.
    #[error("lake.url {url}: {detail}; give a file: URL or one of an object store, for example s3://bucket/lake")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A table cannot be read or committed.
    #[error("lake table {table}: {source}")]
    Table {
        /// The table's path below the lake.
        table: String,
        /// Why.
        #[source]
        source: Box<deltalake_core::DeltaTableError>,
    },
    /// Rows cannot be made into Parquet: a mistake of the program or a column type that nobody foresaw.
    #[error("lake table {table}: rows cannot be written as Parquet: {detail}")]
    Encode {
        /// The table's path below the lake.
        table: String,
        /// Why.
        detail: String,
    },
    /// A file or folder of the lake cannot be written or read.
    #[error("lake: {what}: {detail}")]
    Store {
        /// What was done, with the path.
        what: String,
        /// Why it failed.
        detail: String,
    },
    /// Another process committed to the table again and again in between.
    #[error("lake table {table}: {attempts} commits in a row met a commit of somebody else; it is tried again")]
    Contended {
        /// The table's path below the lake.
        table: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The bus refused.
    #[error(transparent)]
    Bus(#[from] tidemill_bus::BusError),
    /// A thread or runtime cannot be started.
    #[error("the lake cannot start: {0}")]
    Start(#[from] std::io::Error),
}

impl LakeError {
    pub(crate) fn table(table: &str, source: impl Into<deltalake_core::DeltaTableError>) -> Self {
        Self::Table { table: table.to_owned(), source: Box::new(source.into()) }
    }

    pub(crate) fn encode(table: &str, detail: impl std::fmt::Display) -> Self {
        Self::Encode { table: table.to_owned(), detail: detail.to_string() }
    }

    pub(crate) fn silent(table: &str, limit: std::time::Duration) -> Self {
        Self::store(format!("use table {table}"), format_args!("no answer within {} s", limit.as_secs()))
    }

    pub(crate) fn store(what: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        Self::Store { what: what.into(), detail: detail.to_string() }
    }
}
