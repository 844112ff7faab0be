//! Members of a tar archive, read once from its beginning to its end, out of hostile hands: nothing is held but a header,
//! and what makes two readers see different things is refused. ustar, with the extensions of PAX and GNU for long names.
//! <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13>

use std::io::{self, BufRead, BufReader, ErrorKind, Read};

use fleet_types::{Reason, counted};

use crate::decompress;
use crate::seam::Rejected;

const BLOCK: usize = 512;
/// Of a header that extends another one; those of databases have the length of a name.
const MAX_EXTENSION_BYTES: u64 = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    /// A link, a device or a pipe; it has no content.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub path: String,
    pub kind: Kind,
    /// In bytes.
    pub size: u64,
}

/// An archive that is being read.
pub(super) struct Tar<'a> {
    content: BufReader<&'a mut dyn Read>,
    /// What is left of the current member, and of the block in which it ends.
    left: u64,
    padding: u64,
    /// The number of the header that was read last, for messages.
    header: u64,
}

/// What headers before a member's own say of it.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    is_sparse: bool,
}

impl<'a> Tar<'a> {
    pub fn new(content: &'a mut dyn Read) -> Tar<'a> {
        Tar {
            content: BufReader::with_capacity(64 << 10, content),
            left: 0,
            padding: 0,
            header: 0,
        }
    }

    /// The next member, past what was not read of the one before; none at the end. Errors: `IndexMalformed`, `TooLarge`,
    /// and those of the decoder.
    pub fn next(&mut self) -> Result<Option<Member>, Rejected> {
        self.pass()?;
        let mut extension = Extension::default();
        let mut is_extended = false;
        loop {
            let Some(header) = self.next_header()? else {
                return match is_extended {
                    true => Err(self.malformed("it ends where a member should follow")),
                    false => Ok(None),
                };
            };
            let size = header
                .size()
                .ok_or_else(|| self.malformed("a size that is no number"))?;
            match header.kind() {
                b'x' => self.extension(size)?.pax(&mut extension),
                b'g' => {
                    let mut global = Extension::default();
                    let read = self.extension(size)?.pax(&mut global);
                    match global {
                        Extension {
                            path: None,
                            size: None,
                            is_sparse: false,
                        } => read,
                        _ => None,
                    }
                }
                b'L' => {
                    extension.path = Some(self.extension(size)?.text());
                    Some(())
                }
                // The target of a link.
                b'K' => self.extension(size).map(|_| Some(()))?,
                _ => return self.member(&header, size, extension).map(Some),
            }
            .ok_or_else(|| self.malformed("an extended header that readers do not agree about"))?;
            is_extended = true;
        }
    }

    /// The content of the current member, as a whole. Errors: `TooLarge` beyond `max_bytes`, and as above.
    pub fn read(&mut self, max_bytes: u64) -> Result<Vec<u8>, Rejected> {
        let size = self.left;
        if size > max_bytes {
            let size = counted(size, "byte");
            let what = format!("a member of {size}, at most {max_bytes} are read");
            return Err(Rejected::new(Reason::TooLarge, self.at(&what)));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        let read = self.content.by_ref().take(size).read_to_end(&mut bytes);
        read.map_err(|error| decompress::rejection(&error))?;
        if (bytes.len() as u64) < size {
            return Err(self.cut_off());
        }
        self.left = 0;
        Ok(bytes)
    }

    fn member(
        &mut self,
        header: &Header,
        size: u64,
        extension: Extension,
    ) -> Result<Member, Rejected> {
        let size = extension.size.unwrap_or(size);
        let path = extension.path.unwrap_or_else(|| header.path());
        let path =
            String::from_utf8(path).map_err(|_| self.malformed("a name that is not UTF-8"))?;
        let kind = match header.kind() {
            0 | b'0' | b'7' if path.ends_with('/') => Kind::Directory,
            0 | b'0' | b'7' => Kind::File,
            b'5' => Kind::Directory,
            b'1'..=b'4' | b'6' => Kind::Other,
            _ => return Err(self.malformed("a kind of member that not every reader knows")),
        };
        if extension.is_sparse || (kind != Kind::File && size > 0) {
            return Err(self.malformed("a member whose content readers do not agree about"));
        }
        self.begin(size);
        Ok(Member { path, kind, size })
    }

    fn extension(&mut self, size: u64) -> Result<Content, Rejected> {
        self.begin(size);
        let bytes = self.read(MAX_EXTENSION_BYTES)?;
        self.pass()?;
        Ok(Content(bytes))
    }

    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    /// Goes to where the next header begins.
    fn pass(&mut self) -> Result<(), Rejected> {
        let count = self.left.saturating_add(self.padding);
        let passed = self.skip(count);
        let passed = passed.map_err(|error| decompress::rejection(&error))?;
        // Some writers leave out what fills the last block.
        if passed < self.left {
            return Err(self.cut_off());
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// Passes over bytes without a copy of them; how many there were.
    fn skip(&mut self, count: u64) -> io::Result<u64> {
        let mut passed = 0;
        while passed < count {
            let there = match self.content.fill_buf() {
                Ok(there) => there.len(),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if there == 0 {
                break;
            }
            let step = usize::try_from(count - passed).map_or(there, |left| left.min(there));
            self.content.consume(step);
            passed += step as u64;
        }
        Ok(passed)
    }

    /// None at the end: a block of zeros, or no more blocks.
    fn next_header(&mut self) -> Result<Option<Header>, Rejected> {
        let mut block = [0; BLOCK];
        let read = self.read_block(&mut block);
        let read = read.map_err(|error| decompress::rejection(&error))?;
        self.header += 1;
        if matches!(read, 0 | BLOCK) && block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if read < BLOCK {
            return Err(self.cut_off());
        }
        let header = Header(block);
        match header.is_whole() {
            true => Ok(Some(header)),
            false => Err(self
                .malformed("a header whose checksum is wrong; it is no tar archive, or damaged")),
        }
    }

    /// As many bytes of a block as there are.
    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> io::Result<usize> {
        let mut read = 0;
        while read < BLOCK {
            match self.content.read(&mut block[read..]) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    pub fn malformed(&self, what: &str) -> Rejected {
        Rejected::new(Reason::IndexMalformed, self.at(what))
    }

    fn cut_off(&self) -> Rejected {
        self.malformed("the archive is cut off")
    }

    fn at(&self, what: &str) -> String {
        format!("{what} (header {} of the archive)", self.header)
    }
}

/// What an extended header holds.
struct Content(Vec<u8>);

impl Content {
    /// Up to the first NUL.
    fn text(mut self) -> Vec<u8> {
        let end = self.0.iter().position(|byte| *byte == 0);
        self.0.truncate(end.unwrap_or(self.0.len()));
        self.0
    }

    /// Records `length key=value\n`, where the length is that of all of it.
    fn pax(self, extension: &mut Extension) -> Option<()> {
        let mut rest = self.0.as_slice();
        while !rest.is_empty() {
            let digits = rest.iter().position(|byte| *byte == b' ')?;
            let length = usize::try_from(number(rest.get(..digits)?)?).ok()?;
            let record = rest.get(digits + 1..length)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|byte| *byte == b'=')?;
            let (key, value) = (record.get(..equals)?, record.get(equals + 1..)?);
            match key {
                b"path" => extension.path = Some(value.to_vec()),
                b"size" => extension.size = Some(number(value)?),
                key => extension.is_sparse |= key.starts_with(b"GNU.sparse"),
            }
            rest = rest.get(length..)?;
        }
        Some(())
    }
}

/// Decimal digits and nothing else.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let text = str::from_utf8(digits).ok()?;
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok())?
}

struct Header([u8; BLOCK]);

impl Header {
    fn field(&self, start: usize, length: usize) -> &[u8] {
        self.0.get(start..start + length).unwrap_or_default()
    }

    fn kind(&self) -> u8 {
        self.field(156, 1).first().copied().unwrap_or_default()
    }

    /// A sum over all bytes, its own field taken as blanks.
    fn is_whole(&self) -> bool {
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let own = self.field(148, 8);
        let blanks = u32::from(b' ') * own.len() as u32;
        octal(own) == Some(u64::from(sum(&self.0) - sum(own) + blanks))
    }

    fn size(&self) -> Option<u64> {
        let field = self.field(124, 12);
        match field.split_first() {
            // GNU's form of large numbers.
            Some((0x80, rest)) => {
                let (high, low) = rest.split_at_checked(3)?;
                let low: [u8; 8] = low.try_into().ok()?;
                high.iter()
                    .all(|byte| *byte == 0)
                    .then(|| u64::from_be_bytes(low))
            }
            _ => octal(field),
        }
    }

    fn path(&self) -> Vec<u8> {
        let name = until_nul(self.field(0, 100));
        // Of GNU's own form something else stands there.
        let prefix = match self.field(257, 6) {
            b"ustar\0" => until_nul(self.field(345, 155)),
            _ => &[],
        };
        match prefix {
            [] => name.to_vec(),
            prefix => [prefix, b"/", name].concat(),
        }
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal digits between blanks, up to a NUL; no digits are 0.
fn octal(field: &[u8]) -> Option<u64> {
    let digits = until_nul(field).trim_ascii();
    digits.iter().try_fold(0u64, |sum, digit| match digit {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}
