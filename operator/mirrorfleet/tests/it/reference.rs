//! The reference pages of the documentation are what the code says. `MIRRORFLEET_BLESS=1` writes them anew.

use std::fmt::Write as _;
use std::path::Path;

use fleet_telemetry::{
    Definition, api, controller, fill, package_registry, process, server, worker,
};
use fleet_types::{Outcome, Reason};

fn assert_page_is(name: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name);
    if std::env::var_os("MIRRORFLEET_BLESS").is_some() {
        std::fs::write(&path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/{name} is not what the code says; run `make docs`"
    );
}

fn table(page: &mut String, metrics: &[Definition]) {
    page.push_str("| metric | kind | labels | meaning |\n|---|---|---|---|\n");
    for metric in metrics {
        let labels = metric.labels.join(", ");
        let help = metric.help().replace('|', "\\|");
        let _ = writeln!(
            page,
            "| `{}` | {} | {labels} | {help} |",
            metric.name,
            metric.kind.as_str()
        );
    }
    page.push('\n');
}

#[test]
fn the_metrics_page_lists_every_metric() {
    let mut page = String::from(
        "# Metrics\n\nEvery role answers `/metrics`, `/healthz` and `/readyz` on its metrics port (9090 in a cluster). \
         Instants are exported, not ages, so that a dead exporter does not look fresh. Labels are bounded: never a path, \
         never a client's address. `reason`, `type`, `status`, `result`, `answer`, `phase`, `kind`, `verb`, `source`, `decision`, `rule` and `code` are words of \
         fixed lists, and `unit` is one that a manifest names: a suite, or a database as `core/x86_64`; what else there is are names of objects. Counters are there from when their object is first seen, with 0, so that \
         `increase` shows the first of each.\n\n## How far behind is each region?\n\n<!-- lag query -->\n```promql\n",
    );
    let _ = writeln!(page, "{}\n```\n", controller::LAG_QUERY);
    page.push_str(
        "Seconds; 0 while a region serves what its authority has, no value while that is unknown.\n\n\
         ## Controller, and `mirrorfleet local`\n\nA deleted object loses its series; a standby exports none of them.\n\n",
    );
    table(&mut page, controller::ALL);
    page.push_str("## Calls of the Kubernetes API\n\nOf each controller, a standby too.\n\n");
    table(&mut page, api::ALL);
    page.push_str("## Sync worker\n\nWhile a run lasts.\n\n");
    table(&mut page, worker::ALL);
    page.push_str("## Server\n\n");
    table(&mut page, server::ALL);
    page.push_str("## What is fetched on demand\n\nOf Mirrors of mode PullThrough. What clients got without asking the upstream: `stored` of the counter above, and `shared` here.\n\n");
    table(&mut page, fill::ALL);
    page.push_str("## Registries that fill themselves\n\nFor each Mirror of an npm registry: of `mirrorfleet local`, and in a cluster of the container `fill`; what is given again without asking that one (`ready`) is told by `serve`.\n\n");
    table(&mut page, package_registry::ALL);
    page.push_str("## Every process\n\n");
    table(&mut page, process::ALL);
    page.pop();
    assert_page_is("metrics.md", &page);
}

#[test]
fn the_reasons_page_lists_every_reason() {
    let mut page = String::from(
        "# Reasons\n\nThe `reason` of a condition, of an Event and of a report, and the `reason` label of a metric, is always \
         one of these words. They are API.\n\n",
    );
    let groups = [
        (Outcome::Good, "Good: exit code 0"),
        (
            Outcome::Manifest,
            "Manifest: exit code 1; editing a manifest, a Secret or a ConfigMap is what helps",
        ),
        (Outcome::Upstream, "Upstream: exit code 2"),
        (Outcome::Refused, "Refused by verification: exit code 3"),
        (Outcome::Storage, "Storage: exit code 4"),
        (Outcome::Cluster, "Only in a cluster"),
    ];
    for (outcome, title) in groups {
        let _ = writeln!(page, "## {title}\n\n| reason | meaning |\n|---|---|");
        for reason in Reason::ALL
            .iter()
            .filter(|reason| reason.outcome() == outcome)
        {
            let _ = writeln!(page, "| `{reason}` | {} |", reason.description().trim());
        }
        page.push('\n');
    }
    page.pop();
    assert_page_is("reasons.md", &page);
}
