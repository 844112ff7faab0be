//! Failures that stay where they are.

use super::*;

#[tokio::test]
async fn a_region_whose_write_fails_holds_up_no_other_region() {
    let api = Api::default();
    api.upstream("debian", &["trixie"]);
    api.mirror(manifest("debian", "debian", "trixie", &["eu", "us"]));
    let [eu, us] = ["eu", "us"].map(|region| names::child_name("debian", region));
    api.refuse(&format!("services/{eu}"));
    let mut leader = Leader::new(&api);
    leader.rest().await;
    let made = |plural: &str| -> Vec<String> {
        let made = api.all(plural).into_iter();
        made.map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(made("persistentvolumeclaims"), [eu.clone(), us.clone()]);
    for plural in ["services", "statefulsets", "poddisruptionbudgets"] {
        assert_eq!(
            made(plural),
            [us.as_str()],
            "what follows the refused Service waits"
        );
    }
    let status = api.status("debian");
    assert_eq!(condition(&status, "Reconciling"), "True");
    let told = status.to_string();
    assert!(
        told.contains("CreationRefused") && told.contains(&eu),
        "{told}"
    );
}

/// The status of the plan that put the finalizer on would be one of a Mirror that is no more.
#[tokio::test]
async fn a_finalizer_makes_the_status_one_of_the_next_plan() {
    let api = Api::default();
    api.upstream("debian", &["trixie"]);
    let mut manifest = manifest("debian", "debian", "trixie", &["eu"]);
    manifest["spec"]["storage"] = json!({"reclaimPolicy": "Delete"});
    api.mirror(manifest);
    let mut leader = Leader::new(&api);
    leader.rest().await;
    let writes = api.writes();
    let statuses = writes
        .iter()
        .filter(|write| write.contains("/mirrors/"))
        .count();
    assert_eq!(statuses, 2, "the finalizer and one status: {writes:?}");
    assert_eq!(condition(&api.status("debian"), "Reconciling"), "True");
}

/// A quota that is used up, for example.
#[tokio::test]
async fn a_replica_that_may_not_be_made_holds_up_no_sibling() {
    let api = Api::default();
    api.upstream("debian", &["trixie"]);
    let mut manifest = manifest("debian", "debian", "trixie", &["eu"]);
    manifest["spec"]["regions"] = json!([{"name": "eu", "replicas": 2}]);
    api.mirror(manifest);
    let [first, second] = [0, 1].map(|number| names::replica_name("debian", "eu", number));
    api.refuse(&format!("statefulsets/{second}"));
    let mut leader = Leader::new(&api);
    leader.rest().await;
    let made = api.all("statefulsets");
    let names = made.iter().map(|set| set["metadata"]["name"].as_str());
    assert_eq!(names.collect::<Vec<_>>(), [Some(first.as_str())]);
    assert_eq!(api.all("poddisruptionbudgets").len(), 1);
    let told = api.status("debian").to_string();
    assert!(
        told.contains("CreationRefused") && told.contains(&second),
        "{told}"
    );
}

#[tokio::test]
async fn regions_are_written_for_side_by_side_and_the_api_server_is_not_overrun() {
    let api = Api::default();
    api.upstream("debian", &["trixie"]);
    let regions: Vec<String> = (0..20).map(|number| format!("region-{number}")).collect();
    let regions: Vec<&str> = regions.iter().map(String::as_str).collect();
    api.mirror(manifest("debian", "debian", "trixie", &regions));
    let mut leader = Leader::new(&api);
    leader.rest().await;
    assert_eq!(api.all("statefulsets").len(), 20);
    let at_once = api.most_in_flight();
    assert!((4..=8).contains(&at_once), "{at_once} requests at once");
}
