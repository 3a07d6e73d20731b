//! Prints the schema that the files under `schemas/avro` compose into, to be frozen under a new id when it changes.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let avro = Path::new(env!("CARGO_MANIFEST_DIR")).join("avro");
    print!("{}", tidewheel_schemas::testing::compose::workflow_event(&avro)?);
    Ok(())
}
