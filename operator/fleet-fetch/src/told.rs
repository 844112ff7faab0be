//! What failed on the line, in words for people: libraries say it once for each of their layers, and by their own names.

use std::error::Error;
use std::io::ErrorKind;

use rustls::{CertificateError, InvalidMessage};

/// Why a request failed, without the URL (which could hold a password), and what helps where that is known.
pub(super) fn told(error: &reqwest::Error) -> String {
    if error.is_timeout() && error.is_connect() {
        return "no connection came about in time".to_owned();
    }
    innermost(error.source())
}

/// The first cause that has words of ours, or else what the last one says.
fn innermost(mut cause: Option<&(dyn Error + 'static)>) -> String {
    let mut last = "the request failed".to_owned();
    while let Some(error) = cause {
        if let Some(words) = of_tls(error).or_else(|| of_system(error)) {
            return words;
        }
        last = error.to_string();
        last.truncate(last.find(" (os error").unwrap_or(last.len()));
        // An error that only carries another one would hide its type.
        let carried = error
            .downcast_ref::<std::io::Error>()
            .and_then(|error| error.get_ref());
        cause = match carried {
            Some(carried) => Some(carried),
            None => error.source(),
        };
    }
    match last.strip_prefix("failed to lookup address information: ") {
        Some(why) => format!("the host's name cannot be resolved ({why})"),
        None => last,
    }
}

fn of_system(error: &(dyn Error + 'static)) -> Option<String> {
    let error = error.downcast_ref::<std::io::Error>()?;
    // Without the number: with one, it says what the system says.
    error.raw_os_error()?;
    let words = match error.kind() {
        ErrorKind::ConnectionRefused => "nothing listens there (connection refused)",
        ErrorKind::ConnectionReset => "the connection was reset",
        ErrorKind::TimedOut => "the connection timed out",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            "there is no way to that address"
        }
        ErrorKind::BrokenPipe => "the connection was closed",
        _ => return None,
    };
    Some(words.to_owned())
}

fn of_tls(error: &(dyn Error + 'static)) -> Option<String> {
    use rustls::Error::{InvalidCertificate, InvalidMessage as Message};
    let words = match error.downcast_ref::<rustls::Error>()? {
        InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is by an authority that is not trusted here; if it is the right one, name it in the Upstream's \
             access.caBundleRef"
        }
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired"
        }
        InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "its certificate is not valid yet; check this machine's clock",
        InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another name",
        InvalidCertificate(CertificateError::Revoked) => "its certificate has been revoked",
        // Such as one that is an authority's own.
        InvalidCertificate(_) => "its certificate is none that a server may have",
        Message(InvalidMessage::InvalidContentType) => {
            "what answers there does not speak TLS; is it an http:// address?"
        }
        _ => return None,
    };
    Some(words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(Box<dyn Error + Send + Sync>);
    impl std::fmt::Display for Layer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("client error (Connect)")
        }
    }
    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&*self.0)
        }
    }

    #[test]
    fn what_failed_is_said_once_and_in_plain_words() {
        let refused =
            std::io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error());
        let lookup = "failed to lookup address information: Name or service not known";
        let issuer = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let plain = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
        for (cause, words) in [
            (
                Box::from(refused) as Box<dyn Error + Send + Sync>,
                "nothing listens there (connection refused)",
            ),
            (
                Box::from(std::io::Error::other(lookup)),
                "the host's name cannot be resolved (Name or service not known)",
            ),
            (
                Box::from(std::io::Error::other(issuer)),
                "name it in the Upstream's access.caBundleRef",
            ),
            (Box::from(plain), "does not speak TLS"),
            (
                Box::from("connection closed before message completed"),
                "connection closed before message completed",
            ),
        ] {
            let said = innermost(Some(&Layer(cause)));
            assert!(said.contains(words), "{said}");
            for dump in ["client error", "os error", "UnknownIssuer"] {
                assert!(!said.contains(dump), "{said}");
            }
        }
    }
}
