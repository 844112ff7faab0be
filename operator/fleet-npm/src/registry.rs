//! Questions in, answers out.

use std::collections::HashMap;
use std::panic;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fleet_fetch::{FetchOptions, Meter};
use fleet_formats::npm::{Address, Form, Guard, PackageName};
use fleet_serve::{Found, FoundBody, PackageRegistry, Question, Reply};
use fleet_telemetry::{AnswerSource, RegistryTraffic};
use fleet_types::{Problem, Reason, Sha256, lock};
use futures::FutureExt;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AGE, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;
use url::Url;

use crate::disk::Disk;
use crate::document::{Current, FRESH, Package};
use crate::encoding::Encoding;
use crate::flights::Flights;
use crate::ready::{Here, Manner, Ready};
use crate::refusal::{Refusal, json};
use crate::shown::{Made, Part};
use crate::trail::Trail;
use crate::upstream::Upstream;

/// Documents that are in memory at once, in MiB: the largest possible one and its spans, or many small ones.
const ROOM: u32 = 192;
/// Packages of which something is in memory. Those that nobody asks for are forgotten when there are so many.
const PACKAGES: usize = 20_000;
/// Addresses by which clients may ask, beside those that are declared: each is another text of every document.
const ADDRESSES: usize = 4;
/// One that nobody used for so long makes room for another.
const ADDRESS_RESTS: Duration = Duration::from_secs(600);
/// When a kept document was last confirmed, where the upstream could not be asked.
const STALE: HeaderName = HeaderName::from_static("mirrorfleet-stale-since");

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
    /// Of these the authority is asked.
    pub fetch: FetchOptions,
    /// Bytes a second.
    pub bandwidth: Option<u64>,
    pub guard: Guard,
    pub traffic: Arc<RegistryTraffic>,
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

pub struct Inner {
    pub disk: Arc<Disk>,
    pub upstream: Upstream,
    pub guard: Guard,
    pub trail: Trail,
    pub traffic: Arc<RegistryTraffic>,
    /// One fetch for each tarball and passed document.
    pub tarballs: Flights<Sha256>,
    pub passed: Flights<Sha256>,
    ready: Ready,
    packages: Mutex<HashMap<PackageName, Arc<Package>>>,
    room: Arc<Semaphore>,
    public: Vec<Url>,
    addresses: Mutex<Vec<(String, Instant)>>,
}

