"""What every plan must be. A violation is a bug in a policy, never a matter of input: AssertionError."""

from tetriserve.core.blocks import is_block
from tetriserve.scheduler.view import Plan, View


def check_plan(plan: Plan, view: View) -> None:
    """Raises AssertionError if the plan breaks a rule that the executor or the cost model relies on."""
    found = {id_: view.pending.find(id_) for assignment in plan.assignments for id_ in assignment.request_ids}
    requests = {id_: request for id_, request in found.items() if request is not None}
    booked: set[int] = set()
    planned: set[str] = set()
    for assignment in plan.assignments:
        devices, ids = assignment.devices, assignment.request_ids
        assert is_block(devices), f"{devices} is not an aligned power-of-two block"
        assert devices[-1] < view.num_devices, f"{devices} exceed {view.num_devices} devices"
        assert all(view.open[device] for device in devices), f"{devices}: a chunk is already queued on one of them"
        assert booked.isdisjoint(devices), f"{devices}: booked twice in one plan"
        assert ids, "an assignment without requests"
        assert len(set(ids)) == len(ids), f"{ids}: a request twice in one batch"
        assert planned.isdisjoint(ids), f"{ids}: planned twice in one plan"
        assert all(id_ in requests for id_ in ids), f"{ids}: not known, or all steps committed"
        assert len({requests[id_].size for id_ in ids}) == 1, f"{ids}: a batch of unequal sizes"
        assert all(1 <= assignment.num_steps <= requests[id_].remaining_steps for id_ in ids), (
            f"{ids}: {assignment.num_steps} steps are not what remains"
        )
        size = requests[ids[0]].size
        assert len(ids) == 1 or len(ids) in view.cost.batches(len(devices), size), (
            f"{ids}: the profile knows no batch of {len(ids)} at {size} on {len(devices)} devices"
        )
        booked.update(devices)
        planned.update(ids)
