"""Steps that were begun and have not ended: each has to go on where it is, and takes memory there."""

from collections.abc import Collection, Mapping

from tetriserve.scheduler.tracker import TrackedRequest


class Interruptions:
    """Who has such a step, by device."""

    def __init__(self) -> None:
        self._by_request: dict[str, tuple[int, ...]] = {}

    @property
    def by_device(self) -> Mapping[int, tuple[str, ...]]:
        """As of now, on the devices that have any."""
        found: dict[int, tuple[str, ...]] = {}
        for request_id, block in self._by_request.items():
            for device in block:
                found[device] = (*found.get(device, ()), request_id)
        return found

    def note(self, tracked: TrackedRequest) -> None:
        """Steps of a request were committed, or are to be taken again."""
        if tracked.is_within_step:
            self._by_request[tracked.request.request_id] = tracked.devices
        else:
            self.forget(tracked.request.request_id)

    def forget(self, request_id: str) -> None:
        """A request has no such step."""
        self._by_request.pop(request_id, None)

    def on(self, devices: Collection[int]) -> tuple[str, ...]:
        """The requests that have one on these devices, in the order in which they began it."""
        return tuple(id_ for id_, block in self._by_request.items() if not set(block).isdisjoint(devices))
