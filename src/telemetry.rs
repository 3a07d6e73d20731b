//! Telemetry of a process: log lines to standard error, and the recorder that `/metrics` renders.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Config, ConfigError, LogFormat};

/// Begins to write log lines as configured. A program that has a subscriber of its own keeps it.
///
/// # Errors
/// When `log_filter` is not a list of directives.
pub fn start_logging(config: &Config) -> Result<(), ConfigError> {
    let filter = EnvFilter::try_new(&config.log_filter).map_err(|error| ConfigError::Invalid {
        source_name: "configuration".to_owned(),
        key: "log_filter".to_owned(),
        what: format!("{error}; give directives such as `info` or `info,tidewheel_ingest=debug`"),
    })?;
    let is_terminal = std::io::stderr().is_terminal();
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(is_terminal);
    let started = match config.log_format {
        LogFormat::Text => lines.finish().try_init(),
        LogFormat::Json => lines.json().finish().try_init(),
    };
    if started.is_err() {
        tracing::debug!("this process logs by a subscriber of its own");
    }
    Ok(())
}

/// Installs the process's metrics recorder, once; later calls give the same handle.
///
/// `None` when the program has installed a recorder of its own: then `/metrics` is the program's business.
///
/// # Errors
/// When the recorder cannot be built.
pub fn metrics_recorder() -> Result<Option<PrometheusHandle>, BuildError> {
    static INSTALLED: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock();
    if let Some(handle) = INSTALLED.get() {
        return Ok(handle.clone());
    }
    let recorder = PrometheusBuilder::new()
        // Seconds; without buckets histograms become summaries, whose memory grows with traffic.
        .set_buckets(&[
            0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
        ])?
        .build_recorder();
    let handle = recorder.handle();
    let handle = metrics::set_global_recorder(recorder).is_ok().then_some(handle);
    Ok(INSTALLED.get_or_init(|| handle).clone())
}
