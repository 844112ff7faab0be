//! Jobs that ask an Upstream which needs a Secret: when they begin, what they are given, what is believed of what they tell.

use fleet_api::labels;
use fleet_api::upstream::{EndpointState, Upstream};
use fleet_plan::observed::{JobEnd, RunEnd, Trouble};
use fleet_plan::{
    Errand, ObservedUpstream, ProbeAnswer, Prober, SeenJob, SeenPod, SeenWarning, Settings,
    UpstreamPlan, plan_upstream,
};
use fleet_types::Reason;
use fleet_types::documents::{ProbeFailure, ProbeReport, ProbedEndpoint, ProbedUnit};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use serde_json::json;

use crate::model::{SUITE, at, digest, mirror, upstream};

pub(crate) const INTERVAL: SignedDuration = SignedDuration::from_mins(30);

pub(crate) struct World {
    pub now: Timestamp,
    pub upstream: Upstream,
    pub seen: ObservedUpstream,
    /// Made so far.
    pub made: Vec<Job>,
    pub writes: usize,
}

impl World {
    pub fn new() -> World {
        let mut upstream = upstream();
        upstream.status = None;
        upstream.metadata.uid = Some("upstream-uid".to_owned());
        upstream.metadata.generation = Some(1);
        let access =
            json!({"credentialsRef": {"name": "login"}, "caBundleRef": {"name": "authority"}});
        upstream.spec.access = serde_json::from_value(access).unwrap();
        let settings = Settings {
            image: "registry.example.org/mirrorfleet:1".to_owned(),
            ..Settings::default()
        };
        World {
            now: at("2026-01-01T10:00:00Z"),
            upstream,
            seen: ObservedUpstream {
                units: vec![SUITE.to_owned()],
                prober: Prober {
                    errand: Errand::of([&mirror(&["eu"]), &mirror(&["us"])], &settings),
                    ..Prober::default()
                },
                ..ObservedUpstream::default()
            },
            made: Vec::new(),
            writes: 0,
        }
    }

    pub fn plan(&mut self) -> UpstreamPlan {
        self.seen.now = self.now;
        plan_upstream(&self.upstream, &self.seen)
    }

    /// As the controller does it.
    pub fn turn(&mut self) {
        if let Some(heard) = self.seen.prober.heard(&self.upstream) {
            let mut told = heard
                .authority
                .into_iter()
                .filter(|_| !self.is_heard(&heard.job));
            let probes = told.by_ref().map(|(unit, answer)| {
                let last = self.seen.probes.iter().find(|probe| probe.unit == unit);
                fleet_plan::Probe::after(last, unit, heard.at, answer)
            });
            let probes: Vec<_> = probes.collect();
            if !probes.is_empty() {
                self.seen.probes = probes;
            }
            for (name, answers) in heard.endpoints {
                let probes = answers.into_iter();
                let probes = probes
                    .map(|(unit, answer)| fleet_plan::Probe::after(None, unit, heard.at, answer));
                self.seen.endpoints.insert(name, probes.collect());
            }
        }
        let plan = self.plan();
        if let Some(job) = plan.prober.start {
            self.made.push((*job).clone());
            let mut seen = SeenJob::from(&*job);
            seen.meta.uid = format!("job-{}", self.made.len());
            seen.meta.created_at = Some(self.now);
            self.seen.prober.jobs.push(seen);
        }
        let remove = plan.prober.remove;
        (self.seen.prober.jobs).retain(|job| !remove.iter().any(|(_, uid)| *uid == job.meta.uid));
        self.writes += usize::from(plan.status_changed);
        self.upstream.status = Some(plan.status);
    }

    /// Whether this is what the probes are from.
    fn is_heard(&self, job: &str) -> bool {
        let job = self.seen.prober.jobs.iter().find(|it| it.meta.uid == job);
        let at = job.and_then(|job| job.meta.created_at);
        self.seen.probes.iter().any(|probe| Some(probe.at) == at)
    }

    /// The last Job ends with this word.
    fn ends(&mut self, message: &str, exit_code: i32) {
        self.now += SignedDuration::from_secs(20);
        let job = self.seen.prober.jobs.last_mut().unwrap();
        job.end = Some(JobEnd {
            succeeded: exit_code == 0,
            at: Some(self.now),
            message: "Job has reached the specified backoff limit".to_owned(),
        });
        let pod = SeenPod {
            job: Some(job.meta.name.clone()),
            end: Some(RunEnd {
                exit_code,
                at: Some(self.now),
                message: message.to_owned(),
                reason: "Error".to_owned(),
            }),
            ..SeenPod::default()
        };
        self.seen.prober.pods.push(pod);
        self.turn();
    }

