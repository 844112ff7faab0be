//! How the upstream is reached: TLS with an authority of one's own, a proxy, credentials.

use std::net::SocketAddr;

use fleet_sync::{Access, Credentials, Destination, RunResult};
use fleet_types::Reason;
use url::Url;

use crate::support::proxy::Proxy;
use crate::support::server::{Fault, Server};
use crate::support::tls::Authority;
use crate::support::{World, sync, told};

const PUBLISHED: (RunResult, Reason) = (RunResult::Published, Reason::Published);
/// Never resolves (RFC 6761), so that only a proxy leads there.
const NOWHERE: &str = "upstream.invalid";

fn address(server: &Server) -> SocketAddr {
    server.url.socket_addrs(|| None).unwrap()[0]
}

fn elsewhere(server: &Server) -> Url {
    let mut url = server.url.clone();
    url.set_host(Some(NOWHERE)).unwrap();
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_is_trusted_only_where_the_manifest_names_it() {
    let world = World::new(&["stable"]).await;
    let authority = Authority::new(NOWHERE);
    let server = Server::start_tls(world.archive.root(), authority.acceptor).await;
    let mut options = world.options(&["stable"]);
    options.authority = server.url.clone();
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Failed, Reason::UpstreamUnreachable),
        "{report:?}"
    );
    // What helps is what the next run is given.
    assert!(report.message.contains("access.caBundleRef"), "{report:?}");
    assert_eq!(server.seen_count(), 0);
    options.access.ca_bundle_pem = Some(authority.bundle);
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn https_goes_through_the_proxy_in_a_tunnel() {
    let world = World::new(&["stable"]).await;
    let authority = Authority::new(NOWHERE);
    let server = Server::start_tls(world.archive.root(), authority.acceptor).await;
    let proxy = Proxy::start(address(&server)).await;
    let mut options = world.options(&["stable"]);
    options.authority = elsewhere(&server);
    options.access = Access {
        credentials: Some(Credentials::Bearer {
            token: "secret".to_owned(),
        }),
        released_to: Destination::read_all(NOWHERE).unwrap(),
        ca_bundle_pem: Some(authority.bundle),
        proxy: Some(proxy.url.clone()),
    };
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    let heads = proxy.heads();
    let tunnel = format!("CONNECT {NOWHERE}:");
    assert!(
        heads
            .iter()
            .all(|head| head.starts_with(&tunnel) && !head.contains("secret")),
        "{heads:?}"
    );
    assert_eq!(report.requests as usize, server.seen_count());
}

#[tokio::test(flavor = "multi_thread")]
async fn http_goes_through_the_proxy_and_its_password_goes_to_the_proxy_alone() {
    let world = World::new(&["stable"]).await;
    let proxy = Proxy::start(address(&world.server)).await;
    let mut options = world.options(&["stable"]);
    options.authority = elsewhere(&world.server);
    let mut url = proxy.url.clone();
    url.set_username("proxy-user").unwrap();
    url.set_password(Some("proxy-password")).unwrap();
    options.access.proxy = Some(url);
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    let heads = proxy.heads();
    let asked = format!("GET http://{NOWHERE}:");
    // "proxy-user:proxy-password"
    let password = "Basic cHJveHktdXNlcjpwcm94eS1wYXNzd29yZA==";
    assert!(
        heads
            .iter()
            .all(|head| head.starts_with(&asked) && head.contains(password)),
        "{heads:?}"
    );
    let seen = world.server.take_seen();
    assert!(seen.iter().all(|seen| seen.authorization.is_none()));

    let mut gone = options.clone();
    gone.access.proxy = Some(
        "http://proxy-user:proxy-password@127.0.0.1:1/"
            .parse()
            .unwrap(),
    );
    let report = sync(&gone).await;
    assert_eq!(
        told(&report),
        (RunResult::Failed, Reason::UpstreamUnreachable),
        "{report:?}"
    );
    assert!(!report.message.contains("proxy-password"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_let_in_and_wrong_ones_are_told() {
    let ways = [
        (
            // "user:password"
            "Basic dXNlcjpwYXNzd29yZA==",
            Credentials::Basic {
                username: "user".to_owned(),
                password: "password".to_owned(),
            },
        ),
        (
            "Bearer token",
            Credentials::Bearer {
                token: "token".to_owned(),
            },
        ),
    ];
    for (expected, credentials) in ways {
        let world = World::new(&["stable"]).await;
        world.server.protect(expected);
        let mut options = world.options(&["stable"]);
        let report = sync(&options).await;
        assert_eq!(
            (told(&report), report.exit_code()),
            ((RunResult::Failed, Reason::UpstreamForbidden), 2),
            "{report:?}"
        );
        assert!(
            report.message.contains("access.credentialsRef; else"),
            "{report:?}"
        );
        options.access.credentials = Some(credentials);
        // Not meant for this host: nothing is sent.
        options.access.released_to =
            Destination::read_all("127.0.0.1\nhttp://other.example").unwrap();
        let report = sync(&options).await;
        assert_eq!(told(&report).1, Reason::UpstreamForbidden, "{report:?}");
        options.access.released_to = Destination::read_all("http://127.0.0.1").unwrap();
        let report = sync(&options).await;
        assert_eq!(told(&report), PUBLISHED, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_that_is_not_followed_is_told_with_its_target() {
    let world = World::new(&["stable"]).await;
    let options = world.options(&["stable"]);
    let beta = &world.packages[1].path;
    let target = "file:///etc/passwd?token";
    let fault = Fault::Redirect(target.to_owned());
    world.server.fault(beta, usize::MAX, fault);
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Failed, Reason::UpstreamUnreachable),
        "{report:?}"
    );
    assert!(
        report.message.contains("redirect to file:///etc/passwd;")
            && report.message.contains("are followed")
            && report.message.contains(beta.as_str()),
        "{report:?}"
    );
    let seen = world.server.take_seen();
    let asked = seen
        .iter()
        .filter(|seen| seen.path.ends_with("beta_1_amd64.deb"));
    assert_eq!(asked.count(), 1, "asking again would not help");
}

#[tokio::test(flavor = "multi_thread")]
async fn https_never_leads_back_to_http() {
    let world = World::new(&["stable"]).await;
    let authority = Authority::new(NOWHERE);
    let server = Server::start_tls(world.archive.root(), authority.acceptor).await;
    let beta = &world.packages[1].path;
    let plain = world.server.url.join(beta).unwrap();
    let fault = Fault::Redirect(plain.to_string());
    server.fault(beta, usize::MAX, fault);
    let mut options = world.options(&["stable"]);
    options.authority = server.url.clone();
    options.access.ca_bundle_pem = Some(authority.bundle);
    let report = sync(&options).await;
    assert_eq!(told(&report).0, RunResult::Failed, "{report:?}");
    assert!(report.message.contains("from https to http"), "{report:?}");
    assert_eq!(world.server.seen_count(), 0);
}
