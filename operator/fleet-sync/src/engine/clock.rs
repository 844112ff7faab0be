//! The upstream's clock, where its format has one: asked once of each endpoint in a run, before anything else of it. While
//! it stands as it did, no unit of that endpoint is asked for. It is read before the roots: what changes in between is
//! found by the next run. It goes forward only, whoever is asked.

use fleet_fetch::{Arrival, Body};
use fleet_formats::seam::{Clock, Format, RootFile};
use fleet_types::{ClockReading, Reason};

use super::list::Lister;
use super::upstream::Upstream;
use crate::Problem;

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
        let is_read = |text: &String| (clock.read)(text).is_some();
        let beat = beat.filter(is_read);
        Ok(state
            .filter(is_read)
            .map(|state| ClockReading { state, beat }))
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

impl Lister<'_> {
    /// Whether an endpoint tells by a clock how new it is. One that does need not give anything else to us.
    pub(super) async fn has_clock(&self, endpoint: usize) -> bool {
        let format = self.rules.options.format.as_ref();
        let clock = self.upstream.clock(format, endpoint).await;
        clock.is_ok_and(|clock| clock.is_some())
    }

    /// Errors: `RollbackDetected` where an endpoint's clock stands before that of the state which was accepted last.
    pub(super) fn not_before(
        &self,
        unit: &str,
        endpoint: usize,
        now: Option<&ClockReading>,
    ) -> Result<(), Problem> {
        let format = self.rules.options.format.as_ref();
        let memory = self.stock.memory.units.get(unit);
        let (Some(clock), Some(then), Some(now)) = (
            format.state_files().clock(),
            memory.and_then(|memory| memory.clock.as_ref()),
            now,
        ) else {
            return Ok(());
        };
        if (clock.read)(&now.state) >= (clock.read)(&then.state) {
            return Ok(());
        }
        let text = format!(
            "{unit}: {} has the state of {} by its {}, and one of {} was accepted before; wait, name a newer endpoint, or \
             leave that clock out of the Mirror's content if the upstream has set it back",
            self.upstream.fetcher.endpoints().url(endpoint),
            now.state.trim(),
            clock.state.path,
            then.state.trim(),
        );
        Err(Problem::new(Reason::RollbackDetected, text))
    }
}

/// Whether an endpoint's clock is as it was, or as another's.
pub(super) fn stands(then: Option<&ClockReading>, now: Option<&ClockReading>) -> bool {
    then.zip(now)
        .is_some_and(|(then, now)| then.state == now.state)
}

/// What is remembered of the clock of an accepted state. That the upstream was alive later than that was known of another
/// endpoint.
pub(super) fn kept(
    format: &dyn Format,
    before: Option<&ClockReading>,
    now: Option<&ClockReading>,
) -> Option<ClockReading> {
    let mut now = now?.clone();
    let later = before.and_then(|before| before.beat.as_ref());
    if let Some((clock, later)) = format.state_files().clock().zip(later)
        && let Some(beat) = &mut now.beat
        && (clock.read)(later) > (clock.read)(beat)
    {
        beat.clone_from(later);
    }
    Some(now)
}
