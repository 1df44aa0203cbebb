"""What ``/metrics`` counts. No label holds the name or the id of a tenant, an agent or a credential."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from vaultctl.api.exchange import Exchange
from vaultctl.engine.service import Service

if TYPE_CHECKING:
    from vaultctl.api.logs import Log
    from vaultctl.api.mcp import MCPPath
    from vaultctl.api.streams import Streams
    from vaultctl.api.throttle import TokenRates

MEDIA_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_METHODS = frozenset({"GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "PUT", "other"})
_GROUPS = (1, 2, 4, 8, 16, 32, 64)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The counters of one server, in a registry of its own."""

    def __init__(self, service: Service, streams: "Streams", rates: "TokenRates", log: "Log", mcp: "MCPPath") -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "vaultctl_http_requests",
            "Requests by route, method and status.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "vaultctl_http_request_seconds",
            "Time from a request's headers to its answer.",
            ("route", "method"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._of: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._failed = Counter(
            "vaultctl_failed_authentications", "Requests without a token that counts.", registry=self.registry
        )
        self._problems = Counter(
            "vaultctl_problems",
            "Requests that were answered by a problem, by its code.",
            ("code",),
            registry=self.registry,
        )
        self._closed = Counter(
            "vaultctl_http_closed_connections",
            "Connections closed for what they sent, or did not send, by the status that was answered; 0 for none.",
            ("status",),
            registry=self.registry,
        )
        self.registry.register(_Readings(service, streams, rates, log, mcp))
        ProcessCollector(registry=self.registry)

    def count(self, exchange: Exchange) -> None:
        """Count a request that was answered. Streams do not count towards the latency."""
        key = (exchange.template, exchange.method, exchange.status)
        requests, seconds = self._of.get(key) or self._counters_of(*key)
        requests.inc()
        if not exchange.is_stream:
            seconds.observe(exchange.seconds)
        if exchange.status == 401:
            self._failed.inc()

    def _counters_of(self, template: str, method: str, status: int) -> tuple[Counter, Histogram]:
        """The counters of requests of one kind; looking them up by their labels takes longer than counting."""
        if method not in _METHODS:
            return self._counters_of(template, "other", status)
        route = template or "other"
        found = (self._requests.labels(route, method, str(status)), self._seconds.labels(route, method))
        self._of[template, method, status] = found
        return found

    def count_problem(self, code: str) -> None:
        """Count a request that ended in a problem."""
        self._problems.labels(code).inc()

    def count_closed(self, status: int) -> None:
        """Count a connection that was closed for what came, or did not come."""
        self._closed.labels(str(status)).inc()

    def page(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)


class _Readings(Collector):
    """What others count, read when it is asked for."""

    def __init__(self, service: Service, streams: "Streams", rates: "TokenRates", log: "Log", mcp: "MCPPath") -> None:
        self._service = service
        self._streams = streams
        self._rates = rates
        self._log = log
        self._mcp = mcp

    def collect(self) -> Iterable[Metric]:
        """The readings."""
        service = self._service
        waiting = GaugeMetricFamily("vaultctl_waiting", "Operations that wait for their turn.", labels=["kind"])
        waiting.add_metric(["write"], service.waiting_writes)
        waiting.add_metric(["read"], service.waiting_reads)
        yield waiting
        for name, text, value in (
            ("commits", "Transactions that were committed, the reaper's left out.", service.commits),
            ("conflicts", "Transactions run again because another one was in their way.", service.conflicts),
            ("spoiled", "Transactions run again without one of their operations.", service.spoiled),
            ("failed_commits", "Transactions that could not be committed.", service.failures),
            ("reads", "Operations that only read.", service.reads),
            ("refusals", "Operations that were refused.", service.refusals),
            ("overdue", "Operations that were not carried out in time.", service.overdue),
            ("reaped", "Leases and sessions that ended by themselves and were recorded.", service.reaped),
        ):
            yield CounterMetricFamily(f"vaultctl_{name}", text, value)
        yield _sizes(service.groups)
        yield GaugeMetricFamily("vaultctl_audit_streams", "Event streams that are open.", self._streams.active)
        yield GaugeMetricFamily("vaultctl_mcp_runs", "Runs of agents that speak MCP.", self._mcp.active)
        yield CounterMetricFamily(
            "vaultctl_throttled_requests", "Requests beyond the limit of their token.", self._rates.throttled
        )
        yield CounterMetricFamily("vaultctl_lost_log_lines", "Log lines that nobody read in time.", self._log.dropped)


def _sizes(groups: Mapping[int, int]) -> HistogramMetricFamily:
    """How many operations shared a commit."""
    counts = dict(groups)
    buckets = [
        (str(float(most)), float(sum(count for size, count in counts.items() if size <= most))) for most in _GROUPS
    ]
    everything = float(sum(counts.values()))
    return HistogramMetricFamily(
        "vaultctl_group_size",
        "Operations that shared a commit.",
        buckets=[*buckets, ("+Inf", everything)],
        sum_value=float(sum(size * count for size, count in counts.items())),
    )
