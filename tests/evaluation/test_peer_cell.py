from bench.foreign import Foreign, foreign_server
from tetriserve.bench.target import Target
from tetriserve.cost.model import CostModel
from tetriserve.evaluation.load_task import LoadTask
from tetriserve.evaluation.measure import BODY, measure_peer
from tetriserve.evaluation.study import Study, cells_of
from tetriserve.evaluation.workload import make_trace


async def test_a_server_that_tells_nothing_is_measured_all_the_same(plain_study: Study, cost: CostModel) -> None:
    cell = next(cell for cell in cells_of(plain_study) if cell.is_peer)
    trace = make_trace(plain_study, cell, cost, 2)[:3]
    with foreign_server() as foreign:
        foreign.statuses[2] = 500
        found = await measure_peer(Target(foreign.url, extra=BODY), trace, cell.contender, 2)
        _check_bodies(foreign)
    assert [row["error_code"] for row in found["requests"]] == [None, None, "500"]
    assert found["run"]["num_failed"] == 1
    assert found["requests"][0]["gpu_seconds"] is None
    assert LoadTask(cell).id == "flux1-dev/xdit-sp2/uniform/90pct/any"


def _check_bodies(foreign: Foreign) -> None:
    assert {body["output_format"] for body in foreign.bodies} == {"jpeg"}
    assert {body["num_inference_steps"] for body in foreign.bodies} == {10}
