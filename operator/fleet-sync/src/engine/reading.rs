//! Reading an index from the store, for as long as the run goes on.

use std::io::{self, Read};

use fleet_formats::decompress;
use fleet_formats::seam::{Format, IndexGroup, Payload, Rejected};

use super::presence::Presence;
use super::run::Run;
use crate::Problem;
use crate::stop::Stop;

/// Reads the best form of an index that is here. One of no bytes lists nothing, whatever its name says of its
/// compression; a form that has some is the better one.
pub(super) fn read_group(
    run: &Run,
    group: &IndexGroup,
    files: &[Presence],
    format: &dyn Format,
    found: &mut dyn FnMut(Payload) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut here = group
        .files
        .iter()
        .zip(files)
        .filter_map(|(file, presence)| match presence {
            Presence::Here { digest, .. } if file.expected.size > 0 => Some((file, *digest)),
            _ => None,
        });
    let Some((file, digest)) = here.next() else {
        return Ok(());
    };
    let content = run.shelves.open(&digest)?;
    let limit = decompress::output_limit(
        file.expected.size,
        group.uncompressed.map(|expected| expected.size),
    );
    let content = decompress::reader(file.compression, content, limit);
    let mut reader = Stoppable(content, &run.stop);
    let mut failure = None;
    let read = format.read_index(group, &mut reader, &mut |payload| {
        found(payload).map_err(|problem| {
            let rejected = Rejected::new(problem.reason, problem.message.clone());
            failure = Some(problem);
            rejected
        })
    });
    match (read, failure) {
        (_, Some(problem)) => Err(problem),
        (Err(_), None) if run.stop.check().is_err() => run.stop.check(),
        (Err(rejected), None) => Err(Problem::new(
            rejected.reason,
            format!("{}: {}", file.path, rejected.message),
        )),
        (Ok(()), None) => Ok(()),
    }
}

/// An index need not list anything for a long time: what is read of it ends with the run.
struct Stoppable<'a, R>(R, &'a Stop);

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1
            .check()
            .map_err(|problem| io::Error::other(problem.message))?;
        self.0.read(buffer)
    }
}
