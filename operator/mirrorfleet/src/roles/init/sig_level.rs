//! What `SigLevel` of a pacman.conf asks of signatures.

/// Of packages, or of databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Never,
    Optional,
    Required,
}

/// Of one repository, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SigLevel {
    pub packages: Asked,
    pub databases: Asked,
    /// Keys are not asked for their masters.
    pub trusts_all: bool,
}

impl Default for SigLevel {
    /// As the distribution has it in its pacman.conf.
    fn default() -> Self {
        SigLevel {
            packages: Asked::Required,
            databases: Asked::Optional,
            trusts_all: false,
        }
    }
}

impl SigLevel {
    /// Changed by what stands in one line: of words about the same thing the last counts.
    pub fn with(mut self, line: &str) -> SigLevel {
        for word in line.split_whitespace() {
            let of_databases = word.strip_prefix("Database");
            let of_packages = word.strip_prefix("Package");
            let plain = of_databases.or(of_packages).unwrap_or(word);
            let asked = match plain {
                "Never" => Some(Asked::Never),
                "Optional" => Some(Asked::Optional),
                "Required" => Some(Asked::Required),
                _ => None,
            };
            if let Some(asked) = asked {
                if of_databases.is_none() {
                    self.packages = asked;
                }
                if of_packages.is_none() {
                    self.databases = asked;
                }
            }
            match plain {
                "TrustAll" if of_databases.is_none() => self.trusts_all = true,
                "TrustedOnly" if of_databases.is_none() => self.trusts_all = false,
                _ => {}
            }
        }
        self
    }

    pub fn is_unsigned(self) -> bool {
        self.packages == Asked::Never
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_by_pacman() {
        let level = |line| {
            let level = SigLevel::default().with(line);
            (level.packages, level.databases, level.trusts_all)
        };
        use Asked::{Never, Optional, Required};
        assert_eq!(level(""), (Required, Optional, false));
        assert_eq!(
            level("Required DatabaseOptional"),
            (Required, Optional, false)
        );
        assert_eq!(level("Optional TrustAll"), (Optional, Optional, true));
        assert_eq!(
            level("PackageRequired DatabaseNever"),
            (Required, Never, false)
        );
        assert_eq!(level("Never PackageOptional"), (Optional, Never, false));
        assert_eq!(
            level("TrustAll TrustedOnly Required"),
            (Required, Required, false)
        );
        assert_eq!(level("DatabaseTrustAll"), (Required, Optional, false));
    }
}
