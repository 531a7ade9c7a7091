//! Notes as bytes: how the log of stream management is written and read.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::log::{Note, Out};
use super::{CopyForm, SmOpen};
use crate::store::{AccountId, MessageId, StoreError};
use crate::time::Now;

#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Tag {
    Open = 0,
    Close = 1,
    In = 2,
    Acked = 3,
    Unpark = 4,
    Facts = 5,
    Renumber = 6,
    /// Plus the form; a number follows.
    OutNumbered = 8,
    /// Plus the form; no number follows.
    Out = 12,
}

pub(super) fn write_note(out: &mut Vec<u8>, slot: u32, note: &Note, last_id: &mut i64) {
    let (tag, h) = match note {
        Note::Facts { facts, .. } => {
            out.push(Tag::Facts as u8);
            write_number(out, slot.into());
            return write_bytes(out, facts);
        }
        Note::Renumber { h, out: list, .. } => {
            out.push(Tag::Renumber as u8);
            write_number(out, slot.into());
            write_number(out, (*h).into());
            let list =
                list.iter().map(|(n, id, form)| Out { number: Some(*n), id: id.0, form: *form });
            return write_bytes(out, &pack_out(list));
        }
        Note::In { h, .. } => (Tag::In as u8, Some(*h)),
        Note::Acked { h, .. } => (Tag::Acked as u8, Some(*h)),
        Note::Unpark { .. } => (Tag::Unpark as u8, None),
        Note::Out { number: Some(number), form, .. } => {
            (Tag::OutNumbered as u8 + *form as u8, Some(*number))
        }
        Note::Out { number: None, form, .. } => (Tag::Out as u8 + *form as u8, None),
        Note::Open(_) | Note::Close { .. } => return,
    };
    out.push(tag);
    write_number(out, slot.into());
    if let Some(h) = h {
        write_number(out, h.into());
    }
    if let Note::Out { id, .. } = note {
        write_id(out, *id, last_id);
    }
}

pub(super) fn write_open(out: &mut Vec<u8>, slot: u32, open: &SmOpen) {
    out.push(Tag::Open as u8);
    write_number(out, slot.into());
    out.extend_from_slice(&open.sid.to_le_bytes());
    write_number(out, open.account.0.cast_unsigned());
    write_bytes(out, open.resource.as_bytes());
    out.extend_from_slice(&open.token_hash);
    write_number(out, open.created.0.cast_unsigned());
    // Ids of devices start at 1.
    write_number(out, open.device.unwrap_or(0).cast_unsigned());
    write_bytes(out, &open.facts);
}

pub(super) fn pack_out(out: impl Iterator<Item = Out>) -> Vec<u8> {
    let (mut bytes, mut last_id) = (Vec::new(), 0);
    for o in out {
        match o.number {
            Some(number) => {
                bytes.push(Tag::OutNumbered as u8 + o.form as u8);
                write_number(&mut bytes, number.into());
            }
            None => bytes.push(Tag::Out as u8 + o.form as u8),
        }
        write_id(&mut bytes, o.id, &mut last_id);
    }
    bytes
}

pub(super) fn read_out(bytes: &[u8]) -> Result<VecDeque<Out>, StoreError> {
    let mut input = Input { bytes, last_id: 0 };
    let mut out = VecDeque::new();
    while !input.bytes.is_empty() {
        let (numbered, form) = out_tag(input.byte()?).ok_or_else(damaged)?;
        let number = if numbered { Some(input.u32()?) } else { None };
        out.push_back(Out { number, id: input.id()?, form });
    }
    Ok(out)
}

pub(super) fn out_tag(tag: u8) -> Option<(bool, CopyForm)> {
    let form = match tag & 3 {
        0 => CopyForm::Plain,
        1 => CopyForm::CarbonSent,
        2 => CopyForm::CarbonReceived,
        _ => return None,
    };
    match tag & !3 {
        t if t == Tag::OutNumbered as u8 => Some((true, form)),
        t if t == Tag::Out as u8 => Some((false, form)),
        _ => None,
    }
}

