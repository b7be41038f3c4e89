//! Decoder plugins: what they add, what they refuse, and what they cannot harm.

use super::{
    guest::{act, plugin, plugin_with},
    support::*,
};
use crate::{
    decode::{Decoder, DecoderPlugin},
    status::PluginStatus,
};
use std::sync::Arc;
use tidemill_bus::Step;
use tidemill_json::index::MemberIndex;

fn decoder(plugins: Vec<DecoderPlugin>) -> Decoder {
    let mut settings = settings(own_registry());
    settings.plugins = plugins;
    Decoder::new(&settings).expect("a decoder")
}

fn row(id: usize, act: i64) -> Vec<u8> {
    raw(&format!("/submit/web/row/1/row-{id}"), format!(r#"{{"id": {id}, "do": {act}}}"#).as_bytes())
}

/// Where a row is and why, in short.
fn verdict(out: &Out) -> String {
    match out.topic.as_str() {
        "validated" => format!("score {}", out.field("score").unwrap_or("none".into())),
        _ => format!("{}: {}", out.field("DecodeErrorType").unwrap_or_default(), out.field("DecodeError").unwrap_or_default()),
    }
}

#[test]
fn fields_are_added_and_sections_moved() {
    let document = br#"{"junk": [1, 2], "id": 21, "inner": {"a": 1, "big": {"x": 1}, "b": {"k": 7}}, "do": 6, "inner2": 3}"#;
    let out = decode_one(&mut decoder(vec![plugin()]), raw("/submit/web/row/1/ID", &gzip(document)));
    let rest = r#"{"id": 21, "inner": {"a": 1, "b": {"k": 7}}, "do": 6, "inner2": 3}"#;
    assert_eq!(out.field("submission").as_deref(), Some(rest));
    let names = out.names();
    assert_eq!(names[names.len() - 3..], ["score", "inner.big", "submission"]);
    let score = out.message().field("score").expect("a field");
    assert_eq!((score.integer(), score.representation), (Some(42), &b"points"[..]));
    let big = out.message().field("inner.big").expect("a field");
    assert_eq!((big.bytes(), big.representation), (Some(&br#"{"x": 1}"#[..]), &b"json"[..]));
    assert!(!names.contains(&"uri".to_owned()) && !names.contains(&"User-Agent".to_owned()), "{names:?}");
    assert_eq!((out.field("documentId").as_deref(), &out.key[..]), (Some("ID"), &b"id"[..]));
    assert_no_address(std::slice::from_ref(&out));
    let index = MemberIndex::parse(&out.headers["tm-idx"]).expect("an index");
    let found = |pointer| index.find(rest.as_bytes(), pointer).map(|span| span.of(rest.as_bytes()));
    assert_eq!((found("/inner/b"), found("/inner2"), found("/inner/big")), (Some(&br#"{"k": 7}"#[..]), Some(&b"3"[..]), None));
}

#[test]
fn what_a_decoder_logs_and_counts_is_in_its_status() {
    let plugin = plugin();
    let status = Arc::clone(&plugin.status);
    decode(&mut decoder(vec![plugin]), &[row(1, act::LOG), row(2, 0), row(3, act::LOG)]);
    let log = status.log();
    assert_eq!(log.iter().map(|entry| (entry.level, entry.text.as_str())).collect::<Vec<_>>(), [("warn", "a line"); 2]);
    assert!(log.iter().all(|entry| entry.time_ms > 0));
    assert_eq!(status.view(&[]).metrics.into_iter().collect::<Vec<_>>(), [("a line".to_owned(), 3.0)]);
}

#[test]
fn batches_do_not_change_what_comes_out() {
    let acts = [0, act::CUT, 0, act::REJECT, act::TRAP, 0, act::LIE, 0, act::TRAP_IN_COMPANY, act::SPIN];
    let mut rows: Vec<_> = (0..40).map(|id| row(id, acts[id % acts.len()])).collect();
    rows[11] = b"no message".to_vec();
    rows[22] = raw("/submit/web/row/1/row-22", b"{");
    rows[33] = raw("/submit/web/page/1/row-33", br#"{"a": 1}"#);
    let whole = decode(&mut decoder(vec![plugin()]), &rows);
    for size in [1, 7] {
        let mut decoder = decoder(vec![plugin()]);
        let mut step = Step::default();
        let batch = batch(&rows);
        for start in (0..rows.len()).step_by(size) {
            decoder.decode_rows(&batch, start..(start + size).min(rows.len()), &mut step).expect("decodes");
        }
        let parts = outs(&step);
        for (a, b) in whole.iter().zip(&parts) {
            assert_eq!(a.topic, b.topic, "{} at {size}", a.offset());
            // The fuel of a call depends on its rows; what was refused alone has the same everywhere.
            assert_eq!(verdict(a), verdict(b), "{} at {size}", a.offset());
            assert_eq!(a.value, b.value, "{} at {size}", a.offset());
        }
        assert_eq!(whole.len(), parts.len());
    }
}

#[test]
fn poison_is_named_and_its_neighbours_are_not_harmed() {
    for (act, kind) in [(act::TRAP, "plugin_trap"), (act::SPIN, "plugin_fuel"), (act::GROW, "plugin_memory"), (act::LIE, "plugin_output")] {
        let plugin = plugin();
        let status = Arc::clone(&plugin.status);
        let version = plugin.plugin.version().to_owned();
        let rows: Vec<_> = (0..20).map(|id| row(id, if id == 13 { act } else { 0 })).collect();
        let outs = decode(&mut decoder(vec![plugin]), &rows);
        for (id, out) in outs.iter().enumerate().filter(|(id, _)| *id != 13) {
            assert_eq!(verdict(out), format!("score {}", 2 * id));
        }
        let error = &outs[13];
        assert_eq!(error.field("DecodeErrorType").as_deref(), Some(kind), "{}", verdict(error));
        assert!(error.field("DecodeError").is_some_and(|text| text.starts_with("actor: ")), "{}", verdict(error));
        assert_eq!((error.field("plugin").as_deref(), error.field("plugin_version")), (Some("actor"), Some(version)));
        assert!(error.message().field("fuel").and_then(|field| field.integer()).is_some_and(|fuel| fuel > 0));
        assert_eq!(error.field("backtrace").is_some(), kind != "plugin_output", "{kind}");
        assert_eq!(error.field("content").as_deref(), Some(format!(r#"{{"id": 13, "do": {act}}}"#).as_str()));
        let figures = [&status.messages_in, &status.messages_out, &status.rejected].map(PluginStatus::get);
        assert_eq!(figures, [20, 19, 1], "{kind}");
        assert!(PluginStatus::get(&status.traps) >= 3 && PluginStatus::get(&status.restarts) >= 3);
    }
}

#[test]
fn rejections_are_the_plugins_own() {
    let plugin = plugin();
    let status = Arc::clone(&plugin.status);
    let mut rows = vec![row(1, 0), row(2, act::REJECT), row(3, act::REJECT), row(4, 0)];
    rows.push(raw("/submit/web/row/1/none", br#"{"id": "text"}"#));
    let outs = decode(&mut decoder(vec![plugin]), &rows);
    let verdicts: Vec<_> = outs.iter().map(verdict).collect();
    let rejected = "plugin_rejected: actor: not this one";
    assert_eq!(verdicts, ["score 2", rejected, rejected, "score 8", "plugin_rejected: actor: the required column /id is null"]);
    assert_eq!(outs[1].field("DecodeErrorDetail").as_deref(), Some("code 9"));
    assert_eq!((outs[1].field("plugin").as_deref(), outs[1].field("fuel")), (Some("actor"), None));
    assert_eq!([&status.rejected, &status.traps].map(PluginStatus::get), [3, 0]);
}

#[test]
fn an_instance_at_fault_costs_no_message() {
    let plugin = plugin();
    let status = Arc::clone(&plugin.status);
    let rows: Vec<_> = (0..8).map(|id| row(id, act::TRAP_IN_COMPANY)).collect();
    let outs = decode(&mut decoder(vec![plugin]), &rows);
    assert!(outs.iter().enumerate().all(|(id, out)| verdict(out) == format!("score {}", 2 * id)));
    assert_eq!(PluginStatus::get(&status.rejected), 0);
    assert!(PluginStatus::get(&status.traps) > 0);
}

#[test]
fn a_plugin_that_fails_on_everything_is_put_aside_and_tried_again() {
    let mut decoder = decoder(vec![plugin()]);
    let rows: Vec<_> = (0..40).map(|id| row(id, act::TRAP)).collect();
    let outs = decode(&mut decoder, &rows);
    assert!(outs.iter().all(|out| out.field("DecodeErrorType").as_deref() == Some("plugin_trap")));
    let untried = |outs: &[Out]| outs.iter().filter(|out| verdict(out).contains("not tried, 16 messages in a row had failed")).count();
    assert_eq!(untried(&outs), 24);
    let rows: Vec<_> = (0..1_100).map(|id| row(id, 0)).collect();
    let outs = decode(&mut decoder, &rows);
    assert_eq!(untried(&outs), 1_023);
    assert!(outs[1_023..].iter().enumerate().all(|(at, out)| verdict(out) == format!("score {}", 2 * (at + 1_023))));
}

#[test]
fn matchers_say_which_messages_a_plugin_gets() {
    let check = |matcher: &str, extra: Option<&str>, verdicts: [&str; 2]| {
        let mut decoder = decoder(vec![plugin_with(matcher, "score", extra)]);
        let rows = [row(1, 0), raw("/submit/web/page/1/x", br#"{"a": 1, "id": 2}"#)];
        let outs = decode(&mut decoder, &rows);
        assert_eq!(outs.iter().map(verdict).collect::<Vec<_>>(), verdicts, "{matcher} {extra:?}");
    };
    check("TRUE", None, ["score 2", "score 4"]);
    check("Logger == 'web' && Fields[docType] == 'page'", None, ["score none", "score 4"]);
    check("TRUE", Some("Fields[documentId] == 'row-1'"), ["score 2", "score none"]);
    check("Fields[User-Agent] =~ '^pingsender'", None, ["score 2", "score 4"]);
    check("Fields[X-Forwarded-For] =~ '%d' || Fields[remote_addr] =~ '%d'", None, ["score none", "score none"]);
}

#[test]
fn plugins_that_cannot_be_deployed_are_named() {
    let check = |plugin: DecoderPlugin, text: &str| {
        let mut settings = settings(own_registry());
        settings.plugins = vec![plugin];
        assert_eq!(Decoder::new(&settings).err().map(|error| error.to_string()).as_deref(), Some(text));
    };
    check(
        plugin_with("TRUE", "documentId", None),
        "decoder plugin actor: it adds a field \"documentId\", which the host writes itself; choose another name",
    );
    let error = tidemill_message::Matcher::parse("Type =").expect_err("wrong");
    let text = format!("decoder plugin actor: open failed: `open` broke the contract: `matcher`: {error}");
    check(plugin_with("Type =", "score", None), &text);
}
