//! Turns samples into the families that the exposition format consists of.

use prometheus::core::Metric as _;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use crate::{Definition, Kind};

/// The samples of one scrape, grouped by metric in order of first appearance.
#[derive(Default)]
pub struct Samples {
    families: Vec<MetricFamily>,
}

impl Samples {
    pub(crate) fn gauge(&mut self, definition: &Definition, labels: &[&str], value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = labelled(definition, labels);
        metric.set_gauge(gauge);
        self.push(definition, metric);
    }

    pub(crate) fn counter(&mut self, definition: &Definition, labels: &[&str], value: f64) {
        let mut counter = Counter::default();
        counter.set_value(value);
        let mut metric = labelled(definition, labels);
        metric.set_counter(counter);
        self.push(definition, metric);
    }

    pub(crate) fn histogram(
        &mut self,
        definition: &Definition,
        labels: &[&str],
        histogram: &prometheus::Histogram,
    ) {
        let mut metric = labelled(definition, labels);
        metric.set_histogram(histogram.metric().get_histogram().clone());
        self.push(definition, metric);
    }

    pub(crate) fn into_families(self) -> Vec<MetricFamily> {
        self.families
    }

    fn push(&mut self, definition: &Definition, metric: Metric) {
        match self
            .families
            .iter_mut()
            .find(|family| family.name() == definition.name)
        {
            Some(family) => family.mut_metric().push(metric),
            None => self.families.push(family(definition, metric)),
        }
    }
}

fn family(definition: &Definition, metric: Metric) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(definition.name.to_owned());
    family.set_help(definition.help().to_owned());
    family.set_field_type(match definition.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    family.set_metric(vec![metric]);
    family
}

fn labelled(definition: &Definition, values: &[&str]) -> Metric {
    debug_assert_eq!(
        definition.labels.len(),
        values.len(),
        "{} has other labels",
        definition.name
    );
    let mut pairs: Vec<LabelPair> = definition
        .labels
        .iter()
        .zip(values)
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        })
        .collect();
    pairs.sort_by(|a, b| a.name().cmp(b.name()));
    Metric::from_label(pairs)
}

/// A histogram without labels of its own; [`Samples::histogram`] adds them. The buckets are constants of ours, in
/// seconds and ascending, so that the only failure there is cannot happen; if it did, the default buckets serve.
pub(crate) fn histogram(buckets: &[f64]) -> prometheus::Histogram {
    let with = |buckets: Vec<f64>| {
        prometheus::Histogram::with_opts(
            prometheus::HistogramOpts::new("seconds", "seconds").buckets(buckets),
        )
    };
    with(buckets.to_vec())
        .or_else(|_| with(prometheus::DEFAULT_BUCKETS.to_vec()))
        .expect("the library's own default buckets are valid")
}
