//! Orders: which snapshot a server is to serve.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{DigestError, Sha256};

/// Serve this snapshot. Of two orders the one of the higher epoch counts, and nobody goes back to a lower one.
///
/// As text `<epoch> <id>`: decimal digits, a space, 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// The number of the decision that it comes from, from 1; at most [`Order::MAX_EPOCH`].
    pub epoch: u64,
    /// The snapshot's id.
    pub snapshot: Sha256,
}

/// A text that is no order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    #[error("an order is an epoch, a space and the id of a snapshot")]
    Shape,
    #[error("an epoch is a number from 1 to {max}", max = Order::MAX_EPOCH)]
    Epoch,
    #[error("the id of the snapshot: {0}")]
    Snapshot(#[from] DigestError),
}

impl Order {
    /// What a status can hold and every reader of JSON keeps exactly. One decision a microsecond takes 285 years to it.
    pub const MAX_EPOCH: u64 = (1 << 53) - 1;

    /// What a server serves that has followed `followed` and is given `order`: never one of a lower epoch, and only what it
    /// keeps.
    pub fn next(
        followed: Option<Order>,
        order: Option<Order>,
        keeps: impl FnOnce(&Sha256) -> bool,
    ) -> Option<Order> {
        let epoch = followed.map_or(0, |followed| followed.epoch);
        let newer = order.filter(|order| order.epoch > epoch && keeps(&order.snapshot));
        newer.or(followed)
    }

    /// Reads what may be empty: none where nothing was ordered yet.
    ///
    /// # Errors
    /// The text is neither empty nor an order.
    pub fn read(text: &str) -> Result<Option<Order>, OrderError> {
        let text = text.trim_ascii();
        (!text.is_empty()).then(|| text.parse()).transpose()
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.epoch, self.snapshot)
    }
}

impl FromStr for Order {
    type Err = OrderError;

    fn from_str(text: &str) -> Result<Order, OrderError> {
        let (epoch, snapshot) = text.split_once(' ').ok_or(OrderError::Shape)?;
        let digits = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit());
        let epoch = epoch.parse().ok().filter(|_| digits);
        let epoch = epoch.filter(|epoch| (1..=Order::MAX_EPOCH).contains(epoch));
        Ok(Order {
            epoch: epoch.ok_or(OrderError::Epoch)?,
            snapshot: snapshot.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_order_is_read_as_it_was_written(epoch in 1..=Order::MAX_EPOCH, id: [u8; 32]) {
            let order = Order { epoch, snapshot: Sha256(id) };
            prop_assert_eq!(order.to_string().parse(), Ok(order));
            prop_assert_eq!(Order::read(&format!("{order}\n")), Ok(Some(order)));
        }

        #[test]
        fn no_text_is_read_as_an_order_that_is_written_otherwise(text in "[0-9a-f +.-]{0,80}") {
            if let Ok(order) = text.parse::<Order>() {
                prop_assert_eq!(order.to_string(), text.trim_start_matches('0'));
            }
        }

        #[test]
        fn any_text_is_an_order_or_an_error(text: String) {
            let _ = Order::read(&text);
        }
    }

    #[test]
    fn what_is_no_order_says_what_is_wrong() {
        let id = "ab".repeat(32);
        let read = |text: &str| Order::read(text);
        assert_eq!((read(""), read(" \n")), (Ok(None), Ok(None)));
        for text in ["7", id.as_str()] {
            assert_eq!(read(text), Err(OrderError::Shape), "{text}");
        }
        let most = Order::MAX_EPOCH + 1;
        for epoch in [
            "0",
            "-1",
            "+1",
            "1.0",
            "x",
            "",
            "99999999999999999999",
            &most.to_string(),
        ] {
            let text = format!("{epoch} {id}");
            let empty = epoch.is_empty();
            let wrong = if empty {
                OrderError::Shape
            } else {
                OrderError::Epoch
            };
            assert_eq!(read(&text), Err(wrong), "{text:?}");
        }
        for end in [
            "",
            " ",
            "ab",
            &format!("{id}0"),
            &format!(" {id}"),
            &"zz".repeat(32),
        ] {
            let wrong = read(&format!("7 {end}"));
            assert!(
                matches!(wrong, Err(OrderError::Snapshot(_) | OrderError::Shape)),
                "{end:?}: {wrong:?}"
            );
        }
    }
}
