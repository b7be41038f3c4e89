//! Moves sections of a document into fields of their own, or drops them, without writing the document anew: what is left is a few
//! pieces of it.

use tidemill_json::{Member, Span, text_equals};

/// A section of a decoder's plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The JSON pointer, of one or two segments.
    pub path: String,
    /// Whether it becomes a field; else it is dropped.
    pub moved: bool,
}

/// A plan's sections, by the top-level member they lie in.
#[derive(Debug, Default)]
pub struct SectionPlan {
    tops: Vec<Top>,
    names: Vec<String>,
}

#[derive(Debug)]
struct Top {
    key: Vec<u8>,
    /// The top-level member itself is the section.
    whole: Option<Fate>,
    inner: Vec<(Vec<u8>, Fate)>,
}

/// What becomes of a section: the field it is moved to (its place in `names`), or `None`.
type Fate = Option<usize>;

/// A plan that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SectionError {
    /// Not a JSON pointer of one or two segments.
    #[error("section {0:?} is not a JSON pointer of one or two segments without *")]
    Path(String),
    /// Two sections of which one holds the other.
    #[error("section {0:?} overlaps another one of its plan")]
    Overlap(String),
}

impl SectionPlan {
    /// Compiles the sections of a plan.
    ///
    /// # Errors
    /// Where a path is not of one or two segments or lies within another one.
    pub fn new(sections: &[Section]) -> Result<Self, SectionError> {
        let mut plan = Self::default();
        for section in sections {
            plan.add(section)?;
        }
        Ok(plan)
    }

    fn add(&mut self, section: &Section) -> Result<(), SectionError> {
        let bad = || SectionError::Path(section.path.clone());
        let mut segments = section.path.strip_prefix('/').ok_or_else(bad)?.split('/').map(unescape);
        let key = segments.next().flatten().ok_or_else(bad)?;
        let inner = segments.next().map(|segment| segment.ok_or_else(bad)).transpose()?;
        if segments.next().is_some() {
            return Err(bad());
        }
        let name = inner.as_ref().map_or_else(|| key.clone(), |inner| format!("{key}.{inner}"));
        let fate = section.moved.then_some(self.names.len());
        if section.moved {
            self.names.push(name);
        }
        let overlap = || SectionError::Overlap(section.path.clone());
        let top = self.top(key.into_bytes());
        match inner {
            None if top.whole.is_none() && top.inner.is_empty() => top.whole = Some(fate),
            Some(inner) if top.whole.is_none() && top.inner.iter().all(|(other, _)| other != inner.as_bytes()) => {
                top.inner.push((inner.into_bytes(), fate));
            }
            _ => return Err(overlap()),
        }
        Ok(())
    }

    fn top(&mut self, key: Vec<u8>) -> &mut Top {
        let at = self.tops.iter().position(|top| top.key == key).unwrap_or_else(|| {
            self.tops.push(Top { key, whole: None, inner: Vec::new() });
            self.tops.len() - 1
        });
        &mut self.tops[at]
    }

    /// Whether nothing is moved or dropped.
    pub fn is_empty(&self) -> bool {
        self.tops.is_empty()
    }

    /// The names of the fields that sections are moved to: their dotted paths.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// A pointer's segment with `~1` and `~0` resolved; `None` where it is empty, `*` or badly escaped.
fn unescape(segment: &str) -> Option<String> {
    let rest = segment.replace("~0", "").replace("~1", "");
    (!segment.is_empty() && segment != "*" && !rest.contains('~')).then(|| segment.replace("~1", "/").replace("~0", "~"))
}

/// A document cut by a plan; its memory is reused.
#[derive(Debug, Default)]
pub struct Cut {
    /// The value of each of the plan's [`SectionPlan::names`], where the document has it.
    pub moved: Vec<Option<Span>>,
    /// What is taken out of the document, ascending, with the commas that would be left over.
    pub gaps: Vec<Span>,
    taken: Vec<bool>,
}

impl Cut {
    /// Cuts a document. Of duplicate keys the last counts: it is the section; the others of its key go as well, so that none
    /// of them comes to life in the rest.
    pub fn make(&mut self, plan: &SectionPlan, members: &[Member], document: &[u8]) {
        self.gaps.clear();
        self.moved.clear();
        self.moved.resize(plan.names.len(), None);
        self.taken.clear();
        self.taken.resize(members.len(), false);
        for top in &plan.tops {
            self.take_top(top, members, document);
        }
        self.gap_siblings(members.iter().enumerate().filter(|(_, member)| member.depth == 1));
        self.gaps.sort_unstable_by_key(|gap| gap.start);
    }

