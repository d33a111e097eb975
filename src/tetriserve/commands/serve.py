"""`tetriserve serve`."""

import argparse
import asyncio
import socket
from collections.abc import Callable

from fastapi import FastAPI
from rich.console import Console

from tetriserve.commands.checks import checked
from tetriserve.commands.options import resolved
from tetriserve.commands.progress import progress_bar
from tetriserve.engine.devices import resolve_devices
from tetriserve.runtime.checks import check_model
from tetriserve.runtime.launch import loaded_model
from tetriserve.runtime.service import Service
from tetriserve.server.app import app_of
from tetriserve.server.context import Context
from tetriserve.server.disk_archive import open_archive
from tetriserve.server.drain import ContextDrain
from tetriserve.server.listen import base_url, bind, serve_until_signal
from tetriserve.server.logs import set_up_logs

OPEN_WARNING = (
    "\n[bold white on red] WARNING [/] [bold red]Everybody who can reach this address can use this server: "
    "there is no API key.[/] Give it --api-key-file, or leave --host away."
)


def run(args: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    asyncio.run(_serve(args))


async def _serve(args: argparse.Namespace) -> None:
    console = Console(stderr=True)
    configuration = resolved(args).configuration
    set_up_logs(configuration.logs)
    configuration = checked(configuration, len(resolve_devices(configuration.serving.devices)))
    config, listen, server = configuration.serving.fetched(), configuration.listen, configuration.server
    check_model(config)
    with bind(listen.host, listen.port) as listener, progress_bar(console, "Starting") as progress:
        async with open_archive(server) as archive, loaded_model(config, progress) as model:
            context = Context.of(model.service(config), server, archive)
            warning = OPEN_WARNING if server.is_open_at(listen.host) else ""
            await serve_context(context, listener, console, warning, configuration.logs.otlp_endpoint)


async def serve_context(
    context: Context, listener: socket.socket, console: Console, warning: str = "", otlp_endpoint: str | None = None
) -> None:
    """Go on with the jobs that there are, and serve until a signal."""

    def tell(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    app = app_of(context)
    send_last = _trace(app, context.service, otlp_endpoint)
    async with context.jobs.running() as num_resumed:
        resumed = f"\n  {num_resumed} unfinished jobs of an earlier run go on" if num_resumed else ""
        greeting = _greeting(context, base_url(listener)) + resumed + warning
        await serve_until_signal(app, listener, lambda: tell(greeting), ContextDrain(context, tell))
    await asyncio.to_thread(send_last)
    tell("Stopped.")


def _trace(app: FastAPI, service: Service, endpoint: str | None) -> Callable[[], None]:
    """Give the application spans, if they are wanted. What comes back sends the last of them."""
    if endpoint is None:
        return lambda: None
    from tetriserve.server.spans import exporting_to, trace_calls  # noqa: PLC0415  (an extra)

    return trace_calls(app, service.runtime, exporting_to(endpoint))


def _greeting(context: Context, url: str) -> str:
    service = context.service
    key = " -H 'Authorization: Bearer YOUR-KEY'" if context.config.api_keys else ""
    sizes = ", ".join(str(size) for size in service.menu.sizes)
    return (
        f"Serving [bold]{service.menu.card.name}[/] on {service.runtime.executor.num_devices} devices "
        f"with policy [bold]{service.policy}[/] at [bold]{url}[/]  (sizes {sizes}; Ctrl-C ends)\n"
        f"  curl {url}/v1/images/generations -H 'Content-Type: application/json'{key} \\\n"
        f'       -d \'{{"prompt": "a red apple", "size": "{service.menu.default_size}", "slo_ms": 8000}}\''
    )
