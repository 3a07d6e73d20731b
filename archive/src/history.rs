//! Sealed ranges read back. A file is believed only when its size and checksum are those of its manifest.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tidewheel_schemas::Record;

use crate::container::{Malformed, Reader};
use crate::error::ArchiveError;
use crate::location::Archive;
use crate::manifest::{Manifest, checksum};

/// Files kept open for who reads on, or reads another record of the same range.
const OPEN_MAX: usize = 6;
/// Keys and values returned by one read, as long as there is more than one record.
pub(crate) const READ_BYTES_MAX: usize = 4 << 20;

impl Archive {
    /// Opens the file of a range at its first record.
    pub(crate) async fn open_range(&self, range: &Manifest) -> Result<Reader, ArchiveError> {
        let object = || format!("{self}/{}", range.file_name());
        let damaged = |what: String| ArchiveError::Damaged { object: object(), what };
        let file = self.read(&range.file_name()).await?;
        let file = file.ok_or_else(|| damaged("it is missing".to_owned()))?;
        if file.len() as u64 != range.bytes {
            return Err(damaged(format!("it has {} bytes, its manifest says {}", file.len(), range.bytes)));
        }
        if checksum(&file) != range.sha256 {
            return Err(damaged("its checksum is not the one in its manifest".to_owned()));
        }
        Reader::open(file, range.from).map_err(|Malformed(what)| damaged(what))
    }

    /// The error of a file that cannot be read on.
    pub(crate) fn damaged(&self, range: &Manifest, Malformed(what): Malformed) -> ArchiveError {
        ArchiveError::Damaged { object: format!("{self}/{}", range.file_name()), what }
    }
}

/// Reads records of an archive by their offsets and keeps the files it used last.
#[derive(Debug)]
pub(crate) struct Files {
    archive: Archive,
    open: Mutex<VecDeque<(Arc<str>, Reader)>>,
}

impl Files {
    pub fn new(archive: Archive) -> Self {
        Self { archive, open: Mutex::default() }
    }

    pub const fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Up to `records_max` records of `range` from `offset` on, which lies in it; at least one.
    pub async fn read(
        &self,
        range: &Manifest,
        offset: i64,
        records_max: usize,
    ) -> Result<Vec<Record>, ArchiveError> {
        let name: Arc<str> = range.file_name().into();
        // Who reads a page finds the reader where the last page ended.
        let mut reader = match self.take(&name, offset) {
            Some(reader) => reader,
            None => self.archive.open_range(range).await?,
        };
        let damaged = |malformed| self.archive.damaged(range, malformed);
        reader.skip_to(offset).map_err(damaged)?;
        let records = reader.read(records_max.max(1), READ_BYTES_MAX).map_err(damaged)?;
        if records.is_empty() {
            return Err(damaged(Malformed(format!("it ends before offset {offset}"))));
        }
        self.keep(name, reader);
        Ok(records)
    }

    /// A reader of the file that stands at or before `offset`. It stays, for others.
    fn take(&self, name: &str, offset: i64) -> Option<Reader> {
        let open = self.open.lock();
        let of_file = open.iter().filter(|(open, reader)| **open == *name && reader.next_offset() <= offset);
        of_file.max_by_key(|(_, reader)| reader.next_offset()).map(|(_, reader)| reader.clone())
    }

    fn keep(&self, name: Arc<str>, reader: Reader) {
        let mut open = self.open.lock();
        // Readers of one file share its bytes; of each the first place and the latest one are kept.
        while open.len() >= OPEN_MAX {
            open.pop_front();
        }
        open.push_back((name, reader));
    }
}
