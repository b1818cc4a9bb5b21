"""Load on a real server: mixed reads, predictions and clicks from many clients, and what serving costs over inference.

    python benchmarks/server_load.py                      # 20 clients for a minute
    python benchmarks/server_load.py --seconds 20 --engine grabcut

Two measurements, on phantoms, with the embedded model and as many workers as cores:

- *mixed*: each client draws half reads (list, case, thumbnail, image), a quarter predictions, a quarter clicks.
  Printed: requests/s, the median and 99th percentile of each kind, errors by kind (429 is an answer, anything else from
  400 on is an error), and the server's memory at the start, after a warm-up and at the end.
- *overhead*: rounds of bare inference (a `Predictor` in as many threads as the server has workers, scans in memory)
  take turns with rounds of predictions over HTTP; overhead = bare scans/s ÷ served scans/s − 1, of the medians over
  rounds. It holds everything: HTTP, JSON, run lengths, maps and rows forced to the disk, and the clients, which run on
  the same cores. Processor time per scan, of the server alone, is printed too: other work on the machine sways it less.

Exit code 1 where there was an error that is no 429.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import cv2

from tumorscope import io
from tumorscope.client import Client
from tumorscope.datasets import phantom
from tumorscope.inference.bundle import Bundle
from tumorscope.inference.predictor import Predictor

SCANS = 24
ROUND = 4.0  # seconds of one round of the overhead
WARM = 0.5  # share of the time for the warm-up, in which caches fill
API = "/api/v1"


class Load:
    """What clients did: seconds of each answered request by kind, and statuses by kind."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.statuses: dict[str, Counter[int]] = defaultdict(Counter)
        self.lock = threading.Lock()

    def add(self, kind: str, status: int, seconds: float) -> None:
        """Count an answer."""
        with self.lock:
            self.statuses[kind][status] += 1
            if status < 400:
                self.seconds[kind].append(seconds)

    def failed(self) -> int:
        """Answers that are errors."""
        return sum(n for one in self.statuses.values() for status, n in one.items() if status >= 400 and status != 429)


def request(line: http.client.HTTPConnection, method: str, path: str, body: object = None) -> tuple[int, int]:
    """Status, and the seconds to wait where the server is busy."""
    data = None if body is None else json.dumps(body)
    line.request(method, API + path, data, {"Content-Type": "application/json"} if data else {})
    answer = line.getresponse()
    answer.read()
    return answer.status, int(answer.getheader("Retry-After") or 0)


def draw(rng: random.Random, cases: list[dict], engine: str, kinds: str) -> tuple[str, str, str, object]:
    """Kind, method, path and body of one request."""
    case = rng.choice(cases)
    own = f"/cases/{case['id']}"
    kind = rng.choice(kinds)
    if kind == "p":
        return "predict", "POST", f"{own}/predictions", {}
    if kind == "c":
        height, width = case["shape"]
        point = {"y": rng.uniform(0.35, 0.65) * height, "x": rng.uniform(0.35, 0.65) * width, "positive": True}
        return "click", "POST", f"{own}/candidates", {"engine": engine, "prompts": {"points": [point]}}
    path = rng.choice(["/cases?limit=20", own, f"{own}/thumbnail.png", f"{own}/image.nii.gz"])
    return "read", "GET", path, None


def client(address: str, cases: list[dict], engine: str, end: float, load: Load, seed: int, kinds: str) -> None:
    """One client until ``end``; after a 429 it waits, as it was told to."""
    place, rng = urlsplit(address), random.Random(seed)
    line = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    while time.perf_counter() < end:
        kind, method, path, body = draw(rng, cases, engine, kinds)
        begun = time.perf_counter()
        status, wait = request(line, method, path, body)
        load.add(kind, status, time.perf_counter() - begun)
        if status == 429:
            time.sleep(min(wait * rng.uniform(0.5, 1.0), max(0.0, end - time.perf_counter())))
    line.close()


