//! A step as a Kafka transaction.

use super::{
    admin,
    checkpoints::Checkpoints,
    chunks::Piece,
    cluster::{Cluster, MemberId},
    errors::{logs, meaning, of_code, unavailable},
    handles::{TopicHandle, TopicHandles},
    options::TRANSACTION_TIMEOUT,
};
use crate::{BusError, Step, crash_point};
use parking_lot::Mutex;
use rdkafka::{
    TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::ConsumerGroupMetadata,
    error::{KafkaError, RDKafkaErrorCode as Code},
    message::DeliveryResult,
    producer::{BaseProducer, Producer, ProducerContext, PurgeConfig},
};
use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

/// The broker gives a transaction up after [`TRANSACTION_TIMEOUT`]; we do before.
const STEP_MAX: Duration = TRANSACTION_TIMEOUT.saturating_sub(Duration::from_millis(500));
/// How long an abort may take; after it the producer is made anew, which aborts as well.
const ABORT_MAX: Duration = Duration::from_secs(3);
/// How much longer than its own limit librdkafka may take to answer a call, before its producer is left behind.
const ANSWER_MAX: Duration = Duration::from_secs(1);
const RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// A flush looks at failed records so often.
const FLUSH_INTERVAL: Duration = Duration::from_millis(20);

/// What became of a step.
pub(super) enum Outcome {
    /// It is durable.
    Committed,
    /// Nothing of it happened.
    Refused(BusError),
    /// Nothing of it happened, and the producer's place was taken, or it was left behind: positions must be read again.
    Lost(BusError),
    /// The commit was sent and not answered.
    Unknown(BusError),
}

/// The transactional producer of one member, made when it is needed.
pub(super) struct Transactions {
    cluster: Arc<Cluster>,
    /// Gone before its id is free, unless it was left behind: the next one of the id fences it.
    running: Option<Arc<Running>>,
    id: MemberId,
}

/// The handles go before the producer they belong to.
struct Running {
    handles: TopicHandles,
    producer: BaseProducer<Failures>,
}

/// Remembers why the first record of a step failed.
#[derive(Default)]
struct Failures(Mutex<Option<KafkaError>>);

logs!(Failures);

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        let Err((error, _)) = result else { return };
        let is_ours = matches!(error.rdkafka_error_code(), Some(Code::PurgeQueue | Code::PurgeInflight));
        if !is_ours {
            self.0.lock().get_or_insert_with(|| error.clone());
        }
    }
}

/// Where a step stopped.
enum Stop {
    /// It can be aborted.
    Abort(BusError),
    /// The producer is of no use any more.
    Fatal(BusError),
    /// librdkafka does not answer, and nothing was committed: the producer is left behind.
    Silent(BusError),
    /// The commit was sent and not answered.
    Unanswered(BusError),
}

impl Transactions {
    pub(super) fn new(cluster: &Arc<Cluster>, id: MemberId) -> Self {
        Self { cluster: Arc::clone(cluster), id, running: None }
    }

    /// Makes the producer anew: whatever an earlier one of this identity left open is aborted, or was committed, when this
    /// returns.
    ///
    /// # Errors
    /// When no broker answers.
    pub(super) fn restart(&mut self) -> Result<(), BusError> {
        self.running = None;
        let config = self.cluster.options.transactional(&self.id.id);
        let producer = BaseProducer::from_config_and_context(&config, Failures::default());
        let producer: BaseProducer<Failures> =
            producer.map_err(|error| BusError::Unusable(format!("librdkafka refuses the options: {error}")))?;
        let deadline = Instant::now() + self.cluster.timeout();
        let made = retried(deadline, |left| producer.init_transactions(left));
        made.map_err(|error| meaning("a transactional producer", &error))?;
        self.running = Some(Arc::new(Running { handles: TopicHandles::default(), producer }));
        Ok(())
    }

