"""Metrics that go nowhere, so that a test or a tool can use any part of the runtime alone."""


class NoMetrics:
    """Takes every figure of `ports.Metrics` and keeps none."""

    def queue_depth(self, depth: int) -> None:
        """Keep nothing."""

    def queue_waited(self, seconds: float) -> None:
        """Keep nothing."""

    def queue_retried(self) -> None:
        """Keep nothing."""

    def reconciled(self, result: str, seconds: float) -> None:
        """Keep nothing."""

    def listed(self, resource: str, seconds: float) -> None:
        """Keep nothing."""

    def watch_event(self, resource: str, kind: str) -> None:
        """Keep nothing."""

    def watch_ended(self, resource: str, reason: str) -> None:
        """Keep nothing."""

    def regressed(self, resource: str) -> None:
        """Keep nothing."""

    def cached(self, resource: str, objects: int, undecodable: int) -> None:
        """Keep nothing."""

    def stale(self, resource: str) -> None:
        """Keep nothing."""

    def leading(self, is_leader: bool) -> None:
        """Keep nothing."""

    def lease_renewed(self, result: str, seconds: float) -> None:
        """Keep nothing."""

    def writes_in_flight(self, writes: int) -> None:
        """Keep nothing."""

    def write_waited(self, seconds: float) -> None:
        """Keep nothing."""

    def event(self, result: str) -> None:
        """Keep nothing."""


NO_METRICS = NoMetrics()
