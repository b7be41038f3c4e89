//! An expression as a graph of decisions: each test names the next one for either verdict, so evaluation is a loop.

use crate::matcher::parser::Expression;
use crate::matcher::test::Test;
use crate::reader::MessageRef;

/// Where to go on: the index of a node, or one of the two ends.
pub(crate) type Target = u32;

/// The message matches.
pub(crate) const ACCEPT: Target = u32::MAX;
/// The message does not match.
pub(crate) const REJECT: Target = u32::MAX - 1;

/// A compiled expression.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub nodes: Vec<Node>,
    pub entry: Target,
}

/// A test and where to go on.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub test: Test,
    pub when_true: Target,
    pub when_false: Target,
}

impl Program {
    pub(crate) fn compile(expression: &Expression) -> Self {
        let mut nodes = Vec::new();
        let entry = compile(expression, ACCEPT, REJECT, &mut nodes);
        Self { nodes, entry }
    }

    /// A program that accepts what both accept.
    pub(crate) fn and(&self, other: &Program) -> Program {
        let offset = self.nodes.len() as Target;
        let second = shift(other.entry, offset);
        let redirect = |target: Target| if target == ACCEPT { second } else { target };
        let first_nodes = self.nodes.iter().map(|node| Node {
            when_true: redirect(node.when_true),
            when_false: redirect(node.when_false),
            ..node.clone()
        });
        let nodes = first_nodes.chain(other.nodes.iter().map(|node| node.shifted(offset))).collect();
        Program { nodes, entry: redirect(self.entry) }
    }

    pub(crate) fn run(&self, message: &MessageRef<'_>) -> bool {
        let mut target = self.entry;
        while let Some(node) = self.nodes.get(target as usize) {
            target = node.next(node.test.verdict(node.test.variable.resolve(message)));
        }
        target == ACCEPT
    }
}

impl Node {
    #[inline]
    pub(crate) fn next(&self, verdict: bool) -> Target {
        if verdict { self.when_true } else { self.when_false }
    }

    fn shifted(&self, offset: Target) -> Node {
        let Node { test, when_true, when_false } = self;
        Node { test: test.clone(), when_true: shift(*when_true, offset), when_false: shift(*when_false, offset) }
    }
}

/// The target after nodes were put in front.
pub(crate) fn shift(target: Target, offset: Target) -> Target {
    if target >= REJECT { target } else { target + offset }
}

/// Compiles from the end to the beginning, so that every node knows where to go on. The depth is bounded by the parser.
fn compile(expression: &Expression, when_true: Target, when_false: Target, nodes: &mut Vec<Node>) -> Target {
    match expression {
        Expression::Constant(true) => when_true,
        Expression::Constant(false) => when_false,
        Expression::Test(test) => {
            nodes.push(Node { test: test.clone(), when_true, when_false });
            nodes.len() as Target - 1
        }
        Expression::And(parts) => parts.iter().rev().fold(when_true, |next, part| compile(part, next, when_false, nodes)),
        Expression::Or(parts) => parts.iter().rev().fold(when_false, |next, part| compile(part, when_true, next, nodes)),
    }
}
