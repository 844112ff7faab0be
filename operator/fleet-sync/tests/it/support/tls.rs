//! A certification authority of our own, and a certificate by it, made by openssl.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::process::run;

/// The server's side, and the bundle that makes a client trust it.
pub struct Authority {
    pub acceptor: TlsAcceptor,
    pub bundle: Vec<u8>,
}

impl Authority {
    /// Certifies 127.0.0.1 and `name`.
    pub fn new(name: &str) -> Authority {
        let dir = TempDir::new().unwrap();
        let make = |arguments: &str| {
            run(Command::new("openssl")
                .current_dir(dir.path())
                .args(arguments.split(' ')));
        };
        make(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout ca.key -out ca.pem -days 2 \
             -subj /CN=test-authority -addext basicConstraints=critical,CA:TRUE",
        );
        make(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout server.key -out server.csr -subj /CN=server \
             -addext subjectAltName=IP:127.0.0.1,DNS:{name}"
        ));
        make(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -copy_extensions copyall \
             -out server.pem",
        );
        Authority {
            acceptor: acceptor(dir.path()),
            bundle: std::fs::read(dir.path().join("ca.pem")).unwrap(),
        }
    }
}

fn acceptor(dir: &Path) -> TlsAcceptor {
    fleet_sync::install_crypto_provider();
    let certificate = CertificateDer::from_pem_file(dir.join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap();
    let configuration = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(configuration))
}
