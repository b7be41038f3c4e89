//! The JSON dialect once more, written to be read: byte by byte, without a thought for speed.

const DEPTH_MAX: usize = 128;

/// Whether `document` is JSON of the dialect, else what kind of wrong it is, as `Refusal::Json` names it.
pub fn check(document: &[u8]) -> Result<(), &'static str> {
    let text = std::str::from_utf8(document).map_err(|_| "utf8")?;
    let mut reader = Reader { rest: text.as_bytes() };
    reader.blanks();
    reader.value(0)?;
    reader.blanks();
    if reader.rest.is_empty() { Ok(()) } else { Err("trailing") }
}

struct Reader<'t> {
    rest: &'t [u8],
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.next();
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), &'static str> {
        match self.peek() {
            Some(b'{' | b'[') if depth >= DEPTH_MAX => Err("depth"),
            Some(b'{') => self.container(b'}', depth),
            Some(b'[') => self.container(b']', depth),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.literal(),
        }
    }

    fn container(&mut self, close: u8, depth: usize) -> Result<(), &'static str> {
        self.next();
        self.blanks();
        if self.peek() == Some(close) {
            self.next();
            return Ok(());
        }
        loop {
            if close == b'}' {
                self.key()?;
            }
            self.value(depth + 1)?;
            self.blanks();
            match self.next() {
                Some(b',') => self.blanks(),
                Some(byte) if byte == close => return Ok(()),
                _ => return Err("token"),
            }
        }
    }

    fn key(&mut self) -> Result<(), &'static str> {
        if self.peek() != Some(b'"') {
            return Err("token");
        }
        self.string()?;
        self.blanks();
        let has_colon = self.next() == Some(b':');
        self.blanks();
        if has_colon { Ok(()) } else { Err("token") }
    }

    fn string(&mut self) -> Result<(), &'static str> {
        self.next();
        loop {
            match self.next() {
                Some(b'"') => return Ok(()),
                Some(b'\\') => self.escape()?,
                Some(0..=0x1f) | None => return Err("string"),
                Some(_) => {}
            }
        }
    }

    fn escape(&mut self) -> Result<(), &'static str> {
        match self.next() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(()),
            Some(b'u') => match self.unit()? {
                0xd800..=0xdbff => {
                    let is_pair = self.next() == Some(b'\\') && self.next() == Some(b'u');
                    if is_pair && (0xdc00..=0xdfff).contains(&self.unit()?) { Ok(()) } else { Err("escape") }
                }
                0xdc00..=0xdfff => Err("escape"),
                _ => Ok(()),
            },
            _ => Err("escape"),
        }
    }

    fn unit(&mut self) -> Result<u32, &'static str> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.next().and_then(|byte| char::from(byte).to_digit(16));
            unit = unit * 16 + digit.ok_or("escape")?;
        }
        Ok(unit)
    }

    fn number(&mut self) -> Result<(), &'static str> {
        let begin = self.rest;
        if self.peek() == Some(b'-') {
            self.next();
        }
        let first = self.peek();
        if self.digits()? > 1 && first == Some(b'0') {
            return Err("number");
        }
        if self.peek() == Some(b'.') {
            self.next();
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.next();
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.next();
            }
            self.digits()?;
        }
        let text = String::from_utf8_lossy(&begin[..begin.len() - self.rest.len()]).into_owned();
        if text.parse().is_ok_and(f64::is_finite) { Ok(()) } else { Err("number") }
    }

    fn digits(&mut self) -> Result<usize, &'static str> {
        let mut count = 0;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.next();
            count += 1;
        }
        if count > 0 { Ok(count) } else { Err("number") }
    }

    fn literal(&mut self) -> Result<(), &'static str> {
        let literal = ["null", "true", "false"].into_iter().find(|literal| self.rest.starts_with(literal.as_bytes()));
        self.rest = &self.rest[literal.ok_or("token")?.len()..];
        Ok(())
    }
}
