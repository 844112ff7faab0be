//! The page of one Mirror.

use fleet_plan::summary::{RegionSummary, capital, short, span};
use fleet_types::counted;
use jiff::Timestamp;

use super::endpoints::endpoints;
use super::parts::{Frame, ago, badge, brief, fetched, lag, minute, page, pager, strip};
use super::tables::{snapshots, units};
use crate::asked::escaped;
use crate::board::Fleet;
use crate::detail::{Checked, Copy, Detail};
use crate::history::{Hour, Strip};
use crate::html::Html;
use crate::row::Mood;

/// So many bytes of a sentence are shown.
const SENTENCE: usize = 2000;
const UP: &str = "../../";

pub fn detail_page(fleet: &Fleet, detail: &Detail, regions: usize, now: Timestamp) -> Html {
    let told = &detail.summary;
    let json = format!("{}.json", escaped(&told.mirror));
    let mut main = Html::of(
        "<nav aria-label=\"Where this is\" class=\"crumbs\"><a href=\"{}\">All mirrors</a></nav>\n<div class=\"title\"><h1>{}</h1> {}</div>\n<p class=\"quiet\">{}</p>\n",
        &[
            &UP,
            &told.mirror,
            &badge(detail.mood, &told.state.replace(',', ", ")),
            &about(detail),
        ],
    );
    main.add(&why(detail, now));
    main.add(&copies(detail, regions, now));
    main.add(&snapshots(detail, now));
    main.add(&units(detail, now));
    main.add(&endpoints(&told.endpoints, now));
    main.add(&clients(detail, regions));
    let frame = Frame {
        title: &told.mirror,
        up: UP,
        json: &json,
        teller: &fleet.teller,
        caveat: &fleet.caveat,
        told_at: fleet.told_at,
    };
    page(&frame, &main)
}

fn about(detail: &Detail) -> String {
    let told = &detail.summary;
    let mut parts = Vec::new();
    if !told.namespace.is_empty() {
        parts.push(format!("Namespace {}", told.namespace));
    }
    if !detail.content.is_empty() {
        parts.push(detail.content.clone());
    }
    if !told.upstream.is_empty() {
        let from = detail.authority.as_deref();
        let from = from.map_or(String::new(), |url| format!(" ({url})"));
        parts.push(format!("from Upstream {}{from}", told.upstream));
    }
    if told.objective_seconds > 0 {
        let objective = i64::try_from(told.objective_seconds).unwrap_or(i64::MAX);
        parts.push(format!("objective {}", span(objective)));
    }
    parts.join(" · ")
}

/// Why it is as it is, what that means, and what to do.
fn why(detail: &Detail, now: Timestamp) -> Html {
    let Some(told) = &detail.why else {
        let notes = detail.summary.problems.first();
        let sentence = notes.map_or("", |note| note.message.as_str());
        return Html::of(
            "<section class=\"why trouble\"><p>{}</p></section>\n",
            &[&brief(sentence, SENTENCE)],
        );
    };
    let mut section = Html::of(
        "<section class=\"why {}\" aria-labelledby=\"why\"><h2 id=\"why\">{}</h2>\n<p class=\"lead\">{}</p>\n<dl>\n",
        &[
            &detail.mood.word(),
            &heading(detail.mood),
            &brief(&told.wrong, SENTENCE),
        ],
    );
    section.push(
        "<dt>For clients</dt><dd>{}</dd>\n<dt>Next</dt><dd>{}</dd>\n",
        &[
            &brief(&told.clients, SENTENCE),
            &brief(&told.next, SENTENCE),
        ],
    );
    if !told.help.is_empty() {
        let help = match &told.command {
            Some(_) => told.help.clone(),
            None => told.help.trim_end_matches(':').to_owned(),
        };
        section.push("<dt>What helps</dt><dd>{}", &[&help]);
        if let Some(command) = &told.command {
            section.push(
                "<pre tabindex=\"0\" aria-label=\"Command\">{}</pre>",
                &[command],
            );
        }
        section.push("</dd>\n", &[]);
    }
    section.push("</dl>\n", &[]);
    let notes = detail.summary.problems.iter().chain(&detail.summary.held);
    let others: Vec<_> = notes
        .filter(|note| Some(note.reason) != told.reason)
        .collect();
    if !others.is_empty() {
        section.push("<h3>Besides</h3>\n<ul>\n", &[]);
        for note in others {
            let since = note.since.map_or(Html::default(), |since| {
                Html::of(" <span class=\"quiet\">({})</span>", &[&ago(since, now)])
            });
            section.push(
                "<li><b>{}</b>: {}{}</li>\n",
                &[
                    &note.reason.as_str(),
                    &brief(&note.message, SENTENCE / 2),
                    &since,
                ],
            );
        }
        section.push("</ul>\n", &[]);
    }
    section.push("</section>\n", &[]);
    section
}

fn heading(mood: Mood) -> &'static str {
    match mood {
        Mood::Trouble => "What is wrong",
        Mood::Held => "What is held",
        Mood::Well => "How it is",
    }
}

fn shown(detail: &Detail, page: usize) -> (Vec<(&RegionSummary, &Copy)>, usize, usize) {
    let (places, page, pages) = detail.part(page);
    let regions = places.into_iter().filter_map(|place| {
        let region = detail.summary.regions.get(place)?;
        Some((region, detail.copies.get(place)?))
    });
    (regions.collect(), page, pages)
}

