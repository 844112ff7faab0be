//! From packages to the addresses by which clients ask a mirror for them.

use std::collections::{BTreeMap, BTreeSet};

use fleet_formats::arch::listed_packages;
use fleet_formats::deb822::Reader;
use fleet_formats::decompress::{Whole, output_limit, reader};
use fleet_formats::seam::Compression;
use reqwest::StatusCode;
use url::Url;

use super::asking::{Asking, Refused};
use super::wishes::Wish;
use crate::failure::Failure;

const ANY: &str = "*/*";
const FULL: &str = "application/json";
/// As pnpm, Yarn 1 and Bun ask.
const ABBREVIATED: &str =
    "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*";
/// As what indices of packages are compressed, the smallest first.
const INDICES: [(&str, Compression); 3] = [
    (".xz", Compression::Xz),
    (".gz", Compression::Gzip),
    ("", Compression::None),
];

/// Something to ask for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub url: Url,
    pub accept: &'static str,
}

/// What is to be asked for, and which packages nobody knows.
#[derive(Debug, Default)]
pub struct Targets {
    pub all: BTreeSet<Target>,
    pub unknown: BTreeSet<Wish>,
}

/// Finds wishes among what a repository lists.
struct Finding<'w> {
    by_name: BTreeMap<&'w str, Vec<&'w Wish>>,
    found: BTreeSet<&'w Wish>,
    files: BTreeSet<Target>,
}