    fn take_top(&mut self, top: &Top, members: &[Member], document: &[u8]) {
        let is_top = |member: &Member| member.depth == 1 && is_key(member, document, &top.key);
        let Some(last) = members.iter().rposition(is_top) else { return };
        if let Some(fate) = top.whole {
            members.iter().enumerate().filter(|(_, member)| is_top(member)).for_each(|(at, _)| self.taken[at] = true);
            self.settle(fate, &members[last]);
            return;
        }
        let children = || members.iter().enumerate().skip(last).filter(|(_, member)| member.depth == 2 && member.parent == last as u32);
        for (at, member) in children() {
            if let Some((_, fate)) = top.inner.iter().find(|(key, _)| is_key(member, document, key)) {
                self.taken[at] = true;
                self.settle(*fate, member);
            }
        }
        self.gap_siblings(children());
    }

    fn settle(&mut self, fate: Fate, member: &Member) {
        if let Some(name) = fate {
            self.moved[name] = Some(member.value());
        }
    }

    /// Adds the gaps between the members of one object that stay.
    fn gap_siblings<'m>(&mut self, siblings: impl Iterator<Item = (usize, &'m Member)>) {
        let mut kept_one = false;
        let mut open_gap = None;
        let mut last_end = 0;
        for (at, member) in siblings {
            let start = member.key.start - 1;
            match (self.taken[at], kept_one) {
                (true, true) => self.gaps.push(Span { start: last_end, end: member.end }),
                (true, false) => open_gap = open_gap.or(Some(start)),
                (false, _) => {
                    kept_one = true;
                    self.gaps.extend(open_gap.take().map(|gap| Span { start: gap, end: start }));
                }
            }
            last_end = member.end;
        }
        self.gaps.extend(open_gap.map(|start| Span { start, end: last_end }));
    }

    /// The members that stay, where they lie in what is left of the document.
    pub fn members_left(&self, members: &[Member], left: &mut Vec<Member>) {
        left.clear();
        for (at, member) in members.iter().enumerate() {
            if !self.taken[at] && !self.taken[member.parent as usize] {
                let key = Span { start: self.moved_to(member.key.start), end: self.moved_to(member.key.end) };
                left.push(Member { key, start: self.moved_to(member.start), end: self.moved_to(member.end), ..*member });
            }
        }
    }

    /// Where a byte that stays, or the end of one, comes to lie.
    fn moved_to(&self, position: u32) -> u32 {
        let before = self.gaps.iter().take_while(|gap| gap.end <= position);
        position - before.map(|gap| gap.end - gap.start).sum::<u32>()
    }

    /// The pieces of the document that stay, one behind another.
    pub fn rest<'d>(&self, document: &'d [u8]) -> impl Iterator<Item = &'d [u8]> {
        let starts = std::iter::once(0).chain(self.gaps.iter().map(|gap| gap.end as usize));
        let ends = self.gaps.iter().map(|gap| gap.start as usize).chain(std::iter::once(document.len()));
        starts.zip(ends).filter_map(move |(start, end)| document.get(start..end))
    }
}

