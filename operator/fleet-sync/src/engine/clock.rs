//! The upstream's clock, where its format has one: asked once of each endpoint in a run, before anything else of it. While
//! it stands as it did, no unit of that endpoint is asked for. It is read before the roots: what changes in between is
//! found by the next run.

use fleet_formats::seam::{Clock, Format, RootFile};
use fleet_types::ClockReading;

use super::upstream::Upstream;
use crate::Problem;
use crate::fetch::{Arrival, Body};

impl Upstream {
    /// How an endpoint's clock stands; none where the format or the endpoint has none.
    pub async fn clock(
        &self,
        format: &dyn Format,
        endpoint: usize,
    ) -> Result<Option<&ClockReading>, Problem> {
        let clock = format.state_files().clock();
        let Some((clock, cell)) = clock.zip(self.clocks.get(endpoint)) else {
            return Ok(None);
        };
        let reading = cell.get_or_try_init(|| self.read_clock(&clock, endpoint));
        Ok(reading.await?.as_ref())
    }

    async fn read_clock(
        &self,
        clock: &Clock,
        endpoint: usize,
    ) -> Result<Option<ClockReading>, Problem> {
        let beat = async {
            match &clock.beat {
                Some(file) => self.text_of(file, endpoint).await,
                None => Ok(None),
            }
        };
        let (state, beat) = tokio::try_join!(self.text_of(&clock.state, endpoint), beat)?;
        Ok(state.map(|state| ClockReading { state, beat }))
    }

    /// None where it is not there, or no text.
    async fn text_of(&self, file: &RootFile, endpoint: usize) -> Result<Option<String>, Problem> {
        Ok(match self.fetch_root(file, endpoint, None).await? {
            Ok(Arrival::Complete(received)) => received.body.and_then(|body| match body {
                Body::Memory(text) => String::from_utf8(text).ok(),
                Body::File(_) => None,
            }),
            _ => None,
        })
    }
}
