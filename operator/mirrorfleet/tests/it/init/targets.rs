//! `init` beside the machine's own apt: do both ask for the same?

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{World, command, tool};

/// What is asked of apt and of a manifest: repository, suite, component, architecture; `source` for sources.
type Target = (String, String, String, String);

/// A root for apt with these files below etc/apt.
pub fn machine(world: &World, name: &str, sources: &[(&str, &str)]) -> PathBuf {
    let root = world.path(name);
    for folder in [
        "etc/apt/sources.list.d",
        "etc/apt/trusted.gpg.d",
        "etc/apt/preferences.d",
        "var/lib/apt/lists/partial",
        "var/lib/dpkg",
        "var/cache/apt/archives/partial",
        "none",
    ] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    let keyring = world.path("keyring.asc");
    fs::copy(keyring, root.join("etc/apt/trusted.gpg.d/archive.asc")).unwrap();
    let configuration = format!(
        "Dir \"{0}/\";\nDir::Etc::parts \"{0}/none\";\nDir::State::status \"{0}/var/lib/dpkg/status\";\nAcquire::Languages \"none\";\nAPT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; \"i386\"; }};\n",
        root.display()
    );
    fs::write(root.join("apt.conf"), configuration).unwrap();
    for (name, text) in sources {
        fs::write(root.join("etc/apt").join(name), text).unwrap();
    }
    root
}

fn as_url(uri: &str) -> String {
    url::Url::parse(uri).unwrap().to_string()
}

fn asked_by_apt(root: &Path) -> Vec<Target> {
    let format = "$(CREATED_BY)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ARCHITECTURE)";
    let told = tool(
        std::process::Command::new("apt-get")
            .env("APT_CONFIG", root.join("apt.conf"))
            .args(["indextargets", "--no-release-info", "--format", format]),
    );
    let told = String::from_utf8(told).unwrap();
    let targets = told.lines().filter_map(|line| {
        let [kind, uri, suite, component, architecture] =
            line.split('|').collect::<Vec<_>>().try_into().ok()?;
        let of = match kind {
            "Packages" => architecture,
            "Sources" => "source",
            _ => return None,
        };
        let plain = |name: &str| match name.starts_with("$(") {
            true => String::new(),
            false => name.to_owned(),
        };
        Some((as_url(uri), plain(suite), plain(component), plain(of)))
    });
    let mut targets: Vec<_> = targets.collect();
    targets.sort();
    targets.dedup();
    targets
}

fn asked_by_manifests(text: &str) -> Vec<Target> {
    use serde::Deserialize;
    let documents: Vec<serde_json::Value> = serde_yaml::Deserializer::from_str(text)
        .map(|document| serde_json::Value::deserialize(document).unwrap())
        .collect();
    let of_kind = |kind: &'static str| {
        documents
            .iter()
            .filter(move |document| document["kind"] == kind)
    };
    let words = |value: &serde_json::Value| -> Vec<String> {
        let words = value.as_array().into_iter().flatten();
        words
            .map(|word| word.as_str().unwrap().to_owned())
            .collect()
    };
    let mut targets = Vec::new();
    for mirror in of_kind("Mirror") {
        let name = &mirror["spec"]["upstreamRef"]["name"];
        let upstream = of_kind("Upstream").find(|upstream| upstream["metadata"]["name"] == *name);
        let url = upstream.unwrap()["spec"]["authority"]["url"]
            .as_str()
            .unwrap();
        let slice = &mirror["spec"]["content"]["debian"];
        let mut kinds = words(&slice["architectures"]);
        kinds.extend((!kinds.is_empty()).then(|| "all".to_owned()));
        kinds.extend((slice["include"]["sources"] == true).then(|| "source".to_owned()));
        for suite in words(&slice["suites"]) {
            let (components, kinds) = match suite.ends_with('/') {
                // apt names neither for flat repositories.
                true => {
                    let sources = kinds.iter().any(|kind| kind == "source");
                    let packages = kinds.iter().any(|kind| kind != "source");
                    let packages = packages.then(String::new);
                    let sources = sources.then(|| "source".to_owned());
                    (
                        vec![String::new()],
                        packages.into_iter().chain(sources).collect(),
                    )
                }
                false => (words(&slice["components"]), kinds.clone()),
            };
            for component in components {
                let of = |kind: &String| {
                    (
                        url.to_owned(),
                        suite.clone(),
                        component.clone(),
                        kind.clone(),
                    )
                };
                targets.extend(kinds.iter().map(of));
            }
        }
    }
    targets.sort();
    targets.dedup();
    targets
}

#[test]
fn the_manifests_ask_for_what_apt_asks_for() {
    let world = World::new();
    let odd: &[(&str, &[(&str, &str)])] = &[
        (
            "plain",
            &[(
                "sources.list",
                "deb http://a.example.org/debian trixie main contrib # x\ndeb-src http://a.example.org/debian/ trixie main contrib\n",
            )],
        ),
        (
            "one-line",
            &[
                (
                    "sources.list",
                    "deb [arch=\"amd64\" trusted=yes] \"http://a.example.org/x y/\" stable main con%74rib # c\ndeb-src http://b.example.org/%78 stable main\ndeb [arch+=arm64 arch-=i386] http://c.example.org/$(ARCH) s/$(ARCH)/ \n  deb\t[ arch=arm64,amd64 arch-=amd64 ]  http://[::1]:80/z stable main\ndeb [lang=none by-hash=force target=Packages] http://d.example.org/ ./\ndeb-src http://e.example.org/ ./\ndeb [arch=x86_64] http://f.example.org/ stable main\n",
                ),
                (
                    "mirror.list",
                    "deb http://foreign.example.org/ unstable main\n",
                ),
                (
                    "sources.list.d/old copy.list",
                    "deb http://old.example.org/ s main\n",
                ),
                (
                    "sources.list.d/.hidden.list",
                    "deb http://hidden.example.org/ s main\n",
                ),
                (
                    "sources.list.d/x~.list",
                    "deb http://tilde.example.org/ s main\n",
                ),
                (
                    "sources.list.d/x.save",
                    "deb http://save.example.org/ s main\n",
                ),
                (
                    "sources.list.d/y:1_b.list",
                    "deb http://y.example.org/ s main\n",
                ),
            ],
        ),
        (
            "deb822",
            &[(
                "sources.list.d/a.sources",
                "# first\nTypes: deb\nURIs: http://a.example.org/\n \nSuites: x\n# inner\n y\nComponents: main\n  non-free\nArchitectures-Remove: i386\nX-Repolib-Name: a\n\n#\nTypes: deb deb-src\nEnabled: no\nURIs: http://off.example.org/\nSuites: x y\nComponents: main\n\n\nTypes: deb-src\nURIs: http://b.example.org/ http://c.example.org/d\nSuites: x\nComponents: main\nEnabled: yes\n\nTypes: deb deb-src\nURIs: http://d.example.org/\nSuites: old\nSuites: x\nComponents: main\nArchitectures: amd64 arm64\nArchitectures-Add: riscv64\nTrusted: yes\n",
            )],
        ),
    ];
    for (name, sources) in odd {
        let root = machine(&world, name, sources);
        let run = command(&["init", "--from", root.join("etc/apt").to_str().unwrap()])
            .env("APT_CONFIG", root.join("apt.conf"))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.success(), "{name}: {told}");
        let ours = asked_by_manifests(&String::from_utf8(run.stdout).unwrap());
        assert_eq!(ours, asked_by_apt(&root), "{name}\n{told}");
    }
}