    pub fn tells(&mut self, report: &ProbeReport) {
        self.ends(&report.to_termination_message(), 0);
    }

    pub fn reachable(&self) -> (String, String, String) {
        let status = self.upstream.status.as_ref().unwrap();
        let mut all = status.conditions.iter();
        let found = all.find(|found| found.type_ == "Reachable").unwrap();
        (
            found.status.clone(),
            found.reason.clone(),
            found.message.clone(),
        )
    }
}

pub(crate) fn unit(state: u8) -> ProbedUnit {
    ProbedUnit {
        unit: SUITE.to_owned(),
        digest: digest(state).to_string(),
        date: Some(at("2026-01-01T00:00:00Z").as_second() + i64::from(state)),
        failure: None,
    }
}

pub(crate) fn has(state: u8) -> ProbeReport {
    ProbeReport {
        units: vec![unit(state)],
        ..ProbeReport::default()
    }
}

#[test]
fn a_job_asks_at_once_and_then_each_half_hour_one_at_a_time_and_a_quiet_authority_is_not_written_about()
 {
    let mut world = World::new();
    assert_eq!(
        world.plan().probe,
        Vec::<String>::new(),
        "the controller may not"
    );
    world.turn();
    world.turn();
    assert_eq!(world.made.len(), 1, "one at a time");
    world.tells(&has(1));
    assert_eq!(world.reachable().0, "True");
    let status = world.upstream.status.clone().unwrap();
    assert_eq!(status.revision[0].digest, digest(1).to_string());
    let (began, writes) = (at("2026-01-01T10:00:00Z"), world.writes);
    // The pod's last word may come late; then the next Job.
    world.now += SignedDuration::from_mins(5);
    assert_eq!(world.plan().wake_at, Some(began + INTERVAL));
    for round in 2..6 {
        world.now = began + INTERVAL * (round - 1);
        world.turn();
        assert_eq!(world.made.len(), usize::try_from(round).unwrap());
        assert_eq!(
            world.seen.prober.jobs.len(),
            2,
            "the last one stays while the next one asks"
        );
        world.tells(&has(1));
        world.turn();
        assert_eq!(world.seen.prober.jobs.len(), 1);
        assert_eq!(world.writes, writes, "nothing changed");
    }
    let names: std::collections::BTreeSet<_> =
        world.made.iter().map(|job| &job.metadata.name).collect();
    assert_eq!(names.len(), world.made.len());
    // A controller that knows nothing yet does not ask before its time, and knows what the last Job told.
    world.seen.probes.clear();
    world.turn();
    assert_eq!((world.made.len(), world.writes), (5, writes));
    // An interval of more than half an hour counts, and an edit asks at once.
    world.upstream.spec.probe = serde_json::from_value(json!({"interval": "2h"})).unwrap();
    world.now += INTERVAL * 2;
    world.turn();
    assert_eq!(world.made.len(), 5);
    world.upstream.metadata.generation = Some(2);
    world.seen.probes.clear();
    world.turn();
    assert_eq!(world.made.len(), 6);
}

#[test]
fn what_a_job_saw_change_is_superseded_since_it_was_last_seen() {
    let mut world = World::new();
    world.turn();
    world.tells(&has(1));
    world.now = at("2026-01-01T10:30:00Z");
    world.turn();
    world.tells(&has(2));
    let unit = &world.upstream.status.as_ref().unwrap().revision[0];
    assert_eq!(unit.digest, digest(2).to_string());
    assert_eq!(
        unit.observed_at.as_ref().unwrap().0,
        at("2026-01-01T10:30:00Z")
    );
    assert_eq!(unit.history[0].superseded_at.0, at("2026-01-01T10:00:00Z"));
}

#[test]
fn a_job_gets_the_secret_by_reference_no_keyring_no_claim_no_token_and_only_what_is_declared() {
    let mut world = World::new();
    world.turn();
    let job = serde_json::to_value(&world.made[0]).unwrap();
    let pod = &job["spec"]["template"]["spec"];
    let text = pod["volumes"].to_string();
    assert!(
        text.contains("\"login\"") && text.contains("\"authority\""),
        "{text}"
    );
    assert!(
        !text.contains("persistentVolumeClaim") && !text.contains("keyring"),
        "{text}"
    );
    assert_eq!(pod["automountServiceAccountToken"], json!(false));
    let container = &pod["containers"][0];
    assert_eq!(
        container["securityContext"]["readOnlyRootFilesystem"],
        json!(true)
    );
    assert_eq!(
        container["image"],
        json!("registry.example.org/mirrorfleet:1")
    );
    let args = container["args"].to_string();
    assert!(
        args.contains("\"probe\"") && args.contains(&format!("\"--unit\",\"{SUITE}\"")),
        "{args}"
    );
    let annotations = &job["spec"]["template"]["metadata"]["annotations"];
    let manifests = annotations[labels::RUN_MANIFESTS].as_str().unwrap();
    assert_eq!(
        manifests.split("---").count(),
        2,
        "two Mirrors that declare the same: {manifests}"
    );
    let owner = &job["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["uid"]),
        (&json!("Upstream"), &json!("upstream-uid"))
    );
    // It is nobody's run: no Upstream's turn, no Mirror's object.
    let labels = job["metadata"]["labels"].as_object().unwrap();
    assert!(!labels.contains_key(labels::UPSTREAM) && !labels.contains_key(labels::MIRROR));
}

