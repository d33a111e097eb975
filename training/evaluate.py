"""Measure the exported model: is a concept's picture nearest to that concept's training image?

    python training/evaluate.py --model src/tetriserve/embedded --data DATA_DIR --sheet SHEET.png

Measure: generated and training images are averaged to 32x32 pixels on white; the training images of the
prompt's style are ranked by squared distance. top-1 and top-5 say whether the asked concept's image is the
nearest, or among the five nearest.
The 100 concepts and their styles are drawn with seed 0; the prompt is "<label>, <style> style".
The last line of stdout is JSON.
"""

import argparse
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from captions import TEXT_TOKENS, reference_prompt
from diffusers import FluxPipeline
from PIL import Image, ImageDraw
from sprites import Sprites, read_rows

THUMBNAIL_PX = 32
FREE_PROMPTS = (
    "a red apple",
    "blue car",
    "a puppy",
    "pizza",
    "green frog",
    "a rocket on a purple background",
    "house",
    "happy dog",
    "sad face",
    "a pink elephant",
    "white horse on a blue background",
    "a cup of coffee",
)
ODD_PROMPTS = ("", "zxqv blorptang", "🍕", "Ein roter Apfel", "赤いりんご", "a red apple " * 834)
OTHER_SIZES = ((128, 128), (192, 320), (320, 192), (512, 512))
TIMED_SIZES_PX = (128, 256, 512)


@dataclass(frozen=True)
class Score:
    """Shares of prompts whose concept is found nearest, or among the five nearest."""

    top1: float
    top5: float


def draw_rows(rows: list[dict], count: int, seed: int) -> list[int]:
    """Indices of `count` rows: distinct concepts, each in one of its styles."""
    rng = random.Random(seed)
    by_concept: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        by_concept.setdefault(row["hexcode"], []).append(index)
    concepts = rng.sample(sorted(by_concept), min(count, len(by_concept)))
    return [rng.choice(by_concept[concept]) for concept in concepts]


def thumbnails(images: torch.Tensor) -> torch.Tensor:
    """Average images (B, 3, S, S) in 0..1 to vectors (B, 3·THUMBNAIL_PX²)."""
    return F.interpolate(images, size=(THUMBNAIL_PX, THUMBNAIL_PX), mode="area").flatten(1)


def score(images: torch.Tensor, asked: list[int], sprites: Sprites) -> Score:
    """Rank the training images of each asked row's style by distance to its image (B, 3, S, S) in 0..1."""
    everything = torch.arange(len(sprites), device=sprites.device)
    gallery = torch.cat([thumbnails(sprites.single(c, 256, 256) / 2 + 0.5) for c in everything.split(256)])
    styles = [row["style"] for row in sprites.rows]
    ranks = []
    for query, index in zip(thumbnails(images.to(sprites.device)), asked, strict=True):
        distances = ((gallery - query) ** 2).mean(1)
        same_style = torch.tensor([s == styles[index] for s in styles], device=sprites.device)
        ranks.append(int((distances[same_style] < distances[index]).sum()))
    return Score(sum(r == 0 for r in ranks) / len(ranks), sum(r < 5 for r in ranks) / len(ranks))


def generate(
    pipeline: FluxPipeline,
    prompts: list[str],
    guidance_scale: float,
    steps: int,
    height: int = 256,
    width: int = 256,
) -> torch.Tensor:
    """The reference call, seed 0 for every picture: (B, 3, height, width) in 0..1."""
    return pipeline(
        prompts,
        max_sequence_length=TEXT_TOKENS,
        negative_prompt=[""] * len(prompts),
        true_cfg_scale=guidance_scale,
        height=height,
        width=width,
        num_inference_steps=steps,
        generator=[torch.Generator("cpu").manual_seed(0) for _ in prompts],
        output_type="pt",
    ).images.float()


def tile(images: list[torch.Tensor], prompts: list[str], columns: int, cell_px: int) -> Image.Image:
    """A contact sheet: every picture with its prompt below."""
    line_px = 24
    num_rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * cell_px, num_rows * (cell_px + line_px)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (image, prompt) in enumerate(zip(images, prompts, strict=True)):
        left, top = index % columns * cell_px, index // columns * (cell_px + line_px)
        array = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        picture = Image.fromarray(array)
        picture.thumbnail((cell_px - 4, cell_px - 4), Image.Resampling.LANCZOS)
        sheet.paste(picture, (left + (cell_px - picture.width) // 2, top + (cell_px - picture.height) // 2))
        text = prompt if prompt.isascii() else ascii(prompt)
        text = text if len(text) <= 44 else text[:41] + "..."
        draw.text((left + 2, top + cell_px), text[:22], fill="black")
        draw.text((left + 2, top + cell_px + 11), text[22:], fill="black")
    return sheet


def seconds_per_image(pipeline: FluxPipeline, side_px: int, guidance_scale: float, steps: int) -> tuple[float, float]:
    """Best and median of five calls, text encoding and decoding included; the best is the least disturbed."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        generate(pipeline, ["red apple, 3d style"], guidance_scale, steps, side_px, side_px)
        times.append(time.perf_counter() - start)
    return round(min(times), 2), round(sorted(times)[2], 2)


def main() -> None:
    """Parse the command line, measure, print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sheet", type=Path, help="write a contact sheet here")
    parser.add_argument("--count", type=int, default=100, help="concepts; 0: only the timing")
    parser.add_argument("--seed", type=int, default=0, help="draws the concepts and styles")
    parser.add_argument("--guidance-scale", type=float, help="default: the model's own")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    settings = json.loads((args.model / "tetriserve.json").read_text())
    guidance = args.guidance_scale or settings["default_guidance_scale"]
    steps = settings["default_num_inference_steps"]
    pipeline = FluxPipeline.from_pretrained(args.model, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    seconds = {px: seconds_per_image(pipeline, px, guidance, steps) for px in TIMED_SIZES_PX}

    if args.count == 0:
        print(json.dumps({"cpu_seconds_best_and_median": seconds, "threads": args.threads}))
        return
    sprites = Sprites(args.data, read_rows(args.data), "cpu")
    asked = draw_rows(sprites.rows, args.count, args.seed)
    prompts = [reference_prompt(sprites.rows[index]) for index in asked]
    images = torch.cat([generate(pipeline, prompts[i : i + 10], guidance, steps) for i in range(0, len(prompts), 10)])
    result = score(images, asked, sprites)

    if args.sheet:
        shown, names = list(images[:40]), prompts[:40]
        for prompt in FREE_PROMPTS + ODD_PROMPTS:
            shown.append(generate(pipeline, [prompt], guidance, steps)[0])
            names.append(prompt or "(empty prompt)")
        for height, width in OTHER_SIZES:
            shown.append(generate(pipeline, ["red apple, 3d style"], guidance, steps, height, width)[0])
            names.append(f"red apple, 3d style {width}x{height}")
        args.sheet.parent.mkdir(parents=True, exist_ok=True)
        tile(shown, names, columns=10, cell_px=132).save(args.sheet, optimize=True)
    report = {
        **vars(result),
        "count": len(asked),
        "seed": args.seed,
        "guidance_scale": guidance,
        "steps": steps,
    }
    print(json.dumps({**report, "cpu_seconds_best_and_median": seconds, "threads": args.threads}))


if __name__ == "__main__":
    main()
