//! What the serving pods say about themselves: each is asked at its own address, on the plain metrics port.
//!
//! The pods are asked, not the API server, so this is no load on the cluster; and what clients see is measured where
//! clients are served, never inferred from a Job that succeeded.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use fleet_api::labels::{SERVE, SERVE_AGAIN};
use fleet_plan::build::METRICS_PORT;
use fleet_plan::observed::PodRole;
use fleet_plan::{Answer, SeenPod};
use fleet_telemetry::RunFigures;
use fleet_types::documents::ServedStatus;
use fleet_types::{Order, lock};
use futures::StreamExt;
use http::StatusCode;
use reqwest::redirect::Policy;

use crate::world::ObjectName;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(5);
/// No status document comes near this.
const MAX_BODY: usize = 256 << 10;

/// Asks servers what they serve.
#[derive(Clone)]
pub struct Asker(reqwest::Client);

/// What became of a question.
pub struct Asked {
    pub answer: Answer,
    /// From before the connection was made until the last byte was there.
    pub seconds: f64,
}

impl Asker {
    /// # Errors
    /// There is no cryptography to be had.
    pub fn new(user_agent: &str) -> Result<Self, reqwest::Error> {
        crate::install_crypto();
        let client = reqwest::Client::builder()
            .user_agent(user_agent)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(Policy::none())
            // The pods' addresses are the cluster's own; a proxy for the outside has no business here.
            .no_proxy()
            // A connection that is kept for 30 s costs more than a new one.
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Asker(client))
    }

    /// Asks the pod at `ip` about `mirror`. That it cannot be asked is an answer too.
    pub async fn ask(&self, ip: IpAddr, mirror: &str) -> Asked {
        self.ask_at(SocketAddr::new(ip, METRICS_PORT), mirror).await
    }

    /// Asks the server at `address`; at its port for clients it says less.
    pub async fn ask_at(&self, address: SocketAddr, mirror: &str) -> Asked {
        let url = format!("http://{address}/.mirrorfleet/status/{mirror}");
        let begun = Instant::now();
        let answer = self.fetch(&url).await;
        Asked {
            seconds: begun.elapsed().as_secs_f64(),
            answer: answer
                .unwrap_or_else(|problem| Answer::Unreachable(format!("{url}: {problem}"))),
        }
    }

    async fn fetch(&self, url: &str) -> Result<Answer, String> {
        let asked = unix_seconds();
        let Some(body) = self.body(url).await? else {
            return Ok(Answer::Nothing);
        };
        let mut status: ServedStatus = serde_json::from_slice(&body)
            .map_err(|error| format!("not a status document: {error}"))?;
        // Its clock is compared here and now: it says something else each time.
        let now = status.now.take();
        status.clock_skew = now.map_or(0, |now| skew(now.0, asked, unix_seconds()));
        Ok(Answer::Serves(Box::new(status)))
    }

    /// How far the run of the pod at `ip` is; none where it does not say.
    pub async fn ask_run(&self, ip: IpAddr) -> Option<RunFigures> {
        let address = SocketAddr::new(ip, METRICS_PORT);
        let body = self.body(&format!("http://{address}/metrics")).await;
        RunFigures::parse(&String::from_utf8(body.ok()??).ok()?)
    }

    /// What is at an address; none where nothing is there.
    async fn body(&self, url: &str) -> Result<Option<Vec<u8>>, String> {
        let response = self
            .0
            .get(url)
            .send()
            .await
            .map_err(|error| innermost(&error))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::SERVICE_UNAVAILABLE => return Ok(None),
            status => return Err(format!("the pod answered {status}")),
        }
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            body.extend_from_slice(&chunk.map_err(|error| innermost(&error))?);
            if body.len() > MAX_BODY {
                return Err(format!("the answer is longer than {MAX_BODY} bytes"));
            }
        }
        Ok(Some(body))
    }
}

/// Clocks that differ by no more are well: what compares instants of two of them allows for it.
const TOLERATED_SKEW: i64 = 5;

/// By how many seconds a clock is ahead that said `theirs` at some time between `asked` and `answered`.
fn skew(theirs: i64, asked: i64, answered: i64) -> i64 {
    let skew = theirs - theirs.clamp(asked, answered.max(asked));
    match skew.abs() > TOLERATED_SKEW {
        true => skew,
        false => 0,
    }
}

fn unix_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// The cause that helps a person: reqwest's own words only say that a request failed.
pub fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

/// So many questions in a row must fail before a pod counts as one that cannot be reached; until then what it said stands.
const PATIENCE: u32 = 3;

/// Pods that begin to fail within so long have one cause, if they are most of all.
const TOGETHER: Duration = Duration::from_secs(60);