impl<'w> Finding<'w> {
    fn new(wishes: &'w BTreeSet<Wish>) -> Finding<'w> {
        let mut by_name: BTreeMap<&str, Vec<&Wish>> = BTreeMap::new();
        for wish in wishes {
            by_name.entry(&wish.name).or_default().push(wish);
        }
        Finding {
            by_name,
            found: BTreeSet::new(),
            files: BTreeSet::new(),
        }
    }

    fn listed(&mut self, name: &str, version: &str, file: impl FnOnce() -> Option<Url>) {
        let wishes = self.by_name.get(name).into_iter().flatten();
        let meant: Vec<&Wish> = wishes
            .copied()
            .filter(|wish| wish.version.as_ref().is_none_or(|wanted| wanted == version))
            .collect();
        if !meant.is_empty()
            && let Some(url) = file()
        {
            self.found.extend(meant);
            self.files.insert(Target { url, accept: ANY });
        }
    }

    fn targets(self, wishes: &BTreeSet<Wish>) -> Targets {
        let is_unknown = |wish: &&Wish| !self.found.contains(wish);
        Targets {
            unknown: wishes.iter().filter(is_unknown).cloned().collect(),
            all: self.files,
        }
    }
}

/// Packages of suites, of the given architectures or of all that the mirror has.
pub async fn debian(
    asking: &Asking,
    base: &Url,
    wishes: &BTreeSet<Wish>,
    (suites, architectures): (&[String], &[String]),
) -> Result<Targets, Failure> {
    let mut finding = Finding::new(wishes);
    for suite in suites {
        let folder = join(base, &format!("dists/{suite}/"))?;
        let release = asking.document(&join(&folder, "InRelease")?, ANY).await;
        let release = release.map_err(|refused| unusable(&folder, &refused))?;
        let release = String::from_utf8_lossy(&release);
        let mut read = 0;
        for index in indices(&release, architectures) {
            if let Some((bytes, compression)) = index_of(asking, &folder, &index).await? {
                read_index(&bytes, compression, base, &mut finding)
                    .map_err(|why| Failure::invalid(format!("{folder}{index}: {why}")))?;
                read += 1;
            }
        }
        if read == 0 {
            return Err(Failure::invalid(format!(
                "{folder}: the mirror has no index of packages there{}",
                match architectures {
                    [] => String::new(),
                    some => format!(" for {}", some.join(", ")),
                }
            )));
        }
    }
    Ok(finding.targets(wishes))
}

/// Paths of `Packages` below a suite, without what they are compressed by, as its root lists them.
fn indices(release: &str, architectures: &[String]) -> BTreeSet<String> {
    let paths = release
        .lines()
        .filter(|line| line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().nth(2));
    let indices = paths.filter_map(|path| {
        let index = path.rsplit_once("/Packages")?.0;
        let architecture = index.rsplit_once("/binary-")?.1;
        let is_plain = !index.contains("debian-installer");
        let is_wanted = architectures.is_empty()
            || architecture == "all"
            || architectures.iter().any(|wanted| wanted == architecture);
        (is_plain && is_wanted).then(|| format!("{index}/Packages"))
    });
    indices.collect()
}

/// None where the mirror does not carry it.
async fn index_of(
    asking: &Asking,
    folder: &Url,
    index: &str,
) -> Result<Option<(Vec<u8>, Compression)>, Failure> {
    for (suffix, compression) in INDICES {
        let url = join(folder, &format!("{index}{suffix}"))?;
        match asking.document(&url, ANY).await {
            Ok(bytes) => return Ok(Some((bytes, compression))),
            Err(refused) if refused.status == Some(StatusCode::NOT_FOUND) => {}
            Err(refused) => return Err(unusable(&url, &refused)),
        }
    }
    Ok(None)
}

fn read_index(
    bytes: &[u8],
    compression: Compression,
    base: &Url,
    finding: &mut Finding<'_>,
) -> Result<(), String> {
    let limit = output_limit(bytes.len() as u64, None);
    let mut stanzas = Reader::new(reader(compression, bytes, limit, Whole::ByItself));
    while let Some(stanza) = stanzas.next_entry().map_err(|error| error.to_string())? {
        let text = |field: &str| stanza.text(field).ok().flatten();
        if let (Some(name), Some(version), Some(file)) =
            (text("Package"), text("Version"), text("Filename"))
        {
            finding.listed(name, version, || join(base, file).ok());
        }
    }
    Ok(())
}

/// Packages of pacman's repositories. `server` has `$repo` and `$arch` in it, as a line of pacman's configuration.
pub async fn arch(
    asking: &Asking,
    server: &Url,
    wishes: &BTreeSet<Wish>,
    (repos, architectures): (&[String], &[String]),
) -> Result<Targets, Failure> {
    let usual = ["x86_64".to_owned()];
    let architectures = match architectures {
        [] => &usual,
        some => some,
    };
    let mut finding = Finding::new(wishes);
    for repo in repos {
        for architecture in architectures {
            let folder = server.as_str().replace("$repo", repo);
            let folder = Url::parse(&folder.replace("$arch", architecture))
                .map_err(|error| Failure::invalid(format!("{folder}: {error}")))?;
            let database = join(&folder, &format!("{repo}.db"))?;
            let bytes = asking.document(&database, ANY).await;
            let bytes = bytes.map_err(|refused| unusable(&database, &refused))?;
            let listed = listed_packages(&bytes)
                .map_err(|rejected| Failure::invalid(format!("{database}: {rejected}")))?;
            for package in listed {
                finding.listed(&package.name, &package.version, || {
                    join(&folder, &package.file).ok()
                });
            }
        }
    }
    Ok(finding.targets(wishes))
}

/// Packages of a registry: their documents in both forms, and tarballs.
pub async fn npm(asking: &Asking, base: &Url, wishes: &BTreeSet<Wish>) -> Result<Targets, Failure> {
    let mut targets = Targets::default();
    for wish in wishes {
        let document = join(base, &wish.name.replace('/', "%2f"))?;
        let tarball = match &wish.version {
            Some(version) => {
                let bare = wish.name.rsplit('/').next().unwrap_or(&wish.name);
                Some(join(
                    base,
                    &format!("{}/-/{bare}-{version}.tgz", wish.name),
                )?)
            }
            None => newest(asking, base, wish).await?,
        };
        let Some(url) = tarball else {
            targets.unknown.insert(wish.clone());
            continue;
        };
        targets.all.insert(Target { url, accept: ANY });
        for accept in [FULL, ABBREVIATED] {
            let url = document.clone();
            targets.all.insert(Target { url, accept });
        }
    }
    Ok(targets)
}

/// The tarball of the version that `latest` means. None where there is no such package.
async fn newest(asking: &Asking, base: &Url, wish: &Wish) -> Result<Option<Url>, Failure> {
    let url = join(base, &format!("{}/latest", wish.name))?;
    let document = match asking.document(&url, FULL).await {
        Ok(document) => document,
        Err(refused) if refused.status == Some(StatusCode::NOT_FOUND) => return Ok(None),
        // It is told with the package's own document.
        Err(_) => return Ok(Some(join(base, &wish.name.replace('/', "%2f"))?)),
    };
    let document: serde_json::Value = serde_json::from_slice(&document)
        .map_err(|error| Failure::invalid(format!("{url}: it is no document of npm's: {error}")))?;
    let tarball = document
        .get("dist")
        .and_then(|dist| dist.get("tarball")?.as_str());
    let tarball = tarball.and_then(|tarball| Url::parse(tarball).ok());
    // Whatever it says, nobody else is asked.
    Ok(tarball.filter(|tarball| tarball.origin() == base.origin()))
}

fn join(base: &Url, path: &str) -> Result<Url, Failure> {
    let inside = base
        .join(path)
        .ok()
        .filter(|url| url.as_str().starts_with(base.as_str()));
    inside.ok_or_else(|| Failure::invalid(format!("{base}{path} is no address of the mirror")))
}

fn unusable(url: &Url, refused: &Refused) -> Failure {
    Failure::new(
        fleet_types::Reason::UpstreamUnreachable,
        format!("{url}: {}", refused.why),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_as_a_root_lists_them() {
        let release = "SHA256:\n aa 1 main/binary-amd64/Packages.xz\n aa 1 main/binary-amd64/Packages\n aa 1 main/binary-arm64/Packages.gz\n aa 1 main/debian-installer/binary-amd64/Packages.gz\n aa 1 main/binary-all/Packages.xz\n aa 1 main/source/Sources.xz\n";
        let all: Vec<String> = indices(release, &[]).into_iter().collect();
        assert_eq!(
            all,
            [
                "main/binary-all/Packages",
                "main/binary-amd64/Packages",
                "main/binary-arm64/Packages"
            ]
        );
        assert_eq!(indices(release, &["arm64".to_owned()]).len(), 2);
    }

    #[test]
    fn nothing_leads_out_of_the_mirror() {
        let base = Url::parse("http://m.example.org/debian/").unwrap();
        assert!(join(&base, "pool/a.deb").is_ok());
        for path in ["../x", "/x", "http://evil.example.org/", "pool/../../x"] {
            assert!(join(&base, path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_version_is_that_one_and_a_name_alone_is_any() {
        let wish = |name: &str, version: Option<&str>| Wish {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        };
        let wishes = BTreeSet::from([wish("a", Some("1")), wish("b", None), wish("c", None)]);
        let mut finding = Finding::new(&wishes);
        let url = |name: &str| Url::parse(&format!("http://m/{name}")).ok();
        for (name, version) in [("a", "1"), ("a", "2"), ("b", "7"), ("d", "1")] {
            finding.listed(name, version, || url(&format!("{name}{version}")));
        }
        let targets = finding.targets(&wishes);
        let files: Vec<&str> = targets.all.iter().map(|target| target.url.path()).collect();
        assert_eq!(files, ["/a1", "/b7"]);
        assert_eq!(targets.unknown, BTreeSet::from([wish("c", None)]));
    }
}
