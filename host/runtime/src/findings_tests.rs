use super::*;

fn empty() -> wit::Findings {
    wit::Findings {
        messages: wit::Messages { row: vec![], keys: vec![], offsets: vec![], arena: vec![] },
        new_graphs: vec![],
        new_columns: vec![],
        new_rules: vec![],
        cells: wit::Cells { graph: vec![], column: vec![], time_s: vec![], value: vec![] },
        payloads: vec![],
        alerts: vec![],
    }
}

fn graph(title: &str, rows: u32) -> wit::Graph {
    wit::Graph { title: title.into(), rows, seconds_per_row: 60 }
}

fn column(graph: u32, name: &str) -> wit::GraphColumn {
    wit::GraphColumn { graph, name: name.into(), unit: "count".into(), aggregation: wit::Aggregation::Sum }
}

fn rule(id: &str) -> wit::AlertRule {
    let test = wit::AlertTest::Above;
    wit::AlertRule { graph: 0, column: 0, id: id.into(), test, threshold: 1.0, window_rows: 5, throttle_s: 60 }
}

fn alert(row: u32) -> wit::Alert {
    wit::Alert { row, id: "a".into(), summary: String::new(), detail: String::new(), throttle_s: 0 }
}

/// Two messages, a graph of one column, a cell, a rule, a payload and an alert, for a batch of 3 rows.
fn full() -> wit::Findings {
    wit::Findings {
        messages: wit::Messages { row: vec![0, 2], keys: vec!["k".into(), String::new()], offsets: vec![0, 2, 3], arena: b"abc".to_vec() },
        new_graphs: vec![graph("g", 10)],
        new_columns: vec![column(0, "c")],
        new_rules: vec![rule("r")],
        cells: wit::Cells { graph: vec![0], column: vec![0], time_s: vec![60], value: vec![1.0] },
        payloads: vec![wit::Payload { name: "p".into(), media_type: "text/plain".into(), data: vec![1] }],
        alerts: vec![alert(2)],
    }
}

fn check_with(declared: &mut Declared, limits: &Limits, raw: wit::Findings) -> Result<Findings, String> {
    Findings::check(raw, Some(3), declared, limits).map_err(|error| error.to_string())
}

fn check(change: impl FnOnce(&mut wit::Findings)) -> String {
    let mut raw = full();
    change(&mut raw);
    check_with(&mut Declared::default(), &Limits::default(), raw).map_or_else(|error| error, |_| "ok".into())
}

#[test]
fn a_sound_answer_is_read_back() {
    let findings = check_with(&mut Declared::default(), &Limits::default(), full()).expect("sound");
    let messages: Vec<_> = findings.messages.iter().map(|m| (m.row, m.key, m.bytes)).collect();
    assert_eq!(messages, [(0, "k", &b"ab"[..]), (2, "", b"c")]);
    assert_eq!(findings.new_graphs, [Graph { graph: 0, title: "g".into(), rows: 10, seconds_per_row: 60 }]);
    assert_eq!((findings.new_columns[0].graph, findings.new_columns[0].column), (0, 0));
    assert_eq!(findings.cells, [GraphCell { graph: 0, column: 0, time_s: 60, value: 1.0 }]);
    assert_eq!((findings.new_rules.len(), findings.payloads.len(), findings.alerts.len()), (1, 1, 1));
}

#[test]
fn broken_messages() {
    assert_eq!(check(|f| f.messages.row[1] = 3), "`messages.row[1]` is 3, but the batch has 3 rows");
    assert_eq!(check(|f| f.messages.row = vec![2, 1]), "`messages.row[1]` is 1, after 2: rows ascend");
    assert_eq!(check(|f| f.messages.keys.clear()), "`messages.keys` has 0 elements, `messages.row` has 2");
    assert_eq!(check(|f| f.messages.offsets.clear()), "`messages.offsets` has 0 elements, 2 messages need 3");
    assert_eq!(check(|f| f.messages.offsets[1] = 9), "`messages.offsets[1]` is 9, after 0, with an arena of 3 bytes");
    assert_eq!(check(|f| f.messages.offsets[2] = 1), "`messages.offsets[2]` is 1, after 2, with an arena of 3 bytes");
    assert_eq!(check(|f| f.messages.keys[0] = "k".repeat(1_025)), "`messages.keys[0]` has 1025 bytes, more than 1024");
    assert_eq!(check(|f| f.messages = empty().messages), "ok");
}