#[test]
fn jobs_go_when_nothing_is_asked_for_or_no_secret_is_needed() {
    let mut world = World::new();
    world.turn();
    world.tells(&has(1));
    let known = world.seen.prober.jobs[0].meta.uid.clone();
    world.seen.units.clear();
    let removed = |plan: UpstreamPlan| {
        plan.prober
            .remove
            .into_iter()
            .map(|(_, uid)| uid)
            .collect::<Vec<_>>()
    };
    assert_eq!(removed(world.plan()), std::slice::from_ref(&known));
    world.seen.units = vec![SUITE.to_owned()];
    world.upstream.spec.access = Default::default();
    let plan = world.plan();
    assert_eq!(plan.probe, Vec::<String>::new(), "it was asked just now");
    assert_eq!(removed(plan), [known]);
}

#[test]
fn only_so_many_jobs_of_a_cluster_ask_at_once() {
    let mut world = World::new();
    world.seen.prober.running_elsewhere = 8;
    let plan = world.plan();
    assert!(plan.prober.start.is_none());
    assert_eq!(
        plan.wake_at,
        Some(world.now + SignedDuration::from_secs(15))
    );
    world.seen.prober.running_elsewhere = 7;
    assert!(world.plan().prober.start.is_some());
}

#[test]
fn more_units_than_a_job_can_tell_of_are_asked_for_in_turn() {
    let mut world = World::new();
    let units: Vec<String> = (0..20).map(|number| format!("suite-{number:02}")).collect();
    world.seen.units = units.clone();
    let asked = |job: &Job| {
        let text = serde_json::to_value(job).unwrap()["spec"]["template"]["spec"]["containers"][0]
            ["args"]
            .to_string();
        units
            .iter()
            .filter(|unit| text.contains(*unit))
            .cloned()
            .collect::<Vec<_>>()
    };
    world.turn();
    let first = asked(&world.made[0]);
    assert_eq!(first, units[..ProbeReport::UNITS]);
    let told = first.iter().map(|name| ProbedUnit {
        unit: name.clone(),
        ..unit(1)
    });
    world.tells(&ProbeReport {
        units: told.collect(),
        ..ProbeReport::default()
    });
    world.now += INTERVAL;
    world.turn();
    let second = asked(&world.made[1]);
    assert!(
        units[ProbeReport::UNITS..]
            .iter()
            .all(|unit| second.contains(unit)),
        "{second:?}"
    );
}

/// What is wrong, where, and what helps.
#[test]
fn a_job_that_could_not_ask_says_so_in_the_condition_until_one_could() {
    let mut world = World::new();
    world.turn();
    let name = world.made[0].metadata.name.clone().unwrap();
    let failed = |world: &World, words: &[&str]| {
        let (status, reason, message) = world.reachable();
        assert_eq!(
            (status.as_str(), reason.as_str()),
            ("False", "ProbeFailed"),
            "{message}"
        );
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    // It does not begin: after two minutes somebody should know why.
    world.seen.prober.pods = vec![SeenPod {
        job: Some(name.clone()),
        trouble: Some(Trouble {
            reason: "ErrImagePull".to_owned(),
            message: "no such image".to_owned(),
        }),
        ..SeenPod::default()
    }];
    world.turn();
    assert_eq!(world.reachable().0, "Unknown");
    let woken = world.plan().wake_at;
    assert_eq!(woken, Some(world.now + SignedDuration::from_mins(2)));
    world.now += SignedDuration::from_mins(3);
    world.turn();
    failed(
        &world,
        &[
            &name,
            "ErrImagePull",
            "no such image",
            "kubectl describe job",
        ],
    );
    // Its deadline ends it with its pod; what was said says more.
    world.seen.prober.pods.clear();
    let job = world.seen.prober.jobs.last_mut().unwrap();
    job.end = Some(JobEnd {
        succeeded: false,
        at: Some(world.now),
        message: "Job was active longer than specified deadline".to_owned(),
    });
    world.turn();
    failed(&world, &["ErrImagePull"]);
    // The next one crashes.
    world.now += INTERVAL;
    world.turn();
    failed(&world, &["ErrImagePull"]);
    world.ends("thread main panicked\n", 101);
    failed(&world, &["exit code 101", "panicked"]);
    // One that has no pod to tell of it.
    world.now += INTERVAL;
    world.turn();
    world.seen.prober.pods.clear();
    let job = world.seen.prober.jobs.last().unwrap().meta.uid.clone();
    world.seen.prober.warnings = vec![SeenWarning {
        uid: job,
        message: "exceeded quota: pods".to_owned(),
        at: None,
    }];
    world.now += SignedDuration::from_mins(3);
    world.turn();
    failed(&world, &["exceeded quota"]);
    world.seen.prober.warnings.clear();
    world.tells(&has(1));
    assert_eq!(world.reachable().0, "True");
    // It could not be made at all.
    world.now += INTERVAL;
    world.seen.prober.refused = Some("Job x is refused by the cluster: no".to_owned());
    world.turn();
    failed(&world, &["cannot be made", "refused by the cluster"]);
}

#[test]
fn a_secret_that_is_missing_is_told_with_its_own_reason_and_stalls_nothing_else() {
    let mut world = World::new();
    world.turn();
    world.tells(&ProbeReport {
        failure: Some(ProbeFailure {
            reason: Reason::CredentialsNotFound,
            message: "the credentials: Secret \"login\" is missing".to_owned(),
        }),
        ..ProbeReport::default()
    });
    let (status, reason, message) = world.reachable();
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "CredentialsNotFound")
    );
    assert!(message.contains("login"));
}

