//! The names under which regions tell of themselves, in their trace files.

use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

use super::together::{SECOND, jobs};
use super::{creates_job, serving};
use crate::model::World;

fn region(job: &Job) -> &str {
    &job.metadata.labels.as_ref().unwrap()["mirrorfleet.dev/region"]
}

/// What an argument of a run says.
fn argument(job: &Job, flag: &str) -> Option<String> {
    let pod = job.spec.as_ref()?.template.spec.as_ref()?;
    let mut arguments = pod.containers[0].args.as_ref()?.iter();
    arguments.find(|argument| *argument == flag)?;
    arguments.next().cloned()
}

/// Which regions run next, and by which name each calls whom it follows.
fn next(world: &World) -> Vec<(String, Option<String>)> {
    let jobs = jobs(&world.plan().writes);
    let told = jobs.iter().map(|job| {
        assert_eq!(argument(job, "--region").as_deref(), Some(region(job)));
        (region(job).to_owned(), argument(job, "--followed"))
    });
    told.collect()
}

fn with(eu: Value, us: Value) -> Value {
    let of = |name: &str, more: Value| {
        let mut region = json!({"name": name});
        let more = more.as_object().unwrap().clone();
        region.as_object_mut().unwrap().extend(more);
        region
    };
    let mut us = of("us", us);
    us["follows"] = json!("eu");
    json!([of("eu", eu), us])
}

#[test]
fn a_name_of_its_own_is_brought_by_its_own_run_and_known_to_those_that_follow() {
    let mut world = serving(&["eu", "us<eu"]);
    assert_eq!(creates_job(&world), None);
    world.edit(
        "/spec/regions",
        with(json!({}), json!({"traceName": "us.example.org"})),
    );
    let eu = |name: &str| ("us".to_owned(), Some(name.to_owned()));
    assert_eq!(
        next(&world),
        [eu("eu")],
        "the region that says nothing has no run"
    );
    world.settle();
    assert_eq!(creates_job(&world), None);

    // By where clients reach it, and that may be said otherwise.
    for (told, name) in [
        (
            json!({"publicUrl": "https://eu.example.org/mirrors/"}),
            "eu.example.org",
        ),
        (
            json!({"publicUrl": "https://eu.example.org/", "traceName": "eu-1.example.org"}),
            "eu-1.example.org",
        ),
    ] {
        world.edit(
            "/spec/regions",
            with(told, json!({"traceName": "us.example.org"})),
        );
        assert_eq!(next(&world), [("eu".to_owned(), None)], "{name}");
        world.settle();
        assert_eq!(creates_job(&world), None, "{name}");
    }
    world.hub_prepares(SECOND);
    world.objects.jobs.clear();
    for region in &mut world.mirror.status.as_mut().unwrap().regions {
        region.replicas[0].current_run = None;
    }
    assert_eq!(next(&world), [eu("eu-1.example.org")]);
}

#[test]
fn the_name_of_all_regions_goes_before_a_url_and_a_url_without_a_name_says_nothing() {
    let mut world = serving(&["eu"]);
    world.edit("/spec/serving", json!({"traceName": "mirror.example.org"}));
    assert_eq!(creates_job(&world).as_deref(), Some("SpecChange"));
    world.settle();
    for url in ["https://eu.example.org/", "http://[2001:db8::1]/"] {
        world.edit("/spec/regions", json!([{"name": "eu", "publicUrl": url}]));
        assert_eq!(creates_job(&world), None, "{url}");
    }
    world.edit("/spec/serving", json!({}));
    world.settle();
    world.edit("/spec/regions", json!([{"name": "eu"}]));
    assert_eq!(
        creates_job(&world),
        None,
        "an address of six groups names no file"
    );
}
