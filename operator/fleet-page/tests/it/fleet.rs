//! Fleets to look at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fleet_api::{Mirror, Upstream};
use fleet_page::{Board, Held, Look, Manner, Seen, Source};
use fleet_plan::score::Score;
use fleet_plan::summary::{Program, Progress};
use http::{Method, Request, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

pub const NOW: &str = "2026-01-02T12:00:00Z";
pub const SNAPSHOT: &str = "5f0c1d2e3b4a59687786958493a2b1c0d9e8f7a6b5c4d3e2f1a0b9c8d7e6f5a4";

pub fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// How a Mirror is.
#[derive(Clone)]
pub struct Sketch {
    pub namespace: String,
    pub name: String,
    pub regions: Vec<String>,
    pub suites: Vec<String>,
    /// Since when it is behind.
    pub behind: Option<&'static str>,
    /// What its last run says, where it failed.
    pub failed: Option<String>,
    pub running: bool,
    pub suspended: bool,
    /// The region that serves nothing.
    pub down: Option<String>,
    /// It is an npm registry.
    pub is_registry: bool,
}

impl Sketch {
    pub fn well(name: &str) -> Sketch {
        Sketch {
            namespace: "mirrors".to_owned(),
            name: name.to_owned(),
            regions: vec!["eu".to_owned()],
            suites: vec!["trixie".to_owned(), "trixie-updates".to_owned()],
            behind: None,
            failed: None,
            running: false,
            suspended: false,
            down: None,
            is_registry: false,
        }
    }

    pub fn failed(name: &str, message: &str) -> Sketch {
        Sketch {
            failed: Some(message.to_owned()),
            behind: Some("2026-01-02T01:00:00Z"),
            ..Sketch::well(name)
        }
    }

    pub fn mirror(&self) -> Mirror {
        let condition = |kind: &str, status: &str, reason: &str| {
            json!({"type": kind, "status": status, "reason": reason, "message": reason,
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1})
        };
        let fresh = match &self.behind {
            Some(_) => condition("Fresh", "False", "Stale"),
            None => condition("Fresh", "True", "Fresh"),
        };
        let region = |name: &String| {
            let mut replica = json!({
                "ready": self.down.as_ref() != Some(name), "snapshot": SNAPSHOT, "lastSuccess": "2026-01-02T00:30:00Z",
                "lastAttempt": {
                    "job": "job-1", "trigger": "Schedule", "reason": "Published", "message": "",
                    "startedAt": "2026-01-02T00:00:00Z", "finishedAt": "2026-01-02T00:30:00Z",
                    "filesFetched": 12, "bytesFetched": 3_500_000, "seconds": 1800,
                },
            });
            if let Some(message) = &self.failed {
                replica["lastAttempt"]["reason"] = json!("SignatureBad");
                replica["lastAttempt"]["message"] = json!(message);
                replica["consecutiveFailures"] = json!(1);
            }
            if self.running {
                replica["currentRun"] = json!({"job": "job-2", "trigger": "Schedule", "startedAt": "2026-01-02T11:50:00Z"});
            }
            json!({
                "name": name, "state": if self.behind.is_some() { "Stale" } else { "Serving" },
                "supersededAt": self.behind, "replicas": [replica],
                "url": format!("https://{name}.example.org/{}/", self.name),
            })
        };
        let regions: Vec<Value> = self.regions.iter().map(region).collect();
        let declared: Vec<Value> = self
            .regions
            .iter()
            .map(|name| json!({"name": name}))
            .collect();
        let unit = |name: &String| json!({"snapshot": SNAPSHOT, "unit": name, "digest": SNAPSHOT, "date": "2026-01-01T20:00:00Z"});
        let units: Vec<Value> = self.suites.iter().map(unit).collect();
        let mut mirror = json!({
            "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Mirror",
            "metadata": {"name": self.name, "namespace": self.namespace, "generation": 1, "uid": "u"},
            "spec": {
                "upstreamRef": {"name": "debian"}, "storage": {"size": "1Gi"}, "regions": declared,
                "suspend": self.suspended,
                "content": {"debian": {"suites": self.suites, "components": ["main"], "architectures": ["amd64"]}},
            },
            "status": {
                "observedGeneration": 1, "state": if self.behind.is_some() { "Serving,Stale" } else { "Serving" },
                "supersededAt": self.behind, "snapshot": SNAPSHOT, "nextSyncTime": "2026-01-02T12:17:00Z",
                "regions": regions,
                "snapshots": [{"id": SNAPSHOT, "created": "2026-01-02T00:29:00Z", "revisionDate": "2026-01-01T20:00:00Z", "regions": 1,
                    "bytes": 640_000_000_000_i64, "changes": {"added": 14, "changed": 6, "removed": 9}}],
                "units": units,
                "conditions": [
                    condition("Ready", "True", "Ready"), condition("Verified", "True", "Verified"), fresh,
                    condition("Serving", "True", "Serving"), condition("StorageReady", "True", "VolumeBound"),
                ],
            },
        });
        if self.is_registry {
            mirror["spec"]["content"] = json!({"npm": {}});
            mirror["spec"]["mode"] = json!("PullThrough");
            let told = &mut mirror["status"];
            for field in ["snapshots", "units"] {
                told[field] = json!([]);
            }
            for field in ["snapshot", "nextSyncTime"] {
                told[field] = json!(null);
            }
            for region in told["regions"].as_array_mut().unwrap() {
                region["replicas"] = json!([{"ready": true}]);
            }
        }
        serde_json::from_value(mirror).unwrap()
    }
}

pub fn upstream() -> Upstream {
    serde_json::from_value(json!({
        "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Upstream", "metadata": {"name": "debian"},
        "spec": {
            "type": "Debian",
            "authority": {"url": "https://deb.example.org/0123456789abcdef0123/debian/"},
            "trust": {"keyringRef": {"kind": "Secret", "name": "debian-keyring", "key": "keyring.gpg"}},
        },
        "status": {"endpoints": [
            {"name": "fr", "state": "Unreachable", "since": "2026-01-01T00:00:00Z", "message": "nothing could be read"},
            {"name": "nl", "state": "Reachable", "since": "2026-01-01T00:00:00Z", "revisionDate": "2026-01-01T00:00:00Z",
                "behind": [{"unit": "trixie", "digest": "00", "supersededAt": "2026-01-01T06:00:00Z"}]},
        ]},
    }))
    .unwrap()
}

/// Tells always the same.
pub struct Painted {
    pub look: Look,
    pub looks: Arc<AtomicUsize>,
    /// Of the regions of each Mirror, by region.
    pub scores: BTreeMap<String, Score>,
}

impl Source for Painted {
    fn look(&self, _: Timestamp) -> Look {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.look.clone()
    }

    fn scores(&self, _: &str, _: &str, _: Timestamp) -> BTreeMap<String, Score> {
        self.scores.clone()
    }
}

pub fn seen(sketch: &Sketch) -> Seen {
    Seen {
        namespace: sketch.namespace.clone(),
        name: sketch.name.clone(),
        versions: (1, 1),
        mirror: Arc::new(sketch.mirror()),
        upstream: Some(Arc::new(upstream()) as Arc<dyn Held<Upstream>>),
    }
}

pub fn board(sketches: &[Sketch], fixed_words: bool) -> (Board, Arc<AtomicUsize>) {
    let looks = Arc::new(AtomicUsize::new(0));
    let source = Painted {
        look: look(sketches),
        looks: looks.clone(),
        scores: BTreeMap::new(),
    };
    (Board::new(Box::new(source), manner(fixed_words)), looks)
}

/// The same where checks of regions came to this.
pub fn scored(
    sketches: &[Sketch],
    scores: impl IntoIterator<Item = (&'static str, Score)>,
) -> Board {
    let scores = scores.into_iter();
    let source = Painted {
        look: look(sketches),
        looks: Arc::default(),
        scores: scores
            .map(|(region, score)| (region.to_owned(), score))
            .collect(),
    };
    Board::new(Box::new(source), manner(false))
}

pub fn look(sketches: &[Sketch]) -> Look {
    let mut look = Look {
        complete: true,
        teller: "the controller".to_owned(),
        mirrors: sketches.iter().map(seen).collect(),
        ..Look::default()
    };
    for sketch in sketches.iter().filter(|sketch| sketch.running) {
        let progress = Progress {
            phase: "fetch".to_owned(),
            planned_bytes: 3_400_000_000,
            received_bytes: 1_462_000_000,
            planned_files: 1213,
            received_files: 430,
        };
        let key = (sketch.namespace.clone(), sketch.name.clone());
        look.progress
            .insert(key, [("job-2".to_owned(), progress)].into());
    }
    look
}

pub fn manner(fixed_words: bool) -> Manner {
    Manner {
        program: Some(Program {
            name: "kubectl mirrorfleet".to_owned(),
            cluster: Vec::new(),
        }),
        fixed_words,
    }
}

pub fn get(board: &Board, path: &str) -> Response<bytes::Bytes> {
    get_with(board, path, &[])
}

pub fn get_with(board: &Board, path: &str, headers: &[(&str, &str)]) -> Response<bytes::Bytes> {
    let mut request = Request::builder().method(Method::GET).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    fleet_page::answer(board, &head, now())
}

pub fn text(answer: &Response<bytes::Bytes>) -> &str {
    std::str::from_utf8(answer.body()).unwrap()
}
