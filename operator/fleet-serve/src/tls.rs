//! The certificate: read from two files, and again when they change, as Kubernetes changes a mounted Secret.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use fleet_types::{lock_read, lock_write};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// PEM files: the certificate chain, leaf first, and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the TLS file {} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the TLS file {} holds no {expected} in PEM form: {reason}", path.display())]
    NotPem {
        path: PathBuf,
        expected: &'static str,
        reason: String,
    },
    #[error("the certificate {} and the key {} do not work together: {source}", cert.display(), key.display())]
    Unusable {
        cert: PathBuf,
        key: PathBuf,
        source: rustls::Error,
    },
}

/// The certificate in use. Handshakes take the newest pair of files that was usable.
#[derive(Debug)]
pub struct Certificate {
    files: TlsFiles,
    loaded: RwLock<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    contents: Contents,
    key: Arc<CertifiedKey>,
}

#[derive(Debug, PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Certificate {
    pub fn load(files: TlsFiles) -> Result<Certificate, TlsError> {
        let contents = Contents::read(&files)?;
        let key = contents.certified_key(&files)?;
        Ok(Certificate {
            files,
            loaded: RwLock::new(Loaded { contents, key }),
        })
    }

    /// Takes the files up if they changed; true if they did. On an error the former pair stays in use. Blocks on the
    /// disk.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let contents = Contents::read(&self.files)?;
        if lock_read(&self.loaded).contents == contents {
            return Ok(false);
        }
        let key = contents.certified_key(&self.files)?;
        *lock_write(&self.loaded) = Loaded { contents, key };
        Ok(true)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(lock_read(&self.loaded).key.clone())
    }
}

/// h2 for those who ask for it, else HTTP/1.1; TLS 1.2 and 1.3.
pub fn server_config(certificate: Arc<Certificate>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Contents, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| TlsError::Unreadable {
                path: path.to_owned(),
                source,
            })
        };
        Ok(Contents {
            cert: read(&files.cert)?,
            key: read(&files.key)?,
        })
    }

    fn certified_key(&self, files: &TlsFiles) -> Result<Arc<CertifiedKey>, TlsError> {
        let not_pem = |path: &Path, expected, reason: String| TlsError::NotPem {
            path: path.to_owned(),
            expected,
            reason,
        };
        let chain = CertificateDer::pem_slice_iter(&self.cert)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| not_pem(&files.cert, "certificate", error.to_string()))?;
        if chain.is_empty() {
            return Err(not_pem(
                &files.cert,
                "certificate",
                "no such section".to_owned(),
            ));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| not_pem(&files.key, "private key", error.to_string()))?;
        CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
            .map(Arc::new)
            .map_err(|source| TlsError::Unusable {
                cert: files.cert.clone(),
                key: files.key.clone(),
                source,
            })
    }
}
