//! Numbers for Prometheus.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use pictor_proto::code_name;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tonic::Code;

use crate::collection::backend::IndexReport;
use crate::engine::EngineStats;
use crate::types::{Error, Result};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabels {
    method: String,
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MethodLabels {
    method: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CollectionLabels {
    collection: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct IndexLabels {
    collection: String,
    field: String,
    generation: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RecallLabels {
    collection: String,
    field: String,
    generation: u32,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EncoderLabels {
    encoder: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HttpLabels {
    route: &'static str,
    status: u16,
}

/// Everything that `/metrics` shows.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    call_seconds: Family<MethodLabels, Histogram, fn() -> Histogram>,
    http_requests: Family<HttpLabels, Counter>,
    items: Family<CollectionLabels, Gauge>,
    vectors: Family<CollectionLabels, Gauge>,
    index_bytes: Family<CollectionLabels, Gauge>,
    segment_bytes: Family<CollectionLabels, Gauge>,
    tail_vectors: Family<CollectionLabels, Gauge>,
    deferred_vectors: Family<CollectionLabels, Gauge>,
    self_retrieval: Family<IndexLabels, Gauge<f64, AtomicU64>>,
    recall: Family<RecallLabels, Gauge<f64, AtomicU64>>,
    encoder_queue: Family<EncoderLabels, Gauge>,
    encoder_inputs: Family<EncoderLabels, Gauge>,
    encoder_failures: Family<EncoderLabels, Gauge>,
    encoder_healthy: Family<EncoderLabels, Gauge>,
    encoder_bytes: Gauge,
    store_bytes: Gauge,
    resident_bytes: Gauge,
}

/// 0.25 ms to 32 s.
fn latency_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 18))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("pictor");
        let calls = Family::default();
        registry.register("calls", "gRPC calls by method and code", calls.clone());
        let call_seconds =
            Family::<MethodLabels, Histogram, fn() -> Histogram>::new_with_constructor(latency_histogram);
        registry.register_with_unit("call", "Time to answer a gRPC call", Unit::Seconds, call_seconds.clone());
        let http_requests = Family::default();
        registry.register("http_requests", "HTTP requests by route and status", http_requests.clone());
        let mut by_collection = |name: &str, help: &str| {
            let family = Family::<CollectionLabels, Gauge>::default();
            registry.register(name, help, family.clone());
            family
        };
        let items = by_collection("items", "Stored items");
        let vectors = by_collection("vectors", "Indexed vectors of all generations");
        let index_bytes = by_collection("index_bytes", "Memory of the indexes");
        let segment_bytes = by_collection("segment_bytes", "Files of the indexes");
        let tail_vectors = by_collection("tail_vectors", "Vectors that are compared one by one");
        let deferred_vectors = by_collection("deferred_vectors", "Vectors of bulk writes that no search finds yet");
        let self_retrieval = Family::default();
        registry.register(
            "index_self_retrieval",
            "Share of sampled vectors that find themselves",
            Family::clone(&self_retrieval),
        );
        let recall = Family::default();
        registry.register("index_recall", "Share of the true ten hits that is found", Family::clone(&recall));
        let mut by_encoder = |name: &str, help: &str| {
            let family = Family::<EncoderLabels, Gauge>::default();
            registry.register(name, help, family.clone());
            family
        };
        let encoder_queue = by_encoder("encoder_queue", "Inputs waiting for the encoder");
        let encoder_inputs = by_encoder("encoder_inputs_encoded", "Inputs encoded since the start");
        let encoder_failures = by_encoder("encoder_failures", "Batches that failed since the start");
        let encoder_healthy = by_encoder("encoder_healthy", "1 if the last batch or self-probe succeeded");
        let encoder_bytes = Gauge::default();
        registry.register("encoder_bytes", "Bytes of the weights of loaded encoders", encoder_bytes.clone());
        let store_bytes = Gauge::default();
        registry.register("store_bytes", "Bytes of the store's files", store_bytes.clone());
        let resident_bytes = Gauge::default();
        registry.register("resident_bytes", "Resident memory of the process", resident_bytes.clone());
        Self {
            registry,
            calls,
            call_seconds,
            http_requests,
            items,
            vectors,
            index_bytes,
            segment_bytes,
            tail_vectors,
            deferred_vectors,
            self_retrieval,
            recall,
            encoder_queue,
            encoder_inputs,
            encoder_failures,
            encoder_healthy,
            encoder_bytes,
            store_bytes,
            resident_bytes,
        }
    }
}

impl Metrics {
    /// Counts an answered call.
    pub fn record_call(&self, method: &str, code: Code, elapsed: Duration) {
        self.calls.get_or_create(&CallLabels { method: method.to_owned(), code: code_name(code) }).inc();
        self.call_seconds.get_or_create(&MethodLabels { method: method.to_owned() }).observe(elapsed.as_secs_f64());
    }

    /// Counts an answered HTTP request; `route` is a pattern of the table of routes, never a caller's path.
    pub fn record_http(&self, route: &'static str, status: u16) {
        self.http_requests.get_or_create(&HttpLabels { route, status }).inc();
    }

    fn set_index(&self, collection: &str, index: &IndexReport) {
        let IndexReport { field, generation, self_retrieval, kinds, .. } = index;
        let (collection, field, generation) = (collection.to_owned(), field.clone(), *generation);
        for report in kinds {
            let (collection, field) = (collection.clone(), field.clone());
            let labels = RecallLabels { collection, field, generation, kind: report.kind.name() };
            self.recall.get_or_create(&labels).set(f64::from(report.recall));
        }
        if let Some(share) = self_retrieval {
            self.self_retrieval.get_or_create(&IndexLabels { collection, field, generation }).set(f64::from(*share));
        }
    }

    /// Writes everything in the OpenMetrics text format, with `stats` as the present state.
    ///
    /// # Errors
    /// [`Error::Internal`] if formatting fails.
    pub fn render(&self, stats: &EngineStats) -> Result<String> {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let by_collection = [&self.items, &self.vectors, &self.index_bytes, &self.segment_bytes];
        by_collection.into_iter().chain([&self.tail_vectors, &self.deferred_vectors]).for_each(Family::clear);
        self.self_retrieval.clear();
        self.recall.clear();
        for (collection, stats) in &stats.collections {
            let labels = CollectionLabels { collection: collection.clone() };
            self.items.get_or_create(&labels).set(gauge(stats.items));
            self.vectors.get_or_create(&labels).set(gauge(stats.vectors.values().sum()));
            self.index_bytes.get_or_create(&labels).set(gauge(stats.index_bytes));
            let sum = |of: fn(&IndexReport) -> u64| gauge(stats.indexes.iter().map(of).sum());
            self.segment_bytes.get_or_create(&labels).set(sum(|index| index.segment_bytes));
            self.tail_vectors.get_or_create(&labels).set(sum(|index| index.tail_vectors));
            self.deferred_vectors.get_or_create(&labels).set(sum(|index| index.deferred_vectors));
            for index in &stats.indexes {
                self.set_index(collection, index);
            }
        }
        for (encoder, stats) in &stats.encoders {
            let labels = EncoderLabels { encoder: encoder.clone() };
            self.encoder_queue.get_or_create(&labels).set(gauge(stats.queue_depth as u64));
            self.encoder_inputs.get_or_create(&labels).set(gauge(stats.inputs));
            self.encoder_failures.get_or_create(&labels).set(gauge(stats.failures));
            self.encoder_healthy.get_or_create(&labels).set(i64::from(stats.is_healthy));
        }
        self.encoder_bytes.set(gauge(stats.encoder_bytes));
        self.store_bytes.set(gauge(stats.store_bytes));
        self.resident_bytes.set(gauge(stats.resident_bytes));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .map_err(|error| Error::Internal(error.to_string()))?;
        Ok(text)
    }
}
