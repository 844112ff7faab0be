//! Pages for people: the contents of a directory, and the list of mirrors. Plain HTML that works without scripts, in
//! light and dark, and for screen readers. Pure: values in, text out.

use std::fmt::Write as _;

use fleet_types::{counted, human_size};

use crate::path::encode;

/// One line of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    Directory {
        name: String,
    },
    /// Size in bytes, modification time in Unix seconds.
    File {
        name: String,
        size: u64,
        modified: i64,
    },
}

/// A directory of a mirror.
pub struct Directory<'a> {
    /// Decoded, with slashes at both ends; what the page calls itself.
    pub title: &'a str,
    /// The snapshot that the listing was read from.
    pub snapshot: &'a str,
    /// Where the status of this mirror is, as a URL path.
    pub status: &'a str,
    pub lines: &'a [Line],
}

/// One mirror of the list of mirrors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorLine {
    pub name: String,
    /// Without slashes at its ends.
    pub serving_path: String,
    /// It has no snapshots: it gets what it is asked for.
    pub fills_itself: bool,
    /// None before the first snapshot.
    pub snapshot: Option<String>,
    /// Unix seconds.
    pub published: Option<i64>,
}

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#d0d7de;--quiet:#59636e;--link:#0550ae}\
@media(prefers-color-scheme:dark){:root{--line:#3d444d;--quiet:#9198a1;--link:#79b8ff}}\
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:64rem;padding:1rem}\
h1{font-size:1.25rem;overflow-wrap:anywhere}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.25rem .5rem;border-bottom:1px solid var(--line)}\
th{font-weight:600}td:first-child{overflow-wrap:anywhere}\
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
a{color:var(--link);text-decoration:none}a:hover,a:focus{text-decoration:underline}\
footer,.q{color:var(--quiet)}footer{font-size:.875rem;margin-top:1rem;overflow-wrap:anywhere}";

/// The page of a directory.
pub fn directory_page(directory: &Directory<'_>) -> String {
    let mut page = opening(&format!("Index of {}", directory.title));
    let body = &mut page;
    body.push_str("<main><table><thead><tr><th scope=\"col\">Name</th><th scope=\"col\" class=\"n\">Size</th>");
    body.push_str("<th scope=\"col\" class=\"n\">Modified (UTC)</th></tr></thead><tbody>\n");
    body.push_str("<tr><td><a href=\"../\">../</a> <span class=\"q\">(up)</span></td><td></td><td></td></tr>\n");
    for line in directory.lines {
        push_line(body, line);
    }
    body.push_str("</tbody></table></main>\n");
    write(
        body,
        format_args!(
            "<footer>{} · snapshot <code>{}</code> · <a href=\"{}\">status</a></footer>\n",
            counted(directory.lines.len(), "entry"),
            escape(directory.snapshot),
            escape(directory.status),
        ),
    );
    body.push_str("</body></html>\n");
    page
}

/// The page at `/`.
pub fn mirrors_page(mirrors: &[MirrorLine]) -> String {
    let mut page = opening("Mirrors");
    let body = &mut page;
    if mirrors.is_empty() {
        body.push_str("<main><p>No mirror is here yet: the first sync makes it appear.</p></main>\n</body></html>\n");
        return page;
    }
    body.push_str(
        "<main><table><thead><tr><th scope=\"col\">Mirror</th><th scope=\"col\">Snapshot</th>",
    );
    body.push_str("<th scope=\"col\" class=\"n\">Published (UTC)</th></tr></thead><tbody>\n");
    for mirror in mirrors {
        let served = match &mirror.snapshot {
            Some(id) => format!("<code>{}</code>", escape(id.get(..12).unwrap_or(id))),
            None if mirror.fills_itself => {
                "<span class=\"q\">fills itself on demand</span>".to_owned()
            }
            None => "<span class=\"q\">waiting for its first sync</span>".to_owned(),
        };
        let href = match mirror.serving_path.is_empty() {
            true => "./".to_owned(),
            // Without a slash at its beginning it holds behind any proxy.
            false => format!("{}/", encode(&mirror.serving_path)),
        };
        write(
            body,
            format_args!(
                "<tr><td><a href=\"{}\">{}</a></td><td>{served}</td><td class=\"n\">{}</td></tr>\n",
                escape(&href),
                escape(&mirror.name),
                mirror.published.map(time_element).unwrap_or_default(),
            ),
        );
    }
    body.push_str(
        "</tbody></table></main>\n<footer><a href=\".mirrorfleet/status\">status</a></footer>\n",
    );
    body.push_str("</body></html>\n");
    page
}

fn opening(title: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
    )
}

fn push_line(body: &mut String, line: &Line) {
    match line {
        Line::Directory { name } => write(
            body,
            format_args!(
                "<tr><td><a href=\"{0}/\">{1}/</a></td><td class=\"n\">–</td><td></td></tr>\n",
                escape(&encode(name)),
                escape(name)
            ),
        ),
        Line::File {
            name,
            size,
            modified,
        } => write(
            body,
            format_args!(
                "<tr><td><a href=\"{}\">{}</a></td><td class=\"n\" title=\"{}\">{}</td><td class=\"n\">{}</td></tr>\n",
                escape(&encode(name)),
                escape(name),
                counted(*size, "byte"),
                human_size(*size),
                time_element(*modified),
            ),
        ),
    }
}

/// Writing to a `String` cannot fail.
fn write(body: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = body.write_fmt(text);
}

fn time_element(unix_seconds: i64) -> String {
    match jiff::Timestamp::from_second(unix_seconds) {
        Ok(at) => format!(
            "<time datetime=\"{at}\">{}</time>",
            at.strftime("%Y-%m-%d %H:%M")
        ),
        Err(_) => "–".to_owned(),
    }
}

/// For text and for attribute values in double quotes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_in_text_and_encoded_in_links() {
        let lines = [
            Line::Directory {
                name: "<script>".into(),
            },
            Line::File {
                name: "a&b \"c\":d+é.deb".into(),
                size: 1536,
                modified: 784_111_777,
            },
        ];
        let page = directory_page(&Directory {
            title: "/x<y/",
            snapshot: "ab",
            status: "/s",
            lines: &lines,
        });
        assert!(
            page.contains("<a href=\"%3Cscript%3E/\">&lt;script&gt;/</a>"),
            "{page}"
        );
        assert!(
            page.contains(
                "href=\"a%26b%20%22c%22%3Ad+%C3%A9.deb\">a&amp;b &quot;c&quot;:d+é.deb</a>"
            ),
            "{page}"
        );
        assert!(page.contains("title=\"1536 bytes\">1.5 KiB<"), "{page}");
        assert!(
            page.contains("<time datetime=\"1994-11-06T08:49:37Z\">1994-11-06 08:49</time>"),
            "{page}"
        );
        assert!(page.contains("href=\"../\"") && page.contains("color-scheme:light dark"));
        assert!(!page.contains("<script>"));
    }

    #[test]
    fn the_list_of_mirrors_says_what_is_waiting() {
        let waiting = MirrorLine {
            name: "debian".into(),
            serving_path: "debian".into(),
            fills_itself: false,
            snapshot: None,
            published: None,
        };
        let page = mirrors_page(&[waiting]);
        assert!(
            page.contains("<a href=\"debian/\">debian</a>")
                && page.contains("waiting for its first sync")
        );
        assert!(mirrors_page(&[]).contains("No mirror is here yet"));
    }

    #[test]
    fn a_time_that_no_calendar_has_is_not_shown() {
        assert_eq!(time_element(i64::MAX), "–");
    }
}
