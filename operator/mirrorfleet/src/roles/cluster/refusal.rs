//! How what an API server says against a request is told.

use fleet_types::Reason;

use crate::failure::Failure;

/// What the API server refuses is told in its words and exit 1, as a wrong manifest; that it fails or cannot be asked is
/// exit 2.
pub fn failure(error: kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) if status.code < 500 && status.code != 429 => {
            // An API server that does not know our kinds says no more than this.
            let hint = match status.message.contains("page not found") {
                true => ": this cluster has no Mirrors; is mirrorfleet installed there?",
                false => "",
            };
            Failure::invalid(format!("{}{hint}", status.message))
        }
        kube::Error::Api(status) => Failure::new(Reason::ApiError, status.message.clone()),
        error => Failure::new(
            Reason::ApiError,
            format!("the API server cannot be asked: {}", chain(&error)),
        ),
    }
}

/// An error with what it comes from, each said once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}
