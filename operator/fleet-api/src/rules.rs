//! Patterns and words that several fields' rules share.

/// Names that become part of our objects' names: a DNS label that begins with a letter (Services demand it).
pub const NAME: &str = "^[a-z]([-a-z0-9]*[a-z0-9])?$";
/// What the message of such a wrong name says.
pub const NAME_MESSAGE: &str = "a name begins with a lower-case letter, goes on with lower-case letters, digits and dashes, does not end in a dash, and has at most 63 characters";
/// Names of Secrets and ConfigMaps.
pub const OBJECT_NAME: &str = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$";
/// The same where nothing is allowed too.
pub const OBJECT_NAME_OR_EMPTY: &str = "^([a-z0-9]([-.a-z0-9]*[a-z0-9])?)?$";
/// Keys of Secrets and ConfigMaps, without those that a mounted volume cannot hold.
pub const DATA_KEY: &str = "^[A-Za-z0-9_-][-._A-Za-z0-9]*$";
