//! The one pass: parse, validate, capture and index by one recursive descent that the schema drives.

mod array;
mod choice;
mod log;
mod object;
mod plain;
mod scalar;
mod value;

pub(crate) use plain::plain;
pub(crate) use scalar::parse_number;
pub(crate) use value::value;

use crate::captures::{Captures, NOTHING, QUIET};
use crate::cursor::{Cursor, Fault, Safe};
use crate::padded::Padded;
use crate::program::Program;
use crate::span::{Deferred, Member, Refusal, Span};
use log::Log;

/// Which kernels a pass uses. All of them give equal results; tests prove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Safe code on any processor.
    Safe,
    /// 16 bytes at a time; every x86-64 processor.
    Sse2,
    /// 32 bytes at a time; x86-64 with AVX2 and BMI.
    Avx2,
}

impl Backend {
    /// The fastest one that this processor has.
    pub fn best() -> Self {
        [Self::Avx2, Self::Sse2].into_iter().find(|backend| backend.is_available()).unwrap_or(Self::Safe)
    }

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Safe => true,
            #[cfg(target_arch = "x86_64")]
            Self::Sse2 => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => crate::cursor::simd::Wide::avx2(&Padded::new()).is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Sse2 | Self::Avx2 => false,
        }
    }
}

/// The memory of a pass and the results of the last one; reused from document to document, so that
/// a pass allocates nothing once it has seen documents of the same kind.
#[derive(Debug)]
pub struct Pass {
    backend: Backend,
    results: Results,
    scratch: Scratch,
}

/// What a pass has found out.
#[derive(Debug, Default)]
pub(crate) struct Results {
    members: Vec<Member>,
    deferred: Vec<Deferred>,
    log: Log,
}

/// Memory that is empty between passes.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The text of a key or string with escapes.
    text: Vec<u8>,
    /// Presence bits beyond the first 64, of all objects being read.
    seen: Vec<u64>,
    /// Members of captured objects being read, to find duplicates.
    tracked: Vec<log::Tracked>,
    /// Hashes and positions of tracked members, to find duplicates among them.
    order: Vec<(u64, u32)>,
    /// Hashes of all keys of the objects being searched for duplicates, and where each object's begin.
    hashes: Vec<u64>,
    open: Vec<usize>,
}

impl Default for Pass {
    fn default() -> Self {
        Self::new()
    }
}

impl Pass {
    /// A pass with the fastest kernels that this processor has.
    pub fn new() -> Self {
        Self::with_backend(Backend::best())
    }

    /// A pass with the given kernels, or the safe ones where this processor lacks them.
    pub fn with_backend(backend: Backend) -> Self {
        let backend = if backend.is_available() { backend } else { Backend::Safe };
        Self { backend, results: Results::default(), scratch: Scratch::default() }
    }

    /// Reads `document` once: checks that it is JSON of the dialect and accepted by `program`, notes
    /// the values of `captures` and the members of depth 1 and 2.
    ///
    /// Values whose check the program leaves to others are listed in [`Self::deferred`] and must
    /// still be checked. Of duplicate keys each value is checked, not only the last, so a document
    /// with duplicate keys can be refused that a validator of the last values accepts, never the
    /// other way round: where that matters, ask another validator and, if it accepts, run the pass
    /// again with [`Program::any`] for the captures.
    ///
    /// # Errors
    /// [`Refusal::Json`] where reading stopped at something that is not JSON, [`Refusal::Schema`]
    /// where it stopped because the schema did not accept a value; what follows was then not read.
    pub fn run(&mut self, program: &Program, captures: &Captures, document: &Padded) -> Result<(), Refusal> {
        self.clear();
        self.check_bytes(document)?;
        match self.backend {
            Backend::Safe => self.walk(Safe::new(document), document, program, captures),
            #[cfg(target_arch = "x86_64")]
            Backend::Sse2 => self.walk(crate::cursor::simd::Wide::sse2(document), document, program, captures),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => match crate::cursor::simd::Wide::avx2(document) {
                Some(start) => self.walk(start, document, program, captures),
                None => self.walk(Safe::new(document), document, program, captures),
            },
            #[cfg(not(target_arch = "x86_64"))]
            Backend::Sse2 | Backend::Avx2 => self.walk(Safe::new(document), document, program, captures),
        }?;
        self.results.log.group(captures.len());
        Ok(())
    }

