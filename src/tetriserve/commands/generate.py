"""`tetriserve generate`."""

import argparse

from rich.console import Console

from tetriserve.commands.options import check_writable, serving_config
from tetriserve.commands.progress import progress_bar
from tetriserve.runtime.local import Pipeline


def run(args: argparse.Namespace) -> None:
    """Make the images and say where they are."""
    console = Console(stderr=True)
    config = serving_config(args)
    check_writable(args.out)
    with progress_bar(console, "Generating") as progress:
        pipeline = Pipeline(
            config.model_dir,
            config.devices,
            config.dtype,
            progress,
            transformer=config.loading.transformer,
            encoders=config.loading.encoders,
            loras=config.loading.loras,
        )
        params = pipeline.params(
            args.prompt,
            size=args.size,
            n=args.n,
            seed=args.seed,
            num_inference_steps=args.num_inference_steps,
            guidance_scale=args.guidance_scale,
            negative_prompt=args.negative_prompt,
        )
        with pipeline:
            images = pipeline.run(params)
    for index, image in enumerate(images):
        path = args.out if params.n == 1 else args.out.with_stem(f"{args.out.stem}-{index}")
        image.save(path)
        for warning in image.warnings:
            console.print(f"[yellow]warning:[/] {warning}", highlight=False)
        print(f"{path}: {params.size}, seed {image.seed}, {image.latency_s:.2f} s")  # noqa: T201 the command's output
