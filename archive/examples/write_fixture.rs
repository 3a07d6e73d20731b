//! Writes the archive that tests/it/frozen.rs reads, into the folder given. Done once for each format; see fixtures/.

#[path = "../tests/it/common.rs"]
mod common;

use tidewheel_archive::Archive;

#[tokio::main]
async fn main() {
    let folder = std::env::args().nth(1).expect("a folder");
    let archive = Archive::open(&format!("file://{folder}")).expect("a folder that can be written");
    let log = common::log_of([120, 30], 1).await;
    let sealed = common::sealed(&log, &archive).await.expect("the export ends well");
    println!("{sealed:?}");
    let (_, archive) = common::in_memory();
    assert!(
        common::sealed(&log, &archive).await.is_ok()
            && common::all(&*log, &common::place(0)).await.len() == 120
    );
    assert!(!common::record(1).value.is_empty());
}
