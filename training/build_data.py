"""Build the training data of the embedded model: emoji sprites in four styles, with captions.

Owns which packages, which glyphs and how they are rendered. Knows nothing of models or captions' grammar.

    python training/build_data.py --packages PACKAGE_DIR --out DATA_DIR

`PACKAGE_DIR` receives the tarballs (`npm pack`; those already there are not fetched again). `DATA_DIR`
receives `captions.jsonl` (one row an image: file, style, hexcode, emoji, label, tags, and the hue, in turns, of
sprites that can take another colour) and `<style>/<hexcode>.webp`, RGBA: 256 px in the style "3d" (its native
size), 512 px in the styles rendered from SVG. Images already there are kept.
"""

import argparse
import io
import json
import subprocess
import tarfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import resvg_py
from colours import COLOURS, main_hue
from PIL import Image

PACKAGES = {
    "3d": "@lobehub/fluent-emoji-3d@1.1.0",
    "color": "@iconify-json/fluent-emoji@1.2.7",
    "flat": "@iconify-json/fluent-emoji-flat@1.2.6",
    "noto": "@iconify-json/noto@1.2.9",
    "captions": "emojibase-data@17.0.0",
}
SVG_STYLES = ("color", "flat", "noto")
SVG_SIZE_PX = 512
WEBP_QUALITY = 76
COLOURABLE_GROUPS = (3, 4, 5, 6, 7)
"""Animals and plants, food, places and vehicles, activities, objects: not faces, people and signs."""


@dataclass(frozen=True)
class Concept:
    """One emoji: what it is called and what it is tagged with."""

    hexcode: str
    emoji: str
    label: str
    tags: tuple[str, ...]
    is_colourable: bool


@dataclass(frozen=True)
class RenderJob:
    """One image to write: an SVG to rasterise, or (3d) a WebP to copy as it stands."""

    path: Path
    source: str | bytes


def fetch(package: str, folder: Path) -> Path:
    """Return the package's tarball, downloading it with `npm pack` if it is missing."""
    name, version = package.rsplit("@", 1)
    tarball = folder / f"{name.lstrip('@').replace('/', '-')}-{version}.tgz"
    if not tarball.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True)
    return tarball


def read_members(tarball: Path, prefix: str) -> dict[str, bytes]:
    """Return {path: bytes} of the tarball's files below `prefix`."""
    with tarfile.open(tarball) as tar:
        members = [m for m in tar.getmembers() if m.isfile() and m.name.startswith(prefix)]
        return {m.name: tar.extractfile(m).read() for m in members}


def canonical(hexcode: str) -> str:
    """Lower case, without the variation selector: the key on which all sources join."""
    return "-".join(part for part in hexcode.lower().split("-") if part != "fe0f")


def read_concepts(tarball: Path) -> list[Concept]:
    """Every emoji with a group, but for components, country flags and family glyphs."""
    files = read_members(tarball, "package/")
    subgroups = json.loads(files["package/meta/groups.json"])["subgroups"]
    concepts = []
    for row in json.loads(files["package/en/data.json"]):
        group, subgroup = row.get("group"), subgroups.get(str(row.get("subgroup")))
        if group in (None, 2) or subgroup == "country-flag" or row["label"].startswith("family"):
            continue
        tags, label = tuple(row.get("tags", ())), row["label"].lower()
        is_colourable = group in COLOURABLE_GROUPS and not set(label.split()) & COLOURS.keys()
        concepts.append(Concept(canonical(row["hexcode"]), row["emoji"], label, tags, is_colourable))
    return concepts