#[test]
fn broken_graphs() {
    assert_eq!(check(|f| f.new_graphs[0].rows = 0), "`new-graphs[0]` \"g\" has 0 rows of 60 s: use 1 to 11520 rows of at least 1 s");
    assert_eq!(
        check(|f| f.new_graphs.push(graph("g", 11))),
        "`new-graphs[1]` \"g\" has 11 rows of 60 s, but was declared with 10 rows of 60 s"
    );
    assert_eq!(check(|f| f.new_graphs.push(graph("g", 10))), "ok");
    assert_eq!(check(|f| f.new_graphs.push(graph("", 10))), "`new-graphs[1].title` is \"\": use 1 to 255 bytes without control characters");
    assert_eq!(check(|f| f.new_columns[0].graph = 1), "`new-columns[0].graph` is 1, but 1 graphs are declared");
    assert_eq!(check(|f| f.cells.graph[0] = 1), "`cells.graph[0]` is 1, but 1 graphs are declared");
    assert_eq!(check(|f| f.cells.column[0] = 1), "`cells.column[0]` is 1, but graph \"g\" has 1 columns");
    assert_eq!(check(|f| f.cells.value[0] = f64::NAN), "`cells.value[0]` is NaN");
    assert_eq!(check(|f| f.cells.time_s.push(1)), "`cells.time-s` has 2 elements, `cells.graph` has 1");
    assert_eq!(check(|f| f.new_rules[0].window_rows = 11), "`new-rules[0].window-rows` is 11: use 1 to the graph's 10 rows");
    assert_eq!(check(|f| f.new_rules[0].threshold = f64::INFINITY), "`new-rules[0].threshold` is inf: use a finite number");
    assert_eq!(check(|f| f.alerts[0].row = TIMER), "`alerts[0].row` is 4294967295, but the batch has 3 rows");
}

const TIMER: u32 = crate::TIMER_ROW;

#[test]
fn numbers_go_on_from_call_to_call() {
    let (mut declared, limits) = (Declared::default(), Limits::default());
    check_with(&mut declared, &limits, full()).expect("first");
    let mut second = full();
    second.new_graphs.push(graph("h", 1));
    second.new_columns.push(column(1, "c"));
    let second = check_with(&mut declared, &limits, second).expect("second");
    assert_eq!(second.new_graphs.iter().map(|g| (g.graph, g.title.as_str())).collect::<Vec<_>>(), [(1, "h")]);
    assert_eq!(second.new_columns.iter().map(|c| (c.graph, c.column)).collect::<Vec<_>>(), [(1, 0)]);
}

#[test]
fn limits_of_findings() {
    let limits = Limits { graphs_max: 1, graph_columns_max: 1, rules_max: 1, alerts_max: 1, graph_cells_max: 25, ..Limits::default() };
    let check = |change: &dyn Fn(&mut wit::Findings)| {
        let mut raw = full();
        change(&mut raw);
        check_with(&mut Declared::default(), &limits, raw).expect_err("beyond")
    };
    assert_eq!(check(&|f| f.new_graphs.push(graph("h", 1))), "limit `graphs_max` exceeded: limit 1, current 1, requested 1");
    assert_eq!(check(&|f| f.new_columns.push(column(0, "d"))), "limit `graph_columns_max` exceeded: limit 1, current 1, requested 1");
    assert_eq!(check(&|f| f.new_rules.push(rule("s"))), "limit `rules_max` exceeded: limit 1, current 1, requested 1");
    assert_eq!(check(&|f| f.alerts.push(alert(2))), "limit `alerts_max` exceeded: limit 1, current 0, requested 2");
    assert_eq!(check(&|f| f.new_graphs[0].rows = 26), "limit `graph_cells_max` exceeded: limit 25, current 0, requested 26");
}

#[test]
fn a_timer_has_no_rows() {
    let timer = |row: u32| {
        let raw = wit::Findings { alerts: vec![alert(row)], ..empty() };
        let checked = Findings::check(raw, None, &mut Declared::default(), &Limits::default());
        checked.map_or_else(|error| error.to_string(), |_| "ok".into())
    };
    assert_eq!(timer(TIMER), "ok");
    assert_eq!(timer(0), "`alerts[0].row` is 0, but a timer has no rows: use 4294967295");
}
