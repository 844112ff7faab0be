//! What users of the crate see, with real keys and signatures (`gpg`), real compressors and hostile input.

mod arch;
mod bad_entries;
mod debian_indices;
mod debian_suites;
mod decompress;
mod envelopes;
mod gpg;
mod hostile;
mod npm;
mod openpgp;
mod rsa;
mod web_of_trust;
