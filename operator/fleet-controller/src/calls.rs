//! Counts the calls of the Kubernetes API, each attempt: what an overloaded API server refused is seen although it is
//! repeated.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use fleet_telemetry::ApiMetrics;
use http::{Method, Request, Response, Uri};
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;
use tower::{Layer, Service};

/// Requests that may wait for the API server at once.
const WAITING: usize = 1024;

/// A client that repeats what an overloaded API server refuses, as all of kube's do, and one that does not.
pub fn clients(config: Config, metrics: &Arc<ApiMetrics>) -> Result<(Client, Client), kube::Error> {
    let mut config = config;
    // Kube's own repeating lies below what a layer sees.
    config.default_retry = false;
    let counted = || {
        let builder = ClientBuilder::try_from(config.clone())?;
        Ok::<_, kube::Error>(builder.with_layer(&Counted(metrics.clone())))
    };
    let repeats = counted()?
        .with_layer(&BufferLayer::<Request<Body>>::new(WAITING))
        .with_layer(&RetryLayer::new(RetryPolicy::server_retry()));
    Ok((repeats.build(), counted()?.build()))
}

/// Counts what passes.
#[derive(Clone)]
pub struct Counted(pub Arc<ApiMetrics>);

impl<S> Layer<S> for Counted {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting {
            inner,
            metrics: self.0.clone(),
        }
    }
}

/// A service whose calls are counted.
#[derive(Clone)]
pub struct Counting<S> {
    inner: S,
    metrics: Arc<ApiMetrics>,
}

impl<S, B> Service<Request<Body>> for Counting<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (verb, metrics) = (verb(request.method(), request.uri()), self.metrics.clone());
        let begun = Instant::now();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code = answer.as_ref().ok().map(|answer| answer.status().as_u16());
            metrics.record(verb, code, begun.elapsed().as_secs_f64());
            answer
        })
    }
}

/// The verb, as rules of roles name it: <https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb>.
fn verb(method: &Method, uri: &Uri) -> &'static str {
    let query = uri.query().unwrap_or_default();
    let watches = || {
        let mut words = query.split('&');
        words.any(|word| matches!(word, "watch" | "watch=true" | "watch=1"))
    };
    match *method {
        Method::GET if watches() => "watch",
        Method::GET if names_many(uri.path()) => "list",
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if names_many(uri.path()) => "deletecollection",
        Method::DELETE => "delete",
        _ => "other",
    }
}

/// Whether a path ends with a kind of resource: `/api/v1/…` or `/apis/GROUP/VERSION/…`, then perhaps `namespaces/NAME`.
fn names_many(path: &str) -> bool {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let version = match parts.next() {
        Some("api") => parts.next(),
        Some("apis") => parts.nth(1),
        _ => None,
    };
    let rest: Vec<&str> = parts.collect();
    let rest = match rest.as_slice() {
        ["namespaces", _, inside @ ..] if !inside.is_empty() => inside,
        all => all,
    };
    version.is_some() && rest.len() == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_telemetry::{BuildInfo, Registry};
    use http::StatusCode;
    use tower::BoxError;

    #[test]
    fn verbs_are_those_of_roles() {
        let mirrors = "/apis/mirrorfleet.dev/v1alpha1/namespaces/apt/mirrors";
        for (method, path, wanted) in [
            (Method::GET, "/api/v1/nodes", "list"),
            (Method::GET, "/api/v1/namespaces/apt", "get"),
            (Method::GET, "/api/v1/namespaces/apt/pods?limit=5", "list"),
            (
                Method::GET,
                "/api/v1/pods?&watch=true&timeoutSeconds=290",
                "watch",
            ),
            (Method::GET, "/version", "get"),
            (Method::GET, mirrors, "list"),
            (Method::GET, &format!("{mirrors}/debian"), "get"),
            (Method::PATCH, &format!("{mirrors}/debian/status"), "patch"),
            (Method::POST, mirrors, "create"),
            (Method::PUT, &format!("{mirrors}/debian"), "update"),
            (Method::DELETE, &format!("{mirrors}/debian"), "delete"),
            (Method::DELETE, mirrors, "deletecollection"),
            (Method::OPTIONS, mirrors, "other"),
        ] {
            assert_eq!(verb(&method, &path.parse().unwrap()), wanted, "{path}");
        }
    }

    #[tokio::test]
    async fn every_attempt_is_counted_by_verb_and_code() {
        let info = BuildInfo {
            version: String::new(),
            revision: String::new(),
            role: "controller".to_owned(),
        };
        let registry = Registry::new(&info).unwrap();
        let metrics = ApiMetrics::register(&registry).unwrap();
        let mut answers = vec![
            Ok(StatusCode::OK),
            Ok(StatusCode::TOO_MANY_REQUESTS),
            Err(BoxError::from("the connection broke")),
        ];
        let service = tower::service_fn(move |_: Request<Body>| {
            let answer = answers.pop().unwrap_or(Ok(StatusCode::OK));
            std::future::ready(
                answer.map(|code| Response::builder().status(code).body(()).unwrap()),
            )
        });
        let mut service = Counted(metrics).layer(service);
        let request = || Request::get("/api/v1/pods").body(Body::empty()).unwrap();
        for broken in [true, false, false] {
            assert_eq!(service.call(request()).await.is_err(), broken);
        }
        let text = registry.render().unwrap();
        for line in [
            "mirrorfleet_api_requests_total{code=\"200\",verb=\"list\"} 1",
            "mirrorfleet_api_requests_total{code=\"429\",verb=\"list\"} 1",
            "mirrorfleet_api_requests_total{code=\"error\",verb=\"list\"} 1",
            "mirrorfleet_api_request_duration_seconds_count{verb=\"list\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
