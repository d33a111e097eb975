"""Whether what an operator chose can be served, as far as that can be told before anything is started or downloaded."""

from tetriserve.core.blocks import degrees
from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.cost.profile import Profile, unmeasured_profile
from tetriserve.models.card import read_card
from tetriserve.models.source import is_on_hub
from tetriserve.runtime.config import ServingConfig
from tetriserve.scheduler.policies import find_policy, make_policy

ANY_SIZES = (Size(256, 256),)
"""Whether a policy fits the devices does not depend on sizes."""


def check_settings(config: ServingConfig, num_devices: int | None) -> None:
    """Files, policy and, where the model is on this machine, sizes. Raises ConfigurationError.

    Where `num_devices` is not known, whether the policy fits them is not either.
    """
    config.loading.resolved()
    given = None if config.profile is None else Profile.load(config.profile)
    if num_devices is None:
        find_policy(config.policy)
    else:
        profile = given or unmeasured_profile("any", config.sizes or ANY_SIZES, degrees(num_devices))
        make_policy(config.policy, CostModel(profile, num_devices), num_devices, config.scheduler)
    if not is_on_hub(config.model_dir):
        check_model(config.fetched())


def check_model(config: ServingConfig) -> None:
    """Whether the model, which is on this machine, can make the sizes. Raises ConfigurationError."""
    config.sizes_for(read_card(config.model_dir))
