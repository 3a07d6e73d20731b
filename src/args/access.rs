//! Words for access tokens and namespaces on the command line. What the commands do is in `commands`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tidewheel::config::{Layer, Sources};
use tidewheel_api::Role;
use tidewheel_schemas::{Name, TokenId};

use super::ServerArguments;

/// Commands about access tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Create a token and print it, once.
    Create(CreateTokenArguments),
    /// List tokens, revoked ones among them.
    List(ListTokensArguments),
    /// Give a token a new secret and print it, once; the one before stays valid for a while.
    Rotate(RotateTokenArguments),
    /// Revoke a token, for ever; what it keeps open is closed.
    Revoke(RevokeTokenArguments),
    /// Create the first admin token of an installation by writing to its log, without a server; needs the configuration
    /// file of the nodes. On an embedded log the node must be stopped.
    Bootstrap(BootstrapArguments),
}

/// A token to create.
#[derive(Debug, Clone, Args)]
pub struct CreateTokenArguments {
    /// What people call it.
    pub name: Name,
    /// What it may do: `producer`, `operator`, `reader`, `runner`, `admin`; may be repeated.
    #[arg(long = "role", required = true, value_name = "ROLE")]
    pub roles: Vec<Role>,
    /// A namespace it is for, may be repeated; every namespace without.
    #[arg(long = "in", value_name = "NAMESPACE")]
    pub namespaces: Vec<Name>,
    #[command(flatten)]
    pub server: ServerArguments,
}

/// Which tokens to list.
#[derive(Debug, Clone, Args)]
pub struct ListTokensArguments {
    /// Most tokens to show.
    #[arg(long, default_value_t = 100)]
    pub limit: u32,
    /// Go on where an earlier list ended.
    #[arg(long)]
    pub cursor: Option<String>,
    #[command(flatten)]
    pub server: ServerArguments,
}

/// A token to rotate.
#[derive(Debug, Clone, Args)]
pub struct RotateTokenArguments {
    /// The token's id.
    pub token_id: TokenId,
    /// Seconds for which the secret before stays valid [default: a day].
    #[arg(long, value_name = "SECONDS")]
    pub overlap_s: Option<u32>,
    #[command(flatten)]
    pub server: ServerArguments,
}

/// A token to revoke.
#[derive(Debug, Clone, Args)]
pub struct RevokeTokenArguments {
    /// The token's id.
    pub token_id: TokenId,
    /// Why, for whoever reads the list.
    #[arg(long)]
    pub reason: Option<String>,
    #[command(flatten)]
    pub server: ServerArguments,
}

/// The first token.
#[derive(Debug, Clone, Args)]
pub struct BootstrapArguments {
    /// What people call it.
    #[arg(default_value = "root")]
    pub name: Name,
    /// Configuration file of the nodes; without it `tidewheel.toml` is read if it exists.
    #[arg(long, env = "TIDEWHEEL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A datacenter of a cluster, any of them: the token holds in all [default: the one configured].
    #[arg(long, value_name = "NAME")]
    pub datacenter: Option<String>,
    /// Folder of an embedded log [default: .tidewheel].
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
}

impl BootstrapArguments {
    /// The layers these flags lie on top of.
    pub fn sources(&self) -> Sources {
        let folder = self.data_dir.as_ref().map(|folder| folder.to_string_lossy().into_owned());
        let flags = Layer::new("the command line")
            .with("datacenter", self.datacenter.clone())
            .with("data_dir", folder);
        Sources { file: self.config.clone(), flags, ..Sources::of_process() }
    }
}

/// Commands about namespaces.
#[derive(Debug, Subcommand)]
pub enum NamespaceCommand {
    /// Create a namespace.
    Create(CreateNamespaceArguments),
    /// List namespaces.
    List(ServerArguments),
}

/// A namespace to create.
#[derive(Debug, Clone, Args)]
pub struct CreateNamespaceArguments {
    /// Its name.
    pub name: Name,
    /// The datacenter its runs live in [default: that of the server].
    #[arg(long, value_name = "DATACENTER")]
    pub home: Option<Name>,
    #[command(flatten)]
    pub server: ServerArguments,
}

/// Where the token is that requests carry. It is never an argument, which other users of the machine could read.
#[derive(Debug, Clone, Default, Args)]
pub struct AccessArguments {
    /// File with the access token; without it, the environment variable `TIDEWHEEL_TOKEN` is used if it is set.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}
