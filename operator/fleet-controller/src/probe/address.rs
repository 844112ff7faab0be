//! Which network addresses a probe may talk to. Whoever can write an Upstream chooses where the controller connects to;
//! what only the controller's own pod or node can reach is therefore out of bounds.

use std::net::IpAddr;

use fleet_types::address::{allowed, is_off_limits};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Why a URL is not asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(
        "{0} is a loopback, link-local or metadata address; give the upstream's public or cluster address"
    )]
    Address(IpAddr),
    #[error(
        "{0} resolves to loopback, link-local or metadata addresses only; give the upstream's public or cluster address"
    )]
    Name(String),
    #[error("the scheme {0:?} is not http or https")]
    Scheme(String),
    #[error("the URL has no host")]
    NoHost,
}

/// Whether `url` may be asked as far as its text tells. Names are judged when they are resolved, by [`PublicResolver`].
pub fn check_url(url: &Url) -> Result<(), Refused> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Refused::Scheme(url.scheme().to_owned()));
    }
    match url.host() {
        Some(Host::Ipv4(address)) => check_address(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => check_address(IpAddr::V6(address)),
        Some(Host::Domain(_)) => Ok(()),
        None => Err(Refused::NoHost),
    }
}

fn check_address(address: IpAddr) -> Result<(), Refused> {
    if is_off_limits(address) {
        Err(Refused::Address(address))
    } else {
        Ok(())
    }
}

/// Resolves names as the system does and leaves out the addresses that are out of bounds. The connection is made to
/// what was judged, so a name that resolves differently the second time gains nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct PublicResolver;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed = allowed(found).ok_or_else(|| Refused::Name(name.as_str().to_owned()))?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_own_pod_or_node_reaches_is_refused() {
        for url in [
            "http://127.0.0.1/",
            "http://127.9.9.9:8080/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0.0.0.0/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[::1]/",
            "http://[::]/",
            "http://[fe80::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[fd00:ec2::254]/",
            "http://[2002:7f00:1::]/",
            "http://100.100.100.200/",
        ] {
            assert!(
                matches!(
                    check_url(&Url::parse(url).unwrap()),
                    Err(Refused::Address(_))
                ),
                "{url} was allowed"
            );
        }
        assert!(matches!(
            check_url(&Url::parse("file:///etc/passwd").unwrap()),
            Err(Refused::Scheme(_))
        ));
    }

    #[test]
    fn ordinary_addresses_and_names_are_allowed() {
        for url in [
            "http://10.0.0.1/",
            "https://192.0.2.7/debian/",
            "https://[2001:db8::1]/",
            "https://mirrors.kernel.org/debian/",
        ] {
            assert_eq!(
                check_url(&Url::parse(url).unwrap()),
                Ok(()),
                "{url} was refused"
            );
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_loopback_is_refused_when_it_is_resolved() {
        let found = PublicResolver.resolve("localhost".parse().unwrap()).await;
        assert!(found.is_err_and(
            |error| error.downcast_ref::<Refused>() == Some(&Refused::Name("localhost".into()))
        ));
    }
}
