//! The metrics of every process, whatever it does. Those of the process itself are the `prometheus` crate's, by the names
//! that Prometheus' client libraries share: <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>.

use crate::Definition;
use crate::definition::definitions;
use crate::registry::{BuildInfo, Source};
use crate::samples::Samples;

definitions! {
    /// Always 1; the labels tell which build runs, and as what (controller, sync, serve, local).
    BUILD: Gauge = "mirrorfleet_build_info" [version, revision, role];
    /// Seconds of processor time, of the user and of the system, that the process has used.
    CPU: Counter = "process_cpu_seconds_total" [];
    /// Files that the process has open.
    OPEN_FILES: Gauge = "process_open_fds" [];
    /// Files that the process may have open.
    MAX_FILES: Gauge = "process_max_fds" [];
    /// Address space of the process in bytes.
    VIRTUAL_MEMORY: Gauge = "process_virtual_memory_bytes" [];
    /// Memory of the process that is in use, in bytes.
    RESIDENT_MEMORY: Gauge = "process_resident_memory_bytes" [];
    /// Unix time at which the process started.
    START: Gauge = "process_start_time_seconds" [];
    /// Threads of the process.
    THREADS: Gauge = "process_threads" [];
}

impl Source for BuildInfo {
    /// The others come from the library's collector.
    fn definitions(&self) -> &'static [Definition] {
        &[BUILD]
    }

    fn collect(&self, out: &mut Samples) {
        let labels = [&*self.version, &*self.revision, &*self.role];
        out.gauge(&BUILD, &labels, 1.0);
    }
}
