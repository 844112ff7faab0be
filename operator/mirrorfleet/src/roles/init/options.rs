//! What the options of an entry ask for (`debSLTypeDebian::CreateItemInternal` in apt's debmetaindex.cc).

use std::collections::BTreeMap;

use super::signed_by::SignedBy;

/// What a manifest can say of an entry's options, and in words what it cannot.
#[derive(Debug, Default)]
pub struct Understood {
    pub architectures: Architectures,
    pub signed_by: SignedBy,
    pub trusted: bool,
    pub expired: bool,
    pub more: More,
    /// What was left out, and what follows.
    pub left_out: Vec<String>,
}

/// `arch`, `arch+` and `arch-`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Architectures {
    /// None: those of the machine.
    pub only: Option<Vec<String>>,
    pub add: Vec<String>,
    pub remove: Vec<String>,
}

impl Architectures {
    /// Those that apt asks for. `all` comes with any of them, and stands alone where none is left.
    pub fn of(&self, machine: &[String]) -> Vec<String> {
        let mut list = self.only.clone().unwrap_or_else(|| machine.to_vec());
        list.extend(self.add.iter().cloned());
        list.retain(|name| !self.remove.contains(name));
        let mut seen = std::collections::BTreeSet::new();
        list.retain(|name| seen.insert(name.clone()));
        if list.is_empty() {
            list.push("all".to_owned());
        }
        list
    }
}

/// What an entry names besides packages and sources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct More {
    pub contents: bool,
    pub dep11: bool,
    pub pdiffs: bool,
}

impl More {
    pub fn or(self, other: More) -> More {
        More {
            contents: self.contents || other.contents,
            dep11: self.dep11 || other.dep11,
            pdiffs: self.pdiffs || other.pdiffs,
        }
    }
}

/// What names and values mean. Errors: values that apt refuses.
pub fn understand(options: &BTreeMap<String, String>) -> Result<Understood, String> {
    let list = |name: &str| options.get(name).map(|value| words(value));
    let mut understood = Understood {
        architectures: Architectures {
            only: list("arch").filter(|names| !names.is_empty()),
            add: list("arch+").unwrap_or_default(),
            remove: list("arch-").unwrap_or_default(),
        },
        ..Understood::default()
    };
    if let Some(value) = options.get("signed-by") {
        understood.signed_by = SignedBy::parse(value)?;
    }
    for (name, value) in options {
        understood.option(name, value);
    }
    understood.targets(options);
    Ok(understood)
}

impl Understood {
    fn option(&mut self, name: &str, value: &str) {
        let follows = match (name, is_yes(value)) {
            ("trusted", Some(true)) => {
                self.trusted = true;
                return;
            }
            ("check-valid-until", Some(false)) => {
                self.expired = true;
                return;
            }
            ("pdiffs", Some(true)) => {
                self.more.pdiffs = true;
                return;
            }
            // What the mirror does anyway.
            ("check-valid-until" | "check-date", Some(true)) | ("snapshot", Some(_)) => return,
            ("allow-insecure" | "allow-weak" | "allow-downgrade-to-insecure", Some(false)) => {
                return;
            }
            ("trusted", _) => {
                "the mirror takes what is validly signed; keep the option in the clients' sources"
            }
            ("allow-insecure", _) => {
                "an archive that is not validly signed is refused; `trust.signatures: None` in its Upstream would take it"
            }
            ("allow-weak", _) => "SHA-1 and MD5 alone are refused",
            ("allow-downgrade-to-insecure", _) => {
                "an archive that was signed and is no longer is refused"
            }
            ("check-date", _) => "a state that is dated in the future is refused",
            ("date-max-future" | "valid-until-min", _) => "dates are checked as they are signed",
            ("valid-until-max", _) => {
                "write `trust.maxIndexAge` into the Upstream for an age from which an index is refused"
            }
            ("snapshot", None) => {
                "the mirror copies the newest state; give the snapshot service's own URL to copy that one"
            }
            ("include" | "exclude", _) => {
                "the mirror copies all packages; see `content.debian.packages`, and keep the option in the clients' sources"
            }
            ("lang" | "lang+" | "lang-", _) => {
                "the mirror has the translations of all languages, and clients choose"
            }
            ("by-hash" | "pdiffs", _) => "clients choose; keep the option in their sources",
            ("arch" | "arch+" | "arch-" | "signed-by", _) => return,
            ("target" | "target+" | "target-", _) => return,
            (target, Some(_)) if is_target(target) => return,
            ("inrelease-path", _) => "the mirror reads InRelease where it belongs",
            _ => "apt does not know it either",
        };
        self.left_out
            .push(format!("option `{name}` is left out: {follows}"));
    }

