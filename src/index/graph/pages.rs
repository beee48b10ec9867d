//! Bytes in large pages: a walk jumps through all of them, and with small pages the processor would spend its time looking them up.

#[cfg(target_os = "linux")]
use memmap2::Advice;
use memmap2::MmapMut;

/// The least that is asked of the system at once.
const LEAST: usize = 2 << 20;

/// Bytes in memory of their own, in large pages where the system has them.
#[derive(Default)]
pub(super) struct Pages {
    memory: Memory,
    length: usize,
}

enum Memory {
    Mapped(MmapMut),
    /// Where the system maps nothing, or nothing is asked for.
    Heap(Vec<Line>),
}

/// A cache line, so that what is written to pages begins at one.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Default for Memory {
    fn default() -> Self {
        Self::Heap(Vec::new())
    }
}

impl Memory {
    /// Zeroes.
    fn new(length: usize) -> Self {
        let heap = || Self::Heap(vec![Line([0; 64]); length.div_ceil(size_of::<Line>())]);
        if length < LEAST {
            return heap();
        }
        match MmapMut::map_anon(length) {
            Ok(map) => {
                // A hint: without large pages everything is the same but slower.
                #[cfg(target_os = "linux")]
                drop(map.advise(Advice::HugePage));
                Self::Mapped(map)
            }
            Err(_) => heap(),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Heap(lines) => bytemuck::cast_slice(lines),
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Heap(lines) => bytemuck::cast_slice_mut(lines),
        }
    }
}

impl Pages {
    /// No bytes, with room for so many.
    #[must_use]
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { memory: Memory::new(capacity), length: 0 }
    }

    /// A copy of bytes.
    #[must_use]
    pub(super) fn copy_of(bytes: &[u8]) -> Self {
        let mut pages = Self::with_capacity(bytes.len());
        pages.extend(bytes);
        pages
    }

    #[must_use]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory.bytes()[..self.length]
    }

    /// Appends bytes.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if end > self.memory.bytes().len() {
            let mut larger = Memory::new(end.max(2 * self.length));
            larger.bytes_mut()[..self.length].copy_from_slice(self.bytes());
            self.memory = larger;
        }
        self.memory.bytes_mut()[self.length..end].copy_from_slice(bytes);
        self.length = end;
    }

    /// Forgets all bytes and keeps the room.
    pub(super) fn clear(&mut self) {
        self.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_growth() {
        for capacity in [0, 10, LEAST] {
            let (mut pages, mut expected) = (Pages::with_capacity(capacity), Vec::new());
            for number in 0..40_u8 {
                let bytes = vec![number; 100_000];
                pages.extend(&bytes);
                expected.extend(bytes);
            }
            assert!(pages.bytes() == expected);
            assert!(Pages::copy_of(&expected).bytes() == expected);
            pages.clear();
            assert_eq!(pages.bytes(), [0_u8; 0]);
            pages.extend(&[1, 2]);
            assert_eq!(pages.bytes(), [1, 2]);
        }
    }
}
