//! How a metric is declared: name, kind, labels and help text in one place.

/// The kind of a metric. There are no summaries: they cannot be aggregated over regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    /// The word of the exposition format's `# TYPE` line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// One metric that a role exports.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    pub name: &'static str,
    pub kind: Kind,
    /// The label names in the order in which samples give the values. A label with an empty value is left out, which
    /// Prometheus defines to be the same.
    pub labels: &'static [&'static str],
    help: &'static str,
}

impl Definition {
    pub(crate) const fn new(
        name: &'static str,
        kind: Kind,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Definition {
        Definition {
            name,
            kind,
            labels,
            help,
        }
    }

    /// The help text: what the value means, with its unit.
    pub fn help(&self) -> &'static str {
        self.help.trim()
    }
}

/// Declares the metrics of a role. The doc comment of each is its help text.
macro_rules! definitions {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ident = $text:literal [$($label:ident),* $(,)?];)+) => {
        $(
            $(#[doc = $doc])+
            pub const $name: $crate::Definition = $crate::Definition::new(
                $text,
                $crate::Kind::$kind,
                &[$(stringify!($label)),*],
                concat!($($doc),+),
            );
        )+

        /// Every metric that this role exports.
        pub const ALL: &[$crate::Definition] = &[$($name),+];
    };
}
pub(crate) use definitions;
