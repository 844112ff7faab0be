//! Compressed files, whole and mistreated.

use std::io::{self, Read, Write};

use fleet_formats::decompress::{DecompressError, Whole, output_limit, reader, rejection};
use fleet_formats::seam::Compression;
use fleet_types::Reason;

const COMPRESSIONS: [Compression; 6] = [
    Compression::Gzip,
    Compression::Xz,
    Compression::Bzip2,
    Compression::Zstd,
    Compression::Lzma,
    Compression::Lz4,
];

fn compress(compression: Compression, data: &[u8]) -> Vec<u8> {
    match compression {
        Compression::None => data.to_vec(),
        Compression::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Xz => liblzma::encode_all(data, 6).unwrap(),
        Compression::Lzma => {
            let options = liblzma::stream::LzmaOptions::new_preset(6).unwrap();
            lzma(data, &options)
        }
        Compression::Bzip2 => {
            let mut encoder =
                bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => zstd::encode_all(data, 3).unwrap(),
        Compression::Lz4 => {
            let info = lz4_flex::frame::FrameInfo::new()
                .content_checksum(true)
                .block_mode(lz4_flex::frame::BlockMode::Linked);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
    }
}

fn lzma(data: &[u8], options: &liblzma::stream::LzmaOptions) -> Vec<u8> {
    let stream = liblzma::stream::Stream::new_lzma_encoder(options).unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn decompress(compression: Compression, bytes: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    reader(compression, bytes, limit, Whole::ByItself).read_to_end(&mut out)?;
    Ok(out)
}

fn error(compression: Compression, bytes: &[u8], limit: u64) -> DecompressError {
    let error = decompress(compression, bytes, limit).expect_err("must fail");
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<DecompressError>())
        .expect("a DecompressError")
        .clone()
}

fn sample() -> Vec<u8> {
    (0..40_000u32)
        .flat_map(|number| format!("{}\n", number.wrapping_mul(2_654_435_761)).into_bytes())
        .collect()
}

#[test]
fn every_compression_is_read_up_to_exactly_its_limit() {
    let data = sample();
    for compression in COMPRESSIONS.into_iter().chain([Compression::None]) {
        let packed = compress(compression, &data);
        let size = data.len() as u64;
        assert!(
            decompress(compression, &packed, size).unwrap() == data,
            "{compression:?}"
        );
        let limit = size - 1;
        assert_eq!(
            error(compression, &packed, limit),
            DecompressError::TooLarge { limit },
            "{compression:?}"
        );
        assert_eq!(
            decompress(compression, &compress(compression, b""), 0).unwrap(),
            b"",
            "{compression:?}"
        );
    }
}

/// apt compares the digest of what it reads, so that what it does not read is not there.
#[test]
fn several_members_are_what_apt_takes_them_for() {
    for compression in COMPRESSIONS {
        let packed = [
            compress(compression, b"one\n"),
            compress(compression, b"two\n"),
        ]
        .concat();
        let read: &[u8] = match compression {
            Compression::Gzip | Compression::Zstd => b"one\ntwo\n",
            _ => b"one\n",
        };
        assert_eq!(
            decompress(compression, &packed, 100).unwrap(),
            read,
            "{compression:?}"
        );
    }
}

#[test]
fn what_stands_behind_the_end_is_passed_over_as_apt_does() {
    let data = sample();
    for compression in COMPRESSIONS {
        let packed = compress(compression, &data);
        let zeros = [0; 70_000];
        for behind in [
            &zeros[..17],
            &zeros,
            b"\0",
            b"x",
            b"garbage",
            b"\0\0garbage",
            b"\x1f",
        ] {
            let whole = [&packed, behind].concat();
            let read = decompress(compression, &whole, data.len() as u64);
            if compression == Compression::Zstd {
                assert!(read.is_err(), "apt refuses it too");
            } else {
                assert!(
                    read.unwrap() == data,
                    "{compression:?}, {} bytes",
                    behind.len()
                );
            }
        }
    }
    let halves = [
        compress(Compression::Gzip, b"one\n"),
        b"\x1f\x8bgarbage".to_vec(),
    ]
    .concat();
    assert!(
        decompress(Compression::Gzip, &halves, 100).is_err(),
        "a member that is none"
    );
}

#[test]
fn a_file_of_no_bytes_is_an_empty_index_and_a_gz_may_be_none() {
    for compression in COMPRESSIONS {
        assert_eq!(
            decompress(compression, b"", 0).unwrap(),
            b"",
            "{compression:?}"
        );
    }
    for plain in [&b"P"[..], b"Package: one\n"] {
        assert_eq!(decompress(Compression::Gzip, plain, 100).unwrap(), plain);
    }
}

#[test]
fn a_cut_file_is_told_from_a_damaged_one() {
    let data = sample();
    for compression in COMPRESSIONS {
        let packed = compress(compression, &data);
        for length in [packed.len() / 2, packed.len() - 1] {
            let found = error(compression, &packed[..length], u64::MAX);
            assert_eq!(
                found,
                DecompressError::Truncated,
                "{compression:?} cut to {length} of {}",
                packed.len()
            );
        }
        let mut damaged = packed.clone();
        damaged
            .iter_mut()
            .skip(packed.len() / 2)
            .take(64)
            .for_each(|byte| *byte ^= 0x55);
        let found = error(compression, &damaged, u64::MAX);
        assert!(
            matches!(
                found,
                DecompressError::Corrupt(_) | DecompressError::Truncated
            ),
            "{compression:?}: {found:?}"
        );
        if compression != Compression::Gzip {
            let refused = error(compression, b"not compressed at all", 100);
            assert_ne!(refused, DecompressError::TooLarge { limit: 100 });
        }
    }
}

/// Where a digest tells whether all of it came, a gzip may lack what stands behind its content.
#[test]
fn a_gzip_that_is_cut_off_ends_early_where_a_digest_tells() {
    let data = sample();
    let read = |compression, packed: &[u8]| {
        let mut out = Vec::new();
        reader(compression, packed, u64::MAX, Whole::ByDigest)
            .read_to_end(&mut out)
            .map(|_| out)
    };
    let packed = compress(Compression::Gzip, &data);
    for behind in 1..=8 {
        let cut = &packed[..packed.len() - behind];
        assert!(read(Compression::Gzip, cut).unwrap() == data, "{behind}");
        assert!(decompress(Compression::Gzip, cut, u64::MAX).is_err());
    }
    let half = read(Compression::Gzip, &packed[..packed.len() / 2]).unwrap();
    assert!(half.len() < data.len() && data.starts_with(&half));
    let mut wrong = packed.clone();
    let last = wrong.len() - 6;
    wrong[last] ^= 1;
    assert!(read(Compression::Gzip, &wrong).is_err(), "another checksum");
    for compression in COMPRESSIONS {
        let packed = compress(compression, &data);
        let cut = read(compression, &packed[..packed.len() - 1]);
        assert_eq!(cut.is_ok(), compression == Compression::Gzip);
    }
}

#[test]
fn a_frame_of_lz4_ends_with_its_mark_and_xz_is_known_by_its_content() {
    let data = sample();
    let packed = compress(Compression::Lz4, &data);
    for cut in 1..16 {
        let found = error(Compression::Lz4, &packed[..packed.len() - cut], u64::MAX);
        assert_eq!(found, DecompressError::Truncated, "without {cut} bytes");
    }
    let legacy = error(Compression::Lz4, b"\x02\x21\x4c\x18\0\0\0\0", 10);
    assert!(matches!(legacy, DecompressError::Corrupt(_)), "{legacy:?}");
    for (name, content) in [
        (Compression::Xz, Compression::Lzma),
        (Compression::Lzma, Compression::Xz),
    ] {
        let packed = compress(content, &data);
        assert!(decompress(name, &packed, u64::MAX).unwrap() == data);
    }
}

#[test]
fn bombs_end_at_the_limit() {
    let zeros = vec![0; 16 << 20];
    for compression in [Compression::Gzip, Compression::Xz, Compression::Zstd] {
        let packed = compress(compression, &zeros);
        let limit = output_limit(packed.len() as u64, None);
        assert!(
            limit < zeros.len() as u64,
            "{compression:?}: {} bytes",
            packed.len()
        );
        assert_eq!(
            error(compression, &packed, limit),
            DecompressError::TooLarge { limit }
        );
    }
    assert_eq!(output_limit(10, Some(7)), 7);
    assert_eq!(
        output_limit(10, Some(1 << 40)),
        output_limit(1 << 40, None),
        "not even where a root lists more"
    );
}

#[test]
fn decoders_that_would_need_too_much_memory_are_refused() {
    let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
    options.dict_size(256 << 20);
    assert_eq!(
        error(Compression::Lzma, &lzma(b"x", &options), 100),
        DecompressError::MemoryLimit
    );
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(b"x").unwrap();
    let packed = encoder.finish().unwrap();
    let found = decompress(Compression::Zstd, &packed, 100).unwrap_err();
    assert_eq!(rejection(&found).reason, Reason::TooLarge, "{found}");
}

/// A disk error while reading the compressed file is not the upstream's fault.
#[test]
fn errors_of_the_storage_stay_what_they_are() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(5))
        }
    }
    for compression in COMPRESSIONS {
        let error = reader(compression, Broken, 10, Whole::ByDigest)
            .read(&mut [0])
            .unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5));
        assert_eq!(rejection(&error).reason, Reason::StorageFailed);
    }
}