#[test]
fn an_authority_that_refuses_is_told_unit_by_unit_and_a_lost_word_is_waited_for() {
    let mut world = World::new();
    world.turn();
    let refused = ProbedUnit {
        digest: String::new(),
        date: None,
        failure: Some(ProbeFailure {
            reason: Reason::UpstreamForbidden,
            message: "https://a.example.org/: answered 401".to_owned(),
        }),
        ..unit(1)
    };
    world.tells(&ProbeReport {
        units: vec![refused],
        ..ProbeReport::default()
    });
    let (status, reason, message) = world.reachable();
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "UpstreamForbidden")
    );
    assert!(
        message.contains(SUITE) && message.contains("401"),
        "{message}"
    );
    world.now += INTERVAL;
    world.turn();
    world.seen.prober.pods.clear();
    let job = world.seen.prober.jobs.last_mut().unwrap();
    job.end = Some(JobEnd {
        succeeded: false,
        at: Some(world.now),
        message: String::new(),
    });
    world.turn();
    assert_eq!(
        world.reachable().1,
        "UpstreamForbidden",
        "the pod is not seen yet"
    );
    world.now += SignedDuration::from_secs(61);
    world.turn();
    assert_eq!(world.reachable().1, "ProbeFailed");
    // One that was heard loses nothing with its pod.
    let job = world.seen.prober.jobs.last().unwrap().meta.uid.clone();
    world.seen.prober.heard = Some(job);
    world.turn();
    assert_eq!(world.reachable().1, "UpstreamForbidden");
}

#[test]
fn what_a_job_heard_of_endpoints_is_judged_as_what_the_controller_hears() {
    let mut world = World::new();
    let endpoints = json!([{"name": "fr", "url": "https://fr.example.org/debian/"}, {"name": "de", "url": "https://de.example.org/debian/"}]);
    world.upstream.spec.endpoints = serde_json::from_value(endpoints).unwrap();
    let told = |state: u8, older: u8| ProbeReport {
        endpoints: vec![
            ProbedEndpoint {
                name: "fr".to_owned(),
                others: vec![unit(older)],
                untold: vec![],
            },
            ProbedEndpoint {
                name: "de".to_owned(),
                ..ProbedEndpoint::default()
            },
        ],
        ..has(state)
    };
    world.turn();
    world.tells(&told(1, 1));
    world.now += INTERVAL;
    world.turn();
    world.tells(&told(2, 1));
    let endpoints = world.upstream.status.clone().unwrap().endpoints;
    assert!(
        endpoints
            .iter()
            .all(|it| it.state == EndpointState::Reachable),
        "{endpoints:?}"
    );
    let behind = |at: usize| {
        endpoints[at]
            .behind
            .first()
            .map(|unit| unit.superseded_at.0)
    };
    assert_eq!(
        (behind(0), behind(1)),
        (Some(at("2026-01-01T10:00:00Z")), None)
    );
    let heard = world.seen.prober.heard(&world.upstream).unwrap();
    assert!(
        matches!(&heard.endpoints["de"][..], [(unit, ProbeAnswer::Has { .. })] if unit == SUITE)
    );
}
