//! Names of our objects. Two different (Mirror, region, replica) never share one, and none is too long for what
//! Kubernetes derives from it: StatefulSet pods, Job pods (63 characters), Services (must start with a letter).

use std::fmt::Write as _;

use fleet_api::mirror::MOST_REPLICAS;
use sha2::{Digest, Sha256};

/// Characters of the Mirror's name that are kept.
const MIRROR_LENGTH: usize = 20;
/// Characters of the region's name that are kept.
const REGION_LENGTH: usize = 16;

/// The name of a region's Service and PodDisruptionBudget, and of the StatefulSet and claim of its first replica:
/// `<mirror, 20 at most>-<region, 16 at most>-<hash8(mirror, region)>`, at most 46 characters.
pub fn child_name(mirror: &str, region: &str) -> String {
    let hash = hash8(&[mirror, region]);
    format!(
        "{}-{}-{hash}",
        cut(mirror, MIRROR_LENGTH),
        cut(region, REGION_LENGTH)
    )
}

/// The name of the StatefulSet and claim of one replica of a region: the region's, and after it the replica's number where
/// that is not 0; at most 48 characters.
pub fn replica_name(mirror: &str, region: &str, replica: u32) -> String {
    let child = child_name(mirror, region);
    match replica {
        0 => child,
        number => format!("{child}-{number}"),
    }
}

/// The name of the Service that leads to all regions of a Mirror: `<mirror, 20 at most>-<hash8(mirror)>`.
pub fn mirror_name(mirror: &str) -> String {
    format!("{}-{}", cut(mirror, MIRROR_LENGTH), hash8(&[mirror]))
}

/// The name of a run's Job: it says what the run is for, so that creating it twice is one Job. At most 57 characters.
pub fn job_name(child: &str, trigger: &str, occasion: &str) -> String {
    format!("{child}-{}", hash8(&[child, trigger, occasion]))
}

/// The name of a Job that asks an Upstream: it says for which occasion, so that creating it twice is one Job. At most 35
/// characters.
pub fn probe_name(upstream: &str, occasion: &str) -> String {
    let hash = hash8(&["probe", upstream, occasion]);
    format!(
        "{}-probe-{hash}",
        cut(&upstream.replace('.', "-"), MIRROR_LENGTH)
    )
}

/// The only pod of a replica's StatefulSet.
pub fn serving_pod_name(child: &str) -> String {
    format!("{child}-0")
}

/// Whether a name could be one of ours, by its end: what says no is somebody else's.
pub fn could_be_ours(name: &str) -> bool {
    let of_region = match name.rsplit_once('-') {
        Some((region, number)) if is_number(number) => region,
        _ => name,
    };
    let digits = of_region.rsplit('-').next().unwrap_or_default();
    digits.len() == 8
        && digits
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether it is the number of a replica after the first.
fn is_number(text: &str) -> bool {
    let number = text.parse::<u32>();
    number.is_ok_and(|number| (1..MOST_REPLICAS).contains(&number))
}

/// SHA-256 over the parts, each with its length, in hexadecimal digits.
pub fn hash(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let mut text = String::with_capacity(64);
    for byte in digest.finalize() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn hash8(parts: &[&str]) -> String {
    hash(parts).chars().take(8).collect()
}

fn cut(name: &str, length: usize) -> String {
    name.chars()
        .take(length)
        .collect::<String>()
        .trim_end_matches('-')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn label(max: usize) -> impl Strategy<Value = String> {
        // Few letters and many dashes: the names that could meet.
        prop::string::string_regex(&format!("[ab][-ab]{{0,{}}}", max - 2))
            .unwrap()
            .prop_map(|text| text.trim_end_matches('-').to_owned())
    }

    proptest! {
        #[test]
        fn names_never_meet_and_always_fit(all in prop::collection::vec((label(63), label(63), 0..MOST_REPLICAS), 1..200)) {
            let mut seen = BTreeMap::new();
            for one in all {
                let name = replica_name(&one.0, &one.1, one.2);
                prop_assert!(name.len() <= 48 && name.starts_with(|c: char| c.is_ascii_lowercase()));
                prop_assert!(name.ends_with(|c: char| c.is_ascii_alphanumeric()));
                prop_assert!(job_name(&name, "Schedule", "x").len() <= 57);
                prop_assert!(could_be_ours(&name));
                let before = seen.insert(name, one.clone());
                prop_assert!(before.is_none_or(|before| before == one));
            }
        }
    }

    #[test]
    fn our_names_are_told_from_most_others() {
        let child = child_name("debian", "eu");
        assert!(could_be_ours(&child) && could_be_ours(&job_name(&child, "First", "first")));
        for other in ["data-postgres-0", "cafe", "", "web-7d4b9c6f5"] {
            assert!(!could_be_ours(other), "{other}");
        }
    }

    #[test]
    fn the_first_replica_has_its_regions_name() {
        let child = child_name("debian", "eu");
        assert_eq!(replica_name("debian", "eu", 0), child);
        assert_eq!(replica_name("debian", "eu", 2), format!("{child}-2"));
        assert!(!could_be_ours(&format!("{child}-9")));
    }

    #[test]
    fn a_probe_has_a_name_of_its_own_for_each_occasion() {
        let name = probe_name("deb.example.org-and-more", "1/first");
        assert!(
            name.starts_with("deb-example-org-and-probe-") && name.len() <= 35,
            "{name}"
        );
        assert!(could_be_ours(&name) && name != probe_name("deb.example.org-and-more", "1/2"));
    }

    #[test]
    fn dashes_in_names_do_not_make_two_pairs_one() {
        assert_ne!(child_name("a-b", "c"), child_name("a", "b-c"));
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
    }
}
