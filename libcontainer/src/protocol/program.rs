//! A program: the child's steps in order, and the data that they refer to by offset.

use super::{Slot, Step};

/// Bytes of working space that the child has beside its stack.
pub(crate) const SCRATCH_LENGTH: usize = 64 * 1024;

/// A NUL-terminated text in the program's data; `length` is without the NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

/// Bytes in the program's data, aligned to 8.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bytes {
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

/// A list of texts: `count` pairs of little-endian u32 (offset, length) in the program's data.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Texts {
    pub(crate) offset: u32,
    pub(crate) count: u32,
}

/// Working space that outlasts a step, 8-aligned, zeroed at first.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reserve {
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

/// The child's steps and their data. Position-independent: steps hold offsets, no pointers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Program {
    steps: Vec<Step>,
    pointers: Vec<String>,
    data: Vec<u8>,
    slots: u16,
    reserved: u32,
}

/// A text holds a NUL byte, or the program grows beyond 32-bit offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DataError {
    #[error("contains a NUL byte")]
    Nul,
    #[error("is too long")]
    TooLong,
}

impl Program {
    /// An empty program whose slots begin after the fixed ones.
    pub(crate) fn new() -> Self {
        Self { slots: Slot::FIRST_PLANNED.0, ..Self::default() }
    }

    /// Appends a step; `pointer` is the JSON pointer that it comes from, empty where it comes
    /// from none.
    pub(crate) fn push(&mut self, step: Step, pointer: impl Into<String>) {
        self.steps.push(step);
        self.pointers.push(pointer.into());
    }

    /// Stores a text with its NUL.
    pub(crate) fn text(&mut self, text: impl AsRef<[u8]>) -> Result<Text, DataError> {
        let text = text.as_ref();
        if text.contains(&0) {
            return Err(DataError::Nul);
        }
        let stored = self.append(text)?;
        self.data.push(0);
        Ok(Text { offset: stored.offset, length: stored.length })
    }

    /// Stores bytes, aligned to 8.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<Bytes, DataError> {
        self.data.resize(self.data.len().next_multiple_of(8), 0);
        self.append(bytes)
    }

    /// Stores a list of texts.
    pub(crate) fn texts<T: AsRef<[u8]>>(
        &mut self,
        texts: impl IntoIterator<Item = T>,
    ) -> Result<Texts, DataError> {
        let mut list = Vec::new();
        let mut count = 0;
        for text in texts {
            let text = self.text(text)?;
            list.extend_from_slice(&text.offset.to_le_bytes());
            list.extend_from_slice(&text.length.to_le_bytes());
            count += 1;
        }
        let stored = self.bytes(&list)?;
        Ok(Texts { offset: stored.offset, count })
    }

    /// Sets working space aside that outlasts a step.
    pub(crate) fn reserve(&mut self, length: usize) -> Result<Reserve, DataError> {
        let length = u32::try_from(length.next_multiple_of(8)).map_err(|_| DataError::TooLong)?;
        let offset = self.reserved;
        self.reserved = offset.checked_add(length).ok_or(DataError::TooLong)?;
        Ok(Reserve { offset, length })
    }

    /// Bytes that are set aside.
    pub(crate) fn reserved(&self) -> usize {
        self.reserved as usize
    }

    /// A new slot for a descriptor that a step leaves for a later one, or that the parent opens.
    pub(crate) fn slot(&mut self) -> Slot {
        let slot = Slot(self.slots);
        self.slots += 1;
        slot
    }

    /// Number of slots, the fixed ones among them.
    pub(crate) fn slot_count(&self) -> usize {
        self.slots.into()
    }

    /// The steps in order.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The JSON pointer of a step, where it has one.
    pub(crate) fn pointer(&self, step: usize) -> Option<&str> {
        self.pointers.get(step).map(String::as_str).filter(|pointer| !pointer.is_empty())
    }

    /// Texts and bytes.
    pub(crate) fn data(&self) -> &[u8] {
        &self.data
    }

    /// A stored text, lossily as a string (for people).
    pub(crate) fn show(&self, text: Text) -> String {
        let start = text.offset as usize;
        let bytes = self.data.get(start..start + text.length as usize).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// A stored list of texts, for people.
    pub(crate) fn show_all(&self, texts: Texts) -> Vec<String> {
        (0..texts.count)
            .filter_map(|index| text_at(&self.data, texts, index))
            .map(|text| self.show(text))
            .collect()
    }

    fn append(&mut self, bytes: &[u8]) -> Result<Bytes, DataError> {
        let offset = u32::try_from(self.data.len()).map_err(|_| DataError::TooLong)?;
        let length = u32::try_from(bytes.len()).map_err(|_| DataError::TooLong)?;
        self.data.extend_from_slice(bytes);
        Ok(Bytes { offset, length })
    }
}

/// The `index`th text of a list. Part of the child: no panic, no allocation.
pub(crate) fn text_at(data: &[u8], texts: Texts, index: u32) -> Option<Text> {
    if index >= texts.count {
        return None;
    }
    let start = (texts.offset as usize).checked_add((index as usize).checked_mul(8)?)?;
    let [a, b, c, d, e, f, g, h] = *data.get(start..)?.first_chunk::<8>()?;
    Some(Text {
        offset: u32::from_le_bytes([a, b, c, d]),
        length: u32::from_le_bytes([e, f, g, h]),
    })
}
