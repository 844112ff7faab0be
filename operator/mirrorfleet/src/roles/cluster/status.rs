//! `mirrorfleet status`.

use fleet_types::Outcome;
use jiff::Timestamp;

use super::read::{Beside, Scope};
use super::show::{Form, Show, nothing};
use super::terminal::Colours;
use super::{Targets, ask, watch};
use crate::failure::Failure;
use crate::report::print;
use crate::runtime::LogArguments;

/// Shows the Mirrors of a cluster: regions, lag against the objective, what runs, what is held and why
///
/// A line for each region: how far it is behind what its upstream has, against how far it may be, when it was last
/// synced, when the next sync is due, and how far one is that runs now. Below a Mirror stands what is wrong (`!`), what
/// is on its way (`~`) and what is held (`-`), and which endpoints of its upstream do not answer or are behind (`·`). `why`
/// tells more of one Mirror.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    targets: Targets,
    /// How to show them; json is one object a line for each Mirror
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    output: Form,
    /// Go on showing what changes, until interrupted
    #[arg(short = 'w', long)]
    watch: bool,
    /// Exit with what is wrong, by the exit codes; without it exit 0 means that the status could be had
    #[arg(long, conflicts_with = "watch")]
    check: bool,
}

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<Outcome, Failure> {
    let targets = &arguments.targets;
    ask(&targets.cluster, log, arguments.watch, async |cluster| {
        let scope = targets.scope(cluster);
        let show = Show {
            form: arguments.output,
            everywhere: targets.all_namespaces,
            colours: Colours::of_standard_output(),
            cluster,
        };
        match arguments.watch {
            true => watch::watch(&show, &scope).await.map(|()| Outcome::Good),
            false => once(&show, &scope, arguments.check).await,
        }
    })
}

async fn once(show: &Show<'_>, scope: &Scope, check: bool) -> Result<Outcome, Failure> {
    let client = &show.cluster.client;
    let mirrors = scope.mirrors(client).await?;
    if mirrors.is_empty() {
        eprintln!("{}", nothing(scope));
        return Ok(Outcome::Good);
    }
    let beside = Beside::read(client, scope, &mirrors).await;
    let now = Timestamp::now();
    let summaries: Vec<_> = (mirrors.iter())
        .map(|mirror| beside.summary(mirror, now))
        .collect();
    print(&show.page(&summaries, now)?)?;
    let worst = summaries.iter().map(|mirror| mirror.outcome);
    Ok(match check {
        true => worst.fold(Outcome::Good, Outcome::worst),
        false => Outcome::Good,
    })
}