/// LEB128.
pub(super) fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The distance to the last id, its sign in the lowest bit.
pub(super) fn write_id(out: &mut Vec<u8>, id: i64, last: &mut i64) {
    let distance = id.wrapping_sub(*last);
    write_number(out, (distance << 1 ^ distance >> 63).cast_unsigned());
    *last = id;
}

pub(super) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn damaged() -> StoreError {
    StoreError::Damaged("stream management state".into())
}

pub(super) enum Read {
    Open(u32, Box<SmOpen>),
    Close(u32),
    Note(Note),
    /// About a slot that is closed.
    Stale,
}

pub(super) struct Input<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) last_id: i64,
}

impl<'a> Input<'a> {
    pub(super) fn note(&mut self, sids: &HashMap<u32, u64>) -> Result<Read, StoreError> {
        let tag = self.byte()?;
        let slot = self.u32()?;
        if tag == Tag::Open as u8 {
            return Ok(Read::Open(slot, Box::new(self.open()?)));
        }
        if tag == Tag::Close as u8 {
            return Ok(Read::Close(slot));
        }
        // The fields are read even if nobody wants them: the next id counts from this one.
        let sid = sids.get(&slot).copied();
        let note = if tag == Tag::In as u8 {
            Note::In { sid: sid.unwrap_or(0), h: self.u32()? }
        } else if tag == Tag::Acked as u8 {
            Note::Acked { sid: sid.unwrap_or(0), h: self.u32()? }
        } else if tag == Tag::Unpark as u8 {
            Note::Unpark { sid: sid.unwrap_or(0) }
        } else if tag == Tag::Facts as u8 {
            Note::Facts { sid: sid.unwrap_or(0), facts: Bytes::copy_from_slice(self.bytes()?) }
        } else if tag == Tag::Renumber as u8 {
            let h = self.u32()?;
            let out = read_out(self.bytes()?)?;
            let out =
                out.iter().filter_map(|o| Some((o.number?, MessageId(o.id), o.form))).collect();
            Note::Renumber { sid: sid.unwrap_or(0), h, out }
        } else {
            let (numbered, form) = out_tag(tag).ok_or_else(damaged)?;
            let number = if numbered { Some(self.u32()?) } else { None };
            Note::Out { sid: sid.unwrap_or(0), number, id: self.id()?, form }
        };
        Ok(if sid.is_some() { Read::Note(note) } else { Read::Stale })
    }

    pub(super) fn open(&mut self) -> Result<SmOpen, StoreError> {
        Ok(SmOpen {
            sid: u64::from_le_bytes(self.array()?),
            account: AccountId(self.number()?.cast_signed()),
            resource: String::from_utf8(self.bytes()?.to_vec()).map_err(|_| damaged())?,
            token_hash: self.array()?,
            created: Now(self.number()?.cast_signed()),
            device: Some(self.number()?.cast_signed()).filter(|device| *device != 0),
            facts: Bytes::copy_from_slice(self.bytes()?),
        })
    }

    pub(super) fn byte(&mut self) -> Result<u8, StoreError> {
        let (first, rest) = self.bytes.split_first().ok_or_else(damaged)?;
        self.bytes = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64, StoreError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(damaged())
    }

    pub(super) fn u32(&mut self) -> Result<u32, StoreError> {
        u32::try_from(self.number()?).map_err(|_| damaged())
    }

    pub(super) fn id(&mut self) -> Result<i64, StoreError> {
        let number = self.number()?;
        let distance = (number >> 1).cast_signed() ^ -(number & 1).cast_signed();
        self.last_id = self.last_id.wrapping_add(distance);
        Ok(self.last_id)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], StoreError> {
        let len = usize::try_from(self.number()?).map_err(|_| damaged())?;
        let (bytes, rest) = self.bytes.split_at_checked(len).ok_or_else(damaged)?;
        self.bytes = rest;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (array, rest) = self.bytes.split_first_chunk().ok_or_else(damaged)?;
        self.bytes = rest;
        Ok(*array)
    }
}
