//! What the endpoints of a Mirror's Upstream have.

use fleet_plan::summary::EndpointSummary;
use jiff::Timestamp;

use super::parts::{ago, brief, minute};
use crate::html::Html;

/// So many bytes are said of one.
const WORDS: usize = 600;

/// A table of those that the Upstream names; nothing where its authority is the only one.
pub fn endpoints(endpoints: &[EndpointSummary], now: Timestamp) -> Html {
    if endpoints.is_empty() {
        return Html::default();
    }
    let mut section = Html::of(
        r#"<section aria-labelledby="endpoints"><h2 id="endpoints">The upstream's endpoints</h2>
<div class="wide" tabindex="0" role="region" aria-labelledby="endpoints"><table>
<thead><tr><th scope="col">Endpoint</th><th scope="col">State</th><th scope="col">Upstream's date</th><th scope="col">Against the authority</th></tr></thead>
<tbody>
"#,
        &[],
    );
    let empty = Html::of("–", &[]);
    for endpoint in endpoints {
        let date = endpoint.revision_date.map(minute);
        section.push(
            "<tr><th scope=\"row\">{}</th><td>{} <span class=\"quiet\">({})</span></td><td>{}</td><td>{}</td></tr>\n",
            &[
                &endpoint.endpoint,
                &endpoint.state.as_str(),
                &ago(endpoint.since, now),
                date.as_ref().unwrap_or(&empty),
                &brief(&endpoint.words(now), WORDS),
            ],
        );
    }
    section.push("</tbody></table></div>\n</section>\n", &[]);
    section
}
