//! `tidewheel schemas`: the schemas of the log's records, as this build knows them. Servers serve them at `/schemas`.

mod export;
mod standalone;

use tidewheel_schemas::registry;

use crate::args::SchemasCommand;
use crate::failure::Failure;
use crate::output::{print, table};

/// Prints them.
pub fn run(command: &SchemasCommand) -> Result<(), Failure> {
    match command {
        SchemasCommand::List => {
            let row = |schema: &registry::ReleasedSchema| {
                vec![schema.id.to_string(), format!("{:?}", schema.family), schema.version.to_string()]
            };
            let rows: Vec<_> = registry::released().iter().map(row).collect();
            print(&table(&["id", "topics", "version"], &rows))?;
        }
        SchemasCommand::Show { id } => {
            let known: Vec<_> = registry::released().iter().map(|schema| schema.id.to_string()).collect();
            let unknown =
                || Failure::Usage(format!("there is no schema {id}; there are {}", known.join(", ")));
            print(registry::schema_text(*id).ok_or_else(unknown)?)?;
        }
        SchemasCommand::Export(arguments) => export::run(arguments)?,
    }
    Ok(())
}
