//! Questions in, answers out, on threads of the registry's own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleet_fetch::{FetchOptions, Meter};
use fleet_formats::npm::{Form, Guard};
use fleet_origin::{Found, Question, Registry};
use fleet_telemetry::{AnswerSource, RegistryTraffic};
use fleet_types::documents::{NotKept, RegistryState, UnixSeconds};
use fleet_types::{Problem, Reason, Sha256};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinError;
use url::Url;

use crate::disk::Disk;
use crate::encoding::Encoding;
use crate::inner::Inner;
use crate::refusal::Refusal;
use crate::room::Room;
use crate::upstream::Upstream;

/// What a registry is made from.
pub struct Options {
    /// The Mirror's name.
    pub mirror: String,
    /// Below which it answers, without slashes at their ends; the first one is the one that people are told.
    pub paths: Vec<String>,
    /// Addresses by which clients reach this server through something in between, such as `https://npm.example.org/`.
    pub public: Vec<Url>,
    /// Where it keeps what it has.
    pub folder: PathBuf,
    /// No more than this of what can be fetched again. None: all but a tenth of what is not others' of the volume.
    pub cache_bytes: Option<u64>,
    /// Of these the authority is asked.
    pub fetch: FetchOptions,
    /// Bytes a second.
    pub bandwidth: Option<u64>,
    pub guard: Guard,
    /// The upstream is not asked at all.
    pub is_offline: bool,
    /// How long a package is taken for absent or refused.
    pub negative_age: Duration,
    pub traffic: Arc<RegistryTraffic>,
}

impl Options {
    /// For one of so many processes that ask the upstream, each its share of what the upstream allows to all.
    pub fn shared_by(mut self, processes: u32) -> Options {
        let processes = processes.max(1);
        let share = self.fetch.max_connections / usize::try_from(processes).unwrap_or(usize::MAX);
        self.fetch.max_connections = share.max(1);
        self.bandwidth = self
            .bandwidth
            .map(|all| (all / u64::from(processes)).max(1));
        self
    }
}

/// A registry that fills itself on demand.
pub struct NpmRegistry {
    mirror: String,
    paths: Vec<String>,
    inner: Arc<Inner>,
    threads: Arc<Threads>,
}

/// What is fetched, hashed and compressed keeps no client of others waiting. None once it is dropped.
struct Threads(Option<Runtime>);

impl NpmRegistry {
    /// Takes the folder, or shares it with the registry `before` that was made from other options. What is in it of an earlier
    /// process is used again.
    pub fn open(options: Options, before: Option<&NpmRegistry>) -> Result<NpmRegistry, Problem> {
        let meter = Arc::new(Meter::new(options.bandwidth, Arc::new(|_| {})));
        let upstream = Upstream::new(
            &options.fetch,
            options.is_offline,
            &meter,
            options.traffic.clone(),
        )?;
        let is_same = |before: &&NpmRegistry| {
            before.inner.disk.root() == options.folder
                && before.inner.upstream.address() == upstream.address()
        };
        let (disk, threads) = match before.filter(is_same) {
            Some(before) => (before.inner.disk.clone(), before.threads.clone()),
            None => {
                let disk = Disk::open(&options.folder, &options.mirror, upstream.address());
                let disk = disk.map_err(|error| Problem::new(error.reason(), error.to_string()))?;
                (Arc::new(disk), Arc::new(Threads::start()?))
            }
        };
        let volume = Room::new(disk.clone(), options.cache_bytes, options.traffic.clone());
        let runtime = threads.runtime()?.clone();
        Ok(NpmRegistry {
            mirror: options.mirror,
            paths: options.paths,
            inner: Arc::new(Inner::new(
                (disk, Arc::new(volume)),
                &runtime,
                upstream,
                (options.guard, options.negative_age),
                options.public,
                options.traffic,
            )),
            threads,
        })
    }
}

impl Threads {
    fn start() -> Result<Threads, Problem> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(8)
            .thread_name("npm")
            .enable_all()
            .build();
        let failed = |error| {
            Problem::new(
                Reason::StorageFailed,
                format!("no thread can be started: {error}"),
            )
        };
        runtime
            .map(|runtime| Threads(Some(runtime)))
            .map_err(failed)
    }
}

impl Threads {
    fn runtime(&self) -> Result<&Handle, Problem> {
        let ended = || Problem::new(Reason::StorageFailed, "this registry has ended");
        self.0.as_ref().map(Runtime::handle).ok_or_else(ended)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // What is on its way is given up; it is nobody's yet.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Registry for NpmRegistry {
    fn name(&self) -> &str {
        &self.mirror
    }

    fn paths(&self) -> &[String] {
        &self.paths
    }

    fn answer(&self, question: Question) -> BoxFuture<'static, Found> {
        let Some(runtime) = &self.threads.0 else {
            let ended = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "this registry has ended");
            return std::future::ready(ended.into()).boxed();
        };
        let asked = Asked::of(question);
        let inner = self.inner.clone();
        // On its own: who leaves ends nothing that others wait for.
        let answering = runtime.spawn(async move {
            let found = inner.found(&asked).await;
            found.unwrap_or_else(|refusal| {
                inner.traffic.answered(AnswerSource::Refused);
                refusal.into()
            })
        });
        let lost = |error: JoinError| Refusal::own("this could not be answered", &error).into();
        answering
            .map(move |found| found.unwrap_or_else(lost))
            .boxed()
    }

    fn answered_again(&self) {
        self.inner.traffic.answered(AnswerSource::Ready);
    }

    fn used(&self, tags: Vec<Sha256>) {
        if let Some(runtime) = &self.threads.0 {
            let inner = self.inner.clone();
            runtime.spawn_blocking(move || inner.used(&tags));
        }
    }

    fn state(&self) -> RegistryState {
        let upstream = &self.inner.upstream;
        RegistryState {
            upstream_blocked_since: upstream.blocked_since().map(UnixSeconds),
            is_offline: upstream.is_offline(),
        }
    }

    fn not_kept(&self) -> Option<NotKept> {
        self.inner.not_kept()
    }
}

/// By which path and below which URL a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Here<'a> {
    pub below: &'a str,
    /// As of [`Question::site`].
    pub site: Option<&'a str>,
}

/// A question as it is understood.
pub struct Asked {
    pub method: Method,
    below: String,
    site: Option<String>,
    pub path: String,
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub form: Form,
    pub encoding: Encoding,
    pub body: Option<Bytes>,
}

impl Asked {
    fn of(question: Question) -> Asked {
        let header = |name: HeaderName| {
            let value = question.headers.get(name);
            value.and_then(|value| value.to_str().ok())
        };
        Asked {
            form: Form::wanted(header(ACCEPT)),
            encoding: Encoding::best(header(ACCEPT_ENCODING)),
            method: question.method,
            below: question.below,
            site: question.site,
            path: question.path,
            query: question.query,
            headers: question.headers,
            body: question.body,
        }
    }

    pub fn here(&self) -> Here<'_> {
        Here {
            below: &self.below,
            site: self.site.as_deref(),
        }
    }
}
