//! The question for a tarball at the same time as the one for what it must be: a client that has a lock file asks for tarballs
//! of packages that nobody has heard of, and would wait for one after the other. Its answer stays unread until the promise is
//! known, so that nothing is done with bytes that nobody vouches for.

use std::sync::Arc;

use fleet_formats::npm::{Facts, PackageName};
use futures::FutureExt;
use futures::future::RemoteHandle;
use http::header::ACCEPT;
use http::{HeaderName, HeaderValue};

use crate::inner::Inner;
use crate::pins::usual_source;
use crate::refusal::Refusal;
use crate::upstream::Early;

/// A question under way. Who drops it takes it back.
pub struct AskedEarly {
    /// What is asked for.
    pub source: String,
    answer: RemoteHandle<Option<Result<Early, Refusal>>>,
}

impl AskedEarly {
    /// None where it was not asked after all, for want of connections.
    pub async fn answer(self) -> Option<Result<Early, Refusal>> {
        self.answer.await
    }
}

/// How a tarball is asked for.
pub fn of_any_kind() -> [(HeaderName, HeaderValue); 1] {
    [(ACCEPT, HeaderValue::from_static("*/*"))]
}

impl Inner {
    /// Asks for a tarball where the upstream has it most likely. None where it would not be given out whatever it is.
    pub fn ask_early(self: &Arc<Self>, name: &PackageName, file: &str) -> Option<AskedEarly> {
        let version = name.version_of(file)?;
        // As old as can be: what is held back all the same is on a list.
        let of_old = Facts {
            published: None,
            seen: 0,
            was_there: false,
            mutated: None,
        };
        let verdict = self.guard.version(name, version, &of_old, crate::now());
        if verdict.held().is_some() {
            return None;
        }
        let source = usual_source(self.upstream.address(), name, file);
        let (this, url) = (self.clone(), source.clone());
        let asking = async move { this.upstream.ask_if_free(&url, &of_any_kind()).await };
        let (asking, answer) = asking.remote_handle();
        tokio::spawn(asking);
        Some(AskedEarly { source, answer })
    }
}
