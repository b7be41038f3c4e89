//! The work of a row, the same code in the plugin and beside it: what a detector of regressions does with a message that carries a
//! histogram and a stack. The histogram becomes a distribution, which is compared with those of eight weeks by the coefficient of
//! Bhattacharyya and the distance of Kolmogorov and Smirnov, and the day's own follows it. The stack's frames are hashed into a
//! MinHash signature, whose bands are looked for among those of stacks before, and counted in a count-min sketch.

/// Distributions that a new one is compared with.
const DAYS: usize = 56;
/// Buckets of a distribution; what a histogram has beyond is put to the last.
const BUCKETS: usize = 64;
/// How fast the day's distribution follows.
const FOLLOW: f64 = 0.01;
/// Values of a signature.
const HASHES: usize = 64;
/// Values of a band of a signature, and the words of the table of bands.
const BAND: usize = 4;
const BANDS: usize = 4_096;
/// Counters of a row of the sketch, and its rows.
const COUNTERS: usize = 2_048;
const ROWS: usize = 4;

/// Odd numbers that make hash functions of one hash.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// What is remembered from row to row.
#[derive(Debug)]
pub struct Kernel {
    /// By bucket, so that a bucket meets all days at once.
    days: Vec<[f64; DAYS]>,
    day: usize,
    bands: Vec<u64>,
    sketch: Vec<u32>,
}

impl Default for Kernel {
    fn default() -> Self {
        Self { days: vec![[1.0 / BUCKETS as f64; DAYS]; BUCKETS], day: 0, bands: vec![0; BANDS], sketch: vec![0; COUNTERS * ROWS] }
    }
}

impl Kernel {
    /// How unusual a message is.
    #[inline(never)]
    pub fn row(&mut self, histogram: impl Iterator<Item = i64>, stack: &[u8]) -> f64 {
        let found = distribution(histogram);
        let distances = self.distances(&found);
        let nearest = distances.iter().fold(f64::INFINITY, |least, &next| if next < least { next } else { least });
        self.follow(&found);
        let (signature, rarity) = self.frames(stack);
        nearest + self.strangeness(&signature) + rarity
    }

    /// How far a distribution is from each day's: 0 from an equal one.
    fn distances(&self, found: &[f64; BUCKETS]) -> [f64; DAYS] {
        let (mut alike, mut ahead, mut widest) = ([0.0; DAYS], [0.0_f64; DAYS], [0.0_f64; DAYS]);
        for (found, days) in found.iter().zip(&self.days) {
            for day in 0..DAYS {
                alike[day] += (found * days[day]).sqrt();
                ahead[day] += found - days[day];
                let gap = ahead[day].abs();
                widest[day] = if gap > widest[day] { gap } else { widest[day] };
            }
        }
        std::array::from_fn(|day| 1.0 - alike[day] + widest[day])
    }

    fn follow(&mut self, found: &[f64; BUCKETS]) {
        for (days, found) in self.days.iter_mut().zip(found) {
            days[self.day] += FOLLOW * (found - days[self.day]);
        }
        self.day = (self.day + 1) % DAYS;
    }

    /// The signature of all frames, and how seldom they were seen.
    fn frames(&mut self, stack: &[u8]) -> ([u32; HASHES], f64) {
        let (mut signature, mut rarity) = ([u32::MAX; HASHES], 0.0);
        for frame in stack.split(|&byte| byte == b'\n') {
            let hash = hash(frame);
            for (number, least) in signature.iter_mut().enumerate() {
                let mixed = mix(hash, number as u64);
                *least = (*least).min(mixed);
            }
            rarity += 1.0 / f64::from(self.count(hash));
        }
        (signature, rarity)
    }

    /// Counts a frame; answers how often it was there at most.
    fn count(&mut self, hash: u64) -> u32 {
        let mut least = u32::MAX;
        for (number, row) in self.sketch.chunks_exact_mut(COUNTERS).enumerate() {
            let counter = &mut row[mix(hash, (HASHES + number) as u64) as usize % COUNTERS];
            *counter = counter.saturating_add(1);
            least = least.min(*counter);
        }
        least
    }

    /// The share of the signature's bands that no stack before had.
    fn strangeness(&mut self, signature: &[u32; HASHES]) -> f64 {
        let mut new = 0_u32;
        for (number, band) in signature.as_chunks::<BAND>().0.iter().enumerate() {
            let hash = band.iter().fold(number as u64, |hash, value| step(hash, u64::from(*value)));
            let (word, bit) = ((hash >> 40) as usize % self.bands.len(), 1 << (hash >> 58));
            new += u32::from(self.bands[word] & bit == 0);
            self.bands[word] |= bit;
        }
        f64::from(new) / (HASHES / BAND) as f64
    }
}

/// Shares of all counts.
fn distribution(histogram: impl Iterator<Item = i64>) -> [f64; BUCKETS] {
    let (mut counts, mut total) = ([0.0; BUCKETS], 0.0);
    for (bucket, count) in histogram.enumerate() {
        counts[bucket.min(BUCKETS - 1)] += count as f64;
        total += count as f64;
    }
    let scale = if total > 0.0 { 1.0 / total } else { 0.0 };
    counts.map(|count| count * scale)
}

/// Eight bytes at a time.
fn hash(text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks::<8>();
    let hash = words.iter().fold(text.len() as u64, |hash, word| step(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, &byte| step(hash, u64::from(byte)))
}

fn step(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(SEED)
}

/// One of many hash functions.
fn mix(hash: u64, number: u64) -> u32 {
    let mixed = (hash ^ number.wrapping_mul(SEED)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 32) as u32
}
