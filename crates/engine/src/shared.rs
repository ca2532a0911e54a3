//! What the faces for devices and the threads behind them share.

use std::sync::Arc;

use store::Store;

use crate::attempts::Attempts;
use crate::metrics::Metrics;
use crate::ports::Clock;
use crate::profiles::ProfileCache;
use crate::throttle::Throttle;

/// One for all of them.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) profiles: ProfileCache,
    pub(crate) throttle: Throttle,
    pub(crate) attempts: Attempts,
    pub(crate) metrics: Metrics,
}
