//! What several pages are made of.

use fleet_api::RegionState;
use fleet_plan::summary::{Lag, RegionSummary, span};
use fleet_types::documents::cut;
use fleet_types::{counted, human_size};
use jiff::Timestamp;

use crate::assets::{SCRIPT, STYLE};
use crate::detail::LastRun;
use crate::history::{HOURS, Hour, Strip};
use crate::html::Html;
use crate::row::Mood;

/// What stands around a page.
pub struct Frame<'a> {
    pub title: &'a str,
    /// From this page to that of the list: nothing, or `../../`.
    pub up: &'static str,
    /// The same as JSON, from this page.
    pub json: &'a str,
    pub teller: &'a str,
    pub caveat: &'a str,
    pub told_at: Timestamp,
}

/// A whole page.
pub fn page(frame: &Frame, main: &Html) -> Html {
    let Frame {
        title,
        up,
        json,
        teller,
        caveat,
        told_at,
    } = frame;
    let home = match up.is_empty() {
        true => "./",
        false => up,
    };
    let caveat = match caveat.is_empty() {
        true => Html::default(),
        false => Html::of("<p class=\"caveat\">{}</p>\n", &[caveat]),
    };
    Html::of(
        r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{} · mirrorfleet</title>
<link rel="icon" type="image/svg+xml" href="{}assets/icon.svg">
<link rel="stylesheet" href="{}{}">
<link rel="alternate" type="application/json" href="{}">
<script src="{}{}" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="top">
<a class="brand" href="{}">mirrorfleet</a>
<p class="quiet">As {} knows it at {} UTC</p>
</header>
{}<main id="main">
{}</main>
<footer class="quiet">
<ul class="legend" aria-label="What the strips mean">
<li><i class="key good"></i>within the objective</li>
<li><i class="key late"></i>behind for longer</li>
<li><i class="key down"></i>served nothing</li>
<li><i class="key unknown"></i>not known</li>
</ul>
<p>Strips show the last 48 hours, one bar an hour, the newest at the right. Times are UTC. <a href="{}">The same as JSON</a></p>
</footer>
</body>
</html>
"##,
        &[
            title,
            up,
            up,
            &STYLE.path(),
            json,
            up,
            &SCRIPT.path(),
            &home,
            teller,
            &minute(*told_at),
            &caveat,
            main,
            json,
        ],
    )
}

/// A page that says one sentence.
pub fn message_page(title: &str, sentence: &str, up: &'static str, now: Timestamp) -> Html {
    let main = Html::of(
        "<h1>{}</h1>\n<p>{}</p>\n<p><a href=\"{}\">All mirrors</a></p>\n",
        &[&title, &sentence, &home(up)],
    );
    let frame = Frame {
        title,
        up,
        json: &format!("{up}index.json"),
        teller: "this program",
        caveat: "",
        told_at: now,
    };
    page(&frame, &main)
}