class IconSet:
    """An iconify package: icon names by code point, and their SVG bodies."""

    def __init__(self, tarball: Path, names_by_hexcode: dict[str, str] | None = None) -> None:
        files = read_members(tarball, "package/")
        self.data = json.loads(files["package/icons.json"])
        self.names_by_hexcode = names_by_hexcode or {
            canonical(code): name for code, name in json.loads(files["package/chars.json"]).items()
        }

    def svg(self, hexcode: str) -> str | None:
        """Return the complete SVG document of a code point, or None if the set lacks it."""
        icon, flip = self._resolve(self.names_by_hexcode.get(hexcode, ""))
        if icon is None:
            return None
        width, height = icon.get("width", self.data["width"]), icon.get("height", self.data["height"])
        left, top = icon.get("left", 0), icon.get("top", 0)
        body = icon["body"]
        if flip:
            body = f'<g transform="translate({2 * left + width} 0) scale(-1 1)">{body}</g>'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}">{body}</svg>'
        )

    def _resolve(self, name: str) -> tuple[dict | None, bool]:
        alias = self.data["aliases"].get(name)
        if alias is None:
            return self.data["icons"].get(name), False
        icon, flip = self._resolve(alias["parent"])
        return icon, flip ^ alias.get("hFlip", False)


def render(job: RenderJob) -> None:
    """Write one image; an SVG is rasterised at `SVG_SIZE_PX` and stored as WebP with exact alpha."""
    if job.path.exists():
        return
    if isinstance(job.source, bytes):
        job.path.write_bytes(job.source)
        return
    png = resvg_py.svg_to_bytes(svg_string=job.source, width=SVG_SIZE_PX, height=SVG_SIZE_PX)
    Image.open(io.BytesIO(bytes(png))).convert("RGBA").save(job.path, quality=WEBP_QUALITY, method=2)


def with_hue(row: dict, out: Path) -> dict:
    """The row as it is written: its picture's main hue in place of whether it may be told."""
    is_colourable = row.pop("is_colourable")
    return {**row, "hue": main_hue(Image.open(out / row["file"]).convert("RGBA")) if is_colourable else None}


def plan(packages: Path, out: Path) -> tuple[list[RenderJob], list[dict]]:
    """Join all sources; return the images to write and the rows of `captions.jsonl`."""
    tarballs = {key: fetch(package, packages) for key, package in PACKAGES.items()}
    flat = IconSet(tarballs["flat"])
    icon_sets = {
        "color": IconSet(tarballs["color"], flat.names_by_hexcode),  # ships no code points; the names agree
        "flat": flat,
        "noto": IconSet(tarballs["noto"]),
    }
    webps = read_members(tarballs["3d"], "package/assets/")
    webps_by_hexcode = {canonical(Path(name).stem): content for name, content in webps.items()}
    jobs, rows = [], []
    for concept in read_concepts(tarballs["captions"]):
        images: dict[str, str | bytes | None] = {s: icon_sets[s].svg(concept.hexcode) for s in SVG_STYLES}
        # Glyphs that the original flat set lacks are additions of unclear provenance in the 3d package.
        images["3d"] = webps_by_hexcode.get(concept.hexcode) if images["flat"] else None
        for style, source in images.items():
            if source is None:
                continue
            file = f"{style}/{concept.hexcode}.webp"
            jobs.append(RenderJob(out / file, source))
            rows.append({"file": file, "style": style, **vars(concept)})
    return jobs, rows


def main() -> None:
    """Parse the command line, fetch, render, print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True, help="where the npm tarballs lie or go")
    parser.add_argument("--out", type=Path, required=True, help="where images and captions.jsonl go")
    args = parser.parse_args()
    jobs, rows = plan(args.packages, args.out)
    for style in PACKAGES:
        if style != "captions":
            (args.out / style).mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(render, jobs, chunksize=32))
        rows = list(pool.map(with_hue, rows, repeat(args.out), chunksize=32))
    with (args.out / "captions.jsonl").open("w") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    concepts = len({row["hexcode"] for row in rows})
    print(json.dumps({"concepts": concepts, "images": len(rows), "styles": sorted({r["style"] for r in rows})}))


if __name__ == "__main__":
    main()
