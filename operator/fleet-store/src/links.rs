//! Directories that stand for other ones: `dists/stable` for `dists/trixie`. Pure: names in, names out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sha2::Digest as _;

pub(crate) type Links = BTreeMap<String, String>;

/// The path with the link that it leads through replaced by what that stands for; no link stands for another.
pub(crate) fn follow<'a>(links: &Links, path: &'a str) -> Cow<'a, str> {
    let through = links.iter().find_map(|(link, target)| {
        let rest = path.strip_prefix(link.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then_some((target, rest))
    });
    match through {
        Some((target, rest)) => Cow::Owned(format!("{target}{rest}")),
        None => Cow::Borrowed(path),
    }
}

/// What a symbolic link in the place of `link` says, so that it holds wherever the tree is.
pub(crate) fn relative(link: &str, target: &str) -> String {
    let (mut from, mut to): (Vec<&str>, Vec<&str>) =
        (link.split('/').collect(), target.split('/').collect());
    from.pop();
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    to.drain(..shared);
    let mut parts = vec![".."; from.len() - shared];
    parts.extend(to);
    parts.join("/")
}

/// Takes out the links in whose place, or on the way to which, there is content. To be told all paths.
pub(crate) fn yield_to(links: &mut Links, path: &str) {
    let apart = |link: &str| {
        let (longer, shorter) = if link.len() > path.len() {
            (link, path)
        } else {
            (path, link)
        };
        longer
            .strip_prefix(shorter)
            .is_none_or(|rest| !rest.is_empty() && !rest.starts_with('/'))
    };
    links.retain(|link, _| apart(link));
}

/// The part of a snapshot's id that links are; nothing without links, as before there were any.
pub(crate) fn add_to_id(id: &mut sha2::Sha256, links: &Links) {
    for text in links.iter().flat_map(|(link, target)| [link, target]) {
        id.update((text.len() as u64).to_le_bytes());
        id.update(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(pairs: &[(&str, &str)]) -> Links {
        pairs
            .iter()
            .map(|(link, target)| ((*link).to_owned(), (*target).to_owned()))
            .collect()
    }

    #[test]
    fn a_path_through_a_link_is_the_one_behind_it() {
        let links = links(&[
            ("dists/stable", "dists/trixie"),
            ("dists/stable-updates", "dists/trixie-updates"),
        ]);
        for (path, behind) in [
            ("dists/stable", "dists/trixie"),
            ("dists/stable/InRelease", "dists/trixie/InRelease"),
            (
                "dists/stable-updates/InRelease",
                "dists/trixie-updates/InRelease",
            ),
            (
                "dists/stable-backports/InRelease",
                "dists/stable-backports/InRelease",
            ),
            ("pool/dists/stable", "pool/dists/stable"),
        ] {
            assert_eq!(follow(&links, path), behind);
        }
    }

    #[test]
    fn a_symbolic_link_is_relative() {
        for (link, target, says) in [
            ("dists/stable", "dists/trixie", "trixie"),
            (
                "dists/stable/updates",
                "dists/trixie/updates",
                "../trixie/updates",
            ),
            ("dists/stable", "dists/trixie/updates", "trixie/updates"),
            ("a", "b/c", "b/c"),
        ] {
            assert_eq!(relative(link, target), says);
        }
    }

    #[test]
    fn content_wins_over_a_link_in_its_place_or_above_it() {
        let all = [
            ("dists/stable", "dists/trixie"),
            ("dists/a/b", "dists/trixie"),
        ];
        for (path, stay) in [
            ("dists/stable/x.deb", "dists/a/b"),
            ("dists/stable", "dists/a/b"),
            ("dists/a", "dists/stable"),
        ] {
            let mut links = links(&all);
            yield_to(&mut links, path);
            assert_eq!(links.keys().collect::<Vec<_>>(), [stay], "{path}");
        }
        let mut links = links(&all);
        yield_to(&mut links, "dists/stable-updates/InRelease");
        yield_to(&mut links, "dists/a/bc");
        assert_eq!(links.len(), 2);
    }
}
