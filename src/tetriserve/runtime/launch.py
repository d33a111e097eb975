"""Starts and stops everything a service consists of: workers, profile, scheduler, runtime."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tetriserve.cost.model import CostModel
from tetriserve.cost.profile import Profile
from tetriserve.cost.store import ProfileStore
from tetriserve.engine.config import EngineConfig
from tetriserve.engine.devices import resolve_devices
from tetriserve.engine.executor import ProcessExecutor
from tetriserve.models.card import ModelCard, read_card
from tetriserve.runtime.checks import check_settings
from tetriserve.runtime.config import ServingConfig
from tetriserve.runtime.machine import cpu_name
from tetriserve.runtime.mailbox import Mailbox
from tetriserve.runtime.menu import Menu
from tetriserve.runtime.profiler import Machine, Profiler
from tetriserve.runtime.runtime import Runtime
from tetriserve.runtime.service import Service
from tetriserve.scheduler.policies import make_policy, may_interrupt
from tetriserve.scheduler.scheduler import Scheduler

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]
"""Told (done, total, what) while something long goes on; a total of 0 means that `what` is a notice to be kept."""


@asynccontextmanager
async def workers(config: ServingConfig, progress: Progress) -> AsyncIterator[tuple[ProcessExecutor, Mailbox]]:
    """Worker processes with the model loaded, and the mailbox of their events; memory is planned for the policy."""
    mailbox = Mailbox(asyncio.get_running_loop())
    sizes = config.sizes_for(read_card(config.model_dir))
    interrupts = may_interrupt(config.policy, config.scheduler)
    engine = EngineConfig(config.model_dir, config.devices, config.dtype, sizes, config.loading, interrupts)
    executor = ProcessExecutor(
        engine, mailbox.post, lambda text: progress(0, 1, text), lambda text: progress(0, 0, text)
    )
    try:
        await asyncio.to_thread(executor.start)
        yield executor, mailbox
    finally:
        executor.close()


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Running workers and a profile of them: services of any policy can be made of it, one at a time."""

    menu: Menu
    profile: Profile
    executor: ProcessExecutor
    mailbox: Mailbox

    def service(self, config: ServingConfig) -> Service:
        """A fresh scheduler and runtime that from now on get the workers' events. Raises ConfigurationError."""
        num_devices = self.executor.num_devices
        cost = CostModel(self.profile, num_devices)
        tetriserve = replace(config.scheduler.tetriserve, largest_size=self.menu.sizes[-1])
        settings = replace(config.scheduler, tetriserve=tetriserve)
        scheduler = Scheduler(make_policy(config.policy, cost, num_devices, settings), cost, num_devices, settings)
        runtime = Runtime(scheduler, self.executor)
        self.mailbox.listener = runtime.handle
        return Service(runtime, self.menu, cost, config.policy, config.slo_table)


@asynccontextmanager
async def loaded_model(config: ServingConfig, progress: Progress) -> AsyncIterator[LoadedModel]:
    """A model ready to serve. Raises ConfigurationError before anything starts, EngineError if the workers can't."""
    check_settings(config, len(resolve_devices(config.devices)))
    card = read_card(config.model_dir)
    menu = Menu(card, config.sizes_for(card))
    async with workers(config, progress) as (executor, mailbox):
        profile = await obtain_profile(config, menu, executor, mailbox, progress)
        logger.info("%s, resolved to %s and sizes %s", config, executor.config, menu.sizes)
        yield LoadedModel(menu, profile, executor, mailbox)


async def obtain_profile(
    config: ServingConfig, menu: Menu, executor: ProcessExecutor, mailbox: Mailbox, progress: Progress
) -> Profile:
    """The profile given by file, or the stored one of this model and machine, or a new one, stored for next time.

    Other sizes that are stored stay. A stored profile is measured anew if steps of the smallest size are far quicker
    than it says: the machine was busy.
    """
    machine = describe_machine(menu.card, executor)
    if config.profile is not None:
        return _given_profile(config.profile, machine)
    store = ProfileStore()
    path = _stored_at(store, config, machine)
    profiler = Profiler(executor, mailbox, machine, progress=progress)
    profile = store.find(path, menu.sizes, executor.num_devices)
    if profile is None:
        profile = await profiler.measure(menu.sizes)
        store.add(path, profile, lambda text: progress(0, 0, text))
    elif await profiler.is_pessimistic(profile, menu.sizes[0]):
        progress(0, 0, "Steps take less than half of what the stored profile says: measuring anew, for about a minute")
        profile = await profiler.measure(menu.sizes)
        store.save(path, profile)
    return profile


def _stored_at(store: ProfileStore, config: ServingConfig, machine: Machine) -> Path:
    """Encoding takes another time where the encoders are not on the device."""
    encoders = config.loading.encoders
    numbers = machine.dtype if encoders == "resident" else f"{machine.dtype}-encoders-{encoders}"
    return store.path(config.model_dir, machine.model, machine.device_name, numbers)


def _given_profile(path: Path, machine: Machine) -> Profile:
    """The profile in a file, with a warning for all that was measured elsewhere or left out."""
    profile = Profile.load(path)
    pairs = ((profile.model, machine.model), (profile.gpu, machine.device_name), (profile.dtype, machine.dtype))
    for measured, here in pairs:
        if measured != here:
            logger.warning("%s was measured on %s, and this is %s", path, measured, here)
    if profile.switch_s is None:
        logger.warning("%s has no switch_s: a switch of devices is taken to cost nothing", path)
    return profile


async def measure_and_store(config: ServingConfig, progress: Progress, repetitions: int) -> tuple[Profile, Path]:
    """A new profile, and where `serving` will find it, beside other sizes that were measured before."""
    card = read_card(config.model_dir)
    async with workers(config, progress) as (executor, mailbox):
        machine = describe_machine(card, executor)
        profiler = Profiler(executor, mailbox, machine, repetitions, progress)
        profile = await profiler.measure(config.sizes_for(card))
    store = ProfileStore()
    path = _stored_at(store, config, machine)
    store.add(path, profile, lambda text: progress(0, 0, text))
    return profile, path


def describe_machine(card: ModelCard, executor: ProcessExecutor) -> Machine:
    """What is measured, on what."""
    found = executor.machine
    is_cpu = found.devices[0] == "cpu"
    return Machine(
        model=card.name,
        device_name=cpu_name(executor.num_devices) if is_cpu else found.device_name,
        dtype=found.dtype,
        text_tokens=card.max_sequence_length,
        torch_version=found.torch_version,
        guidance_scale=card.default_guidance_scale,
        is_cpu=is_cpu,
    )
