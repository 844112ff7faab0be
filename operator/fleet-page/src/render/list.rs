//! The page of all Mirrors.

use fleet_plan::summary::{Progress, RunSummary, capital, span};
use fleet_types::{counted, human_size};
use jiff::Timestamp;

use super::parts::{Frame, badge, brief, lag, page, pager, strip};
use crate::asked::{Asked, Only, Part, mirror_path};
use crate::board::{Board, Fleet};
use crate::detail::badness;
use crate::history::Strip;
use crate::html::Html;
use crate::row::{Mood, Row};

/// So many bytes of a sentence stand in a row; the whole is on the Mirror's page.
const SENTENCE: usize = 200;
/// So many regions are named in a row.
const REGIONS: usize = 4;
/// So many runs are shown; the filter shows the others.
const RUNS: usize = 8;

pub fn list_page(board: &Board, fleet: &Fleet, asked: &Asked, now: Timestamp) -> Html {
    let part = asked.part(fleet);
    let title = headline(fleet);
    let mut main = Html::of("<h1>{}</h1>\n", &[&title]);
    if !fleet.rows.is_empty() {
        main.add(&filters(fleet, asked));
    }
    main.add(&runs(fleet, now));
    main.add(&rows(board, fleet, asked, &part, now));
    if !fleet.rows.is_empty() {
        main.push(
            "<p class=\"quiet\"><a href=\"mirrorz.json\">As MirrorZ reads it</a></p>\n",
            &[],
        );
    }
    let frame = Frame {
        title: &title,
        up: "",
        json: &format!("index.json{}", asked.with_page(part.page).query()),
        teller: &fleet.teller,
        caveat: &fleet.caveat,
        told_at: fleet.told_at,
    };
    page(&frame, &main)
}

/// The fleet in one sentence.
pub fn headline(fleet: &Fleet) -> String {
    let (all, trouble) = (fleet.rows.len(), fleet.count(Mood::Trouble));
    if !fleet.complete {
        return "The mirrors are being listed".to_owned();
    }
    match (all, trouble) {
        (0, _) => "There is no mirror yet".to_owned(),
        (1, 0) => "The mirror is well".to_owned(),
        (1, _) => "The mirror needs attention".to_owned(),
        (all, 0) => format!("All {} are well", counted(all, "mirror")),
        (all, 1) => format!("1 of {} needs attention", counted(all, "mirror")),
        (all, trouble) => format!("{trouble} of {} need attention", counted(all, "mirror")),
    }
}

fn filters(fleet: &Fleet, asked: &Asked) -> Html {
    let mut nav = Html::of(
        "<div class=\"filters\">\n<nav aria-label=\"Which mirrors\"><ul class=\"tabs\">\n",
        &[],
    );
    let tabs = [
        (None, "All", fleet.rows.len()),
        (
            Some(Only::Of(Mood::Trouble)),
            "Need attention",
            fleet.count(Mood::Trouble),
        ),
        (Some(Only::Of(Mood::Held)), "Held", fleet.count(Mood::Held)),
        (Some(Only::Of(Mood::Well)), "Well", fleet.count(Mood::Well)),
        (Some(Only::Running), "Syncing", fleet.running.len()),
    ];
    for (only, words, count) in tabs {
        let query = asked.with_only(only).query();
        nav.push("<li><a href=\"./{}\"", &[&query]);
        if only == asked.only {
            nav.push(" aria-current=\"page\"", &[]);
        }
        nav.push(
            ">{} <span class=\"count\">{}</span></a></li>\n",
            &[&words, &count],
        );
    }
    nav.push(
        "</ul></nav>\n<form method=\"get\" action=\"./\" role=\"search\">",
        &[],
    );
    if let Some(only) = asked.only {
        nav.push(
            "<input type=\"hidden\" name=\"only\" value=\"{}\">",
            &[&only.word()],
        );
    }
    nav.push(
        "<label for=\"q\">Name</label> <input id=\"q\" name=\"q\" type=\"search\" value=\"{}\" autocomplete=\"off\"> <button>Find</button></form>\n</div>\n",
        &[&asked.word],
    );
    nav
}

/// What is being fetched now.
fn runs(fleet: &Fleet, now: Timestamp) -> Html {
    let running = fleet
        .running
        .iter()
        .filter_map(|place| fleet.rows.get(*place));
    let mut lines = Html::default();
    for row in running.take(RUNS) {
        let runs = row.summary.regions.iter();
        let runs = runs.filter_map(|region| Some((region, region.run.as_ref()?)));
        for (region, run) in runs.take(REGIONS) {
            lines.add(&running_line(row, &region.region, run, now));
        }
    }
    if lines.len() == 0 {
        return Html::default();
    }
    let more = fleet.running.len().saturating_sub(RUNS);
    let more = match more {
        0 => Html::default(),
        more => Html::of(
            "<p><a href=\"./?only=syncing\">and {} more</a></p>\n",
            &[&more],
        ),
    };
    Html::of(
        "<section class=\"runs\" aria-labelledby=\"runs\"><h2 id=\"runs\">Being fetched now</h2>\n<ul>\n{}</ul>\n{}</section>\n",
        &[&lines, &more],
    )
}

