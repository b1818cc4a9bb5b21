"""``tumorscope synthesize``: a generator trained, pictures of it, lesions put into scans, and what they are worth."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from tumorscope.cli._console import Watch, answer, answer_json
from tumorscope.cli._options import Json, Out
from tumorscope.errors import DataError, Exit, RecipeError, ScanError, look_up

if TYPE_CHECKING:
    import polars as pl

    from tumorscope.inference.generator import Generator

Generated = Annotated[Path, typer.Argument(metavar="GENERATOR", help="A run of synthesize train, or its model.onnx.")]
Data = Annotated[
    str | None,
    typer.Option("--data", metavar="DATA", help="The scans it was trained on; the run's own manifest by default."),
]
Named = Annotated[str | None, typer.Option("--class", help="A tumour type, or none; any by default.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the first picture; the next has the next.")]
StepCount = Annotated[int, typer.Option("--steps", min=1, help="Steps from noise to picture.")]
Guidance = Annotated[float, typer.Option("--guidance", min=0, help="How much the class is exaggerated.")]


class _Actions(TyperGroup):
    """The group of actions; an unknown one is an error that names the nearest."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The action that the arguments name."""
        if args and not args[0].startswith("-"):
            look_up(args[0], self.commands, "action of synthesize")
        return super().resolve_command(ctx, args)


synthesize = typer.Typer(cls=_Actions, add_completion=False, rich_markup_mode=None)


@synthesize.callback()
def about() -> None:
    """Synthetic scans by DDIM: train a generator, draw pictures, put lesions into scans, audit for copies.

    \b
    Examples
      tumorscope synthesize train ddim-64 manifest.parquet -o run
      tumorscope synthesize sample run -o made --count 64 --class glioma
      tumorscope synthesize audit run -o audit
    """  # noqa: D301


@synthesize.command()
def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="ddim-64, ddim-128, or a .toml file.")],
    data: Annotated[list[str], typer.Argument(metavar="DATA...", help="Folders or manifests (.parquet, .csv).")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="RUN", help="Folder of the run.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Another value for a key of the recipe.")
    ] = None,
    offline: Annotated[Path | None, typer.Option("--offline", help="Folder with Inception's weights.")] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Where prepared scans are kept; RUN/cache by default.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Train a generator. Of a manifest that is split, it sees the training side alone.

    RUN/samples shows what it can draw, RUN/metrics.csv its losses and KID, RUN/model.onnx is the
    generator, which needs no torch.

    \b
    Examples
      tumorscope synthesize train ddim-64 split.parquet -o run
      tumorscope synthesize train ddim-64 scans/ -o run --set fit.epochs=100 --set data.keep='"none"'
      tumorscope synthesize train ddim-64 split.parquet -o run --resume
    """  # noqa: D301
    from tumorscope.cli._extras import need_training
    from tumorscope.cli._options import changes_of
    from tumorscope.training import recipe as recipes
    from tumorscope.training.diffusion_recipe import DiffusionRecipe

    loaded = recipes.load(recipe)
    if not isinstance(loaded, DiffusionRecipe):
        raise RecipeError(
            f"{recipe}: is a recipe of the task '{loaded.task}'; take ddim-64 or ddim-128, or use tumorscope train"
        )
    if settings:
        loaded = recipes.changed(loaded, changes_of(settings, None, None), "--set")
    need_training()
    from tumorscope.training.diffusion_run import train as run

    folder = run(loaded, [*data], out, resume=resume, cache_folder=cache, offline=offline, progress=sys.stderr.isatty())
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    if as_json:
        answer_json({"run": str(folder), "model": str(folder / "model.onnx"), "recipe": loaded.name, **metrics})
        return Exit.OK
    shown = ", ".join(f"{name.removeprefix('val_')} error {value:.4f}" for name, value in metrics["validation"].items())
    answer(f"validation: {shown} in epoch {metrics['best_epoch']}")
    if metrics["kid"]:
        answer(f"KID: {_distance(metrics['kid'])}")
    for name, found in metrics["copying"].items():
        answer(f"copies by {name}: {found['copies']} of {found['pictures']}")
    answer(f"generator: {folder / 'model.onnx'}")
    return Exit.OK


@synthesize.command()
def sample(
    generator: Generated,
    out: Out,
    count: Annotated[int, typer.Option("--count", min=1, help="Pictures.")] = 16,
    seed: Seed = 0,
    steps: StepCount = 20,
    named: Named = None,
    guidance: Guidance = 0.0,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Write pictures as PNG; the same seed gives the same picture, however many are drawn with it.

    OUT/manifest.parquet holds them beside the real scans. They are marked synthetic and in one group with
    all that the generator saw, so that no split lets its scans judge a model that learnt from its pictures.
    Without the real scans there is no manifest, only OUT/samples.csv.

    \b
    Examples
      tumorscope synthesize sample run -o made --count 64
      tumorscope synthesize sample model.onnx -o made --class none --seed 100 --data split.parquet
    """  # noqa: D301
    from tumorscope.inference.generator import Generator
    from tumorscope.inference.samples import write_samples
    from tumorscope.report.figures import contact_sheet

    found = Generator.load(generator)
    seeds = range(seed, seed + count)
    with Watch("drawing") as watch:
        made = write_samples(
            found, seeds, out, steps=steps, named=named, guidance=guidance, data=_real(generator, data),
            progress=watch.count,
        )  # fmt: skip
    from tumorscope import io

    pictures = [io.read(path).pixels.astype("uint8") for path in made.rows["path"].head(64).to_list()]
    io.write_image(out / "sheet.png", contact_sheet(pictures, columns=8, tile=96))
    return _told(found, made.rows.height, out, made.manifest, as_json, {"seeds": [seed, seed + count - 1]})


