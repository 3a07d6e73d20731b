//! A self-signed certificate for a cluster's addresses, made with Java's own tool. Clients trust the certificate itself.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::LastLines;
use crate::{NativeError, Toolchain};

/// Opens the key store; it guards nothing, because the folder does.
pub(crate) const PASSWORD: &str = "tidewheel";

/// A key store for servers and the certificate for clients.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    /// PKCS12, opened with [`PASSWORD`].
    pub(crate) key_store: PathBuf,
    /// PEM.
    pub(crate) certificate: PathBuf,
}

impl Certificate {
    /// Makes one that is good for these addresses and a year, unless the folder has one.
    pub(crate) fn make(
        toolchain: &Toolchain,
        folder: &Path,
        addresses: impl Iterator<Item = Ipv4Addr>,
    ) -> Result<Self, NativeError> {
        let made = Self { key_store: folder.join("server.p12"), certificate: folder.join("server.pem") };
        if made.key_store.exists() && made.certificate.exists() {
            return Ok(made);
        }
        let names = addresses.map(|address| format!("ip:{address}")).collect::<Vec<_>>().join(",");
        let names = format!("san=dns:localhost,{names}");
        let store = made.key_store.as_os_str();
        let mut create = Command::new(toolchain.keytool());
        create.args(["-genkeypair", "-alias", "server", "-keyalg", "EC", "-groupname", "secp256r1"]);
        create.args(["-validity", "365", "-dname", "CN=tidewheel", "-ext", &names, "-storetype", "PKCS12"]);
        create.args(["-storepass", PASSWORD, "-keystore"]).arg(store);
        run(create, "keytool -genkeypair")?;
        let mut export = Command::new(toolchain.keytool());
        export
            .args(["-exportcert", "-rfc", "-alias", "server", "-storepass", PASSWORD, "-keystore"])
            .arg(store);
        export.arg("-file").arg(&made.certificate);
        run(export, "keytool -exportcert")?;
        Ok(made)
    }
}

/// Runs a tool to its end.
pub(crate) fn run(mut command: Command, tool: &'static str) -> Result<(), NativeError> {
    let program = PathBuf::from(command.get_program());
    let output = command.stdin(Stdio::null()).output().map_err(NativeError::io("run", &program))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let last_lines = LastLines::of(&String::from_utf8_lossy(&said));
    Err(NativeError::Tool { tool, status: output.status, last_lines })
}
