//! The component itself.

use std::cell::RefCell;
use std::hint::black_box;

use tidemill_guest::bindings::analysis_plugin::{self, exports::tidemill::plugin::analysis};
use tidemill_guest::bindings::imports::tidemill::plugin::host::{self, Level};
use tidemill_guest::bindings::imports::tidemill::plugin::types::{
    Batch, Cells, ColumnRequest, Failure, Findings, Kind, Messages, Payload, Scope, Shape, Subscription,
};
use tidemill_guest::bindings::with_state::{self, exports::tidemill::plugin::state};
use tidemill_guest::config::Config;

#[derive(Default)]
struct Evil {
    evil: String,
    every: i64,
    turns: u32,
    count: u64,
}

/// Turns of a loop for each row, where the configuration does not say.
const BURN: i64 = 20_000;

thread_local! {
    static EVIL: RefCell<Evil> = RefCell::default();
}

struct Component;

impl analysis::Guest for Component {
    fn open(config: String) -> Result<Subscription, Failure> {
        std::panic::set_hook(Box::new(|info| host::log(Level::Error, &info.to_string())));
        let refused = |failure: tidemill_guest::Failure| Failure { code: 1, text: failure.to_string() };
        let config = Config::new(&config).map_err(refused)?;
        let text = |key: &str, default: &str| config.text(key).map(|text| text.unwrap_or(default).to_owned()).map_err(refused);
        let (evil, matcher, path) = (text("evil", "none")?, text("matcher", "Type == 'validated'")?, text("column", "/n")?);
        let every = config.int("every").map_err(refused)?.unwrap_or(1).max(1);
        let turns = config.int("turns").map_err(refused)?.unwrap_or(BURN) as u32;
        if evil == "open" {
            panic!("evil at open");
        }
        EVIL.with_borrow_mut(|state| *state = Evil { evil, every, turns, count: 0 });
        let column = ColumnRequest { path, kind: Kind::Int64, shape: Shape::One, required: false };
        Ok(Subscription { matcher, columns: vec![column], scope: Scope::Partition, tick_ms: 0 })
    }

    fn process(input: Batch) -> Result<Findings, Failure> {
        EVIL.with_borrow_mut(|state| {
            let acts = state.acts_on(&input);
            if acts {
                state.act(input.rows);
            }
            state.count += u64::from(input.rows);
            let count = Payload { name: "count".into(), media_type: "text/plain".into(), data: state.count.to_string().into() };
            let mut findings = Findings { payloads: vec![count], ..empty() };
            match state.evil.as_str() {
                "failure" if acts => return Err(Failure { code: 7, text: "evil refuses".into() }),
                evil if acts => answer(evil, &mut findings),
                _ => {}
            }
            Ok(findings)
        })
    }
}

impl state::Guest for Component {
    fn snapshot() -> Vec<u8> {
        EVIL.with_borrow(|state| match state.evil.as_str() {
            "snapshot-huge" => vec![0; 20 << 20],
            _ => state.count.to_le_bytes().to_vec(),
        })
    }

    fn restore(bytes: Vec<u8>, _from_version: String) -> Result<(), Failure> {
        let count = bytes.try_into().map_err(|_| Failure { code: 2, text: "the state is not 8 bytes".into() })?;
        EVIL.with_borrow_mut(|state| state.count = u64::from_le_bytes(count));
        Ok(())
    }
}

impl Evil {
    fn acts_on(&self, input: &Batch) -> bool {
        let rows = input.rows as usize;
        let is_chosen = |row: usize| {
            let value = input.columns.int64s[row * 8..].first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes));
            input.columns.bits[row] == 1 && value % self.every == 0
        };
        self.every == 1 || (0..rows).any(is_chosen)
    }

    fn act(&self, rows: u32) {
        match self.evil.as_str() {
            // Not evil, only dear.
            "burn" => (0..u64::from(rows) * u64::from(self.turns)).for_each(|turn| {
                black_box(turn);
            }),
            evil => act(evil),
        }
    }
}

/// Evil that does not wait for the answer.
fn act(evil: &str) {
    match evil {
        "spin" => loop {
            black_box(0);
        },
        "grow" => {
            let mut hoard: Vec<Vec<u8>> = Vec::new();
            loop {
                hoard.push(vec![1; 1 << 20]);
                black_box(&hoard);
            }
        }
        "recurse" => {
            black_box(recurse(0));
        }
        "panic" => panic!("evil at work"),
        "log-flood" => (0..10_000).for_each(|line| host::log(Level::Info, &format!("line {line}"))),
        "log-forever" => loop {
            host::log(Level::Info, "again");
        },
        "metric-flood" => (0..10_000).for_each(|name| host::metric_add(&format!("name {name}"), 1.0)),
        _ => {}
    }
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "the point of this guest")]
fn recurse(depth: u64) -> u64 {
    let ballast = black_box([depth; 64]);
    recurse(depth + 1) + ballast[7]
}

/// Evil in the answer.
fn answer(evil: &str, findings: &mut Findings) {
    let message = |offsets: Vec<u32>| Messages { row: vec![0], keys: vec!["k".into()], offsets, arena: b"abc".to_vec() };
    match evil {
        "huge-output" => findings.messages.arena = vec![1; 17 << 20],
        "lying-offsets" => findings.messages = message(vec![0, 1 << 30]),
        "descending-offsets" => findings.messages = message(vec![2, 1]),
        "short-offsets" => findings.messages = message(vec![0]),
        "rows-beyond" => findings.messages = Messages { row: vec![5_000], ..message(vec![0, 3]) },
        "unequal-lists" => findings.cells.graph = vec![0],
        "unknown-graph" => findings.cells = Cells { graph: vec![3], column: vec![0], time_s: vec![0], value: vec![1.0] },
        "many-messages" => {
            let rows = vec![0; 20_000];
            findings.messages = Messages { keys: vec![String::new(); 20_000], offsets: vec![0; 20_001], row: rows, arena: vec![] };
        }
        "bad-utf8" => {
            #[expect(unsafe_code, reason = "the point of this guest")]
            // SAFETY: none is kept: nothing here reads the text, and the host must notice.
            let key = unsafe { String::from_utf8_unchecked(vec![b'a', 0xff]) };
            findings.messages = Messages { keys: vec![key], ..message(vec![0, 3]) };
        }
        _ => {}
    }
}

fn empty() -> Findings {
    Findings {
        messages: Messages { row: vec![], keys: vec![], offsets: vec![0], arena: vec![] },
        new_graphs: vec![],
        new_columns: vec![],
        new_rules: vec![],
        cells: Cells { graph: vec![], column: vec![], time_s: vec![], value: vec![] },
        payloads: vec![],
        alerts: vec![],
    }
}

analysis_plugin::export_analysis_plugin!(Component with_types_in analysis_plugin);
with_state::export_with_state!(Component with_types_in with_state);