fn running_line(row: &Row, region: &str, run: &RunSummary, now: Timestamp) -> Html {
    let told = &row.summary;
    let path = mirror_path(&told.namespace, &told.mirror);
    let percent = run.progress.as_ref().and_then(Progress::percent);
    let bar = percent.map_or(Html::of("<span></span>", &[]), |percent| {
        Html::of(
            "<progress max=\"100\" value=\"{}\" aria-label=\"Part of {} in {} that is here\"></progress>",
            &[&percent, &told.mirror, &region],
        )
    });
    let since = span(now.duration_since(run.started_at).as_secs());
    let words = match (&run.progress, percent) {
        (Some(far), Some(percent)) => Html::of(
            "<b>{}%</b> of {} <span class=\"quiet\">in {}, phase {}</span>",
            &[&percent, &human_size(far.planned_bytes), &since, &far.phase],
        ),
        (Some(far), None) => Html::of(
            "<span class=\"quiet\">for {}, phase {}</span>",
            &[&since, &far.phase],
        ),
        (None, _) => Html::of("<span class=\"quiet\">for {}</span>", &[&since]),
    };
    Html::of(
        "<li><a href=\"{}\">{}</a> <span class=\"quiet\">{}</span> {} <span>{}</span></li>\n",
        &[&path, &told.mirror, &region, &bar, &words],
    )
}

fn rows(board: &Board, fleet: &Fleet, asked: &Asked, part: &Part, now: Timestamp) -> Html {
    if fleet.rows.is_empty() && !fleet.complete {
        return Html::of("<p>In a few seconds they stand here.</p>\n", &[]);
    }
    if fleet.rows.is_empty() {
        return Html::of(
            "<p>As soon as somebody applies a Mirror where this program looks, it stands here.</p>\n",
            &[],
        );
    }
    let mut list = Html::of(
        "<section aria-labelledby=\"mirrors\"><h2 id=\"mirrors\" class=\"unseen\">{}</h2>\n",
        &[&capital(&counted(part.found, "mirror"))],
    );
    if part.found == 0 {
        list.push(
            "<p>No mirror is so. <a href=\"./\">Show all</a></p>\n</section>\n",
            &[],
        );
        return list;
    }
    list.push("<ol class=\"rows\" start=\"{}\">\n", &[&first_number(part)]);
    for place in &part.places {
        if let Some(row) = fleet.rows.get(*place) {
            list.add(&one(board, row, now));
        }
    }
    list.push("</ol>\n", &[]);
    list.add(&pager(part.page, part.pages, |page| {
        format!("./{}", asked.with_page(page).query())
    }));
    list.push("</section>\n", &[]);
    list
}

fn first_number(part: &Part) -> usize {
    (part.page - 1) * crate::asked::PAGE + 1
}

fn one(board: &Board, row: &Row, now: Timestamp) -> Html {
    let told = &row.summary;
    let sentence = row
        .headline()
        .map(|note| brief(&board.words(note), SENTENCE));
    let sentence = sentence.map_or(Html::default(), |sentence| {
        Html::of("<p class=\"sentence\">{}</p>\n", &[&sentence])
    });
    let strips = board.strips(row, now);
    let hours = Strip::worst(&strips).map_or(Html::default(), |worst| strip(&worst));
    Html::of(
        r#"<li class="row {}">
<div class="who"><h3><a href="{}">{}</a></h3><p class="quiet">{}</p></div>
<p class="state">{}</p>
<div class="what">{}{}</div>
<div class="hours">{}</div>
</li>
"#,
        &[
            &row.mood.word(),
            &mirror_path(&told.namespace, &told.mirror),
            &told.mirror,
            &place(row),
            &badge(row.mood, &told.state.replace(',', ", ")),
            &regions(row),
            &sentence,
            &hours,
        ],
    )
}

/// Where it is and what it has.
fn place(row: &Row) -> String {
    let told = &row.summary;
    let parts = [told.namespace.as_str(), row.content.as_str()];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(" · ")
}

/// Its regions with their lag, the worst first.
fn regions(row: &Row) -> Html {
    let told = &row.summary;
    let mut regions: Vec<_> = told.regions.iter().collect();
    regions.sort_by_key(|region| std::cmp::Reverse(badness(region)));
    let more = regions.len().saturating_sub(REGIONS);
    let mut list = Html::of("<ul class=\"regions\">", &[]);
    for region in regions.into_iter().take(REGIONS) {
        list.push(
            "<li><b>{}</b> {}</li>",
            &[&region.region, &lag(region, told.objective_seconds)],
        );
    }
    if more > 0 {
        list.push("<li class=\"quiet\">and {} more</li>", &[&more]);
    }
    list.push("</ul>\n", &[]);
    list
}