impl NpmRegistry {
    /// Takes the folder, or shares it with the registry `before` that was made from other options. What is in it of an earlier
    /// process is used again.
    pub fn open(options: Options, before: Option<&NpmRegistry>) -> Result<NpmRegistry, Problem> {
        let meter = Arc::new(Meter::new(options.bandwidth, Arc::new(|_| {})));
        let upstream = Upstream::new(&options.fetch, &meter, options.traffic.clone())?;
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
        Ok(NpmRegistry {
            mirror: options.mirror,
            paths: options.paths,
            inner: Arc::new(Inner {
                trail: Trail::new(disk.trail()),
                disk,
                upstream,
                guard: options.guard,
                traffic: options.traffic,
                tarballs: Flights::new(),
                passed: Flights::new(),
                ready: Ready::new(files_to_keep_open()),
                packages: Mutex::default(),
                room: Arc::new(Semaphore::new(ROOM as usize)),
                public: options.public,
                addresses: Mutex::default(),
            }),
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

impl Drop for Threads {
    fn drop(&mut self) {
        // What is on its way is given up; it is nobody's yet.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl PackageRegistry for NpmRegistry {
    fn name(&self) -> &str {
        &self.mirror
    }

    fn paths(&self) -> &[String] {
        &self.paths
    }

    fn answer(&self, question: &Question<'_>) -> Reply {
        let manner = manner(question);
        let is_read = question.method == Method::GET || question.method == Method::HEAD;
        if is_read && let Some(found) = self.inner.ready.get(question.path, manner, question.at) {
            self.inner.traffic.answered(AnswerSource::Ready);
            return Reply::Now(found);
        }
        let Some(runtime) = &self.threads.0 else {
            return Reply::Now(
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "this registry has ended").into(),
            );
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
        Reply::Later(
            answering
                .map(move |found| found.unwrap_or_else(lost))
                .boxed(),
        )
    }
}

/// How it is asked; of a tarball only what matters for one.
fn manner<'a>(question: &Question<'a>) -> Manner<'a> {
    if question.path.contains("/-/") {
        return Manner {
            here: Here {
                below: "",
                host: "",
            },
            form: Form::Full,
            encoding: Encoding::Identity,
        };
    }
    let header = |name: HeaderName| {
        question
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    Manner {
        here: Here {
            below: question.below,
            host: question.host.unwrap_or_default(),
        },
        form: Form::wanted(header(ACCEPT)),
        encoding: Encoding::best(header(ACCEPT_ENCODING)),
    }
}

/// A question that is kept while it is answered.
struct Asked {
    method: Method,
    below: String,
    host: String,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    form: Form,
    encoding: Encoding,
    body: Option<Bytes>,
}

impl Asked {
    fn of(question: &Question<'_>) -> Asked {
        let manner = manner(question);
        Asked {
            method: question.method.clone(),
            below: question.below.to_owned(),
            host: question.host.unwrap_or_default().to_owned(),
            path: question.path.to_owned(),
            query: question.query.map(str::to_owned),
            headers: question.headers.clone(),
            form: manner.form,
            encoding: manner.encoding,
            body: question.body.clone(),
        }
    }

    fn manner(&self) -> Manner<'_> {
        Manner {
            here: Here {
                below: &self.below,
                host: &self.host,
            },
            form: self.form,
            encoding: self.encoding,
        }
    }
}

impl Inner {
    async fn found(self: &Arc<Self>, asked: &Asked) -> Result<Found, Refusal> {
        let address =
            Address::read(&asked.path).map_err(|error| Refusal::not_found(error.to_string()))?;
        if let (&Method::POST, Address::Advisories) = (&asked.method, &address) {
            let found = self
                .advisories(&asked.headers, asked.body.clone().unwrap_or_default())
                .await?;
            self.traffic.answered(AnswerSource::Fetched);
            return Ok(found);
        }
        if asked.method != Method::GET && asked.method != Method::HEAD {
            return Ok(read_only(&address));
        }
        let (found, source) = match address {
            Address::Top => (self.top(asked)?, AnswerSource::Kept),
            Address::Ping => (json(StatusCode::OK, "{}"), AnswerSource::Kept),
            Address::WhoAmI => {
                return Err(Refusal::new(
                    StatusCode::UNAUTHORIZED,
                    "nobody logs in here: this registry is read without an account",
                ));
            }
            Address::Advisories | Address::Unsupported => return Ok(unsupported()),
            Address::Keys => self.passed("/-/npm/v1/keys").await?,
            Address::Search => (
                self.search(asked.query.as_deref()).await?,
                AnswerSource::Fetched,
            ),
            Address::Attestations(name, version) => {
                self.package_may_be_asked(&name).await?;
                self.passed(&format!(
                    "/-/npm/v1/attestations/{}@{version}",
                    name.escaped()
                ))
                .await?
            }
            Address::Packument(name) => self.packument(asked, name).await?,
            Address::Version(name, version) => {
                self.part(asked, name, Part::Version(version)).await?
            }
            Address::Tags(name) => self.part(asked, name, Part::Tags).await?,
            Address::Tarball(name, file) => self.tarball_answer(asked, name, &file).await?,
        };
        self.traffic.answered(source);
        Ok(found)
    }

    /// Reserved names and packages that are not carried are refused before anything is asked.
    async fn package_may_be_asked(self: &Arc<Self>, name: &PackageName) -> Result<(), Refusal> {
        let verdict = self.guard.package(name);
        let refusal = verdict.held().map(Refusal::from);
        if verdict != fleet_formats::npm::Verdict::Open {
            let (this, name) = (self.clone(), name.clone());
            self.blocking(move || {
                this.trail.tell(&name, None, &verdict, &this.traffic);
                Ok(())
            })
            .await?;
        }
        refusal.map_or(Ok(()), Err)
    }

    async fn packument(
        self: &Arc<Self>,
        asked: &Asked,
        name: PackageName,
    ) -> Result<(Found, AnswerSource), Refusal> {
        self.package_may_be_asked(&name).await?;
        let here = self.here(asked)?;
        let package = self.package(name);
        let mut state = package.state.lock().await;
        let (made, current) = self
            .show(
                &package,
                &mut state,
                asked.form,
                &here,
                Part::Whole(asked.encoding),
            )
            .await?;
        drop(state);
        let Made::File(file, until) = made else {
            return Err(Refusal::own(
                "a document was not written",
                &"it was made in parts",
            ));
        };
        let mut headers = vec![
            (
                CONTENT_TYPE,
                HeaderValue::from_static(current.form.content_type()),
            ),
            (VARY, HeaderValue::from_static("accept, accept-encoding")),
        ];
        headers.extend(
            asked
                .encoding
                .token()
                .map(|token| (CONTENT_ENCODING, HeaderValue::from_static(token))),
        );
        let mut found = Found {
            status: StatusCode::OK,
            headers,
            body: FoundBody::File(file),
        };
        match current.is_stale {
            true => found.headers.extend(stale(&current)),
            false => self.ready.put(
                &asked.path,
                asked.manner(),
                Some(fresh_until(&current, until)),
                found.clone(),
            ),
        }
        Ok((found, source(&current)))
    }

    async fn part(
        self: &Arc<Self>,
        asked: &Asked,
        name: PackageName,
        part: Part,
    ) -> Result<(Found, AnswerSource), Refusal> {
        self.package_may_be_asked(&name).await?;
        let here = self.here(asked)?;
        let package = self.package(name);
        let mut state = package.state.lock().await;
        let (made, current) = self
            .show(&package, &mut state, Form::Full, &here, part)
            .await?;
        drop(state);
        let Made::Bytes(bytes) = made else {
            return Err(Refusal::own(
                "a part of a document was not written",
                &"it was made as a whole",
            ));
        };
        let mut found = json(StatusCode::OK, bytes);
        if current.is_stale {
            found.headers.extend(stale(&current));
        }
        Ok((found, source(&current)))
    }

    async fn tarball_answer(
        self: &Arc<Self>,
        asked: &Asked,
        name: PackageName,
        file: &str,
    ) -> Result<(Found, AnswerSource), Refusal> {
        self.package_may_be_asked(&name).await?;
        let package = self.package(name);
        let tarball = self.tarball(&package, file).await?;
        let found = Found {
            status: StatusCode::OK,
            headers: vec![
                (
                    CONTENT_TYPE,
                    HeaderValue::from_static("application/octet-stream"),
                ),
                (
                    CACHE_CONTROL,
                    HeaderValue::from_static("public, max-age=31536000, immutable"),
                ),
            ],
            body: FoundBody::File(tarball.file),
        };
        let until = tarball.until.map(|at| Instant::now() + seconds_until(at));
        let manner = Manner {
            here: Here {
                below: "",
                host: "",
            },
            form: Form::Full,
            encoding: Encoding::Identity,
        };
        self.ready.put(&asked.path, manner, until, found.clone());
        let source = match tarball.was_fetched {
            true => AnswerSource::Fetched,
            false => AnswerSource::Kept,
        };
        Ok((found, source))
    }

    fn top(&self, asked: &Asked) -> Result<Found, Refusal> {
        let body = serde_json::json!({
            "registry": format!("{}/", self.here(asked)?),
            "software": concat!("mirrorfleet/", env!("CARGO_PKG_VERSION")),
        });
        Ok(json(StatusCode::OK, body.to_string()))
    }

    /// The registry's address as this client knows it, without a slash at its end.
    fn here(&self, asked: &Asked) -> Result<String, Refusal> {
        let is_host = |host: &str| {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
        };
        if !is_host(&asked.host) {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "the request does not say by which host it asks",
            ));
        }
        let is_public = |url: &&Url| url.authority().eq_ignore_ascii_case(&asked.host);
        if let Some(public) = self.public.iter().find(is_public) {
            return Ok(format!(
                "{}/{}",
                public.as_str().trim_end_matches('/'),
                asked.below
            ));
        }
        let here = format!("http://{}/{}", asked.host.to_ascii_lowercase(), asked.below);
        let now = Instant::now();
        let mut addresses = lock(&self.addresses);
        addresses.retain(|(known, used)| {
            *known != here && now.saturating_duration_since(*used) < ADDRESS_RESTS
        });
        if addresses.len() >= ADDRESSES {
            let text = format!(
                "clients ask this registry by more than {ADDRESSES} addresses within ten minutes; use fewer, or write those that are meant as publicUrl of a region"
            );
            return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, text));
        }
        addresses.push((here.clone(), now));
        Ok(here)
    }

    fn package(&self, name: PackageName) -> Arc<Package> {
        let mut packages = lock(&self.packages);
        if packages.len() >= PACKAGES {
            packages.retain(|_, package| Arc::strong_count(package) > 1);
        }
        packages
            .entry(name.clone())
            .or_insert_with(|| Package::new(name))
            .clone()
    }

    /// Waits for room for a document of so many bytes in memory.
    pub async fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let mebibytes = u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(ROOM);
        let room = self
            .room
            .clone()
            .acquire_many_owned(mebibytes.clamp(1, ROOM))
            .await;
        // It is closed never.
        room.ok()
    }

    /// Does what may wait for the disk or takes long to compute.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(cause) => panic::resume_unwind(cause),
            Err(error) => Err(Refusal::own("this could not be done", &error)),
        })
    }
}

