//! Who runs an upstream says that it has something new: `POST /push/<namespace>/<upstream>` with a bearer token that the
//! Upstream knows by its hash. Nobody has to read a Secret for that.
//!
//! What is taken is an annotation of the Upstream, the instant of the last word. So it outlasts this process, several words are
//! one, any replica can take it, and when a run begins for it is the planner's business, as with all runs.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use fleet_api::Upstream;
use fleet_api::labels::PUSHED_AT;
use fleet_telemetry::{Answer, ExtraRoutes, respond, serve_hooks};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::{Api, Client};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::error::ControllerError;

const TEXT: &str = "text/plain; charset=utf-8";
/// Each question, answered or not, costs the API server one look.
const MOST_PER_SECOND: NonZeroU32 = NonZeroU32::new(10).expect("a constant");
const MOST_AT_ONCE: NonZeroU32 = NonZeroU32::new(50).expect("a constant");
/// No token is longer.
const LONGEST_TOKEN: usize = 512;

/// Takes words until `shutdown`.
///
/// # Errors
/// The address cannot be had.
pub async fn begin(
    address: SocketAddr,
    client: &Client,
    namespace: Option<&str>,
    shutdown: &CancellationToken,
) -> Result<(), ControllerError> {
    let unusable = |error| ControllerError::PushListen { address, error };
    let listener = TcpListener::bind(address).await.map_err(unusable)?;
    tracing::info!(address = %listener.local_addr().map_err(unusable)?, "taking pushes");
    let hook = Arc::new(Hook {
        client: client.clone(),
        namespace: namespace.map(str::to_owned),
        limit: RateLimiter::direct(Quota::per_second(MOST_PER_SECOND).allow_burst(MOST_AT_ONCE)),
    });
    let routes: ExtraRoutes = Arc::new(move |head| {
        let hook = hook.clone();
        Box::pin(async move { Some(hook.answer(&head).await) })
    });
    let stop = shutdown.clone();
    tokio::spawn(async move {
        if let Err(error) = serve_hooks(listener, routes, stop).await {
            tracing::error!(%error, "pushes are no longer taken");
        }
    });
    Ok(())
}

struct Hook {
    client: Client,
    /// The only one that is looked after; all of them without one.
    namespace: Option<String>,
    limit: DefaultDirectRateLimiter,
}

impl Hook {
    async fn answer(&self, head: &Parts) -> Answer {
        let Some((namespace, name)) = upstream_of(head.uri.path()) else {
            let words =
                "POST /push/<namespace>/<upstream> with the header Authorization: Bearer <token>\n";
            return respond(StatusCode::NOT_FOUND, TEXT, words);
        };
        let Some(token) = token_of(head) else {
            return unauthorized();
        };
        if self.limit.check().is_err() {
            let words = "too many at once; say it again in a second\n";
            let mut answer = respond(StatusCode::TOO_MANY_REQUESTS, TEXT, words);
            let headers = answer.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return answer;
        }
        let elsewhere = (self.namespace.as_deref()).is_some_and(|only| only != namespace);
        // Who has no token does not learn what there is.
        match self.take(namespace, name, token).await {
            _ if elsewhere => unauthorized(),
            Ok(true) => respond(StatusCode::ACCEPTED, TEXT, "taken\n"),
            Ok(false) => unauthorized(),
            Err(error) => {
                tracing::warn!(namespace, upstream = name, %error, "a push could not be taken");
                let words = "the API server does not answer as it should; say it again later\n";
                respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, words)
            }
        }
    }

    /// Whether the token counts; then it is noted.
    async fn take(&self, namespace: &str, name: &str, token: &[u8]) -> Result<bool, kube::Error> {
        type Guarded = DeserializeGuard<Upstream>;
        let upstreams: Api<Guarded> = Api::namespaced(self.client.clone(), namespace);
        let found = upstreams.get_opt(name).await?;
        let known = found.and_then(|found| found.0.ok());
        let Some(upstream) = known.filter(|known| knows(&known.spec.push.token_sha256, token))
        else {
            return Ok(false);
        };
        let now = next_second(Timestamp::now()).to_string();
        let told = upstream.metadata.annotations.as_ref();
        if told.and_then(|told| told.get(PUSHED_AT)) == Some(&now) {
            return Ok(true);
        }
        let patch = Patch::Merge(json!({
            "metadata": {"uid": upstream.metadata.uid, "annotations": {PUSHED_AT: now}},
        }));
        upstreams
            .patch(name, &PatchParams::default(), &patch)
            .await?;
        tracing::info!(
            namespace,
            upstream = name,
            "somebody says that it has something new"
        );
        Ok(true)
    }
}

/// Runs begin at whole seconds, as a status tells it; one that began before this word must not look as if it came after.
fn next_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second().saturating_add(1)).unwrap_or(at)
}

/// Namespace and name, where the path names an Upstream.
fn upstream_of(path: &str) -> Option<(&str, &str)> {
    let (namespace, name) = path.strip_prefix("/push/")?.split_once('/')?;
    let is_name = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !text.is_empty() && text.len() <= 63 && text.bytes().all(plain)
    };
    (is_name(namespace) && is_name(name)).then_some((namespace, name))
}

