//! Prints a schema that the files under `schemas/avro` compose into, to be frozen under a new id when it changes:
//! that of workflow events, or with the argument `config` that of configuration changes.

use std::path::Path;

use tidewheel_schemas::testing::compose;

fn main() -> std::io::Result<()> {
    let avro = Path::new(env!("CARGO_MANIFEST_DIR")).join("avro");
    let is_config = std::env::args().nth(1).is_some_and(|argument| argument == "config");
    print!("{}", if is_config { compose::config_change(&avro)? } else { compose::workflow_event(&avro)? });
    Ok(())
}
