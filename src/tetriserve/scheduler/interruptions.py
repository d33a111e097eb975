"""Steps that were begun and have not ended: each has to go on where it is, and takes memory there."""

from collections.abc import Iterable, Mapping

from tetriserve.scheduler.tracker import TrackedRequest


class Interruptions:
    """Who has such a step, by device: one request at most on each."""

    def __init__(self) -> None:
        self._by_device: dict[int, str] = {}

    @property
    def by_device(self) -> Mapping[int, str]:
        """As of now."""
        return dict(self._by_device)

    def note(self, tracked: TrackedRequest) -> None:
        """Steps of a request were committed, or are to be taken again."""
        self.forget(tracked.request.request_id)
        if tracked.is_within_step:
            self._by_device.update(dict.fromkeys(tracked.devices, tracked.request.request_id))

    def forget(self, request_id: str) -> None:
        """A request has no such step."""
        if request_id in self._by_device.values():
            self._by_device = {device: id_ for device, id_ in self._by_device.items() if id_ != request_id}

    def on(self, devices: Iterable[int]) -> set[str]:
        """The requests that have one on these devices."""
        return {self._by_device[device] for device in devices if device in self._by_device}
