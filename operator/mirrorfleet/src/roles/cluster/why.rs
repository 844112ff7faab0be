//! `mirrorfleet why`.

use fleet_plan::summary::{Known, summary};
use fleet_plan::why::{Explanation, why};
use fleet_types::Outcome;
use jiff::Timestamp;

use super::read::Beside;
use super::show::{json, yaml};
use super::terminal::{Colour, Colours, wrap};
use super::{Target, ask};
use crate::failure::Failure;
use crate::report::print;
use crate::runtime::LogArguments;

/// Columns of the paragraph.
const WIDTH: usize = 100;

/// Tells in one paragraph why a Mirror is as it is
///
/// What is wrong, since when, what it means for clients, what happens next by itself, and what a person can do, with the
/// command to copy.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    target: Target,
    /// How to tell it
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    output: Form,
    /// Exit with what is wrong, by the exit codes; without it exit 0 means that it could be told
    #[arg(long)]
    check: bool,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    Text,
    Json,
    Yaml,
}

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<Outcome, Failure> {
    let target = &arguments.target;
    ask(&target.cluster, log, false, async |cluster| {
        let scope = target.scope(cluster);
        let mirrors = scope.mirrors(&cluster.client).await?;
        let beside = Beside::read(&cluster.client, &scope, &mirrors).await;
        let mut worst = Outcome::Good;
        for mirror in &mirrors {
            let told = |known: &Known| (why(known, &cluster.program), summary(known).outcome);
            let (told, outcome) = beside.known(mirror, Timestamp::now(), told);
            worst = worst.worst(outcome);
            print(&match arguments.output {
                Form::Text => text(&told, Colours::of_standard_output()),
                Form::Json => json(&[told])?,
                Form::Yaml => yaml(&[told])?,
            })?;
        }
        Ok(match arguments.check {
            true => worst,
            false => Outcome::Good,
        })
    })
}

/// The paragraph, and the command below it on a line of its own.
fn text(told: &Explanation, colours: Colours) -> String {
    let mut text = wrap(&told.paragraph(), WIDTH).join("\n");
    text.push('\n');
    if let Some(command) = &told.command {
        text.push_str(&format!("\n    {}\n", colours.paint(Colour::Bold, command)));
    }
    text
}
