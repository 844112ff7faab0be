//! Asking a mirror as its clients do: one request at a time for each of several connections, patient where it asks for that.

use std::time::Duration;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use url::Url;

use crate::failure::Failure;
use crate::resolve::USER_AGENT;
use crate::runtime::system;

/// What is said nothing of for so long will not come.
const SILENCE: Duration = Duration::from_secs(120);
/// How often is asked again where the mirror says that it is busy, and how long is waited for that at most.
const TRIES: u32 = 5;
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Of an index or a document, in bytes.
const LONGEST: usize = 256 << 20;
/// Of what a mirror says to people.
const LONGEST_WORDS: usize = 300;

/// One who asks.
#[derive(Clone)]
pub struct Asking {
    client: Client,
}

/// Why something cannot be had, in the mirror's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub status: Option<StatusCode>,
    pub why: String,
}

impl Asking {
    pub fn new() -> Result<Asking, Failure> {
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .read_timeout(SILENCE)
            .build()
            .map_err(|error| system(&error))?;
        Ok(Asking { client })
    }

    /// A whole document.
    pub async fn document(&self, url: &Url, accept: &str) -> Result<Vec<u8>, Refused> {
        let mut body = Vec::new();
        let mut response = self.answer(url, accept, false).await?;
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > LONGEST {
                return Err(Refused {
                    status: None,
                    why: "it is longer than any index".to_owned(),
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Has it sent, and throws it away; each piece is told of.
    pub async fn warm(&self, url: &Url, accept: &str, came: impl Fn(u64)) -> Result<(), Refused> {
        let mut response = self.answer(url, accept, true).await?;
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            came(chunk.len() as u64);
        }
        Ok(())
    }

    async fn answer(&self, url: &Url, accept: &str, is_packed: bool) -> Result<Response, Refused> {
        for _ in 1..TRIES {
            let response = self.send(url, accept, is_packed).await?;
            let wait = response.headers().get(RETRY_AFTER);
            let wait = wait.and_then(|wait| wait.to_str().ok()?.parse().ok());
            match (response.status(), wait) {
                (StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, Some(wait)) => {
                    let wait = Duration::from_secs(wait).min(LONGEST_WAIT);
                    tokio::time::sleep(wait).await;
                }
                _ => return judged(response).await,
            }
        }
        judged(self.send(url, accept, is_packed).await?).await
    }

    async fn send(&self, url: &Url, accept: &str, is_packed: bool) -> Result<Response, Refused> {
        let mut request = self.client.get(url.clone()).header(ACCEPT, accept);
        if is_packed {
            request = request.header(ACCEPT_ENCODING, "gzip");
        }
        request.send().await.map_err(broken)
    }
}

async fn judged(mut response: Response) -> Result<Response, Refused> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let mut words = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await
        && words.len() < LONGEST_WORDS
    {
        words.extend_from_slice(&chunk);
    }
    let words = String::from_utf8_lossy(&words);
    let plain: String = words
        .trim()
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .take(LONGEST_WORDS)
        .collect();
    // As registries write it.
    let said = serde_json::from_str::<serde_json::Value>(&plain).ok();
    let said = said.as_ref().and_then(|said| said.get("error")?.as_str());
    Err(Refused {
        status: Some(status),
        why: format!("{status}: {}", said.unwrap_or(&plain)),
    })
}

fn broken(error: reqwest::Error) -> Refused {
    let mut innermost: &(dyn std::error::Error + 'static) = &error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    Refused {
        status: None,
        why: innermost.to_string(),
    }
}