    /// Which kinds of index are asked for. The mirror has packages and translations in any case.
    fn targets(&mut self, options: &BTreeMap<String, String>) {
        let list = |name: &str| words(options.get(name).map_or("", String::as_str));
        let mut targets = list("target");
        targets.extend(list("target+"));
        let switched = options
            .iter()
            .filter(|(name, value)| is_target(name) && is_yes(value) == Some(true));
        targets.extend(switched.map(|(name, _)| name.clone()));
        let without = list("target-");
        targets.retain(|target| !without.contains(target));
        for target in targets {
            match target.as_str() {
                "Packages" | "Translations" | "Sources" => {}
                name if name.starts_with("Contents") => self.more.contents = true,
                name if name.starts_with("DEP-11") => self.more.dep11 = true,
                other => self.left_out.push(format!(
                    "target {other:?} is left out: the mirror copies Packages, Translations, Sources, Contents and DEP-11"
                )),
            }
        }
    }
}

fn is_target(name: &str) -> bool {
    matches!(name, "Packages" | "Translations" | "Sources")
        || name.starts_with("Contents-")
        || name.starts_with("DEP-11")
}

fn words(value: &str) -> Vec<String> {
    let separator = |c: char| c == ',' || c.is_ascii_whitespace();
    let words = value.split(separator).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// As apt's `StringToBool`; none for anything else.
pub fn is_yes(value: &str) -> Option<bool> {
    match value.trim().to_ascii_lowercase().as_str() {
        "yes" | "true" | "with" | "on" | "enable" | "1" => Some(true),
        "no" | "false" | "without" | "off" | "disable" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &[(&str, &str)]) -> Understood {
        let options = options.iter();
        understand(
            &options
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
        .unwrap()
    }

    #[test]
    fn architectures_are_set_added_and_removed() {
        let machine = ["amd64".to_owned(), "i386".to_owned()];
        for (options, expected) in [
            (vec![], vec!["amd64", "i386"]),
            (
                vec![("arch", "arm64,riscv64,arm64")],
                vec!["arm64", "riscv64"],
            ),
            (vec![("arch+", "arm64")], vec!["amd64", "i386", "arm64"]),
            (vec![("arch-", "i386")], vec!["amd64"]),
            (
                vec![("arch", "arm64"), ("arch+", "i386"), ("arch-", "arm64")],
                vec!["i386"],
            ),
            (vec![("arch-", "amd64,i386")], vec!["all"]),
        ] {
            assert_eq!(
                of(&options).architectures.of(&machine),
                expected,
                "{options:?}"
            );
        }
    }

    #[test]
    fn every_option_is_carried_or_named() {
        let quiet = of(&[
            ("trusted", "yes"),
            ("check-valid-until", "no"),
            ("pdiffs", "yes"),
            ("target", "Packages,Contents-deb"),
            ("DEP-11", "yes"),
            ("allow-insecure", "no"),
            ("check-date", "yes"),
            ("snapshot", "disable"),
        ]);
        assert_eq!(quiet.left_out, Vec::<String>::new());
        assert!(quiet.trusted && quiet.expired);
        assert!(quiet.more.contents && quiet.more.dep11 && quiet.more.pdiffs);
        for option in [
            ("allow-insecure", "yes"),
            ("allow-weak", "yes"),
            ("allow-downgrade-to-insecure", "yes"),
            ("check-date", "no"),
            ("valid-until-max", "86400"),
            ("valid-until-min", "86400"),
            ("date-max-future", "60"),
            ("trusted", "no"),
            ("snapshot", "20220102T030405Z"),
            ("include", "a"),
            ("exclude", "a"),
            ("lang", "none"),
            ("by-hash", "force"),
            ("pdiffs", "no"),
            ("target", "Packages,Odd"),
            ("something", "else"),
        ] {
            let left_out = of(&[option]).left_out;
            assert_eq!(left_out.len(), 1, "{option:?}: {left_out:?}");
            assert!(left_out[0].contains("left out: "), "{left_out:?}");
        }
        let insecure = of(&[("allow-insecure", "yes")]);
        assert!(!insecure.trusted);
    }
}
