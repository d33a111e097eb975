import pytest

from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.cost.packaged import load_profile
from tetriserve.evaluation.study import Run, Study

SIZES = (Size(256, 256), Size(1024, 1024))


@pytest.fixture(scope="session")
def cost() -> CostModel:
    """Two H100s."""
    return CostModel(load_profile("flux1-dev.h100"), 2)


@pytest.fixture(scope="session")
def plain_study() -> Study:
    return Study(
        name="plain",
        devices="cpu:2",
        sizes=SIZES,
        num_steps=10,
        deadlines="twice the fastest",
        scales=(1.0, 2.0),
        runs=(Run("random:flux1-dev", ("default", "fixed-sp1", "xdit-sp2"), ("90%",), ("uniform",)),),
        num_requests=20,
    )
