"""Speed and memory of `predict`, end to end, and of ONNX Runtime against the same network in PyTorch.

Measured on 256-px JPEGs: phantoms, or copies of the JPEGs in a folder of your own. Each row is a process of
its own, so that its peak memory is its own. Overlays and report are off unless --full is given.

    python benchmarks/predict_speed.py                                   # speed, 400 scans
    python benchmarks/predict_speed.py --counts 100 5000                 # memory does not grow
    python benchmarks/predict_speed.py --scans FOLDER --model run/model.onnx --run run
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIDE = 256  # px
PHANTOMS = 24  # different heads; copied until there are enough files
WARM_UP, ROUNDS = 5, 40  # runs of the network before and while the time is taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=Path, help="folder with JPEGs to copy; phantoms without it")
    parser.add_argument("--model", type=Path, help="a bundle; the embedded scout without it")
    parser.add_argument("--run", type=Path, help="the run that the bundle came from, to compare with PyTorch")
    parser.add_argument("--counts", type=int, nargs="+", default=[400], help="numbers of scans")
    parser.add_argument("--enhance", nargs="+", default=["none", "musica"], help="none, musica or both")
    parser.add_argument("--workers", type=int, help="scans at once")
    parser.add_argument("--full", action="store_true", help="write overlays and report too")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        task = json.loads(arguments.child)
        print(json.dumps({"batch": batch, "scans": make_scans, "engines": engines}[task.pop("task")](**task)))
        return
    with tempfile.TemporaryDirectory(prefix="tumorscope-speed-") as folder:
        report(arguments, Path(folder))


def report(arguments: argparse.Namespace, folder: Path) -> None:
    """Run every measurement in a process of its own and print the table."""
    model = str(arguments.model) if arguments.model else None
    pool = child(task="scans", source=str(arguments.scans) if arguments.scans else None, folder=str(folder / "pool"))
    print(f"{os.cpu_count()} cores; {pool['files']} different {pool['side']}-px JPEGs, {pool['kind']}")
    titles = ("scans", "enhance", "scans/s", "seconds", "with start", "CPU ms", "peak MB", "failed")
    print(" ".join(f"{title:>10}" for title in titles))
    for count in arguments.counts:
        copies = copy(folder / "pool", folder / f"in{count}", count)
        for enhance in arguments.enhance:
            out = folder / f"out{count}{enhance}"
            got = child(
                task="batch", inputs=str(copies), out=str(out), model=model,
                enhance=enhance, workers=arguments.workers, full=arguments.full,
            )  # fmt: skip
            shown = [
                count,
                enhance,
                *(f"{value:.1f}" for value in (count / got["seconds"], got["seconds"], got["wall"])),
            ]
            shown += [f"{got['cpu_ms']:.1f}", f"{got['peak_mb']:.0f}", got["failed"]]
            print(" ".join(f"{value:>10}" for value in shown), flush=True)
            shutil.rmtree(out)
        shutil.rmtree(copies)
    got = child(
        task="engines", folder=str(folder / "pool"), model=model, run=str(arguments.run) if arguments.run else None
    )
    for row in got["rows"]:
        print(f"{row['engine']:<14} batch {row['batch']}: {row['ms']:.2f} ms a scan on {row['threads']} threads")
    if got["difference"] is not None:
        print(f"largest difference of a pixel probability between the two: {got['difference']:.1e}")


def child(**task: Any) -> Any:
    """What a task answers in a fresh Python process."""
    command = [sys.executable, __file__, "--child", json.dumps(task)]
    started = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return {**json.loads(done.stdout.splitlines()[-1]), "wall": time.perf_counter() - started}


def make_scans(source: str | None, folder: str) -> dict[str, Any]:
    """Put JPEGs of one size into ``folder``: those of ``source``, brought to `SIDE`, or phantoms."""
    import cv2

    target = Path(folder)
    target.mkdir(parents=True)
    if source is None:
        from tumorscope.datasets.phantom import make

        for seed in range(PHANTOMS):
            image = make(seed, size=SIDE, lesion="glioma" if seed % 2 else None).image
            cv2.imwrite(str(target / f"{seed:04}.jpg"), image)
        return {"files": PHANTOMS, "side": SIDE, "kind": "phantoms"}
    files = sorted(path for path in Path(source).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    for number, path in enumerate(files):
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if image is None:
            continue
        if image.shape == (SIDE, SIDE):
            shutil.copyfile(path, target / f"{number:05}.jpg")
        else:
            resized = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(target / f"{number:05}.jpg"), resized)
    return {"files": len(list(target.iterdir())), "side": SIDE, "kind": "of the folder given"}


def copy(pool: Path, target: Path, count: int) -> Path:
    """``count`` files made of those in ``pool``, in turn."""
    files = sorted(pool.iterdir())
    target.mkdir()
    for number in range(count):
        shutil.copyfile(files[number % len(files)], target / f"{number:05}.jpg")
    return target


def batch(inputs: str, out: str, model: str | None, enhance: str, workers: int | None, full: bool) -> dict[str, Any]:
    """Predict a folder with the bundle, its enhancement replaced; seconds and peak memory of this process."""
    import resource
    from dataclasses import replace

    from tumorscope.inference.batch import Options, plan, predict_many
    from tumorscope.inference.bundle import Bundle
    from tumorscope.inference.predictor import Predictor
    from tumorscope.io import discover

    items = discover([inputs])
    chosen, threads = plan(len(items), workers)
    bundle = Bundle.load(model, threads=threads)
    preparation = replace(bundle.metadata.preparation, clean=True, enhance=enhance)
    bundle = replace(bundle, metadata=bundle.metadata.model_copy(update={"preparation": preparation}))
    sinks = []
    if full:
        from tumorscope.report.predictions import Pages

        sinks.append(Pages(Path(out), bundle.metadata))
    begun = time.process_time()
    summary = predict_many(items, Predictor(bundle), out, Options(workers=chosen), sinks)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    cpu = time.process_time() - begun
    return {
        "seconds": summary.seconds,
        "cpu_ms": 1000 * cpu / len(items),
        "peak_mb": usage.ru_maxrss * unit / 1e6,
        "failed": summary.failed,
    }


def engines(folder: str, model: str | None, run: str | None) -> dict[str, Any]:
    """Milliseconds a scan of the network alone: ONNX Runtime, and eager PyTorch where a run is given."""
    import numpy as np

    from tumorscope import io
    from tumorscope.inference.bundle import Bundle

    threads = os.cpu_count() or 1
    bundle = Bundle.load(model, threads=threads)
    files = sorted(Path(folder).iterdir())[:8]
    squares = np.stack([bundle.metadata.preparation.prepare(io.read(file).pixels).pixels for file in files])[:, None]
    rows = [
        timed("ONNX Runtime", lambda images: bundle.run(images, flip=False), squares, size, threads) for size in (1, 8)
    ]
    difference = None
    if run is not None:
        import torch

        from tumorscope.training.export import load_network
        from tumorscope.training.recipe import load

        torch.set_num_threads(threads)
        recipe = load(Path(run) / "recipe.toml")
        network = load_network(Path(run), recipe)

        def eager(images: Any) -> Any:
            with torch.inference_mode():
                mask, score = network(torch.from_numpy(images))
                return mask.sigmoid().numpy(), score.numpy()

        rows += [timed("eager PyTorch", eager, squares, size, threads) for size in (1, 8)]
        difference = float(np.abs(eager(squares)[0][:, 0] - bundle.run(squares, flip=False).mask).max())
    return {"rows": rows, "difference": difference}


def timed(engine: str, call: Any, squares: Any, size: int, threads: int) -> dict[str, Any]:
    """Median time of a call on ``size`` squares, for one of them."""
    times = []
    for number in range(WARM_UP + ROUNDS):
        start = number % (len(squares) - size + 1)
        images = squares[start : start + size].copy()
        begun = time.perf_counter()
        call(images)
        times.append(time.perf_counter() - begun)
    median = sorted(times[WARM_UP:])[ROUNDS // 2]
    return {"engine": engine, "batch": size, "ms": 1000 * median / size, "threads": threads}


if __name__ == "__main__":
    main()
