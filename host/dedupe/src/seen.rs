//! The memory of one partition: what is known, and how it is saved.

use crate::{
    Forgotten, Mark, Options, Saved, Verdict,
    ledger::Ledger,
    root::Root,
    slot::check_of,
    window::{Time, Window},
};

/// Nothing was forgotten early.
const NO_FLOOR: i64 = i64::MIN;

/// Which partition it is, and where its reader stands.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The creation of the topic.
    pub incarnation: &'a str,
    /// Its partition.
    pub partition: u32,
    /// The next offset to read.
    pub position: i64,
}

/// What was found of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restored {
    /// Nothing: it is new.
    Nothing,
    /// What was known.
    Ids {
        /// Ids.
        ids: u64,
        /// Increments that are gone or damaged; copies of their ids are not recognised.
        missing: u64,
    },
    /// It knows what comes next already: the position was set back by hand. Nothing is known then, or all of it would be copies.
    SetBack {
        /// Where the reader stood.
        position: i64,
    },
    /// It cannot be read: nothing is known.
    Unreadable(String),
    /// A newer program saved it, in a format that this one does not know. It must not be saved over.
    Newer {
        /// Its format.
        found: u8,
        /// The newest format known here.
        newest: u8,
    },
}

/// What is known of a partition of `raw`.
#[derive(Debug)]
pub struct Seen {
    window: Window,
    ledger: Ledger,
    root_key: String,
    incarnation: String,
    interval_s: i64,
}

/// The key of a partition's root; those of its increments begin with it.
pub fn root_key(partition: u32) -> String {
    format!("dedupe/raw/{partition}")
}

impl Seen {
    /// The memory of a partition of which nothing is known.
    pub fn new(options: &Options, origin: &Origin<'_>) -> Self {
        Self::at(options, origin, i64::MIN, NO_FLOOR)
    }

    fn at(options: &Options, origin: &Origin<'_>, greatest_ns: i64, floor: i64) -> Self {
        let interval_s = options.interval_s();
        let root_key = root_key(origin.partition);
        Self {
            window: Window::new(options, Time::new(greatest_ns, floor, interval_s.saturating_mul(1_000_000_000))),
            ledger: Ledger::new(root_key.clone(), options),
            root_key,
            incarnation: origin.incarnation.to_owned(),
            interval_s,
        }
    }

    /// What the checkpoints hold of a partition; `read` gets one by its key.
    ///
    /// # Errors
    /// What `read` says.
    pub fn restore<B: AsRef<[u8]>, E>(
        options: &Options,
        origin: &Origin<'_>,
        mut read: impl FnMut(&str) -> Result<Option<B>, E>,
    ) -> Result<(Self, Restored), E> {
        let Some(bytes) = read(&root_key(origin.partition))? else { return Ok((Self::new(options, origin), Restored::Nothing)) };
        let root = match Root::decode(bytes.as_ref()) {
            Ok(root) => root,
            Err(found) => return Ok((Self::new(options, origin), found)),
        };
        if root.incarnation == origin.incarnation && root.position > origin.position {
            let mut seen = Self::new(options, origin);
            seen.ledger.discard(&root);
            return Ok((seen, Restored::SetBack { position: root.position }));
        }
        let floor = if root.floor_s == NO_FLOOR { NO_FLOOR } else { root.floor_s.div_euclid(options.interval_s()) };
        let mut seen = Self::at(options, origin, root.greatest_ns, floor);
        let Self { window, ledger, .. } = &mut seen;
        let missing = ledger.restore(&root, &mut read, |noted| window.restore(noted))?;
        window.confirm();
        let ids = window.live();
        Ok((seen, Restored::Ids { ids, missing }))
    }

    /// A message of this time came by; time never goes back.
    pub fn observe(&mut self, timestamp_ns: i64) {
        self.window.observe(timestamp_ns);
    }

    /// Says what a document ([`hash_of`](crate::hash_of)) in the message of this Uuid is. A new one is known from now on.
    pub fn check(&mut self, hash: u64, uuid: &[u8; 16]) -> Verdict {
        self.window.check(hash, check_of(uuid))
    }

    /// Whether a document is known; changes nothing.
    pub fn knows(&self, hash: u64) -> bool {
        self.window.knows(hash)
    }

    /// The unit of [`Verdict::Duplicate`], in seconds.
    pub fn interval_s(&self) -> i64 {
        self.interval_s
    }

    /// A place within the step, to come back to.
    pub fn mark(&self) -> Mark {
        self.window.mark()
    }

    /// As it was at the mark, which is of the same step.
    pub fn roll_back(&mut self, mark: Mark) {
        self.window.roll_back(mark);
    }

    /// The checkpoints of the step, whose next offset is `position`; none where nothing has changed.
    pub fn save(&mut self, position: i64) -> Vec<Saved> {
        let mut saved = Vec::new();
        if !self.window.has_moved() {
            return saved;
        }
        let time = self.window.time();
        self.ledger.prepare(self.window.noted(), time.start().saturating_mul(self.interval_s), &mut saved);
        let root = Root {
            incarnation: self.incarnation.clone(),
            position,
            greatest_ns: time.greatest_ns,
            floor_s: if time.floor == NO_FLOOR { NO_FLOOR } else { time.floor.saturating_mul(self.interval_s) },
            ranges: self.ledger.ranges(),
        };
        saved.push(Saved { key: self.root_key.clone(), bytes: Some(root.encode()) });
        saved
    }

    /// The step with what [`Self::save`] gave is durable.
    pub fn confirm(&mut self) {
        self.ledger.confirm();
        self.window.confirm();
    }

    /// The step failed: it is as before it. `false` where it must be restored from the checkpoints, because the step's messages lie
    /// too far apart in time.
    #[must_use]
    pub fn undo(&mut self) -> bool {
        self.ledger.undo();
        self.window.undo()
    }

    /// Ids that the step has put in.
    pub fn step_ids(&self) -> usize {
        self.window.noted().len()
    }

    /// What the step had to forget.
    pub fn step_forgotten(&self) -> Forgotten {
        self.window.forgotten()
    }

    /// The partition's time, ns since 1970 UTC.
    pub fn time_ns(&self) -> i64 {
        self.window.time().greatest_ns
    }

    /// Ids that are known.
    pub fn ids(&self) -> u64 {
        self.window.live()
    }

    /// The memory it takes.
    pub fn memory_bytes(&self) -> usize {
        self.window.memory_bytes() + self.ledger.memory_bytes()
    }
}