    /// Performs a step. `offsets` has at least one element, so that the broker compares the generation.
    pub(super) fn run(
        &mut self,
        step: &Step,
        checkpoints: &Checkpoints,
        offsets: &TopicPartitionList,
        membership: &Arc<ConsumerGroupMetadata>,
    ) -> Outcome {
        if self.running.is_none()
            && let Err(error) = self.restart()
        {
            return Outcome::Refused(error);
        }
        let Some(running) = &self.running else { return Outcome::Refused(unavailable("a transactional producer", "there is none")) };
        let deadline = Instant::now() + STEP_MAX;
        let done = running.step(&self.cluster, step, checkpoints, deadline).and_then(|()| running.finish(offsets, membership, deadline));
        match done {
            Ok(()) => Outcome::Committed,
            Err(Stop::Abort(error)) => self.abort(error),
            Err(Stop::Fatal(error)) => {
                let cause = running.producer.client().fatal_error().map(|(code, text)| of_code("a step", code, text));
                self.running = None;
                Outcome::Lost(cause.unwrap_or(error))
            }
            Err(Stop::Silent(error)) => {
                // Aborts what the silent one has sent: all who read those topics wait for it, this member too.
                if let Err(again) = self.restart() {
                    tracing::warn!(error = %again, "a step that was given up is open until its time is over");
                }
                Outcome::Lost(error)
            }
            Err(Stop::Unanswered(error)) => {
                self.running = None;
                Outcome::Unknown(error)
            }
        }
    }

    fn abort(&mut self, why: BusError) -> Outcome {
        let aborted = self.running.as_ref().is_some_and(|running| running.abort());
        // A record that the broker refused leaves a hole in the producer's numbers, on which its next step would fail.
        let has_hole = self.running.as_ref().is_some_and(|running| running.producer.context().0.lock().is_some());
        if !aborted || has_hole {
            self.running = None;
        }
        Outcome::Refused(why)
    }
}

impl Running {
    /// Begins the transaction and hands all records over.
    fn step(&self, cluster: &Cluster, step: &Step, checkpoints: &Checkpoints, deadline: Instant) -> Result<(), Stop> {
        *self.producer.context().0.lock() = None;
        self.producer.begin_transaction().map_err(|error| stop("beginning a step", &error))?;
        let producer = self.producer.client().native_ptr();
        for (to, records) in &step.publish {
            let topic = self.prepare(cluster, &cluster.full(&to.topic))?;
            for record in records.iter() {
                #[expect(unsafe_code, reason = "rdkafka 0.39 looks a topic up by its name for each record")]
                // SAFETY: the producer is this value's, the handle one of its own, and its deliveries are told with nothing.
                let send = || unsafe { topic.send(producer, to.partition, &record, ()) };
                self.send(&topic.name, deadline, send)?;
            }
        }
        if step.checkpoints.is_empty() {
            return Ok(());
        }
        let topic = checkpoints.topic();
        self.prepare(cluster, topic)?;
        step.checkpoints.iter().try_for_each(|checkpoint| {
            let pieces = checkpoints.records(checkpoint);
            let send = |piece: &Piece| self.producer.send(piece.record(topic)).map_err(|(error, _)| error);
            pieces.iter().try_for_each(|piece| self.send(topic, deadline, || send(piece)))
        })
    }

    fn prepare(&self, cluster: &Cluster, topic: &str) -> Result<Arc<TopicHandle>, Stop> {
        self.handles.ensure(self.producer.client().native_ptr(), topic, cluster.compression(topic)).map_err(Stop::Abort)
    }

    /// Waits where librdkafka's queue is full: its records are on their way already.
    fn send(&self, topic: &str, deadline: Instant, send: impl Fn() -> Result<(), KafkaError>) -> Result<(), Stop> {
        loop {
            match send() {
                Ok(()) => return Ok(()),
                Err(KafkaError::MessageProduction(Code::QueueFull)) if Instant::now() < deadline => {
                    self.producer.poll(FLUSH_INTERVAL);
                }
                Err(error) => return Err(stop(&format!("topic {topic}"), &error)),
            }
        }
    }