fn is_key(member: &Member, document: &[u8], key: &[u8]) -> bool {
    let inside = member.key.of(document);
    inside == key || (inside.len() > key.len() && inside.contains(&b'\\') && text_equals(inside, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The members of a document whose strings hold no structural characters.
    fn members_of(document: &str) -> Vec<Member> {
        let bytes = document.as_bytes();
        let mut members: Vec<Member> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        let mut depth = 0u8;
        for at in 0..bytes.len() {
            match bytes[at] {
                b'{' | b'[' => depth += 1,
                b':' if depth <= 2 => {
                    let end = document[..at].rfind('"').expect("a key");
                    let start = document[..end].rfind('"').expect("a key") + 1;
                    let number = members.len();
                    let parent = if depth == 1 { number } else { *open.first().expect("a parent") };
                    let key = Span { start: start as u32, end: end as u32 };
                    let value = at + 1 + bytes[at + 1..].iter().position(|byte| *byte != b' ').expect("a value");
                    members.push(Member { depth, key, start: value as u32, end: 0, parent: parent as u32 });
                    open.push(number);
                }
                b',' | b'}' if depth <= 2 => close(document, &mut members, &mut open, depth, at),
                _ => {}
            }
            if matches!(bytes[at], b'}' | b']') {
                depth -= 1;
            }
        }
        members
    }

    fn close(document: &str, members: &mut [Member], open: &mut Vec<usize>, depth: u8, at: usize) {
        if let Some(last) = open.last().copied().filter(|last| members[*last].depth == depth) {
            members[last].end = document[..at].trim_end().len() as u32;
            open.pop();
        }
    }

    fn check(document: &str, sections: &[(&str, bool)], rest: &str, moved: &[Option<&str>]) {
        let sections: Vec<_> = sections.iter().map(|(path, moved)| Section { path: (*path).to_owned(), moved: *moved }).collect();
        let plan = SectionPlan::new(&sections).expect("a plan");
        let mut cut = Cut::default();
        cut.make(&plan, &members_of(document), document.as_bytes());
        let pieces: Vec<u8> = cut.rest(document.as_bytes()).flatten().copied().collect();
        assert_eq!(String::from_utf8_lossy(&pieces), rest, "{document}");
        let found: Vec<_> = cut.moved.iter().map(|span| span.map(|span| span.of(document.as_bytes()))).collect();
        assert_eq!(found, moved.iter().map(|text| text.map(str::as_bytes)).collect::<Vec<_>>(), "{document}");
        serde_json::from_slice::<serde_json::Value>(&pieces).expect("the rest is JSON");
        let mut left = Vec::new();
        cut.members_left(&members_of(document), &mut left);
        let of_rest = members_of(rest);
        assert_eq!(
            left.iter().map(|member| (member.key, member.value())).collect::<Vec<_>>(),
            of_rest.iter().map(|member| (member.key, member.value())).collect::<Vec<_>>(),
            "{document}"
        );
    }

    #[test]
    fn sections_leave_json_behind() {
        let document = r#"{"a": {"x": 1, "y": [2], "z": 3}, "b": {"c": {}}, "d": 4}"#;
        check(document, &[], document, &[]);
        check(document, &[("/a", true)], r#"{"b": {"c": {}}, "d": 4}"#, &[Some(r#"{"x": 1, "y": [2], "z": 3}"#)]);
        check(document, &[("/d", false)], r#"{"a": {"x": 1, "y": [2], "z": 3}, "b": {"c": {}}}"#, &[]);
        check(document, &[("/a/x", true)], r#"{"a": {"y": [2], "z": 3}, "b": {"c": {}}, "d": 4}"#, &[Some("1")]);
        check(document, &[("/a/y", true)], r#"{"a": {"x": 1, "z": 3}, "b": {"c": {}}, "d": 4}"#, &[Some("[2]")]);
        check(document, &[("/a/z", true)], r#"{"a": {"x": 1, "y": [2]}, "b": {"c": {}}, "d": 4}"#, &[Some("3")]);
        check(document, &[("/a/z", true), ("/a/x", false)], r#"{"a": {"y": [2]}, "b": {"c": {}}, "d": 4}"#, &[Some("3")]);
        check(document, &[("/b/c", true), ("/a", false), ("/d", true)], r#"{"b": {}}"#, &[Some("{}"), Some("4")]);
        check(document, &[("/a", false), ("/b", false), ("/d", false)], "{}", &[]);
        check(document, &[("/e", true), ("/d/x", true), ("/b/x", true)], document, &[None, None, None]);
        check("{ }", &[("/a", true)], "{ }", &[None]);
    }

    #[test]
    fn the_last_duplicate_is_the_section_and_none_stays() {
        check(r#"{"a": 1, "b": 2, "a": 3}"#, &[("/a", true)], r#"{"b": 2}"#, &[Some("3")]);
        check(r#"{"a": 1, "a": 2}"#, &[("/a", true)], "{}", &[Some("2")]);
        check(r#"{"a": {"x": 1, "x": 2, "y": 3}}"#, &[("/a/x", true)], r#"{"a": {"y": 3}}"#, &[Some("2")]);
        // Only the last `a` counts; what it does not have is not there.
        check(r#"{"a": {"x": 1}, "a": {"y": 2}}"#, &[("/a/x", true)], r#"{"a": {"x": 1}, "a": {"y": 2}}"#, &[None]);
        check(r#"{"a": {"x": 1}, "a": {"x": 2}}"#, &[("/a/x", true)], r#"{"a": {"x": 1}, "a": {}}"#, &[Some("2")]);
    }

    #[test]
    fn escaped_keys_are_the_same_keys() {
        check(r#"{"\u0061": 1, "b": 2}"#, &[("/a", true)], r#"{"b": 2}"#, &[Some("1")]);
        check(r#"{"a/b~": 1, "b": 2}"#, &[("/a~1b~0", true)], r#"{"b": 2}"#, &[Some("1")]);
    }

    #[test]
    fn plans_that_cannot_be_followed_are_refused() {
        let check = |paths: &[&str], text: &str| {
            let sections: Vec<_> = paths.iter().map(|path| Section { path: (*path).to_owned(), moved: true }).collect();
            assert_eq!(SectionPlan::new(&sections).map_err(|error| error.to_string()).err().as_deref(), Some(text));
        };
        for path in ["", "a", "/", "/a/b/c", "/a/*", "/a/", "/a~2"] {
            check(&[path], &format!("section {path:?} is not a JSON pointer of one or two segments without *"));
        }
        check(&["/a", "/a/b"], "section \"/a/b\" overlaps another one of its plan");
        check(&["/a/b", "/a"], "section \"/a\" overlaps another one of its plan");
        check(&["/a/b", "/a/b"], "section \"/a/b\" overlaps another one of its plan");
    }

    #[test]
    fn fields_are_named_by_dotted_paths() {
        let sections = [("/environment/system", true), ("/x", false), ("/payload", true)];
        let sections = sections.map(|(path, moved)| Section { path: path.to_owned(), moved });
        assert_eq!(SectionPlan::new(&sections).expect("a plan").names(), ["environment.system", "payload"]);
    }
}
