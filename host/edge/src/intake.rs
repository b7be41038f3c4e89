//! Where pings become durable: on the bus, or in the spool while the bus is away, slow or refuses.

use crate::{
    line::Line,
    spool::{Spool, SpoolHealth, SpoolOptions},
};
use std::{sync::Arc, time::Duration};
use tidemill_bus::{Ack, Bus, BusError, Clock, Files, RecordBuf};
use tokio::{sync::oneshot, time::timeout};

/// How long the local disk may take for a ping.
const SPOOL_PATIENCE: Duration = Duration::from_secs(30);

/// Takes pings: one value a process.
pub struct Intake {
    line: Arc<Line>,
    spool: Option<Spool>,
}

/// How the intake is.
#[derive(Clone, Debug)]
pub struct IntakeHealth {
    /// What is out of order with the bus.
    pub bus: Result<(), String>,
    /// The spool, where there is one.
    pub spool: Option<SpoolHealth>,
}

impl IntakeHealth {
    /// Whether a ping would be taken now.
    pub fn takes_pings(&self) -> bool {
        self.bus.is_ok() || self.spool.as_ref().is_some_and(|spool| spool.max_bytes > 0 && spool.trouble.is_none())
    }

    /// What is out of order, part by part; empty where nothing is.
    pub fn trouble(&self) -> String {
        let bus = self.bus.as_ref().err().map(|why| format!("the bus: {why}"));
        let spool = self.spool.as_ref().and_then(|spool| spool.trouble.as_ref()).map(|why| format!("the spool: {why}"));
        bus.into_iter().chain(spool).collect::<Vec<_>>().join("; ")
    }
}

impl Intake {
    /// An intake on a bus whose `raw` topic exists, without a spool: what the bus does not take within `patience` is refused.
    ///
    /// # Errors
    /// When the bus does not know the topic.
    pub fn new(bus: Arc<dyn Bus>, clock: Arc<dyn Clock>, patience: Duration) -> Result<Self, BusError> {
        let line = Arc::new(Line::new(bus, clock, patience));
        line.find_partitions()?;
        Ok(Self { line, spool: None })
    }

    /// An intake with a spool, which is opened, repaired where its tail is torn, and drained from now on. The bus need not be there.
    ///
    /// # Errors
    /// When the spool cannot be opened.
    pub fn with_spool(
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        patience: Duration,
        options: SpoolOptions,
        files: Arc<dyn Files>,
    ) -> Result<Self, BusError> {
        let healthy = bus.health();
        let line = Arc::new(Line::new(bus, clock, patience));
        if let Err(error) = healthy.and_then(|()| line.find_partitions()) {
            line.out(&error);
        }
        let spool = Spool::open(options, files, Arc::clone(&line))?;
        Ok(Self { line, spool: Some(spool) })
    }

    /// Makes the records durable, all of them of one key. `encode` is called again where they take the second way, so that the
    /// usual one needs no copy; both times it must give the same bytes.
    ///
    /// # Errors
    /// Why neither the bus nor the spool has them. Then nobody knows whether they will be on the bus.
    pub async fn take(&self, key: &[u8], encode: impl Fn(&mut RecordBuf)) -> Result<(), BusError> {
        let encoded = || {
            let mut records = RecordBuf::default();
            encode(&mut records);
            records
        };
        let spool = self.spool.as_ref().filter(|spool| spool.takes());
        let asks = spool.is_none() || !self.line.is_out();
        if let Some(partition) = self.line.partition(key).filter(|_| asks) {
            match confirmed(self.line.patience, |ack| self.line.publish(partition, encoded(), ack)).await {
                Err(error) if spool.is_some() && !matches!(error, BusError::TooLarge { .. }) => self.line.out(&error),
                taken => return taken,
            }
        }
        match spool {
            Some(spool) => confirmed(SPOOL_PATIENCE, |ack| spool.append(encoded(), ack)).await,
            None => Err(BusError::Unavailable("it was not there yet".to_owned())),
        }
    }

    /// How it is; may block for as long as the bus takes to answer.
    pub fn health(&self) -> IntakeHealth {
        IntakeHealth { bus: self.line.health(), spool: self.spool.as_ref().map(Spool::health) }
    }

    /// Stops the drain; what it has under way gets a moment to be confirmed. The rest waits for the next start.
    pub fn stop(&self) {
        if let Some(spool) = &self.spool {
            spool.stop();
        }
    }
}

/// Waits until what `act` does is confirmed.
async fn confirmed(patience: Duration, act: impl FnOnce(Ack)) -> Result<(), BusError> {
    let (sender, receiver) = oneshot::channel();
    act(Box::new(move |result| drop(sender.send(result))));
    match timeout(patience, receiver).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(BusError::Unavailable("it went away".to_owned())),
        Err(_) => Err(BusError::Unavailable(format!("it did not confirm within {patience:?}"))),
    }
}
