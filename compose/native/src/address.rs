//! Loopback addresses that no other cluster on this machine has.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use crate::NativeError;
use crate::folder::Folder;

/// 254 addresses `127.x.y.1` to `127.x.y.254`.
///
/// Outgoing connections come from 127.0.0.1, so no client's port is ever in the way of a server that starts again here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    x: u8,
    y: u8,
}

impl Network {
    /// The one the folder remembers, or a random one where nobody listens on `ports` of its first address.
    pub(crate) fn of_folder(folder: &Folder, file: &str, ports: &[u16]) -> Result<Self, NativeError> {
        let path = folder.path().join(file);
        if let Some(remembered) = fs::read_to_string(&path).ok().and_then(|text| Self::parse(text.trim())) {
            return Ok(remembered);
        }
        let network = Self::free(ports)?;
        fs::write(&path, network.address(0).to_string()).map_err(NativeError::io("write", &path))?;
        Ok(network)
    }

    fn free(ports: &[u16]) -> Result<Self, NativeError> {
        const TRIES: usize = 64;
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        for _ in 0..TRIES {
            // The low networks are where people put things by hand.
            let random = uuid::Uuid::new_v4();
            let (x, y) = (16 + random.as_bytes()[0] % 235, random.as_bytes()[1]);
            let network = Self { x, y };
            match ports.iter().try_for_each(|port| bind((network.address(1), *port).into())) {
                Ok(()) => return Ok(network),
                Err(error) => last = error,
            }
        }
        Err(NativeError::NoAddress { source: last })
    }

    fn parse(text: &str) -> Option<Self> {
        match text.parse::<Ipv4Addr>().ok()?.octets() {
            [127, x, y, 0] => Some(Self { x, y }),
            _ => None,
        }
    }

    /// The address of that number.
    pub(crate) const fn address(self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.x, self.y, number)
    }
}

/// Whether a server can listen there. A process that another thread is just starting holds copies of our sockets for a
/// moment, so an address is taken only if it stays so.
pub(crate) fn check_free(server: &str, address: SocketAddr) -> Result<(), NativeError> {
    const TRIES: usize = 40;
    let mut result = bind(address);
    for _ in 1..TRIES {
        if !matches!(&result, Err(error) if error.kind() == std::io::ErrorKind::AddrInUse) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
        result = bind(address);
    }
    result.map_err(|source| NativeError::PortTaken { server: server.to_owned(), address, source })
}

fn bind(address: SocketAddr) -> std::io::Result<()> {
    TcpListener::bind(address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_network_and_others_have_others() {
        let (one, other) = (Folder::open(None).unwrap(), Folder::open(None).unwrap());
        let first = Network::of_folder(&one, "network", &[9092]).unwrap();
        assert_eq!(Network::of_folder(&one, "network", &[9092]).unwrap(), first);
        assert_ne!(Network::of_folder(&other, "network", &[9092]).unwrap(), first);
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = check_free("broker-1", address).unwrap_err().to_string();
        assert!(error.contains("broker-1") && error.contains(&address.to_string()), "{error}");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(100));
                drop(taken);
            });
            check_free("broker-1", address).unwrap();
        });
    }
}