/// How long after each other a pod is asked that was told what to serve, until it does; then as often as all others.
pub const IMPATIENCE: [Duration; 5] = [
    Duration::from_millis(300),
    Duration::from_millis(300),
    Duration::from_millis(400),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// What was heard of each pod.
#[derive(Default)]
pub struct Answers(Mutex<HashMap<ObjectName, ByPod>>);

/// By the pod's name.
type ByPod = BTreeMap<String, Heard>;

/// What was heard of one pod.
#[derive(Default)]
struct Heard {
    /// The pod's uid: one that follows under its name has said nothing yet.
    uid: String,
    answer: Option<Answer>,
    /// Questions in a row that failed.
    failures: u32,
    /// When the first of them did.
    failing_since: Option<Instant>,
    /// What it was told and did not follow yet, with what said so again, and how often it was asked since.
    told: Option<((Order, Option<String>), usize)>,
}

impl Answers {
    /// The answers of a Mirror's pods by pod name, of the very pods that exist now; none of a pod that there is no way to
    /// ask.
    pub fn of(&self, mirror: &ObjectName, pods: &[SeenPod]) -> BTreeMap<String, Answer> {
        let known = self.known();
        let heard = known.get(mirror);
        let of_pod = |pod: &SeenPod| {
            let heard = heard.and_then(|heard| heard.get(&pod.meta.name));
            let answer = heard.filter(|heard| heard.uid == pod.meta.uid);
            let answer = answer.and_then(|heard| heard.answer.clone());
            let answer = answer.or_else(|| address(pod).map(|_| Answer::NotAsked))?;
            Some((pod.meta.name.clone(), answer))
        };
        pods.iter().filter_map(of_pod).collect()
    }

    /// Notes what came of a question; true where it says something else than before.
    pub fn put(&self, mirror: &ObjectName, pod: &SeenPod, mut answer: Answer) -> bool {
        let mut known = self.known();
        let pods = known.entry(mirror.clone()).or_default();
        let heard = pods.entry(pod.meta.name.clone()).or_default();
        if heard.uid != pod.meta.uid {
            *heard = Heard {
                uid: pod.meta.uid.clone(),
                ..Heard::default()
            };
        }
        match answer {
            Answer::Unreachable(_) => {
                heard.failures += 1;
                heard.failing_since.get_or_insert_with(Instant::now);
            }
            _ => (heard.failures, heard.failing_since) = (0, None),
        }
        if (1..PATIENCE).contains(&heard.failures) {
            return false;
        }
        let changed = (heard.answer.as_ref()).is_none_or(|before| differs(before, &mut answer));
        heard.answer = Some(answer);
        changed
    }

    /// How soon a pod is to be asked again that was told what to serve and does not yet.
    pub fn impatience(
        &self,
        mirror: &ObjectName,
        pod: &SeenPod,
        answer: &Answer,
    ) -> Option<Duration> {
        let told = pod.meta.annotation(SERVE)?.parse::<Order>().ok()?;
        let follows = match answer {
            Answer::Serves(served) => served.order.map_or(0, |order| order.epoch),
            _ => 0,
        };
        let mut known = self.known();
        let heard = known.entry(mirror.clone()).or_default();
        let heard = heard.entry(pod.meta.name.clone()).or_default();
        if follows >= told.epoch {
            heard.told = None;
            return None;
        }
        let told = (told, pod.meta.annotation(SERVE_AGAIN).map(str::to_owned));
        let times = heard.told.take().filter(|(known, _)| *known == told);
        let times = times.map_or(0, |(_, times)| times) + 1;
        heard.told = Some((told, times));
        IMPATIENCE.get(times).copied()
    }

    /// Whether it looks as if it were us who cannot reach anybody: more than half of all pods, two at least, began to fail
    /// within a minute, and still do. One of them has failed so often that it counts; the others were not asked as often yet.
    pub fn are_cut_off(&self) -> bool {
        let known = self.known();
        let heard = || known.values().flat_map(BTreeMap::values);
        let failing = heard().filter_map(|heard| {
            let since = heard.failing_since?;
            Some((since, heard.failures >= PATIENCE))
        });
        let mut failing: Vec<(Instant, bool)> = failing.collect();
        failing.sort_unstable();
        is_sudden(&failing, heard().count())
    }

    /// Forgets the pods of a Mirror that no longer exist.
    pub fn retain(&self, mirror: &ObjectName, pods: &[SeenPod]) {
        let mut known = self.known();
        let Some(answers) = known.get_mut(mirror) else {
            return;
        };
        answers.retain(|name, heard| {
            pods.iter()
                .any(|pod| pod.meta.name == *name && pod.meta.uid == heard.uid)
        });
        if answers.is_empty() {
            known.remove(mirror);
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<ObjectName, ByPod>> {
        lock(&self.0)
    }
}

/// Whether of `all` more than half began to fail within a minute, one of which counts; `failing` in order: since when, and whether it
/// counts.
fn is_sudden(failing: &[(Instant, bool)], all: usize) -> bool {
    let least = (all / 2 + 1).max(2);
    let mut together = failing.windows(least);
    together.any(|some| match (some.first(), some.last()) {
        (Some((first, _)), Some((last, _))) => {
            last.duration_since(*first) <= TOGETHER && some.iter().any(|(_, counts)| *counts)
        }
        _ => false,
    })
}

/// Whether an answer says something else. In what words a pod cannot be reached makes no difference, nor does a use of its
/// volume that has changed by less than a hundredth of it, which is then left as it was.
fn differs(before: &Answer, after: &mut Answer) -> bool {
    match (before, after) {
        (Answer::Serves(before), Answer::Serves(after)) => {
            if let (Some(before), Some(after)) = (&before.storage, &mut after.storage)
                && before.used.abs_diff(after.used) < after.capacity / 100
            {
                after.used = before.used;
            }
            // Requests take their time, and clocks have whole seconds.
            let (then, now) = (before.clock_skew, &mut after.clock_skew);
            if then != 0 && *now != 0 && then.abs_diff(*now) <= 2 {
                *now = then;
            }
            before != after
        }
        (before, after) => std::mem::discriminant(before) != std::mem::discriminant(after),
    }
}

/// Where a pod can be asked; none while there is nobody to ask.
pub fn address(pod: &SeenPod) -> Option<IpAddr> {
    let asked = pod.role == PodRole::Serving && pod.running && !pod.meta.deleting;
    pod.ip.as_deref().filter(|_| asked)?.parse().ok()
}

#[cfg(test)]
mod tests;
