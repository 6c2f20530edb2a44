//! Brotli (RFC 7932), whose memory is counted as it is asked for.
//!
//! Enters: coded bytes. Leaves: decoded ones, and what the decoder takes: a window as long as what is in it, and tables for as many codes as the body
//! has. Never: a window that is larger than the RFC allows.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use brotli_decompressor::{
    Allocator, BrotliDecompressStream, BrotliResult, BrotliState, SliceWrapper, SliceWrapperMut,
};
use compression_codecs::DecodeV2;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};

/// Bytes that are asked for and not given back.
#[derive(Debug, Clone, Default)]
pub(super) struct Taken(Arc<AtomicUsize>);

impl Taken {
    /// How many.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One piece of memory.
pub(super) struct Cell<T>(Box<[T]>);

impl<T> Default for Cell<T> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<T> SliceWrapper<T> for Cell<T> {
    fn slice(&self) -> &[T] {
        &self.0
    }
}

impl<T> SliceWrapperMut<T> for Cell<T> {
    fn slice_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T: Clone + Default> Allocator<T> for Taken {
    type AllocatedMemory = Cell<T>;

    fn alloc_cell(&mut self, length: usize) -> Cell<T> {
        self.0.fetch_add(length * size_of::<T>(), Ordering::Relaxed);
        Cell(vec![T::default(); length].into())
    }

    fn free_cell(&mut self, cell: Cell<T>) {
        self.0.fetch_sub(size_of_val(&*cell.0), Ordering::Relaxed);
    }
}

/// The decoder of one body.
pub(super) struct BrotliDecoder {
    state: Box<BrotliState<Taken, Taken, Taken>>,
    window: Taken,
    codes: Taken,
}

impl BrotliDecoder {
    /// One for the variant of the RFC, without large windows.
    pub fn new() -> Self {
        let (window, codes) = (Taken::default(), Taken::default());
        let mut state = Box::new(BrotliState::new(window.clone(), codes.clone(), codes.clone()));
        state.large_window = false;
        Self { state, window, codes }
    }

    /// What it takes for its window and for its codes, as long as there is a decoder.
    pub fn taken(&self) -> [Taken; 2] {
        [self.window.clone(), self.codes.clone()]
    }

    fn step(&mut self, input: &mut PartialBuffer<&[u8]>, output: &mut WriteBuffer<'_>) -> io::Result<BrotliResult> {
        let (coded, room) = (input.unwritten(), output.initialize_unwritten());
        let (mut read, mut written) = (0, 0);
        let (mut left, mut free) = (coded.len(), room.len());
        let result =
            BrotliDecompressStream(&mut left, &mut read, coded, &mut free, &mut written, room, &mut 0, &mut self.state);
        input.advance(read);
        output.advance(written);
        match result {
            BrotliResult::ResultFailure => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not brotli")),
            result => Ok(result),
        }
    }
}

impl DecodeV2 for BrotliDecoder {
    fn reinit(&mut self) -> io::Result<()> {
        *self = Self::new();
        Ok(())
    }

    fn decode(&mut self, input: &mut PartialBuffer<&[u8]>, output: &mut WriteBuffer<'_>) -> io::Result<bool> {
        Ok(matches!(self.step(input, output)?, BrotliResult::ResultSuccess))
    }

    fn flush(&mut self, output: &mut WriteBuffer<'_>) -> io::Result<bool> {
        Ok(!matches!(self.step(&mut PartialBuffer::new(&[]), output)?, BrotliResult::NeedsMoreOutput))
    }

    fn finish(&mut self, output: &mut WriteBuffer<'_>) -> io::Result<bool> {
        match self.step(&mut PartialBuffer::new(&[]), output)? {
            BrotliResult::NeedsMoreInput => Err(io::ErrorKind::UnexpectedEof.into()),
            result => Ok(matches!(result, BrotliResult::ResultSuccess)),
        }
    }
}