def drive(address: str, cases: list[dict], engine: str, seconds: float, clients: int, kinds: str) -> tuple[Load, float]:
    """What so many clients did, and the seconds that it took."""
    load, begun = Load(), time.perf_counter()
    threads = [
        threading.Thread(target=client, args=(address, cases, engine, begun + seconds, load, n, kinds))
        for n in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return load, time.perf_counter() - begun


def bare(predictor: Predictor, scans: list, workers: int, seconds: float) -> tuple[float, int]:
    """Scans/s of inference alone, and how many there were."""
    end, done = time.perf_counter() + seconds, 0

    def work(n: int) -> int:
        count = 0
        while time.perf_counter() < end:
            predictor.predict(scans[(n + count * workers) % len(scans)])
            count += 1
        return count

    begun = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        done = sum(pool.map(work, range(workers)))
    return done / (time.perf_counter() - begun), done


def memory(process: int) -> float:
    """Resident MiB of a process."""
    text = Path(f"/proc/{process}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def processor_time(process: int) -> float:
    """Seconds that a process has computed."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def share(large: float, small: float) -> str:
    return f"{100 * (large / small - 1):.0f} %"


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def show(load: Load, seconds: float) -> None:
    total = sum(sum(one.values()) for one in load.statuses.values())
    print(f"mixed: {total / seconds:.1f} requests/s answered, {total} in {seconds:.0f} s")
    for kind in sorted(load.statuses):
        found, statuses = load.seconds[kind], load.statuses[kind]
        times = (
            f"p50 {1000 * statistics.median(found):.0f} ms  p99 {1000 * percentile(found, 0.99):.0f} ms"
            if found
            else ""
        )
        print(f"  {kind:<8} {len(found):>6} done  {times}  429: {statuses[429]}  "
              f"errors: { {k: n for k, n in statuses.items() if k >= 400 and k != 429} or 'none' }")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", default="click")
    given = parser.parse_args()
    workers = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        phantom.write_dataset(place / "scans", SCANS, seed=7, size=256)
        masks = {"masks", "mask"}
        paths = [path for path in sorted((place / "scans").rglob("*.png")) if not masks & set(path.parts)]
        paths = [path for path in paths if "mask" not in path.stem]
        command = [sys.executable, "-m", "tumorscope", "serve", "-w", str(place / "work"), "--port", "0"]
        command += ["--workers", str(workers)]
        with (place / "log").open("wb") as log:
            server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[1].rstrip("/")
            cases = Client(address).upload(*paths, strict=False)
            failed = measure(address, cases, [io.read(path) for path in paths], server.pid, workers, given)
        finally:
            server.terminate()
            server.wait()
    return 1 if failed else 0


def measure(address: str, cases: list[dict], scans: list, process: int, workers: int, given: argparse.Namespace) -> int:
    """Run both measurements and print them; the number of errors."""
    print(f"{len(cases)} scans, {given.clients} clients, {workers} workers")
    start = memory(process)
    drive(address, cases, given.engine, WARM * given.seconds, given.clients, "rrpc")
    warm = memory(process)
    load, seconds = drive(address, cases, given.engine, given.seconds, given.clients, "rrpc")
    show(load, seconds)
    print(f"memory: {start:.0f} MiB at the start, {warm:.0f} warm, {memory(process):.0f} at the end")
    cv2.setNumThreads(1)
    predictor = Predictor(Bundle.load(threads=1))
    alone, served, costs, failed = [], [], [], load.failed()
    for _ in range(given.rounds):
        begun = time.process_time()
        rate, count = bare(predictor, scans, workers, ROUND)
        own = (time.process_time() - begun) / count
        begun = processor_time(process)
        found, took = drive(address, cases, given.engine, ROUND, 2 * workers, "p")
        done = len(found.seconds["predict"])
        alone.append(rate)
        served.append(done / took)
        costs.append((own, (processor_time(process) - begun) / done))
        failed += found.failed()
    rates = statistics.median(alone), statistics.median(served)
    print(f"bare inference {rates[0]:.2f} scans/s, over HTTP {rates[1]:.2f}: overhead {share(*rates)}")
    own, over = (1000 * statistics.median(one) for one in zip(*costs, strict=True))
    print(f"processor time a scan {own:.0f} ms, in the server {over:.0f} ms: overhead {share(over, own)}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
