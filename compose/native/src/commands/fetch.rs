//! `tidewheel-native fetch`.

use std::path::{Path, PathBuf};

use tidewheel_native::{Cassandra, Kafka};

use super::Failure;

#[derive(Debug, clap::Args)]
pub struct Fetch {
    /// Gets copies of the jars in `kafka` and `cassandra`, with settings, to make images of.
    #[arg(long)]
    folder: Option<PathBuf>,
}

impl Fetch {
    pub fn run(&self) -> Result<(), Failure> {
        let toolchain = tidewheel_native::available()?;
        match &self.folder {
            Some(folder) => {
                Kafka::copy_jars(&toolchain, &folder.join("kafka"))?;
                Cassandra::copy_jars(&toolchain, &folder.join("cassandra"), Path::new("/var/lib/cassandra"))?;
            }
            None => {
                Kafka::fetch(&toolchain)?;
                Cassandra::fetch(&toolchain)?;
            }
        }
        Ok(())
    }
}
