//! Figures for operators, as Prometheus text. Handles are made once; counting is one atomic addition.

use std::sync::OnceLock;

use hyper::StatusCode;
use metrics::{Counter, Gauge, counter, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// The process counts in one place, however many servers tests start in it.
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Starts counting. What is counted through handles that were made before is lost, so this comes first.
pub fn start() -> PrometheusHandle {
    let make = || {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        if let Err(error) = metrics::set_global_recorder(recorder) {
            tracing::error!(%error, "figures are counted elsewhere and cannot be shown");
        }
        handle
    };
    RECORDER.get_or_init(make).clone()
}

/// One of the things a gauge shows, for as long as it lives.
pub struct Counted(Gauge);

impl Counted {
    /// One more.
    pub fn new(gauge: &Gauge) -> Counted {
        gauge.increment(1);
        Counted(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// Figures of the HTTP listeners.
pub struct HttpMetrics {
    classes: [Counter; 6],
    /// Connections that were too many.
    pub refused: Counter,
    /// Connections without a header of a trusted proxy, where one is wanted.
    pub not_introduced: Counter,
    /// Connections whose client took too long.
    pub cut: Counter,
    /// Handshakes that came to nothing.
    pub failed_handshakes: Counter,
}

impl Default for HttpMetrics {
    /// Makes the handles.
    fn default() -> HttpMetrics {
        let class = |digit: &'static str| counter!("muster_http_responses_total", "class" => digit);
        HttpMetrics {
            classes: ["other", "1xx", "2xx", "3xx", "4xx", "5xx"].map(class),
            refused: counter!("muster_connections_refused_total", "listener" => "http"),
            not_introduced: counter!("muster_connections_not_introduced_total", "listener" => "http"),
            cut: counter!("muster_connections_cut_total", "listener" => "http"),
            failed_handshakes: counter!("muster_tls_handshakes_failed_total"),
        }
    }
}

impl HttpMetrics {
    /// An answer left.
    pub fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        let [other, classes @ ..] = &self.classes;
        class.checked_sub(1).and_then(|at| classes.get(at)).unwrap_or(other).increment(1);
    }
}

/// Figures of the MQTT listeners.
pub struct MqttMetrics {
    /// Connections that were too many.
    pub refused: Counter,
    /// Connections without a header of a trusted proxy, where one is wanted.
    pub not_introduced: Counter,
    /// Connections whose CONNECT did not come in time.
    pub cut: Counter,
    /// Handshakes that came to nothing.
    pub failed_handshakes: Counter,
    /// Connections there are.
    pub connections: Gauge,
}

impl Default for MqttMetrics {
    /// Makes the handles.
    fn default() -> MqttMetrics {
        MqttMetrics {
            refused: counter!("muster_connections_refused_total", "listener" => "mqtt"),
            not_introduced: counter!("muster_connections_not_introduced_total", "listener" => "mqtt"),
            cut: counter!("muster_connections_cut_total", "listener" => "mqtt"),
            failed_handshakes: counter!("muster_tls_handshakes_failed_total"),
            connections: gauge!("muster_mqtt_connections"),
        }
    }
}
