//! `mirrorfleet push`: says that an upstream has something new, by hand or behind sshd's forced command.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueHint;
use fleet_types::{Reason, shown_url};
use url::Url;

use crate::failure::Failure;
use crate::progress::Display;
use crate::resolve::USER_AGENT;
use crate::runtime::{LogArguments, Verbosity, block_on_one, system};

const TIMEOUT: Duration = Duration::from_secs(60);
/// How often it is tried, and how long after each other: the controller may be on its way from one node to another.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(3);

/// Says that an upstream has something new, so that its mirrors sync at once
///
/// As `command="mirrorfleet push … --ssh-command \"$SSH_ORIGINAL_COMMAND\""` in an authorized_keys it is what ftpsync's pushes
/// begin.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where the controller takes pushes: https://HOST/push/NAMESPACE/UPSTREAM
    #[arg(value_name = "URL")]
    url: Url,
    /// Holds the token of which the Upstream's spec.push.tokenSha256 has the hash
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    token_file: PathBuf,
    /// Go on only if these are words of an ftpsync push, such as sync:stage1
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    ssh_command: Option<String>,
}

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<(), Failure> {
    log.init(Verbosity::Quiet, &Display::Silent)?;
    if let Some(words) = &arguments.ssh_command {
        are_ftpsyncs(words).map_err(Failure::invalid)?;
    }
    let file = &arguments.token_file;
    let unreadable = |error| Failure::invalid(format!("--token-file {}: {error}", file.display()));
    let token = std::fs::read_to_string(file).map_err(unreadable)?;
    block_on_one(|_| async move { say(&arguments.url, token.trim()).await })
}

/// Says it, again where nobody could hear.
async fn say(url: &Url, token: &str) -> Result<(), Failure> {
    let client = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .timeout(TIMEOUT)
        // The token is for nobody else.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| system(&error))?;
    let shown = shown_url(url.as_str());
    let mut problem = String::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let asked = client.post(url.clone()).bearer_auth(token).send().await;
        match asked.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => return Ok(()),
            Ok(status) if status.is_server_error() || status.as_u16() == 429 => {
                problem = format!("{shown} says {status}");
            }
            Ok(status) if status.as_u16() == 401 => {
                return Err(Failure::invalid(format!(
                    "{shown} knows no such Upstream, or not this token: put its hash into spec.push.tokenSha256 (printf %s TOKEN | sha256sum)"
                )));
            }
            Ok(status) => {
                return Err(Failure::invalid(format!(
                    "{shown} says {status}: write the URL as https://HOST/push/NAMESPACE/UPSTREAM"
                )));
            }
            Err(error) => problem = format!("{shown}: {}", innermost(&error)),
        }
    }
    Err(Failure::new(Reason::UpstreamUnreachable, problem))
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

/// Whether these are words by which ftpsync begins a run at a mirror further down. Each stage is one: with the first come
/// files, with the second the indices that name them, and whoever says `all` has both.
///
/// <https://salsa.debian.org/mirror-team/archvsync>: bin/ftpsync, `check4commands`
fn are_ftpsyncs(words: &str) -> Result<(), String> {
    let known = |word: &str| {
        let archive = word.strip_prefix("sync:archive:");
        let is_name = |name: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !name.is_empty() && name.bytes().all(plain)
        };
        let fixed = [
            "sync:all",
            "sync:stage1",
            "sync:stage2",
            "sync:mhop",
            "sync:callback",
        ];
        fixed.contains(&word) || archive.is_some_and(is_name)
    };
    match words.split_ascii_whitespace().find(|word| !known(word)) {
        None => Ok(()),
        Some(word) => Err(format!(
            "{word:?} is no word of a push: sync:stage1, sync:stage2, sync:all, sync:mhop, sync:callback and sync:archive:NAME are"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::are_ftpsyncs;

    #[test]
    fn only_words_of_ftpsync_go_on() {
        for words in [
            "",
            "sync:all",
            "sync:archive:debian sync:stage1",
            "sync:stage2 sync:mhop\nsync:callback",
        ] {
            assert_eq!(are_ftpsyncs(words), Ok(()), "{words:?}");
        }
        for words in [
            "sh",
            "sync:stage1; sh",
            "sync:archive:",
            "sync:archive:a/b",
            "sync:stage3",
        ] {
            assert!(are_ftpsyncs(words).is_err(), "{words:?}");
        }
    }
}
