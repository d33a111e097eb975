"""A policy of the user's own, by import path; the example of the documentation, and what can be wrong."""

import re
from pathlib import Path

import pytest

from scheduler.builders import LARGE, SMALL, make_cost, make_request, run
from tetriserve.core.errors import ConfigurationError
from tetriserve.scheduler.policies import make_policy
from tetriserve.scheduler.view import Assignment, Plan

DOCS = Path(__file__).parents[2] / "docs" / "policies.md"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The documentation's example as a module that can be imported."""
    (code,) = re.findall(r"```python\n# mine\.py\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code.splitlines()) <= 20
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return "mine:largest_first"


def test_the_example_of_the_documentation_runs(example: str) -> None:
    result, _ = run([make_request(f"r{i}", (SMALL, LARGE)[i % 2], 4, 0.1 * i) for i in range(12)], example)
    assert len(result.outcomes) == 12
    assert all(outcome.error is None for outcome in result.outcomes)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("no_such_module:policy", "can't be imported: No module named 'no_such_module'"),
        ("tetriserve.scheduler.policies.edf:nothing", "can't be imported: .*no attribute 'nothing'"),
        (":edf", "can't be imported"),
        ("tetriserve.core.params:MAX_STEPS", "is 200, not a function"),
    ],
)
def test_what_is_no_policy_is_refused(name: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        make_policy(name, make_cost(), 8)


def greedy(cost: object, num_devices: int, config: object) -> object:
    """Books device 0 for everybody."""
    return lambda view, memory: (Plan(tuple(Assignment((r.request_id,), (0,), 1) for r in view.requests)), memory)


def test_who_breaks_a_rule_is_named() -> None:
    with pytest.raises(AssertionError, match="booked twice") as caught:
        run([make_request("a"), make_request("b")], "scheduler.test_plugin:greedy")
    assert caught.value.__notes__ == ["planned by policy scheduler.test_plugin:greedy"]
