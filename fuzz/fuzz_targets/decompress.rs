//! Every decompressor, bounded; the first byte says which one.
#![no_main]

use std::io::Read;

use fleet_formats::decompress::{DecompressError, Whole, reader};
use fleet_formats::seam::Compression;
use mirrorfleet_fuzz::Drip;

const LIMIT: u64 = 1 << 16;

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    let Some((first, content)) = content.split_first() else {
        return;
    };
    let compression = match first % 7 {
        0 => Compression::None,
        1 => Compression::Gzip,
        2 => Compression::Xz,
        3 => Compression::Bzip2,
        4 => Compression::Zstd,
        5 => Compression::Lzma,
        _ => Compression::Lz4,
    };
    let whole = decompress(compression, content);
    let dripping = decompress(compression, Drip(content, 13));
    assert_eq!(whole.is_ok(), dripping.is_ok());
    if let (Ok(whole), Ok(dripping)) = (whole, dripping) {
        assert!(whole == dripping);
    }
});

fn decompress(compression: Compression, content: impl Read) -> Result<Vec<u8>, ()> {
    let mut output = Vec::new();
    let read = reader(compression, content, LIMIT, Whole::ByItself).read_to_end(&mut output);
    assert!(output.len() as u64 <= LIMIT);
    read.map(|_| output).map_err(|error| {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<DecompressError>());
        assert!(
            inner.is_some(),
            "the upstream's fault, not the disk's: {error}"
        );
    })
}
