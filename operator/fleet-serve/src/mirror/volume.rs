//! What is on the volume, as requests see it.

use fleet_store::{SnapshotId, StoreError};
use fleet_types::lock;

use super::{ServedMirror, unix_seconds};
use crate::back::Change;
use crate::signs::Signs;
use crate::view::View;

impl ServedMirror {
    /// Opens what is on the volume and not in `before`. What cannot be opened is told of, and keeps nothing else from
    /// being served.
    ///
    /// Where the current snapshot is damaged the one that was served before goes on, if it is whole. A server that
    /// starts has none: it serves the names whose content never changes out of the other snapshots, and answers 503 for
    /// those that change. Serving an older state instead would turn the clock back for clients, which only a person
    /// may; the next sync makes the index anew, mostly without fetching anything.
    pub(super) fn read_volume(
        &self,
        before: &View,
        signs: &Signs,
    ) -> Result<(View, Option<String>), StoreError> {
        let mut problems = Vec::new();
        let infos = self.store.snapshots()?;
        let open = |id: &SnapshotId| match before.whole(id) {
            Some(snapshot) => Ok(snapshot.clone()),
            None => self.store.snapshot(id),
        };
        let chosen = signs.choose(&self.store, before, &infos, &mut problems);
        let opened = chosen.and_then(|order| {
            let order = order.map(|order| open(&SnapshotId(order.snapshot)).map(|it| (it, order)));
            order.transpose()
        });
        let mut view = View::default();
        match opened {
            Ok(Some((current, order))) => {
                (view.current, view.epoch) = (Some(current), order.epoch);
            }
            Ok(None) => {}
            Err(error)
                if error.is_damage() || matches!(error, StoreError::SnapshotNotFound { .. }) =>
            {
                problems.push(error.to_string());
                let as_before = before.current.as_ref();
                view.current = as_before.filter(|current| !current.is_damaged()).cloned();
                view.epoch = before.epoch;
            }
            Err(other) => return Err(other),
        }
        let change = Change::of(&self.store, before, &view, &infos)?;
        let mut back = lock(&self.back);
        if let Some(change) = change {
            back.notice(&change, unix_seconds());
        }
        view.returned_at = back.at;
        drop(back);
        let id = view.current.as_ref().map(|current| current.id());
        let is_as_before = before.current.as_ref().map(|before| before.id()) == id;
        view.published = before.published.filter(|_| is_as_before);
        for info in infos.iter().rev() {
            if Some(info.id) == id {
                // By an order it is served before a run notes that it is.
                let published = view.published.or(info.published_at);
                view.published = Some(published.unwrap_or_else(unix_seconds));
                continue;
            }
            match open(&info.id) {
                Ok(snapshot) => view.others.push(snapshot),
                // Collected between the listing and the opening.
                Err(StoreError::SnapshotNotFound { .. }) => {}
                Err(error) => problems.push(error.to_string()),
            }
        }
        // After the snapshots: what goes is on the list before it goes.
        let retention = self.identity().retention;
        match self.store.retained() {
            Ok(list) => view.retained = list.map(|list| (list, retention)),
            Err(error) => problems.push(error.to_string()),
        }
        let unreadable = self.store.unreadable()?;
        problems.extend(unreadable.iter().map(ToString::to_string));
        problems.dedup();
        problems.truncate(8);
        Ok((view, (!problems.is_empty()).then(|| problems.join("; "))))
    }
}
