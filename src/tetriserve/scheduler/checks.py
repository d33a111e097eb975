"""What every plan must be. A violation is a bug in a policy, never a matter of input: AssertionError."""

from tetriserve.core.blocks import is_block
from tetriserve.core.steps import MAX_INTERRUPTED, is_cut_point, is_whole
from tetriserve.scheduler.view import Assignment, Plan, View


def check_plan(plan: Plan, view: View) -> None:
    """Raises AssertionError if the plan breaks a rule that the executor or the cost model relies on."""
    booked: set[int] = set()
    planned: set[str] = set()
    for assignment in plan.assignments:
        devices, ids = assignment.devices, assignment.request_ids
        assert is_block(devices), f"{devices} is not an aligned power-of-two block"
        assert devices[-1] < view.num_devices, f"{devices} exceed {view.num_devices} devices"
        for device in devices:
            assert view.open[device], f"{devices}: a chunk is already queued on one of them"
        assert booked.isdisjoint(devices), f"{devices}: booked twice in one plan"
        booked.update(devices)
        assert ids, "an assignment without requests"
        for id_ in ids:
            _check_request(id_, assignment, view)
        assert len(set(ids)) == len(ids), f"{ids}: a request twice in one batch"
        assert planned.isdisjoint(ids), f"{ids}: planned twice in one plan"
        planned.update(ids)
        if len(ids) > 1:
            _check_batch(assignment, view)


def _check_request(id_: str, assignment: Assignment, view: View) -> None:
    ids, request = assignment.request_ids, view.pending.find(id_)
    assert request is not None, f"{ids}: not known, or all steps committed"
    num_steps, devices = assignment.num_steps, assignment.devices
    assert 0 < num_steps <= request.remaining_steps, f"{ids}: {num_steps} steps are not what remains"
    assert is_cut_point(num_steps), f"{ids}: {num_steps} steps can't be counted in eighths"
    if request.is_within_step:
        assert devices == request.last_devices, f"{ids}: within a step, and moved to {devices}"
    if not is_whole(request.remaining_steps - num_steps):
        assert len(ids) == 1, f"{ids}: a batch that ends within a step"
        assert view.may_interrupt(id_, devices), (
            f"{ids}: ends within a step on {devices}, where {MAX_INTERRUPTED} others do"
        )


def _check_batch(assignment: Assignment, view: View) -> None:
    ids, degree = assignment.request_ids, len(assignment.devices)
    requests = [request for id_ in ids if (request := view.pending.find(id_))]
    sizes = {request.size for request in requests}
    assert not any(request.alone for request in requests), f"{ids}: one of them must be alone"
    assert not any(request.is_within_step for request in requests), f"{ids}: a batch with one that is within a step"
    assert len(sizes) == 1, f"{ids}: a batch of unequal sizes"
    assert len(ids) in view.cost.batches(degree, *sizes), (
        f"{ids}: the profile knows no batch of {len(ids)} at {sizes.pop()} on {degree} devices"
    )
