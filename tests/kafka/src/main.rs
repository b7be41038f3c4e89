//! Runs a broker in the foreground: prints its address when it accepts, and runs until stdin closes or the process is ended.
//! Exit codes: 0 done, 3 a tool is missing or the broker does not start.

use std::{io, process::ExitCode};

fn main() -> ExitCode {
    match tidemill_test_kafka::Broker::start() {
        Ok(broker) => {
            println!("{}", broker.address());
            // An unreadable stdin ends the wait just as a closed one does.
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("kafka-broker: {failure}");
            ExitCode::from(3)
        }
    }
}
