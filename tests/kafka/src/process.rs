//! The process that watches over a broker.

use std::{
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const SCRIPT: &str = include_str!("warden.sh");

/// A shell that starts and ends the broker on orders, and ends it when its stdin closes.
#[derive(Debug)]
pub(crate) struct Warden {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Warden {
    pub(crate) fn new(dir: &Path, broker: &[String]) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(SCRIPT).arg("warden").arg(dir).args(broker);
        let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take();
        let answers = child.stdout.take().ok_or_else(|| io::Error::other("the shell has no stdout"))?;
        Ok(Self { child, orders, answers: BufReader::new(answers) })
    }

    /// Gives an order and waits until it is carried out.
    pub(crate) fn order(&mut self, order: &str) -> io::Result<()> {
        let orders = self.orders.as_mut().ok_or_else(|| io::Error::other("the shell has no stdin"))?;
        writeln!(orders, "{order}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        if answer.starts_with(order) {
            return Ok(());
        }
        Err(io::Error::other(format!("the broker's shell answered {answer:?} to {order}")))
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        self.orders = None;
        // Nothing can be done about a shell that does not end; its broker is killed by then.
        let _ = self.child.wait();
    }
}
