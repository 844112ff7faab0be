//! What a repository database says of one package: `desc` and what may stand beside it, sections of lines.
//! <https://alpm.archlinux.page/specifications/alpm-repo-desc.5.html>
//!
//! pacman reads every file of a package's directory that it knows by the same rules, and takes the last of what stands
//! several times. Whatever another reader could see differently makes the entry unusable here.

/// The sections of which something is needed; others are skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Description {
    pub file_name: Option<String>,
    pub name: Option<String>,
    pub version: Option<String>,
    pub base: Option<String>,
    pub groups: Vec<String>,
    pub compressed_size: Option<String>,
    pub sha256: Option<String>,
    pub signature: Option<String>,
    /// When it was built, in seconds since 1970-01-01T00:00:00Z, where that can be read.
    pub built: Option<i64>,
    /// The first thing that is wrong with it, in a few words.
    pub fault: Option<String>,
}

impl Description {
    /// Adds what one file of the package's directory says.
    pub fn read(&mut self, text: &[u8]) {
        if let Err(fault) = self.sections(text) {
            self.fault.get_or_insert(fault);
        }
    }

    fn sections(&mut self, text: &[u8]) -> Result<(), String> {
        // Where a line ends for those who read it as a string of C.
        if text.contains(&0) {
            return Err("a NUL in its description".to_owned());
        }
        let mut lines = text.split(|byte| *byte == b'\n');
        let mut values: Vec<&[u8]> = Vec::new();
        while let Some(line) = lines.next() {
            let Some(section) = title(line) else {
                continue;
            };
            values.clear();
            values.extend(lines.by_ref().take_while(|line| !line.is_empty()));
            if let Some(inner) = values.iter().find_map(|line| title(line)) {
                return Err(format!("the section {inner} begins inside of {section}"));
            }
            self.section(section, &values)?;
        }
        Ok(())
    }

    fn section(&mut self, section: &str, values: &[&[u8]]) -> Result<(), String> {
        let field = match section {
            "FILENAME" => &mut self.file_name,
            "NAME" => &mut self.name,
            "VERSION" => &mut self.version,
            "BASE" => &mut self.base,
            "CSIZE" => &mut self.compressed_size,
            "SHA256SUM" => &mut self.sha256,
            "PGPSIG" => &mut self.signature,
            "GROUPS" => {
                let texts = values.iter().map(|value| utf8(section, value));
                self.groups.extend(texts.collect::<Result<Vec<_>, _>>()?);
                return Ok(());
            }
            "BUILDDATE" => {
                let text = values.first().and_then(|value| str::from_utf8(value).ok());
                self.built = text.and_then(|text| text.parse().ok());
                return Ok(());
            }
            _ => return Ok(()),
        };
        let value = match values {
            [] => return Ok(()),
            [value] => utf8(section, value)?,
            _ => return Err(format!("the section {section} has several lines")),
        };
        match field.replace(value) {
            Some(_) => Err(format!("the section {section} stands twice")),
            None => Ok(()),
        }
    }
}

fn utf8(section: &str, value: &[u8]) -> Result<String, String> {
    let text = String::from_utf8(value.to_vec());
    text.map_err(|_| format!("the section {section} is not UTF-8"))
}

/// `%NAME%`
fn title(line: &[u8]) -> Option<&str> {
    let inner = line.strip_prefix(b"%")?.strip_suffix(b"%")?;
    let is_title = !inner.is_empty()
        && inner
            .iter()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    is_title.then(|| str::from_utf8(inner).ok())?
}
