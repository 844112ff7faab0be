//! Content that arrives, in a file that grows: one who writes, any number who read as far as they are allowed.

use std::fs::File;
use std::sync::{Arc, Weak};

use tokio::sync::watch;

/// Content up to this size is whole and right before anybody gets a byte of it.
pub const WHOLE_FIRST: u64 = 8 << 20;
/// What is held back of larger content until all of it was found right.
pub const HELD_BACK: u64 = 64 << 10;

/// Content on its way. Whoever has it reads what is there as soon as that may be sent; the end of it may be sent only when
/// all of it was found to be right.
#[derive(Debug, Clone)]
pub struct Growing {
    file: Arc<File>,
    size: u64,
    growth: watch::Receiver<Growth>,
    reading: Arc<Reading>,
}

/// What all who read one content share.
#[derive(Debug)]
struct Reading {
    /// How far the one has come who is furthest, in bytes.
    taken: watch::Sender<u64>,
}

/// Who tells how far it has come. Dropped before its end, it says that the content will never be whole.
#[derive(Debug)]
pub struct Grower {
    growth: watch::Sender<Growth>,
    size: u64,
    reading: Weak<Reading>,
    taken: watch::Receiver<u64>,
}

/// By which those are counted who may read some content.
#[derive(Debug, Clone)]
pub struct Readers(Weak<Reading>);

/// It will not be whole: what is wrong is told in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken(pub String);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Growth {
    /// So many bytes may be sent.
    Released(u64),
    Broken(String),
}

impl Growing {
    /// `file` holds the content from its beginning and is read by position; `size` is that of the whole, in bytes.
    pub fn new(file: Arc<File>, size: u64) -> (Grower, Growing) {
        let (tell, growth) = watch::channel(Growth::Released(0));
        let (take, taken) = watch::channel(0);
        let growing = Growing {
            file,
            size,
            growth,
            reading: Arc::new(Reading { taken: take }),
        };
        let grower = Grower {
            growth: tell,
            size,
            reading: Arc::downgrade(&growing.reading),
            taken,
        };
        (grower, growing)
    }

    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Of the whole, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Waits until bytes behind `at` may be sent, which is less than the size; up to which. What lies before `at` is not read
    /// any more.
    pub async fn beyond(&mut self, at: u64) -> Result<u64, Broken> {
        self.took(at);
        self.released_beyond(at).await
    }

    /// The same for who hands it on, and reads nothing itself.
    pub(crate) async fn released_beyond(&mut self, at: u64) -> Result<u64, Broken> {
        let moved = |growth: &Growth| !matches!(growth, Growth::Released(until) if *until <= at);
        match self.growth.wait_for(moved).await.as_deref() {
            Ok(Growth::Released(until)) => Ok(*until),
            Ok(Growth::Broken(why)) => Err(Broken(why.clone())),
            Err(_) => Err(Broken("who fetched it has ended".to_owned())),
        }
    }

    /// What lies before `at` was read.
    pub(crate) fn took(&self, at: u64) {
        self.reading.taken.send_if_modified(|taken| {
            let is_further = at > *taken;
            *taken = at.max(*taken);
            is_further
        });
    }
}

impl Grower {
    /// The first `until` bytes are in the file, and may be sent. It never goes back.
    pub fn release(&self, until: u64) {
        self.growth.send_if_modified(|growth| match growth {
            Growth::Released(before) if *before < until => {
                *growth = Growth::Released(until);
                true
            }
            _ => false,
        });
    }

    /// The first `written` bytes are in the file: they may be sent, but for what is held back of the end.
    pub fn wrote(&self, written: u64) {
        self.release(written.min(self.size.saturating_sub(HELD_BACK)));
    }

    /// All of it is there, and right.
    pub fn whole(self) {
        self.release(self.size);
    }

    /// No more will be sent.
    pub fn fail(self, why: String) {
        self.growth.send_replace(Growth::Broken(why));
    }

    pub fn readers(&self) -> Readers {
        Readers(self.reading.clone())
    }

    /// Waits until who reads has come further than `at`; how far. None once nobody reads any more.
    pub async fn taken_beyond(&mut self, at: u64) -> Option<u64> {
        let taken = self.taken.wait_for(|taken| *taken > at).await;
        taken.ok().map(|taken| *taken)
    }
}

impl Readers {
    pub fn count(&self) -> usize {
        self.0.strong_count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn growing(size: u64) -> (Grower, Growing) {
        Growing::new(Arc::new(tempfile::tempfile().unwrap()), size)
    }

    #[tokio::test]
    async fn who_reads_is_told_of_what_may_be_sent_and_of_nothing_else() {
        let (grower, mut growing) = growing(10);
        grower.release(4);
        grower.release(3);
        assert_eq!(growing.beyond(0).await, Ok(4));
        let waiting = tokio::spawn(async move { growing.beyond(4).await });
        grower.release(10);
        assert_eq!(waiting.await.unwrap(), Ok(10));
    }

    #[tokio::test]
    async fn the_end_waits_until_all_of_it_is_right() {
        let size = 3 * HELD_BACK;
        let (grower, mut growing) = growing(size);
        grower.wrote(HELD_BACK / 2);
        assert_eq!(growing.beyond(0).await, Ok(HELD_BACK / 2));
        grower.wrote(size);
        assert_eq!(growing.beyond(1).await, Ok(size - HELD_BACK));
        grower.whole();
        assert_eq!(growing.beyond(size - HELD_BACK).await, Ok(size));
    }

    #[tokio::test]
    async fn what_is_given_up_is_told_also_to_who_had_not_read_all_that_was_released() {
        let (grower, mut growing) = growing(10);
        grower.release(4);
        grower.fail("wrong".to_owned());
        assert_eq!(growing.beyond(0).await, Err(Broken("wrong".to_owned())));
    }

    #[tokio::test]
    async fn a_writer_that_ends_early_leaves_nobody_waiting() {
        let (grower, mut growing) = growing(10);
        grower.release(4);
        drop(grower);
        assert_eq!(growing.beyond(0).await, Ok(4));
        assert!(growing.beyond(4).await.is_err());
    }

    #[tokio::test]
    async fn who_writes_knows_who_reads_and_how_far() {
        let (mut grower, mut first) = growing(10);
        grower.release(8);
        let readers = grower.readers();
        let mut second = first.clone();
        assert_eq!(readers.count(), 2);
        first.beyond(3).await.unwrap();
        second.beyond(2).await.unwrap();
        assert_eq!(grower.taken_beyond(0).await, Some(3));
        drop((first, second));
        assert_eq!((readers.count(), grower.taken_beyond(3).await), (0, None));
    }

    proptest! {
        #[test]
        fn what_is_released_never_shrinks(steps in prop::collection::vec(0..100_u64, 1..20)) {
            let (grower, growing) = growing(100);
            let mut most = 0;
            for step in steps {
                grower.release(step);
                most = most.max(step);
                let told = growing.growth.borrow().clone();
                prop_assert_eq!(told, Growth::Released(most));
            }
        }
    }
}
