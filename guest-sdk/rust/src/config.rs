//! A plugin's configuration: the JSON object that the operator wrote.

use std::cell::RefCell;

use crate::Failure;
use crate::json::Value;

/// The plugin's configuration.
///
/// Every key that is asked for counts as known. When `open` returns and a key was never asked for, the configuration is
/// refused with the list of known ones, so that a misspelt key never goes unnoticed; [`Config::allow_unused`] turns that off.
#[derive(Debug)]
pub struct Config<'a> {
    text: &'a str,
    value: Value<'a>,
    known: RefCell<Vec<String>>,
}

impl<'a> Config<'a> {
    /// Reads the text of a configuration; empty text is an empty object.
    ///
    /// # Errors
    /// Text that is not a JSON object.
    pub fn new(text: &'a str) -> Result<Self, Failure> {
        let text = if text.is_empty() { "{}" } else { text };
        let value = Value::parse(text.as_bytes()).map_err(|error| Failure::new(format!("the configuration is not JSON: {error}")))?;
        if !matches!(value, Value::Object(_)) {
            return Err(Failure::new("the configuration is not a JSON object"));
        }
        Ok(Self { text, value, known: RefCell::default() })
    }

    /// The text as the operator wrote it.
    pub fn as_json(&self) -> &'a str {
        self.text
    }

    /// A key's value; null counts as absent.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        let mut known = self.known.borrow_mut();
        if !known.iter().any(|other| other == key) {
            known.push(key.into());
        }
        self.value.get(key).filter(|value| **value != Value::Null)
    }

    /// Text.
    ///
    /// # Errors
    /// A value of another type, as for all of these.
    pub fn text(&self, key: &str) -> Result<Option<&str>, Failure> {
        self.typed(key, "text", Value::as_str)
    }

    /// Text that must be there.
    pub fn required_text(&self, key: &str) -> Result<&str, Failure> {
        self.text(key)?.ok_or_else(|| Failure::new(format!("the configuration lacks `{key}`")))
    }

    /// A whole number.
    pub fn int(&self, key: &str) -> Result<Option<i64>, Failure> {
        self.typed(key, "a whole number", Value::as_i64)
    }

    /// A whole number from 0 to 2^32 - 1.
    pub fn u32(&self, key: &str) -> Result<Option<u32>, Failure> {
        self.typed(key, "a whole number from 0 to 4294967295", |value| value.as_i64()?.try_into().ok())
    }

    /// A number.
    pub fn float(&self, key: &str) -> Result<Option<f64>, Failure> {
        self.typed(key, "a number", Value::as_f64)
    }

    /// `true` or `false`.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, Failure> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// An array of texts; empty when absent.
    pub fn texts(&self, key: &str) -> Result<Vec<&str>, Failure> {
        let texts =
            |value: &'_ Value<'a>| matches!(value, Value::Array(elements) if elements.iter().all(|element| element.as_str().is_some()));
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(value) if texts(value) => Ok(value.elements().iter().filter_map(Value::as_str).collect()),
            Some(_) => Err(wrong_type(key, "an array of texts")),
        }
    }

    /// The whole configuration as a type of the plugin's own; which keys are known is then up to that type
    /// (`#[serde(deny_unknown_fields)]`).
    ///
    /// # Errors
    /// What serde says.
    #[cfg(feature = "serde")]
    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, Failure> {
        self.allow_unused();
        serde_json::from_str(self.text).map_err(|error| Failure::new(format!("the configuration: {error}")))
    }

    /// Accepts keys that were never asked for.
    pub fn allow_unused(&self) {
        if let Value::Object(members) = &self.value {
            self.known.borrow_mut().extend(members.iter().map(|member| member.0.to_string()));
        }
    }

    /// The check after `open`.
    pub(crate) fn refuse_unused(&self) -> Result<(), Failure> {
        let Value::Object(members) = &self.value else { return Ok(()) };
        let known = self.known.borrow();
        let Some((unused, _)) = members.iter().find(|(key, _)| !known.iter().any(|other| other == key)) else { return Ok(()) };
        if known.is_empty() {
            return Err(Failure::new(format!("the configuration has `{unused}`, but this plugin takes none")));
        }
        Err(Failure::new(format!("the configuration has `{unused}`, which this plugin does not use; it reads: {}", known.join(", "))))
    }

    fn typed<'v, T>(&'v self, key: &str, type_name: &str, read: impl FnOnce(&'v Value<'a>) -> Option<T>) -> Result<Option<T>, Failure> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| wrong_type(key, type_name)),
        }
    }
}

fn wrong_type(key: &str, type_name: &str) -> Failure {
    Failure::new(format!("the configuration's `{key}` is not {type_name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_by_type_and_names_what_is_wrong() {
        let config = Config::new(r#"{"t": "x", "i": 5, "f": 0.5, "b": true, "l": ["a", "b"], "none": null}"#).unwrap();
        assert_eq!(config.text("t"), Ok(Some("x")));
        assert_eq!(config.int("i"), Ok(Some(5)));
        assert_eq!(config.u32("i"), Ok(Some(5)));
        assert_eq!(config.float("f"), Ok(Some(0.5)));
        assert_eq!(config.bool("b"), Ok(Some(true)));
        assert_eq!(config.texts("l"), Ok(vec!["a", "b"]));
        assert_eq!(config.text("none"), Ok(None));
        assert_eq!(config.texts("none"), Ok(vec![]));
        let text = |result: Result<Option<i64>, Failure>| result.unwrap_err().text;
        assert_eq!(text(config.int("f")), "the configuration's `f` is not a whole number");
        assert_eq!(config.texts("t").unwrap_err().text, "the configuration's `t` is not an array of texts");
        assert_eq!(config.required_text("url").unwrap_err().text, "the configuration lacks `url`");
        assert_eq!(config.refuse_unused(), Ok(()));
    }

    #[test]
    fn refuses_keys_that_nobody_asked_for() {
        let config = Config::new(r#"{"urll": "x"}"#).unwrap();
        assert_eq!(config.refuse_unused().unwrap_err().text, "the configuration has `urll`, but this plugin takes none");
        let _ = (config.text("url"), config.int("rows"));
        let expected = "the configuration has `urll`, which this plugin does not use; it reads: url, rows";
        assert_eq!(config.refuse_unused().unwrap_err().text, expected);
        config.allow_unused();
        assert_eq!(config.refuse_unused(), Ok(()));
    }

    #[test]
    fn refuses_what_is_no_object() {
        let check = |text: &str, expected: &str| assert_eq!(Config::new(text).unwrap_err().text, expected);
        check("[]", "the configuration is not a JSON object");
        check("{", "the configuration is not JSON: expected a key at byte 1");
        assert!(Config::new("").is_ok());
    }

    #[cfg(feature = "serde")]
    #[test]
    fn parses_into_a_type() {
        #[derive(serde::Deserialize)]
        struct Own {
            rows: u32,
        }
        let config = Config::new(r#"{"rows": 3, "other": 1}"#).unwrap();
        assert_eq!(config.parse::<Own>().unwrap().rows, 3);
        assert_eq!(config.refuse_unused(), Ok(()));
    }
}