    /// As [`Self::run`] without schema, captures or padding.
    pub(crate) fn check(&mut self, document: &[u8]) -> Result<(), Refusal> {
        self.clear();
        self.check_bytes(document)?;
        self.walk(Safe::new(document), document, &Program::any(), &Captures::none())
    }

    /// The values found at the pointer of that number in the last successful run, in the order of
    /// the document; of duplicate keys those of the last.
    pub fn captured(&self, pointer: usize) -> &[Span] {
        self.results.log.captured(pointer)
    }

    /// The members of depth 1 and 2 in the order of the document, duplicates included.
    pub fn members(&self) -> &[Member] {
        &self.results.members
    }

    /// The values that outside validators have to check.
    pub fn deferred(&self) -> &[Deferred] {
        &self.results.deferred
    }

    fn clear(&mut self) {
        let Self { backend: _, results, scratch } = self;
        results.members.clear();
        results.deferred.clear();
        results.log.clear();
        scratch.seen.clear();
        scratch.tracked.clear();
    }

    /// What can be said of a document without reading it as JSON.
    fn check_bytes(&self, document: &[u8]) -> Result<(), Refusal> {
        if u32::try_from(document.len()).is_err() {
            return Err(Refusal::Json { offset: u32::MAX as usize, detail: "size" });
        }
        if simdutf8::basic::from_utf8(document).is_ok() {
            return Ok(());
        }
        let offset = std::str::from_utf8(document).map_or_else(|error| error.valid_up_to(), str::len);
        Err(Refusal::Json { offset, detail: "utf8" })
    }

    fn walk<'d, C: Cursor<'d>>(&mut self, start: C, document: &'d [u8], program: &Program, captures: &Captures) -> Result<(), Refusal> {
        let first = start.skip_whitespace();
        let state = captures.root();
        let mut walk = Walk {
            start,
            document,
            captures,
            whole_reals_are_integers: program.whole_reals_are_integers,
            has_members: first.peek() == b'{',
            parent: 0,
            refusal: Refusal::Schema,
            results: &mut self.results,
            scratch: &mut self.scratch,
        };
        let Some(end) = C::value(&mut walk, first, &program.root, state, 0) else { return Err(walk.refusal) };
        walk.capture(state, first, end);
        match end.skip_whitespace() {
            rest if rest.offset_from(start) == document.len() => Ok(()),
            rest => Err(Refusal::Json { offset: rest.offset_from(start), detail: "trailing" }),
        }
    }
}

/// A walk over one document: what the descent carries along.
pub(crate) struct Walk<'d, 'w, C> {
    start: C,
    /// The same document, for what is rare.
    document: &'d [u8],
    captures: &'w Captures,
    whole_reals_are_integers: bool,
    /// Whether the document is an object, so that it has members of depth 1 and 2.
    has_members: bool,
    /// The depth-1 member being read.
    parent: u32,
    refusal: Refusal,
    results: &'w mut Results,
    scratch: &'w mut Scratch,
}

impl<'d, C: Cursor<'d>> Walk<'d, '_, C> {
    /// Stops: the schema does not accept a value.
    #[cold]
    fn refuse(&mut self) -> Option<C> {
        self.refusal = Refusal::Schema;
        None
    }

    /// Stops: what stands at a place is not JSON.
    #[cold]
    fn fail(&mut self, (at, detail): (C, Fault)) -> Option<C> {
        self.refusal = Refusal::Json { offset: at.offset_from(self.start), detail };
        None
    }

    #[inline(always)]
    fn span(&self, start: C, end: C) -> Span {
        Span { start: start.offset_from(self.start) as u32, end: end.offset_from(self.start) as u32 }
    }

    /// Notes the value for each pointer that ends in `state`.
    #[inline(always)]
    fn capture(&mut self, state: u32, start: C, end: C) {
        if state != NOTHING && state != QUIET {
            let span = self.span(start, end);
            self.results.log.push(self.captures.captured(state), span);
        }
    }
}
