"""Write the trained model as a directory that `diffusers.FluxPipeline.from_pretrained` loads as it stands.

    python training/export.py --work WORK_DIR --out src/tetriserve/embedded

Reads `vae/`, `tokenizer/` and `averaged.safetensors` of `WORK_DIR`; writes fp16 safetensors in files under
16 MB and the settings that serving needs (`tetriserve.json`). The model card `README.md` and `LICENSES.md`
are written by hand and stay.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from captions import TEXT_TOKENS
from diffusers import AutoencoderKL
from networks import make_pipeline
from safetensors.torch import load_file
from train_transformer import Learner
from transformers import PreTrainedTokenizerFast

MAX_SHARD_BYTES = 12_000_000
MAX_FILE_BYTES = 16_000_000
MAX_TOTAL_BYTES = 32 * 2**20
KEPT_FILES = ("README.md", "LICENSES.md", "__init__.py")


def load_learner(path: Path) -> Learner:
    """The averaged networks."""
    learner = Learner()
    learner.load_state_dict(load_file(path))
    return learner.eval()


def settings(guidance_scale: float) -> dict:
    """What serving must know and the diffusers layout cannot say."""
    return {
        "name": "tetriserve-emoji",
        "max_sequence_length": TEXT_TOKENS,
        "guidance": "true_cfg",
        "default_guidance_scale": guidance_scale,
        "default_num_inference_steps": 20,
        "sizes": ["128x128", "256x256", "512x512"],
    }


def forget_folders(folder: Path) -> None:
    """Take out where on this machine the parts came from."""
    for path in folder.glob("*/config.json"):
        config = json.loads(path.read_text())
        config.pop("_name_or_path", None)
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def name_tokenizers_plainly(folder: Path) -> None:
    """Record the tokenizers' public class name instead of one internal to a transformers series."""
    index_path = folder / "model_index.json"
    index = json.loads(index_path.read_text())
    for name in ("tokenizer", "tokenizer_2"):
        index[name] = ["transformers", "PreTrainedTokenizerFast"]
        config_path = folder / name / "tokenizer_config.json"
        saved = json.loads(config_path.read_text())
        config = {key: saved[key] for key in ("eos_token", "pad_token", "model_max_length")}
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        config_path.write_text(json.dumps(config, indent=2) + "\n")
    index_path.write_text(json.dumps(index, indent=2) + "\n")


def clear(folder: Path) -> None:
    """Remove an earlier export, but for the files written by hand."""
    for entry in folder.iterdir() if folder.exists() else ():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name not in KEPT_FILES:
            entry.unlink()


def check_sizes(folder: Path) -> int:
    """Return the bytes of all files; raise if one file or the whole is too large to ship."""
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    for path, size in sizes.items():
        if size >= MAX_FILE_BYTES:
            raise ValueError(f"{path} has {size} bytes; the limit is {MAX_FILE_BYTES}")
    if sum(sizes.values()) > MAX_TOTAL_BYTES:
        raise ValueError(f"{folder} has {sum(sizes.values())} bytes; the limit is {MAX_TOTAL_BYTES}")
    return sum(sizes.values())


def main() -> None:
    """Parse the command line, export, print the sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--guidance-scale", type=float, default=3.0, help="recorded as the default")
    args = parser.parse_args()
    learner = load_learner(args.work / "averaged.safetensors")
    modules = {
        "vae": AutoencoderKL.from_pretrained(args.work / "vae"),
        "transformer": learner.transformer,
        "text_encoder": learner.text_encoder,
        "text_encoder_2": learner.text_encoder_2,
    }
    tokenizer = PreTrainedTokenizerFast.from_pretrained(args.work / "tokenizer")
    pipeline = make_pipeline(modules, tokenizer).to(torch.float16)
    clear(args.out)
    pipeline.save_pretrained(args.out, max_shard_size=MAX_SHARD_BYTES)
    name_tokenizers_plainly(args.out)
    forget_folders(args.out)
    (args.out / "tetriserve.json").write_text(json.dumps(settings(args.guidance_scale), indent=2) + "\n")
    total = check_sizes(args.out)
    parameters = {name: sum(p.numel() for p in module.parameters()) for name, module in modules.items()}
    print(json.dumps({"mebibytes": round(total / 2**20, 2), "parameters": parameters}))


if __name__ == "__main__":
    main()
