"""What the server counts, in Prometheus' format."""

import prometheus_client as prometheus

from mpt_jax import hosts

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters, and what they are written as.

    Attributes:
        queue: gauge of the texts that wait.
        tasks: gauge of the tasks that are answered.
    """

    def __init__(self):
        prometheus.disable_created_metrics()  # a line of each counter, of when it began
        self._registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=self._registry)
        self._requests = self._new(
            prometheus.Counter, "requests", "Requests, by status of HTTP.", ("path", "status")
        )
        self._seconds = self._new(
            prometheus.Histogram,
            "request_seconds",
            "Seconds from the first byte of a request to its answer.",
            ("path",),
            buckets=_SECONDS,
        )
        self._batch_rows = self._new(
            prometheus.Histogram, "batch_texts", "Texts of a batch.", buckets=_ROWS
        )
        self._batch_seconds = self._new(
            prometheus.Histogram, "batch_seconds", "Seconds that a batch took.", buckets=_SECONDS
        )
        self._failures = self._new(prometheus.Counter, "batch_failures", "Batches that failed.")
        self._loads = self._new(prometheus.Counter, "bank_loads", "New banks that were taken over.")
        self._refusals = self._new(
            prometheus.Counter, "bank_refusals", "New banks that were refused."
        )
        self.queue = self._new(prometheus.Gauge, "queue_texts", "Texts that wait for a batch.")
        self.tasks = self._new(prometheus.Gauge, "bank_tasks", "Tasks of the bank in use.")

    def _new(self, kind: type, name: str, text: str, labels: tuple = (), **options):
        return kind(f"t5x_serve_{name}", text, labels, registry=self._registry, **options)

    def requested(self, path: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def answered(self, rows: int, seconds: float) -> None:
        """A batch was answered."""
        self._batch_rows.observe(rows)
        self._batch_seconds.observe(seconds)

    def failed(self, error: Exception) -> None:
        """A batch has failed; the log says why."""
        self._failures.inc()
        reason = (str(error).splitlines() or [""])[0]
        hosts.warn(f"a batch failed: {type(error).__name__}: {reason}")

    def bank_loaded(self, tasks: int) -> None:
        """A new bank was taken over."""
        self._loads.inc()
        self.tasks.set(tasks)

    def bank_refused(self) -> None:
        """A new bank was refused."""
        self._refusals.inc()

    def text(self) -> tuple[bytes, str]:
        """All of them, and the media type of that."""
        return prometheus.generate_latest(self._registry), prometheus.CONTENT_TYPE_LATEST
