//! Packet framing: one packet at a time, so that a packet that cannot be read costs nothing but itself.

use fleet_types::{are, counted};
use pgp::packet::{Packet, PacketHeader};
use pgp::types::{PacketLength, Tag};

/// One framed packet, read or not.
pub(super) struct Framed<'a> {
    pub tag: Tag,
    pub packet: Result<Packet, String>,
    /// With its header.
    pub raw: &'a [u8],
}

/// The packets of a binary stream in order. An error ends it: the framing itself is broken, and its text says where.
pub(super) struct Packets<'a> {
    rest: &'a [u8],
    total: usize,
}

impl<'a> Packets<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Packets {
            rest: bytes,
            total: bytes.len(),
        }
    }

    fn frame(&mut self) -> Result<Framed<'a>, String> {
        let at = self.total - self.rest.len();
        let mut rest = self.rest;
        let header = PacketHeader::try_from_reader(&mut rest)
            .map_err(|error| format!("at byte {at}: not an OpenPGP packet ({error})"))?;
        let PacketLength::Fixed(length) = header.packet_length() else {
            return Err(format!(
                "at byte {at}: a packet of open length, as only encrypted or literal data may have"
            ));
        };
        let body = rest.split_at_checked(length as usize).ok_or_else(|| {
            format!(
                "at byte {at}: a packet of {}, of which only {} {} there",
                counted(length, "byte"),
                rest.len(),
                are(rest.len())
            )
        })?;
        let raw = self
            .rest
            .get(..self.rest.len() - body.1.len())
            .unwrap_or_default();
        self.rest = body.1;
        let tag = header.tag();
        Ok(Framed {
            tag,
            packet: read(header, tag, body.0),
            raw,
        })
    }
}

fn read(header: PacketHeader, tag: Tag, body: &[u8]) -> Result<Packet, String> {
    match tag {
        Tag::Signature
        | Tag::PublicKey
        | Tag::PublicSubkey
        | Tag::UserId
        | Tag::Marker
        | Tag::Padding => Packet::from_reader(header, body).map_err(|error| error.to_string()),
        other => Err(format!("a packet of type {other:?} has no place here")),
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Framed<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let framed = self.frame();
        if framed.is_err() {
            self.rest = &[];
        }
        Some(framed)
    }
}