fn source(current: &Current) -> AnswerSource {
    match (current.is_stale, current.was_asked) {
        (true, _) => AnswerSource::Stale,
        (false, true) => AnswerSource::Fetched,
        (false, false) => AnswerSource::Kept,
    }
}

fn stale(current: &Current) -> Vec<(HeaderName, HeaderValue)> {
    let age = crate::now().saturating_sub(current.kept.checked).max(0);
    let since = fleet_types::documents::UnixSeconds(current.kept.checked).to_string();
    let since = HeaderValue::try_from(since)
        .ok()
        .map(|since| (STALE, since));
    since
        .into_iter()
        .chain([(AGE, HeaderValue::from(age))])
        .collect()
}

/// Until the upstream is to be asked again, or another version opens.
fn fresh_until(current: &Current, until: Option<i64>) -> Instant {
    let checked_again = current.kept.checked.saturating_add(FRESH);
    let at = until.map_or(checked_again, |until| until.min(checked_again));
    Instant::now() + seconds_until(at)
}

fn seconds_until(at: i64) -> Duration {
    Duration::from_secs(at.saturating_sub(crate::now()).max(0).unsigned_abs())
}

fn read_only(address: &Address) -> Found {
    let what = match address {
        Address::Advisories => "this route is asked by POST",
        _ => "this registry is a copy that is only read: publish at the registry that it copies",
    };
    let mut found: Found = Refusal::new(StatusCode::FORBIDDEN, what).into();
    found
        .headers
        .push((ALLOW, HeaderValue::from_static("GET, HEAD")));
    found
}

fn unsupported() -> Found {
    Refusal::not_found("this route is for accounts, organisations or publishing, or is audit of an old kind; a copy that is only read has none of them").into()
}

/// Each keeps a descriptor. A small part of those that the process may have; connections and stores have the others.
fn files_to_keep_open() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .unwrap_or(u64::MAX);
    usize::try_from(limit / 16)
        .unwrap_or(usize::MAX)
        .clamp(64, 4096)
}