@synthesize.command()
def inpaint(
    generator: Generated,
    scans: Annotated[list[str], typer.Argument(metavar="SCAN...", help="Slices without tumour.")],
    out: Out,
    seed: Seed = 0,
    steps: StepCount = 20,
    named: Named = None,
    guidance: Guidance = 0.0,
    radius: Annotated[float | None, typer.Option("--radius", min=1, help="Of the lesion, px of the picture.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Put a lesion into slices without tumour; its mask comes with it.

    The mask is where the lesion was asked for. The column change of OUT/samples.csv says how much became
    different there: where it is near 0 the generator drew no lesion, and the row is worth nothing.

    \b
    Examples
      tumorscope synthesize inpaint run healthy/*.jpg -o lesions --class meningioma
    """  # noqa: D301
    from tumorscope import io
    from tumorscope.inference.generator import Generator
    from tumorscope.inference.samples import write_inpainted

    found = Generator.load(generator)
    files = [Path(item.path) for item in io.discover([*scans])]
    if not files:
        raise ScanError(f"{scans[0]}: holds no scans; name files or folders with slices")
    with Watch("inpainting") as watch:
        made, done = write_inpainted(
            found, files, out, seed=seed, steps=steps, named=named, guidance=guidance, radius=radius,
            data=_real(generator, data), progress=watch.count,
        )  # fmt: skip
    change = sum(one.change for one in done) / len(done)
    return _told(found, made.rows.height, out, made.manifest, as_json, {"mean_change": round(change, 4)})


@synthesize.command()
def audit(
    generator: Generated,
    out: Out,
    count: Annotated[int, typer.Option("--count", min=4, help="Pictures to draw for it.")] = 128,
    seed: Seed = 0,
    steps: StepCount = 20,
    pictures: Annotated[
        Path | None, typer.Option("--pictures", help="Folder of pictures to audit instead of fresh ones.")
    ] = None,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Say what a generator's pictures are worth: KID beside its floor, copies beside what chance gets.

    OUT/report.html shows the closest pairs. Exit code 3: pictures are nearer to training scans than held-out
    real scans are.

    \b
    Examples
      tumorscope synthesize audit run -o audit
      tumorscope synthesize audit model.onnx -o audit --data manifest.parquet --pictures made/images
    """  # noqa: D301
    from tumorscope.audit.copying import find_copies
    from tumorscope.evaluation.kid import LEAST, kid
    from tumorscope.inference.embedding import scout_features
    from tumorscope.inference.generator import Generator
    from tumorscope.report.synthesis import write_synthesis_report

    found = Generator.load(generator)
    table = _real(generator, data)
    if table is None:
        raise DataError(f"{generator}: has no manifest beside it; name the scans it was trained on with --data")
    taught, names, groups, held, held_groups = _sides(found, table, _chose(generator), out)
    made = _pictures(pictures, found) if pictures else found.synthesizer.sample(range(seed, seed + count), steps=steps)
    extract = scout_features()
    copies = find_copies(made, taught, groups=groups, held_out=held if len(held) else None, extractor=extract)
    real, whose = (held, held_groups) if len(held) >= 2 * LEAST else (taught, groups)
    distance = None
    if min(len(real), len(made)) >= LEAST:
        distance = kid(extract(made), extract(real), features=extract.name, groups=whose)
    facts = {
        "generator": found.metadata.identity,
        "pictures": len(made),
        "steps": steps,
        "KID against": "held-out real scans" if real is held else "training scans: too few were held out",
    }
    report = write_synthesis_report(out / "report.html", made, taught, copies, distance, facts, names)
    alarm = any(one.alarming for one in copies.measures)
    if as_json:
        measured = {"kid": distance.to_dict() if distance else None, "copying": copies.to_dict()}
        answer_json({**facts, **measured, "copies": copies.copies, "report": str(report)})
    else:
        answer(str(distance) if distance else "KID: too few pictures")
        for measure in copies.measures:
            answer(measure.sentence())
        answer(f"report: {report}")
    return Exit.PARTIAL if alarm else Exit.OK


def _real(generator: Path, data: str | None) -> pl.DataFrame | None:
    """The manifest of the real scans: the one named, or the run's own, all of which stands on the training side."""
    import polars as pl

    from tumorscope.datasets import manifest

    if data is not None:
        return manifest.load(data)
    own = (generator if generator.is_dir() else generator.parent) / "manifest.parquet"
    return manifest.read(own).with_columns(split=pl.lit("train")) if own.is_file() else None


def _chose(generator: Path) -> list[str]:
    """Hashes of the scans that picked a run's epoch: its generator saw them, but learnt nothing from them."""
    import polars as pl

    own = (generator if generator.is_dir() else generator.parent) / "manifest.parquet"
    if not own.is_file():
        return []
    return pl.read_parquet(own).filter(pl.col("split") == "val")["sha256"].drop_nulls().to_list()


def _sides(
    found: Generator, table: pl.DataFrame, chose: list[str], out: Path
) -> tuple[Any, list[str], list[str], Any, list[str]]:
    """Prepared training scans with their names and groups, and scans that the generator did not learn from."""
    import numpy as np
    import polars as pl

    from tumorscope.datasets.synthetic import DIGITS
    from tumorscope.training import cache as caches

    known = list(found.metadata.training.scan_hashes)
    if "sha256" not in table.columns or not table["sha256"].str.slice(0, DIGITS).is_in(known).any():
        raise DataError(f"{found.metadata.name}: none of its scans is in the data; give what it was trained on")
    table = table.filter(~pl.col("synthetic").fill_null(False))
    plain = table.with_columns(
        label=pl.col("label").fill_null(-1), mask_path=pl.lit(None, pl.String), split=pl.lit(None, pl.String)
    )
    kept = caches.build(plain, found.metadata.preparation, out / "cache")
    learnt = pl.col("sha256").str.slice(0, DIGITS).is_in(known) & ~pl.col("sha256").is_in(chose)
    facts = table.select("id", "path", "group", taught=learnt)
    rows = kept.table.select("id").join(facts, on="id", how="left", maintain_order="left")
    mask = rows["taught"].fill_null(False).to_numpy()
    images = np.asarray(kept.images).astype(np.float32) / np.float32(255)
    groups = np.array([str(one) for one in rows["group"].to_list()])
    names = [Path(path).name for path, is_taught in zip(rows["path"].to_list(), mask, strict=True) if is_taught]
    return images[mask], names, groups[mask].tolist(), images[~mask], groups[~mask].tolist()


def _pictures(folder: Path, found: Generator) -> Any:
    """Pictures of a folder at the generator's side, as they are."""
    import numpy as np

    from tumorscope import io

    size = found.metadata.preparation.size
    pictures = [io.read(item.path).pixels for item in io.discover([folder])]
    if not pictures or any(one.shape != (size, size) for one in pictures):
        raise ScanError(f"{folder}: holds {len(pictures)} pictures, or some not of {size}x{size}; name OUT/images")
    return np.stack(pictures).astype(np.float32) / np.float32(255)


def _distance(found: dict[str, Any]) -> str:
    text = f"{found['value']:.4f} ± {found['deviation']:.4f} in {found['features']}"
    return text if found["floor"] is None else f"{text}; real against real {found['floor']:.4f}"


def _told(found: Generator, count: int, out: Path, manifest: Path | None, as_json: bool, more: dict[str, Any]) -> int:
    """Say what was made."""
    facts = {
        "out": str(out), "pictures": count, "model": found.metadata.identity,
        "manifest": None if manifest is None else str(manifest), **more,
    }  # fmt: skip
    if as_json:
        answer_json(facts)
    else:
        answer(f"{count} pictures by {found.metadata.identity}")
        answer(
            f"manifest: {manifest}" if manifest else "no manifest: the scans it was trained on are not here (--data)"
        )
    return Exit.OK
