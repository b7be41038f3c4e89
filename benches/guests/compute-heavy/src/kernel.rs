//! The work of a row, the same code in the plugin and beside it: what an anomaly detector does with a document that it reads
//! itself. It scans the JSON text byte by byte, hashes its keys into a table of counters, keeps the numbers in a sketch of
//! quantiles and scores them against what it saw before.

/// Counters of keys.
const KEYS: usize = 1_024;
/// Numbers that are sorted together.
const WINDOW: usize = 64;
/// How slowly the means forget.
const DECAY: f64 = 0.999;

/// By how many digits there are behind the point.
const SCALES: [f64; 8] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7];

/// What is remembered from row to row.
#[derive(Debug)]
pub struct Kernel {
    keys: Vec<u32>,
    window: Vec<f64>,
    mean: f64,
    variance: f64,
}

impl Default for Kernel {
    fn default() -> Self {
        Self { keys: vec![0; KEYS], window: Vec::with_capacity(WINDOW), mean: 0.0, variance: 1.0 }
    }
}

impl Kernel {
    /// The score of a document. In a function of its own, so that its loops have the registers for themselves.
    #[inline(never)]
    pub fn row(&mut self, document: &[u8]) -> f64 {
        let (mut at, mut score) = (0, 0.0);
        while let Some(byte) = document.get(at) {
            match byte {
                b'"' => at = self.text(document, at + 1),
                b'0'..=b'9' => {
                    let (value, behind) = number(document, at);
                    score += self.number(value);
                    at = behind;
                }
                _ => at += 1,
            }
        }
        score
    }

    /// Hashes a text and counts it where it is a key; answers where it ends.
    fn text(&mut self, document: &[u8], begin: usize) -> usize {
        let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325_u64, begin);
        while let Some(byte) = document.get(at) {
            match byte {
                b'"' => break,
                b'\\' => at += 2,
                _ => {
                    hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
                    at += 1;
                }
            }
        }
        if document.get(at + 1) == Some(&b':') {
            self.keys[(hash >> 40) as usize % KEYS] += 1;
        }
        at + 1
    }

    /// Scores a number, and the window once it is full.
    fn number(&mut self, value: f64) -> f64 {
        let scaled = (1.0 + value).sqrt();
        let distance = scaled - self.mean;
        self.mean += (1.0 - DECAY) * distance;
        self.variance = DECAY * (self.variance + (1.0 - DECAY) * distance * distance);
        self.window.push(scaled);
        let mut score = distance.abs() / self.variance.max(1e-9).sqrt();
        if self.window.len() == WINDOW {
            self.window.sort_unstable_by(f64::total_cmp);
            score += self.window[WINDOW * 99 / 100] - self.window[WINDOW / 2];
            self.window.clear();
        }
        score
    }
}

/// A number without sign and exponent, and where it ends.
fn number(document: &[u8], begin: usize) -> (f64, usize) {
    let (mut value, mut point, mut at) = (0_u64, None, begin);
    while let Some(byte) = document.get(at) {
        match byte {
            b'0'..=b'9' => value = value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')),
            b'.' if point.is_none() => point = Some(at),
            _ => break,
        }
        at += 1;
    }
    let decimals = point.map_or(0, |point| at - point - 1);
    (value as f64 / SCALES[decimals.min(SCALES.len() - 1)], at)
}
