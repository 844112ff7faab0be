//! Content that arrives, in a file that grows: one who writes, any number who read as far as they are allowed.

use std::fs::File;
use std::sync::Arc;

use tokio::sync::watch;

/// Content on its way. Whoever has it reads what is there as soon as that may be sent; the end of it may be sent only when
/// all of it was found to be right.
#[derive(Debug, Clone)]
pub struct Growing {
    file: Arc<File>,
    size: u64,
    growth: watch::Receiver<Growth>,
}

/// Who tells how far it has come. Dropped before its end, it says that the content will never be whole.
#[derive(Debug)]
pub struct Grower(watch::Sender<Growth>);

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
        let (grower, growth) = watch::channel(Growth::Released(0));
        let growing = Growing { file, size, growth };
        (Grower(grower), growing)
    }

    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Of the whole, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Waits until bytes behind `at` may be sent, which is less than the size; up to which.
    pub async fn beyond(&mut self, at: u64) -> Result<u64, Broken> {
        let moved = |growth: &Growth| !matches!(growth, Growth::Released(until) if *until <= at);
        match self.growth.wait_for(moved).await.as_deref() {
            Ok(Growth::Released(until)) => Ok(*until),
            Ok(Growth::Broken(why)) => Err(Broken(why.clone())),
            Err(_) => Err(Broken("who fetched it has ended".to_owned())),
        }
    }
}

impl Grower {
    /// The first `until` bytes are in the file, and may be sent. It never goes back.
    pub fn release(&self, until: u64) {
        self.0.send_if_modified(|growth| match growth {
            Growth::Released(before) if *before < until => {
                *growth = Growth::Released(until);
                true
            }
            _ => false,
        });
    }

    /// No more will be sent.
    pub fn fail(self, why: String) {
        self.0.send_replace(Growth::Broken(why));
    }

    /// Whether nobody reads it any more.
    pub fn is_alone(&self) -> bool {
        self.0.is_closed()
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
