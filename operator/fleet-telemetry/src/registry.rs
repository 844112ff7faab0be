//! The set of metrics that one process exports.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::TextEncoder;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use crate::Definition;
use crate::samples::Samples;

/// What goes into `mirrorfleet_build_info`.
#[derive(Debug, Clone)]
pub struct BuildInfo {
    pub version: String,
    /// The source revision; empty where the build did not know it.
    pub revision: String,
    /// What the process runs as: `controller`, `sync`, `serve` or `local`.
    pub role: String,
}

/// The same metric was registered twice, or rendering failed.
#[derive(Debug, thiserror::Error)]
#[error("metrics: {0}")]
pub struct RegistryError(#[from] prometheus::Error);

/// The metrics of one process. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Registry(prometheus::Registry);

/// The metrics of one role: what there may be, and what there is now.
pub(crate) trait Source: Send + Sync + 'static {
    fn definitions(&self) -> &'static [Definition];
    fn collect(&self, out: &mut Samples);
}

impl Registry {
    /// A registry with the build's and the process's own metrics.
    pub fn new(build: &BuildInfo) -> Result<Registry, RegistryError> {
        let registry = prometheus::Registry::new();
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        let registry = Registry(registry);
        registry.add(Arc::new(build.clone()))?;
        Ok(registry)
    }

    /// All present values in the text exposition format, version 0.0.4.
    pub fn render(&self) -> Result<String, RegistryError> {
        Ok(TextEncoder::new().encode_to_string(&self.0.gather())?)
    }

    pub(crate) fn add(&self, source: Arc<dyn Source>) -> Result<(), RegistryError> {
        let descriptions = source
            .definitions()
            .iter()
            .map(description)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(self.0.register(Box::new(Adapter {
            descriptions,
            source,
        }))?)
    }
}

fn description(definition: &Definition) -> Result<Desc, prometheus::Error> {
    let labels = definition
        .labels
        .iter()
        .map(|label| (*label).to_owned())
        .collect();
    Desc::new(
        definition.name.to_owned(),
        definition.help().to_owned(),
        labels,
        HashMap::new(),
    )
}

struct Adapter {
    descriptions: Vec<Desc>,
    source: Arc<dyn Source>,
}

impl Collector for Adapter {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut samples = Samples::default();
        self.source.collect(&mut samples);
        samples.into_families()
    }
}
