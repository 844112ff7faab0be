//! Tables of the page of one Mirror.

use fleet_api::SnapshotChanges;
use fleet_plan::summary::short;
use fleet_types::counted;
use jiff::Timestamp;

use super::parts::{ago, fetched, minute};
use crate::detail::{Detail, SNAPSHOTS, Snapshot, UNITS};
use crate::html::Html;

pub fn snapshots(detail: &Detail, now: Timestamp) -> Html {
    if detail.snapshots.is_empty() {
        return Html::default();
    }
    let mut section = Html::of(
        r#"<section aria-labelledby="snapshots"><h2 id="snapshots">Snapshots</h2>
<div class="wide" tabindex="0" role="region" aria-labelledby="snapshots"><table>
<thead><tr><th scope="col">Snapshot</th><th scope="col">Upstream's date</th><th scope="col">Made</th><th scope="col">Served</th><th scope="col">What changed</th></tr></thead>
<tbody>
"#,
        &[],
    );
    let empty = Html::of("–", &[]);
    for snapshot in detail.snapshots.iter().take(SNAPSHOTS) {
        let date = snapshot.date.map(minute);
        let made = snapshot.made_at.map(|at| ago(at, now));
        let changed = snapshot.changes.as_ref().map(changed);
        let fetched = snapshot.fetched.as_ref().and_then(fetched);
        let words: Vec<String> = changed.into_iter().chain(fetched).collect();
        section.push(
            "<tr><th scope=\"row\"><code title=\"{}\">{}</code></th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            &[
                &snapshot.id,
                &short(&snapshot.id),
                date.as_ref().unwrap_or(&empty),
                made.as_ref().unwrap_or(&empty),
                &served(snapshot, now),
                &match words.is_empty() {
                    true => "–".to_owned(),
                    false => words.join("; "),
                },
            ],
        );
    }
    section.push("</tbody></table></div>\n", &[]);
    section.add(&left_out(detail.snapshots.len(), SNAPSHOTS));
    section.push("</section>\n", &[]);
    section
}

/// `+12 −3 paths, 4 changed`
fn changed(changes: &SnapshotChanges) -> String {
    let SnapshotChanges {
        added,
        changed,
        removed,
    } = changes;
    format!("+{added} −{removed} paths, {changed} changed")
}

fn served(snapshot: &Snapshot, now: Timestamp) -> Html {
    match (snapshot.regions, snapshot.served_until) {
        (0, Some(until)) => Html::of("until {}", &[&ago(until, now)]),
        (0, None) => Html::of("not served", &[]),
        (regions, _) => Html::of("by {}", &[&counted(regions, "region")]),
    }
}

pub fn units(detail: &Detail, now: Timestamp) -> Html {
    if detail.units.is_empty() {
        return Html::default();
    }
    let mut section = Html::of(
        r#"<section aria-labelledby="units"><h2 id="units">What is served</h2>
<div class="wide" tabindex="0" role="region" aria-labelledby="units"><table>
<thead><tr><th scope="col">Part</th><th scope="col">Upstream's date</th><th scope="col">Valid until</th><th scope="col">Against the authority</th></tr></thead>
<tbody>
"#,
        &[],
    );
    let empty = Html::of("–", &[]);
    for unit in detail.units.iter().take(UNITS) {
        let date = unit.date.map(minute);
        let until = unit.valid_until.map(minute);
        let stands = match unit.behind_since {
            Some(since) => Html::of("superseded {}", &[&ago(since, now)]),
            None => Html::of("nothing newer is known", &[]),
        };
        section.push(
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            &[
                &unit.unit,
                date.as_ref().unwrap_or(&empty),
                until.as_ref().unwrap_or(&empty),
                &stands,
            ],
        );
    }
    section.push("</tbody></table></div>\n", &[]);
    section.add(&left_out(detail.units.len(), UNITS));
    section.push("</section>\n", &[]);
    section
}

/// That there are more than are shown.
fn left_out(all: usize, shown: usize) -> Html {
    match all.saturating_sub(shown) {
        0 => Html::default(),
        more => Html::of(
            "<p class=\"quiet\">and {} more, which the JSON has</p>\n",
            &[&more],
        ),
    }
}