pub fn home(up: &'static str) -> &'static str {
    match up.is_empty() {
        true => "./",
        false => up,
    }
}

/// An instant to the minute.
pub fn minute(at: Timestamp) -> Html {
    Html::of(
        "<time datetime=\"{}\">{}</time>",
        &[&at.to_string(), &at.strftime("%Y-%m-%d %H:%M").to_string()],
    )
}

/// An instant and how long ago, or how soon, that is.
pub fn ago(at: Timestamp, now: Timestamp) -> Html {
    let seconds = now.duration_since(at).as_secs();
    let words = match seconds {
        0.. => format!("{} ago", span(seconds)),
        _ => format!("in {}", span(-seconds)),
    };
    Html::of(
        "<time datetime=\"{}\" title=\"{}\">{}</time>",
        &[
            &at.to_string(),
            &at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            &words,
        ],
    )
}

/// A word of state with its sign.
pub fn badge(mood: Mood, word: &str) -> Html {
    let mut badge = Html::of("<span class=\"badge {}\">", &[&mood.word()]);
    badge.add(&match mood {
        Mood::Well => Html::of(
            r#"<svg class="sign" viewBox="0 0 12 12" aria-hidden="true"><path d="M2 6.5 5 9.5 10 3"/></svg>"#,
            &[],
        ),
        Mood::Held => Html::of(
            r#"<svg class="sign" viewBox="0 0 12 12" aria-hidden="true"><path d="M4 2.5v7M8 2.5v7"/></svg>"#,
            &[],
        ),
        Mood::Trouble => Html::of(
            r#"<svg class="sign" viewBox="0 0 12 12" aria-hidden="true"><path d="M6 2v5M6 9.4v.6"/></svg>"#,
            &[],
        ),
    });
    badge.push("{}</span>", &[&word]);
    badge
}

/// The last 48 hours.
pub fn strip(strip: &Strip) -> Html {
    let mut svg = Html::of(
        r#"<svg class="strip" role="img" aria-label="{}" viewBox="0 0 48 10" preserveAspectRatio="none">"#,
        &[&spoken(strip)],
    );
    for (kind, class, bar) in [
        (Hour::Unknown, "unknown", "9h.7v1h-.7z"),
        (Hour::Good, "good", "4h.7v6h-.7z"),
        (Hour::Late, "late", "2h.7v8h-.7z"),
        (Hour::Down, "down", "0h.7v10h-.7z"),
    ] {
        let mut places = strip
            .hours
            .iter()
            .enumerate()
            .filter(|(_, hour)| **hour == kind);
        let Some((first, _)) = places.next() else {
            continue;
        };
        svg.push("<path class=\"{}\" d=\"M{} {}", &[&class, &first, &bar]);
        for (place, _) in places {
            svg.push("M{} {}", &[&place, &bar]);
        }
        svg.push("\"/>", &[]);
    }
    svg.push("</svg>", &[]);
    svg
}

/// A strip in words.
fn spoken(strip: &Strip) -> String {
    let kinds = [
        (Hour::Good, "within the objective"),
        (Hour::Late, "behind for longer"),
        (Hour::Down, "served nothing"),
        (Hour::Unknown, "not known"),
    ];
    let told = kinds.into_iter().filter_map(|(kind, words)| {
        let count = strip.count(kind);
        (count > 0).then(|| format!("{count} h {words}"))
    });
    format!(
        "Last {HOURS} hours: {}",
        told.collect::<Vec<_>>().join(", ")
    )
}

/// How far a region is behind, against how far it may be.
pub fn lag(region: &RegionSummary, objective: u64) -> Html {
    let allowed = span(i64::try_from(objective).unwrap_or(i64::MAX));
    let (class, words) = match (region.lag, region.behind_seconds) {
        _ if !region.has_content => ("down", "serves nothing yet".to_owned()),
        _ if !region.ready => ("down", "does not answer".to_owned()),
        (Lag::Behind, Some(seconds)) => {
            let class = match region.state {
                RegionState::Stale | RegionState::Withdrawn => "late",
                _ => "good",
            };
            return Html::of(
                r#"<span class="lag {}">{} behind, {} allowed</span> <svg class="gauge {}" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true"><path class="track" d="M0 0h100v4H0z"/><path class="fill" d="M0 0h{}v4H0z"/></svg>"#,
                &[
                    &class,
                    &span(seconds),
                    &allowed,
                    &class,
                    &share(seconds, objective),
                ],
            );
        }
        (Lag::Current, _) => ("good", "current".to_owned()),
        (Lag::Assumed, _) => ("good", "current when last synced".to_owned()),
        _ => ("unknown", "not known".to_owned()),
    };
    Html::of("<span class=\"lag {}\">{}</span>", &[&class, &words])
}

/// In hundredths, 100 at most and never nothing.
fn share(seconds: i64, objective: u64) -> u64 {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let share = seconds.saturating_mul(100).checked_div(objective);
    share.unwrap_or(100).clamp(2, 100)
}

/// Links to other pages of the same list; nothing where there is only one.
pub fn pager(page: usize, pages: usize, address: impl Fn(usize) -> String) -> Html {
    if pages < 2 {
        return Html::default();
    }
    let link = |to: usize, words: &str| Html::of("<a href=\"{}\">{}</a> ", &[&address(to), &words]);
    let mut nav = Html::of("<nav class=\"pager\" aria-label=\"Pages\">", &[]);
    if page > 1 {
        nav.add(&link(page - 1, "← Previous"));
    }
    nav.push("<span>Page {} of {}</span> ", &[&page, &pages]);
    if page < pages {
        nav.add(&link(page + 1, "Next →"));
    }
    nav.push("</nav>\n", &[]);
    nav
}

/// The beginning of a text, cut where it is longer.
pub fn brief(text: &str, bytes: usize) -> String {
    cut(text.trim(), bytes)
}

/// What a run fetched, and in what time.
pub fn fetched(run: &LastRun) -> Option<String> {
    let files = u64::try_from(run.files?).ok()?;
    let bytes = u64::try_from(run.bytes.unwrap_or(0)).ok()?;
    let took = run
        .seconds
        .map_or(String::new(), |seconds| format!(" in {}", span(seconds)));
    Some(format!(
        "{} ({}) fetched{took}",
        counted(files, "file"),
        human_size(bytes)
    ))
}