    /// Adds the positions and commits. The records are written meanwhile.
    fn finish(
        self: &Arc<Self>,
        offsets: &TopicPartitionList,
        membership: &Arc<ConsumerGroupMetadata>,
        deadline: Instant,
    ) -> Result<(), Stop> {
        self.add_positions(offsets, membership, deadline)?;
        self.flush(deadline)?;
        crash_point("step-before-commit");
        let committed = retried(deadline, |left| self.producer.commit_transaction(left));
        committed.map_err(|error| {
            let is_unanswered = matches!(&error, KafkaError::Transaction(refused) if refused.is_retriable());
            let cause = self.cause(&error);
            if is_unanswered { Stop::Unanswered(cause) } else { stop_with(cause, &error) }
        })?;
        crash_point("step-after-commit");
        Ok(())
    }

    /// Adds the positions to the transaction. librdkafka 2.12 never answers this call where its search for the group's coordinator
    /// fails, as it does when a broker stands still for seconds: it is made on a thread of its own, which is waited for only so
    /// long. Nothing was committed then, and the producer that replaces this one aborts what it has sent.
    fn add_positions(
        self: &Arc<Self>,
        offsets: &TopicPartitionList,
        membership: &Arc<ConsumerGroupMetadata>,
        deadline: Instant,
    ) -> Result<(), Stop> {
        const WHAT: &str = "the positions of a step";
        let (answer, answered) = mpsc::sync_channel(1);
        let (running, offsets, membership) = (Arc::clone(self), offsets.clone(), Arc::clone(membership));
        let call = move || {
            let added = retried(deadline, |left| running.producer.send_offsets_to_transaction(&offsets, &membership, left));
            // Who hears the answer may destroy the producer.
            drop(running);
            let _ = answer.send(added);
        };
        let thread = thread::Builder::new().name("kafka-positions".into()).spawn(call);
        thread.map_err(|error| Stop::Abort(unavailable(WHAT, error)))?;
        match answered.recv_timeout(deadline.saturating_duration_since(Instant::now()) + ANSWER_MAX) {
            Ok(added) => added.map_err(|error| stop(WHAT, &error)),
            Err(_) => {
                tracing::warn!("librdkafka does not answer: a step is given up, and its producer is left behind");
                Err(Stop::Silent(unavailable(WHAT, "they were not added in time")))
            }
        }
    }

    fn flush(&self, deadline: Instant) -> Result<(), Stop> {
        loop {
            let is_done = admin::flush(self.producer.client().native_ptr(), FLUSH_INTERVAL);
            self.producer.poll(Duration::ZERO);
            let failed = self.producer.context().0.lock().clone();
            match failed {
                Some(error) => return Err(stop("a record of a step", &error)),
                None if is_done => return Ok(()),
                None if Instant::now() > deadline => return Err(Stop::Abort(unavailable("a step", "no broker acknowledged it in time"))),
                None => {}
            }
        }
    }

    /// Why a record failed says more than that the commit was refused.
    fn cause(&self, error: &KafkaError) -> BusError {
        let failed = self.producer.context().0.lock().clone();
        meaning("a step", failed.as_ref().unwrap_or(error))
    }

    fn abort(&self) -> bool {
        let deadline = Instant::now() + ABORT_MAX;
        self.producer.purge(PurgeConfig::default().queue());
        while !admin::flush(self.producer.client().native_ptr(), FLUSH_INTERVAL) && Instant::now() < deadline {
            self.producer.poll(Duration::ZERO);
        }
        let aborted = retried(deadline, |left| self.producer.abort_transaction(left));
        if let Err(error) = &aborted {
            tracing::warn!(%error, "a step could not be aborted: its producer is made anew");
        }
        aborted.is_ok()
    }
}

/// Calls again while the error says that it may help, until the time is over.
fn retried(deadline: Instant, call: impl Fn(Duration) -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match call(left.max(RETRY_INTERVAL)) {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => thread::sleep(RETRY_INTERVAL),
            result => return result,
        }
    }
}

fn stop(what: &str, error: &KafkaError) -> Stop {
    stop_with(meaning(what, error), error)
}

fn stop_with(cause: BusError, error: &KafkaError) -> Stop {
    let is_fatal = match error {
        KafkaError::Transaction(refused) => refused.is_fatal(),
        error => error.rdkafka_error_code() == Some(Code::Fatal),
    };
    if is_fatal { Stop::Fatal(cause) } else { Stop::Abort(cause) }
}
