//! What a look-up costs, hash included: `cargo run -p tidemill-dedupe --example check_speed`.

use std::{hint::black_box, time::Instant};
use tidemill_dedupe::{Options, Origin, Seen, hash_of};

const STEP: u64 = 10_000;

fn main() {
    for ids in [100_000_u64, 1_000_000, 8_000_000] {
        let options = Options { window_h: 24, ids_max: ids };
        let mut seen = Seen::new(&options, &Origin { incarnation: "", partition: 0, position: 0 });
        seen.observe(1_541_030_400_000_000_000);
        let (mut scratch, mut id) = (Vec::new(), *b"00000000-0000-4000-8000-000000000000");
        let mut pass = |seen: &mut Seen, what: &str| {
            let began = Instant::now();
            let mut saving = std::time::Duration::ZERO;
            for number in 0..ids {
                // Hexadecimal digits, as an id has.
                for (place, digit) in id[..8].iter_mut().enumerate() {
                    *digit = b"0123456789abcdef"[(number >> (28 - 4 * place) & 15) as usize];
                }
                let hash = hash_of("telemetry", "main", &id, &mut scratch);
                black_box(seen.check(hash, &[7; 16]));
                if number % STEP == STEP - 1 {
                    let before = Instant::now();
                    black_box(seen.save(number as i64));
                    seen.confirm();
                    saving += before.elapsed();
                }
            }
            let each = |time: std::time::Duration| time.as_nanos() as f64 / ids as f64;
            println!("{ids:>9} ids, {what}: {:6.1} ns each, and {:5.1} ns to save", each(began.elapsed() - saving), each(saving));
        };
        pass(&mut seen, "new   ");
        pass(&mut seen, "copies");
        println!("{ids:>9} ids: {:.2} bytes each", seen.memory_bytes() as f64 / ids as f64);
    }
}
