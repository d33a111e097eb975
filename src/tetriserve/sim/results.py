"""The JSON shapes of simulations: one row a policy, and the whole schedule for whoever wants to draw it."""

from typing import Any

from tetriserve.core.request import Request
from tetriserve.metrics.attainment import quantile, report
from tetriserve.sim.simulate import SimulationResult

TOTALS = ("sar", "num_requests", "mean_latency_s", "p50_latency_s", "p99_latency_s", "gpu_seconds_per_image")
PER_SIZE = ("sar", "mean_latency_s", "num_requests")


def run_row(policy: str, result: SimulationResult, timing: bool = True) -> dict[str, Any]:
    """The numbers of one run. `decision_ms`, real time and never twice the same, is null without `timing`."""
    numbers = report(result.outcomes).to_json()
    return {
        "policy": policy,
        **{name: numbers[name] for name in TOTALS},
        "gpu_utilization": result.gpu_utilization,
        "by_size": {size: {name: summary[name] for name in PER_SIZE} for size, summary in numbers["by_size"].items()},
        "decision_ms": decision_ms(result) if timing else None,
    }


def decision_ms(result: SimulationResult) -> dict[str, float | None]:
    """Median and 99th percentile of the real time that planning took."""
    ascending = sorted(result.decision_ms)
    return {
        "p50": quantile(ascending, 0.50) if ascending else None,
        "p99": quantile(ascending, 0.99) if ascending else None,
    }


def schedule_rows(policy: str, result: SimulationResult) -> dict[str, Any]:
    """Every request and every chunk of one run, in order of their end. Times in seconds of the trace."""
    return {
        "policy": policy,
        "requests": [
            {
                **_identity(outcome.request),
                "finished_s": outcome.finished_s,
                "met_deadline": outcome.met_deadline,
                "gpu_seconds": outcome.gpu_seconds,
                "degrees": list(outcome.degrees),
                "error": outcome.error,
            }
            for outcome in result.outcomes
        ],
        "chunks": [
            {
                "stage": str(done.chunk.stage),
                "request_ids": list(done.chunk.request_ids),
                "devices": list(done.chunk.devices),
                "num_steps": done.chunk.num_steps,
                "started_s": done.started_s,
                "finished_s": done.finished_s,
            }
            for done in result.chunks
        ],
    }


def _identity(request: Request) -> dict[str, Any]:
    return {
        "request_id": request.request_id,
        "size": str(request.size),
        "arrival_s": request.arrival_s,
        "deadline_s": request.deadline_s,
    }
