//! What the serving pods say about themselves: each is asked at its own address, on the plain metrics port.
//!
//! The pods are asked, not the API server, so this is no load on the cluster; and what clients see is measured where
//! clients are served, never inferred from a Job that succeeded.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use fleet_api::labels::SERVE;
use fleet_plan::build::METRICS_PORT;
use fleet_plan::observed::PodRole;
use fleet_plan::{Answer, SeenPod};
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

/// Asks pods.
#[derive(Clone)]
pub struct Asker(reqwest::Client);

impl Asker {
    pub fn new(user_agent: &str) -> Result<Self, reqwest::Error> {
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
    pub async fn ask(&self, ip: IpAddr, mirror: &str) -> Answer {
        self.ask_at(SocketAddr::new(ip, METRICS_PORT), mirror).await
    }

    async fn ask_at(&self, address: SocketAddr, mirror: &str) -> Answer {
        let url = format!("http://{address}/.mirrorfleet/status/{mirror}");
        match self.fetch(&url).await {
            Ok(answer) => answer,
            Err(problem) => Answer::Unreachable(format!("{url}: {problem}")),
        }
    }

    async fn fetch(&self, url: &str) -> Result<Answer, String> {
        let response = self
            .0
            .get(url)
            .send()
            .await
            .map_err(|error| innermost(&error))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::SERVICE_UNAVAILABLE => return Ok(Answer::Nothing),
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
        let status: ServedStatus = serde_json::from_slice(&body)
            .map_err(|error| format!("not a status document: {error}"))?;
        Ok(Answer::Serves(Box::new(status)))
    }
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
    /// What it was told and did not follow yet, and how often it was asked since.
    told: Option<(Order, usize)>,
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
            Answer::Unreachable(_) => heard.failures += 1,
            _ => heard.failures = 0,
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
        let times = heard.told.filter(|(known, _)| *known == told);
        let times = times.map_or(0, |(_, times)| times) + 1;
        heard.told = Some((told, times));
        IMPATIENCE.get(times).copied()
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
mod tests {
    use super::*;
    use fleet_types::documents::StorageUse;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers one connection with `response` and gives back what was asked.
    async fn pod(response: Vec<u8>) -> (SocketAddr, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            // The client may hang up early; that is what some cases are about.
            let _ = stream.write_all(&response).await;
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        (address, task)
    }

    fn asker() -> Asker {
        crate::install_crypto();
        Asker::new("mirrorfleet/test").unwrap()
    }

    fn response(status: &str, body: &str) -> Vec<u8> {
        format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    #[tokio::test]
    async fn a_pod_is_asked_for_its_mirror_and_its_answer_is_read() {
        let (address, task) = pod(response(
            "200 OK",
            r#"{"mirror":"debian","snapshot":"ab","newer":1}"#,
        ))
        .await;
        let answer = asker().ask_at(address, "debian").await;
        assert!(
            matches!(answer, Answer::Serves(status) if status.snapshot.as_deref() == Some("ab"))
        );
        assert!(
            task.await
                .unwrap()
                .starts_with("GET /.mirrorfleet/status/debian HTTP/1.1\r\n")
        );
    }

    #[tokio::test]
    async fn a_pod_without_a_store_says_so_and_a_broken_one_is_unreachable() {
        for status in ["404 Not Found", "503 Service Unavailable"] {
            let (address, _task) = pod(response(status, "")).await;
            assert!(matches!(
                asker().ask_at(address, "debian").await,
                Answer::Nothing
            ));
        }
        let redirect =
            b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n"
                .to_vec();
        for broken in [
            response("200 OK", "<html>"),
            response("500 Oops", ""),
            redirect,
            b"SSH-2.0\r\n".to_vec(),
        ] {
            let (address, _task) = pod(broken).await;
            assert!(matches!(
                asker().ask_at(address, "debian").await,
                Answer::Unreachable(_)
            ));
        }
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_and_nobody_there_is_unreachable() {
        let (address, _task) = pod(response("200 OK", &"[".repeat(MAX_BODY + 1))).await;
        let answer = asker().ask_at(address, "debian").await;
        assert!(matches!(answer, Answer::Unreachable(text) if text.contains("longer than")));
        let free = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        assert!(matches!(
            asker().ask_at(free, "debian").await,
            Answer::Unreachable(_)
        ));
    }

    #[test]
    fn an_answer_counts_for_the_very_pod_that_gave_it() {
        let mirror = ObjectName::new("ns", "debian");
        let named = |uid: &str| {
            let mut pod = SeenPod::default();
            pod.meta.name = "debian-0".into();
            pod.meta.uid = uid.into();
            (pod.role, pod.running) = (PodRole::Serving, true);
            pod.ip = Some("192.0.2.1".into());
            pod
        };
        let answers = Answers::default();
        assert!(answers.put(&mirror, &named("1"), Answer::Nothing));
        assert!(!answers.put(&mirror, &named("1"), Answer::Nothing));
        let unreachable = |words: &str| {
            let answer = Answer::Unreachable(words.to_owned());
            answers.put(&mirror, &named("1"), answer)
        };
        let told = |uid| answers.of(&mirror, &[named(uid)]).into_values().next();
        assert!(!unreachable("a") && !unreachable("b"));
        assert!(
            matches!(told("1"), Some(Answer::Nothing)),
            "what it said stands"
        );
        assert!(unreachable("c") && !unreachable("d"));
        assert!(matches!(told("1"), Some(Answer::Unreachable(_))));
        assert!(matches!(told("2"), Some(Answer::NotAsked)));
        assert!(answers.put(&mirror, &named("1"), Answer::Nothing));
        assert!(!unreachable("a") && !unreachable("b"), "counted anew");
        answers.retain(&mirror, &[named("2")]);
        assert!(answers.known().is_empty());
        let mut ended = named("1");
        ended.running = false;
        assert!(answers.of(&mirror, &[ended]).is_empty(), "nobody to ask");
    }

    #[test]
    fn a_pod_is_asked_again_soon_until_it_follows_and_not_for_ever() {
        let mirror = ObjectName::new("ns", "debian");
        let answers = Answers::default();
        let id = fleet_types::Sha256([1; 32]);
        let order = |epoch| Order {
            epoch,
            snapshot: id,
        };
        let told = |epoch: u64| {
            let mut pod = SeenPod::default();
            let text = order(epoch).to_string();
            pod.meta.annotations.insert(SERVE.to_owned(), text);
            pod
        };
        let follows = |epoch| {
            Answer::Serves(Box::new(ServedStatus {
                order: Some(order(epoch)),
                ..ServedStatus::default()
            }))
        };
        let asks = |told: &SeenPod, answer: &Answer| answers.impatience(&mirror, told, answer);
        assert_eq!(
            asks(&SeenPod::default(), &Answer::Nothing),
            None,
            "nothing was told"
        );
        for wait in &IMPATIENCE[1..] {
            assert_eq!(asks(&told(2), &follows(1)), Some(*wait));
        }
        assert_eq!(asks(&told(2), &follows(1)), None, "it has its time");
        assert_eq!(
            asks(&told(3), &Answer::Nothing),
            Some(IMPATIENCE[1]),
            "told anew"
        );
        assert_eq!(asks(&told(3), &follows(3)), None);
        assert_eq!(asks(&told(3), &follows(4)), None);
    }

    #[test]
    fn what_a_volume_holds_counts_when_it_has_changed_by_a_hundredth() {
        let (mirror, pod) = (ObjectName::new("ns", "debian"), SeenPod::default());
        let answers = Answers::default();
        let uses = |used: u64| {
            let storage = StorageUse {
                used,
                capacity: 1000,
            };
            let served = ServedStatus {
                storage: Some(storage),
                ..ServedStatus::default()
            };
            answers.put(&mirror, &pod, Answer::Serves(Box::new(served)))
        };
        assert!(uses(500));
        assert!(
            !uses(506) && !uses(494),
            "as others write to a shared volume"
        );
        assert!(uses(510), "counted from what was last told");
        assert!(!uses(515) && uses(520));
    }
}
