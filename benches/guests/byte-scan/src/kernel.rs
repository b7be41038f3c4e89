//! The work of a row, the same code in the plugin and beside it: what a plugin does that reads a document itself. It scans the JSON
//! text byte by byte, hashes its keys into a table of counters, keeps the numbers in a sketch of quantiles and scores them against
//! what it saw before.

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
        let (mut rest, mut score) = (document, 0.0);
        while let [byte, behind @ ..] = rest {
            rest = match byte {
                b'"' => self.text(behind),
                b'0'..=b'9' => {
                    let (value, behind) = number(rest);
                    score += self.number(value);
                    behind
                }
                _ => behind,
            };
        }
        score
    }

    /// Hashes a text and counts it where it is a key; answers what is behind it.
    fn text<'d>(&mut self, text: &'d [u8]) -> &'d [u8] {
        let (mut hash, mut rest) = (0xcbf2_9ce4_8422_2325_u64, text);
        let behind = loop {
            rest = match rest {
                [] => break rest,
                [b'"', behind @ ..] => break behind,
                [b'\\', _, behind @ ..] => behind,
                [byte, behind @ ..] => {
                    hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
                    behind
                }
            };
        };
        if behind.first() == Some(&b':') {
            self.keys[(hash >> 40) as usize % KEYS] += 1;
        }
        behind
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

/// A number without sign and exponent, and what is behind it.
fn number(text: &[u8]) -> (f64, &[u8]) {
    let (mut value, mut decimals, mut rest) = (0_u64, None, text);
    while let [byte, behind @ ..] = rest {
        match byte {
            b'0'..=b'9' => {
                value = value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
                decimals = decimals.map(|count| count + 1);
            }
            b'.' if decimals.is_none() => decimals = Some(0_usize),
            _ => break,
        }
        rest = behind;
    }
    (value as f64 / SCALES[decimals.unwrap_or(0).min(SCALES.len() - 1)], rest)
}
