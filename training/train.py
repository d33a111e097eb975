"""Train the embedded model in pieces: first the autoencoder, then text encoders and transformer.

    python training/train.py --data DATA_DIR --work WORK_DIR --stage vae --total-seconds 165
    python training/train.py --data DATA_DIR --work WORK_DIR --stage transformer --total-seconds 230

A piece ends after `--piece-seconds`; the same command goes on from the checkpoint in WORK_DIR until
`--total-seconds` (the learning-rate schedule's length, loading included) is spent. It stops at the first
non-finite loss. Each piece of the transformer ends with a preview on its averaged weights: retrieval scores
at two guidance scales, and contact sheets.
"""

import argparse
import shutil
from pathlib import Path

import torch
from captions import encode, encode_pictures, reference_prompt, train_tokenizer
from diffusers import AutoencoderKL, FluxPipeline
from evaluate import FREE_PROMPTS, draw_rows, generate, score, tile
from latents import Captioned, TrainingSet
from loop import Clock
from networks import make_pipeline
from pictures import plain_pictures, varied_pictures
from safetensors.torch import load_file, save_file
from sprites import Sprites, read_rows
from train_transformer import Run, train_transformer
from train_vae import finish_vae, train_vae
from transformers import PreTrainedTokenizerFast

PREVIEW_GUIDANCE_SCALES = (2.0, 3.5)
CAPTIONS_PER_IMAGE, CAPTIONS_PER_VARIED_IMAGE = 48, 12
LARGE_PX = 512


def prepared_tokenizer(data: Path, work: Path) -> PreTrainedTokenizerFast:
    """The tokenizer in `work`, learned from all captions if it is not there yet."""
    folder = work / "tokenizer"
    if not folder.exists():
        train_tokenizer(read_rows(data)).save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def prepared_pictures(tokenizer: PreTrainedTokenizerFast, rows: list[dict], work: Path) -> tuple[Captioned, Captioned]:
    """What is trained as it is, and varied; captions are kept in `work`: they take a minute."""
    plain, varied = plain_pictures(rows), varied_pictures(rows, seed=0)
    path = work / f"captions-{len(rows)}.safetensors"
    if not path.exists():
        tokens = {
            "plain": encode_pictures(tokenizer, rows, plain, CAPTIONS_PER_IMAGE, seed=0),
            "varied": encode_pictures(tokenizer, rows, varied, CAPTIONS_PER_VARIED_IMAGE, seed=1),
        }
        save_file(tokens, path)
    tokens = load_file(path)
    return Captioned(plain, tokens["plain"]), Captioned(varied, tokens["varied"])


def begin_with(folder: Path, work: Path) -> None:
    """Take over autoencoder and tokenizer of an exported model, where `work` has none."""
    for part in ("vae", "tokenizer"):
        if not (work / part).exists():
            shutil.copytree(folder / part, work / part)


def preview(pipeline: FluxPipeline, sprites: Sprites, work: Path) -> None:
    """Print retrieval scores and write contact sheets, through the real pipeline."""
    pipeline.set_progress_bar_config(disable=True)
    asked = draw_rows(sprites.rows, 100, seed=0)
    prompts = [reference_prompt(sprites.rows[index]) for index in asked]
    for scale in PREVIEW_GUIDANCE_SCALES:
        images = generate(pipeline, [*prompts, *FREE_PROMPTS], scale, steps=20)
        print(f"guidance {scale}: {score(images[: len(asked)], asked, sprites)}", flush=True)
        pictures = [*images[: len(asked)][:32], *images[len(asked) :]]
        tile(pictures, [*prompts[:32], *FREE_PROMPTS], columns=8, cell_px=132).save(work / f"preview-{scale}.png")
    large = [*prompts[:8], *FREE_PROMPTS[:8]]
    images = generate(pipeline, large, PREVIEW_GUIDANCE_SCALES[-1], 20, LARGE_PX, LARGE_PX)
    tile(list(images), large, columns=8, cell_px=260).save(work / f"preview-{LARGE_PX}px.png")


def main() -> None:
    """Parse the command line and run one piece of one stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="what build_data.py wrote")
    parser.add_argument("--work", type=Path, required=True, help="checkpoints and previews")
    parser.add_argument("--stage", choices=("vae", "transformer"), required=True)
    parser.add_argument("--total-seconds", type=float, required=True, help="of the stage, all pieces together")
    parser.add_argument("--piece-seconds", type=float, default=float("inf"), help="of this process")
    parser.add_argument("--batch-tokens", type=int, default=49152, help="transformer: tokens a step, text included")
    parser.add_argument("--vae-batch", type=int, default=96, help="crops a step")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16", help="of the blocks")
    parser.add_argument("--init", type=Path, help="transformer: an exported model to begin with")
    parser.add_argument(
        "--from", type=float, default=0.0, dest="begin", help="with --init: where in the schedule, 0..1"
    )
    parser.add_argument("--limit-per-style", type=int, help="use only so many sprites of each style (for trials)")
    args = parser.parse_args()

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.enable_cudnn_sdp(False)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    args.work.mkdir(parents=True, exist_ok=True)
    clock = Clock(args.total_seconds, args.piece_seconds)
    sprites = Sprites(args.data, read_rows(args.data, args.limit_per_style), device)
    print(f"{len(sprites)} sprites after {clock.piece_spent_s:.0f} s", flush=True)
    if args.stage == "vae":
        torch.backends.cudnn.benchmark = True
        train_vae(sprites, args.work, clock, args.vae_batch)
        finish_vae(sprites, args.work)
        return
    if args.init:
        begin_with(args.init, args.work)
    vae = AutoencoderKL.from_pretrained(args.work / "vae", torch_dtype=torch.float32).requires_grad_(False)
    vae = vae.to(device, memory_format=torch.channels_last)
    tokenizer = prepared_tokenizer(args.data, args.work)
    plain, varied = prepared_pictures(tokenizer, sprites.rows, args.work)
    data = TrainingSet(sprites, vae, plain, varied, encode(tokenizer, [""])[0])
    print(f"training set ready after {clock.piece_spent_s:.0f} s", flush=True)
    run = Run(device, args.work, clock, getattr(torch, args.precision))
    if args.init and run.step == 0:
        run.start_from(args.init)
        clock.spent_before_s = args.begin * args.total_seconds
    learner = train_transformer(data, run, args.batch_tokens)
    modules = {name: getattr(learner, name) for name in ("transformer", "text_encoder", "text_encoder_2")}
    preview(make_pipeline({**modules, "vae": vae}, tokenizer), sprites, args.work)


if __name__ == "__main__":
    main()