fn token_of(head: &Parts) -> Option<&[u8]> {
    let said = head.headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = said.split_at_checked(7)?;
    let token = token.trim_ascii();
    let fits = (1..=LONGEST_TOKEN).contains(&token.len());
    (scheme.eq_ignore_ascii_case(b"Bearer ") && fits).then_some(token)
}

/// Whether one of the hashes is that of the token. All of them are compared, and all of each, so that how long it takes tells
/// nothing.
fn knows(hashes: &[String], token: &[u8]) -> bool {
    let digest = Sha256::digest(token);
    let mut known = false;
    for hash in hashes {
        let mut bytes = [0; 32];
        let is_hash = hex::decode_to_slice(hash, &mut bytes).is_ok();
        let differs = bytes
            .iter()
            .zip(digest.iter())
            .fold(0, |all, (a, b)| all | (a ^ b));
        known |= is_hash && differs == 0;
    }
    known
}

fn unauthorized() -> Answer {
    let words = "there is no such Upstream, or the token is not one of its spec.push.tokenSha256\n";
    let mut answer = respond(StatusCode::UNAUTHORIZED, TEXT, words);
    let headers = answer.headers_mut();
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response};
    use kube::client::Body;

    use super::*;

    fn head(authorization: Option<&str>) -> Parts {
        let mut request = Request::post("/push/ns/debian");
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_path_names_an_upstream_or_nothing() {
        assert_eq!(upstream_of("/push/ns/debian"), Some(("ns", "debian")));
        for path in [
            "/",
            "/push",
            "/push/ns",
            "/push/ns/",
            "/push//debian",
            "/push/ns/debian/status",
            "/push/ns/..",
            "/push/ns/%2e",
            "/push/NS/debian",
        ] {
            assert_eq!(upstream_of(path), None, "{path}");
        }
    }

    #[test]
    fn a_token_is_known_by_its_hash_only() {
        let hash = |token: &str| hex::encode(Sha256::digest(token));
        let hashes = vec![hash("old"), hash("new")];
        assert!(knows(&hashes, b"old") && knows(&hashes, b"new"));
        assert!(!knows(&hashes, b"other") && !knows(&[], b"") && !knows(&hashes, b""));
        // The hash itself is no token, and what is none matches nothing.
        assert!(!knows(&hashes, hash("old").as_bytes()));
        assert!(!knows(&["00".repeat(31), "x".repeat(64)], b"old"));
    }

    #[test]
    fn a_token_is_a_bearers() {
        let long = format!("Bearer {}", "x".repeat(LONGEST_TOKEN + 1));
        assert_eq!(token_of(&head(Some("bearer  abc "))), Some(&b"abc"[..]));
        for wrong in [
            None,
            Some("Basic abc"),
            Some("Bearer "),
            Some("Bear"),
            Some(&long),
        ] {
            assert_eq!(token_of(&head(wrong)), None, "{wrong:?}");
        }
    }

    /// Before an API server that knows the Upstream or does not answer; how often that one was asked.
    fn hook(knows: bool) -> (Hook, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let service = tower::service_fn(move |_: Request<Body>| {
            counted.fetch_add(1, Ordering::Relaxed);
            let upstream = json!({
                "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Upstream",
                "metadata": {"name": "debian", "namespace": "ns", "uid": "1"},
                "spec": {
                    "type": "Debian", "authority": {"url": "http://archive.example.org/"},
                    "push": {"tokenSha256": [hex::encode(Sha256::digest("token"))]},
                },
            });
            let body = Body::from(upstream.to_string().into_bytes());
            let code = if knows { 200 } else { 500 };
            let answer = Response::builder().status(code).body(body).unwrap();
            async move { Ok::<_, Infallible>(answer) }
        });
        let hook = Hook {
            client: Client::new(service, "ns"),
            namespace: None,
            limit: RateLimiter::direct(
                Quota::per_second(MOST_PER_SECOND).allow_burst(MOST_AT_ONCE),
            ),
        };
        (hook, asked)
    }

    #[tokio::test]
    async fn who_asks_more_than_an_api_server_should_be_is_told_when_to_come_again() {
        let (hook, asked) = hook(true);
        let said = head(Some("Bearer token"));
        let mut taken = 0;
        let refused = loop {
            let answer = hook.answer(&said).await;
            match answer.status() {
                StatusCode::ACCEPTED => taken += 1,
                _ => break answer,
            }
        };
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()[RETRY_AFTER], "1");
        assert!(taken >= MOST_AT_ONCE.get(), "{taken}");
        // One look for each, and a write at most; none for who was refused.
        let before = asked.load(Ordering::Relaxed);
        assert!(before <= 2 * taken as usize, "{before} for {taken}");
    }

    #[tokio::test]
    async fn an_api_server_that_does_not_answer_takes_nothing() {
        let (hook, _) = hook(false);
        let answer = hook.answer(&head(Some("Bearer token"))).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn a_word_counts_from_the_next_whole_second() {
        let at: Timestamp = "2026-01-01T10:00:00.9Z".parse().unwrap();
        assert_eq!(next_second(at).to_string(), "2026-01-01T10:00:01Z");
    }
}