fn copies(detail: &Detail, page: usize, now: Timestamp) -> Html {
    let (regions, page, pages) = shown(detail, page);
    if regions.is_empty() {
        return Html::default();
    }
    let mut section = Html::of(
        "<section aria-labelledby=\"regions\"><h2 id=\"regions\">Regions</h2>\n<ul class=\"copies\">\n",
        &[],
    );
    for (region, copy) in regions {
        section.add(&one(detail, region, copy, now));
    }
    section.push("</ul>\n", &[]);
    section.add(&pager(page, pages, |page| format!("?page={page}#regions")));
    section.push(
        "<p class=\"quiet\"><a href=\"{}/archweb.json\">For programs that rank mirrors</a></p>\n",
        &[&escaped(&detail.summary.mirror)],
    );
    section.push("</section>\n", &[]);
    section
}

fn one(detail: &Detail, region: &RegionSummary, copy: &Copy, now: Timestamp) -> Html {
    let state = format!("{:?}", region.state);
    let mut item = Html::of(
        "<li>\n<h3>{} <span class=\"quiet\">{}</span></h3>\n<p>{}</p>\n{}\n",
        &[
            &region.region,
            &state,
            &lag(region, detail.summary.objective_seconds),
            &strip(&copy.strip),
        ],
    );
    if let Some(run) = &region.run {
        let since = span(now.duration_since(run.started_at).as_secs());
        let far = run
            .progress
            .as_ref()
            .map(|progress| format!(": {progress}"));
        item.push(
            "<p>A sync runs for {}{}</p>\n",
            &[&since, &far.unwrap_or_default()],
        );
        if let Some(percent) = run
            .progress
            .as_ref()
            .and_then(|progress| progress.percent())
        {
            item.push(
                "<progress max=\"100\" value=\"{}\" aria-label=\"Part that is here\"></progress>\n",
                &[&percent],
            );
        }
    }
    item.push("<dl class=\"facts\">", &[]);
    if let Some(run) = &copy.last_run {
        item.push(
            "<dt>Last run</dt><dd>{}, {}{}</dd>",
            &[
                &run.reason.as_str(),
                &ago(run.finished_at, now),
                &fetched(run).map_or(String::new(), |words| format!(", {words}")),
            ],
        );
    }
    if let Some(at) = region.last_success {
        item.push("<dt>Last success</dt><dd>{}</dd>", &[&ago(at, now)]);
    }
    if region.failures > 0 {
        item.push(
            "<dt>Failed since</dt><dd>{}</dd>",
            &[&counted(region.failures, "run")],
        );
    }
    if let Some(snapshot) = &region.snapshot {
        item.push(
            "<dt>Serves</dt><dd><code>{}</code></dd>",
            &[&short(snapshot)],
        );
    }
    if let Some(told) = &copy.checks {
        item.add(&checks(told));
    }
    item.push("</dl>\n", &[]);
    item.add(&hours(&copy.strip));
    item.push("</li>\n", &[]);
    item
}

/// What its checks come to.
fn checks(told: &Checked) -> Html {
    let score = match told.score {
        Some(score) => format!("{score:.1}"),
        None => "none".to_owned(),
    };
    let mut words = format!(
        "score {score}, {:.1} % of {} answered",
        100.0 * told.completion,
        counted(u64::from(told.count), "check")
    );
    if let Some(delay) = told.delay_seconds {
        words.push_str(&format!(", {} late on average", span(delay as i64)));
    }
    if let Some(mean) = told.duration_mean_seconds {
        let spread = told.duration_stddev_seconds.unwrap_or(0.0);
        words.push_str(&format!(", in {mean:.3} s ± {spread:.3} s"));
    }
    if told.out_of_sync {
        words.push_str("; out of sync");
    }
    Html::of("<dt>The last day</dt><dd>{}</dd>", &[&words])
}

/// The hours that were not good, in words; nothing where there were none.
fn hours(strip: &Strip) -> Html {
    let mut lines = Html::default();
    for (kind, first, count) in strip.runs() {
        let words = match kind {
            Hour::Late => "behind for longer than the objective",
            Hour::Down => "served nothing",
            Hour::Good | Hour::Unknown => continue,
        };
        lines.push(
            "<li>{} to {}: {}</li>\n",
            &[
                &minute(strip.begin(first)),
                &minute(strip.begin(first + count)),
                &words,
            ],
        );
    }
    match lines.len() {
        0 => lines,
        _ => Html::of(
            "<details><summary>Hours in which it was not well</summary>\n<ul>\n{}</ul></details>\n",
            &[&lines],
        ),
    }
}

/// What clients are configured with.
fn clients(detail: &Detail, page: usize) -> Html {
    let (regions, ..) = shown(detail, page);
    let mut folds = Html::default();
    let list = detail.summary.list.as_deref().unwrap_or_default();
    let all = ("All regions".to_owned(), list, &detail.clients);
    let each = regions.into_iter().map(|(region, copy)| {
        let url = region.url.as_deref().unwrap_or_default();
        (format!("Region {}", region.region), url, &copy.clients)
    });
    let known = std::iter::once(all).chain(each);
    let known = known.filter(|(.., files)| !files.is_empty());
    for (number, (title, url, files)) in known.enumerate() {
        let open = match number {
            0 => " open",
            _ => "",
        };
        folds.push(
            "<details{}><summary>{} <span class=\"quiet\">{}</span></summary>\n",
            &[&open, &title, &url],
        );
        for file in files {
            folds.push(
                "<p><code>{}</code></p>\n<pre tabindex=\"0\" aria-label=\"{}\">{}</pre>\n",
                &[&file.path, &file.path, &file.text],
            );
            if !file.note.is_empty() {
                folds.push("<p class=\"quiet\">{}</p>\n", &[&capital(&file.note)]);
            }
        }
        folds.push("</details>\n", &[]);
    }
    match folds.len() {
        0 => folds,
        _ => Html::of(
            "<section aria-labelledby=\"clients\" class=\"clients\"><h2 id=\"clients\">Configure a client</h2>\n{}</section>\n",
            &[&folds],
        ),
    }
}
