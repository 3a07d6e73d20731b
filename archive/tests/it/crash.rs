//! An export that ends between any two operations of the store leaves ranges that are whole, and is gone on with.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use proptest::prelude::*;
use tidewheel_archive::{Archive, Catalog, JoinedLog, verify};
use tokio::sync::Notify;

use crate::common::{all, log_of, place, sealed};

/// A store whose process ends after so many operations: the next one never returns.
#[derive(Debug)]
struct Ending {
    inner: Arc<InMemory>,
    left: AtomicI64,
    /// Whether the last operation still happens, unheard.
    happens: bool,
    ended: Arc<Notify>,
}

impl fmt::Display for Ending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ending")
    }
}

impl Ending {
    /// Whether this operation is the last; what comes after it never begins.
    async fn is_last(&self) -> bool {
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            1.. => false,
            0 => true,
            _ => pending().await,
        }
    }

    async fn end(&self) -> ! {
        self.ended.notify_one();
        pending().await
    }
}

#[async_trait]
impl ObjectStore for Ending {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if self.is_last().await {
            if self.happens {
                let _ = self.inner.put_opts(at, payload, options).await;
            }
            self.end().await
        }
        self.inner.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        if self.is_last().await {
            self.end().await
        }
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(&self, at: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        // Nothing that is sealed is ever deleted.
        at.map(|_| panic!("the archive deleted something")).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

async fn survives(records: [i64; 2], crashes: Vec<(i64, bool)>) {
    let log = log_of(records, 1).await;
    let inner = Arc::new(InMemory::new());
    let whole = Archive::on(Arc::clone(&inner) as Arc<dyn ObjectStore>, "memory://");
    for (after, happens) in crashes {
        let ended = Arc::new(Notify::new());
        let left = AtomicI64::new(after);
        let ending = Ending { inner: Arc::clone(&inner), left, happens, ended: Arc::clone(&ended) };
        let archive = Archive::on(Arc::new(ending), "ending://");
        tokio::select! {
            biased;
            () = ended.notified() => {}
            done = sealed(&log, &archive) => { done.unwrap(); }
        }
        // Whatever is to be seen is whole.
        for chain in Catalog::load(&whole, None).await.unwrap().chains {
            chain.covers(0, chain.to()).unwrap();
            let report = verify(&*log, &whole, &chain.place).await.unwrap();
            assert_eq!((report.sound_to, report.finding_count), (chain.to(), 0), "{report:?}");
            assert_eq!(report.compared, report.records);
        }
    }
    let done = sealed(&log, &whole).await.unwrap();
    for ((partition, records), done) in (0..).zip(records).zip(done) {
        assert_eq!((done.partition, done.to), (partition, records));
        let report = verify(&*log, &whole, &place(partition)).await.unwrap();
        assert_eq!((report.sound_to, report.finding_count), (records, 0));
        if records > 1 {
            // Without the log, the archive has all of it.
            let expected = all(&*log, &place(partition)).await;
            log.trim(&[(place(partition), records - 1)].into()).await.unwrap();
            let joined = JoinedLog::new(Arc::clone(&log), whole.clone());
            assert_eq!(all(&joined, &place(partition)).await, expected);
        }
    }
    assert!(sealed(&log, &whole).await.unwrap().iter().all(|done| done.ranges == 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn an_export_that_is_stopped_anywhere_is_gone_on_with_behind_the_last_whole_range(
        records in [0_i64..260, 0_i64..260],
        crashes in prop::collection::vec((0_i64..14, any::<bool>()), 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(survives(records, crashes));
    }
}

#[tokio::test]
async fn two_exports_at_once_seal_each_offset_once() {
    let log = log_of([700, 400], 1).await;
    let (_, archive) = crate::common::in_memory();
    let (first, second) = tokio::join!(sealed(&log, &archive), sealed(&log, &archive));
    for (partition, end) in [(0, 700), (1, 400)] {
        assert_eq!(first.as_ref().unwrap()[partition].to, end);
        assert_eq!(second.as_ref().unwrap()[partition].to, end);
    }
    let ranges: u64 = [first, second].into_iter().flatten().flatten().map(|done| done.ranges).sum();
    let catalog = Catalog::load(&archive, None).await.unwrap();
    assert_eq!(catalog.chains.iter().map(|chain| chain.ranges.len() as u64).sum::<u64>(), ranges);
    for chain in catalog.chains {
        chain.covers(0, chain.to()).unwrap();
    }
}
