//! `mirrorfleet crds`.

use crate::failure::Failure;
use crate::report::print;

/// Prints the CustomResourceDefinitions, for `kubectl apply -f -`
#[derive(Debug, clap::Args)]
pub struct Arguments {}

pub fn run(_: Arguments) -> Result<(), Failure> {
    let mut text = String::new();
    for definition in fleet_api::crds() {
        if !text.is_empty() {
            text.push_str("---\n");
        }
        text.push_str(
            &fleet_api::crds::to_yaml(&definition)
                .map_err(|error| Failure::output("the definitions", error))?,
        );
    }
    print(&text)
}
