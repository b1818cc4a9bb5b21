"""The engines of the SAM family on tiny random networks: candidates, corrections, scribbles, caches, refusals."""

from __future__ import annotations

import importlib.util
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tumorscope.annotation.embedding_store import EmbeddingStore
from tumorscope.annotation.embeddings import EmbeddingCache
from tumorscope.annotation.engine import Candidate, open_engine
from tumorscope.annotation.prompts import Box, Prompts, Scribble
from tumorscope.annotation.sam import Sam, along, open_sam, placed
from tumorscope.datasets import phantom
from tumorscope.errors import DataError, MissingExtra, ScanError, WeightsError
from tumorscope.models.promptable.architectures import tiny
from tumorscope.models.promptable.loading import random_network, save

BOX = Prompts(box=Box(10, 12, 40, 60))


@pytest.fixture(scope="module", params=["sam-vit-base", "sam2.1-hiera-tiny"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    place = tmp_path_factory.mktemp("weights") / request.param
    save(random_network(tiny(second="sam2" in request.param)), place, name=request.param, single=False)
    return request.param, place


@pytest.fixture(scope="module")
def engine(folder: tuple[str, Path]) -> Sam:
    return open_sam(*folder)


@pytest.fixture(scope="module")
def image() -> NDArray[np.float32]:
    return phantom.make(3, size=96, lesion="glioma").image[:70].astype(np.float32)


class TestEngine:
    def test_three_candidates_the_best_first(self, engine: Sam, image: NDArray) -> None:
        found = engine.segment(engine.embed(image), BOX)
        assert len(found) == 3 and all(one.mask.shape == image.shape and one.mask.dtype == bool for one in found)
        qualities = [one.quality for one in found]
        assert qualities == sorted(qualities, reverse=True) and all(0 <= one <= 1 for one in qualities)
        assert len({one.logits.tobytes() for one in found}) == 3

    def test_a_mask_is_where_its_log_odds_are_above_0(self, engine: Sam, image: NDArray) -> None:
        embedded = engine.embed(image)
        for one in engine.segment(embedded, BOX):
            import torch

            back = engine.network.frame.back(torch.from_numpy(one.logits)[None], image.shape)[0]
            assert np.array_equal(one.mask, back.numpy() > 0)

    def test_the_answer_before_counts_as_logits_and_as_a_mask(self, engine: Sam, image: NDArray) -> None:
        embedded = engine.embed(image)
        first = engine.segment(embedded, BOX)[0]
        alone = engine.segment(embedded, BOX.click(30, 30, positive=False))[0]
        after = engine.segment(embedded, BOX.click(30, 30, positive=False), first)[0]
        drawn = engine.segment(embedded, BOX.click(30, 30, positive=False), Candidate(first.mask, None))[0]
        foreign = Candidate(first.mask, None, np.zeros((7, 7), np.float32))
        assert not np.allclose(alone.logits, after.logits, atol=1e-4)
        assert not np.allclose(after.logits, drawn.logits, atol=1e-4)
        again = engine.segment(embedded, BOX.click(30, 30, positive=False), foreign)[0]
        assert np.array_equal(again.logits, drawn.logits)

    def test_a_slice_is_the_same_on_any_scale(self, engine: Sam, image: NDArray) -> None:
        one = engine.segment(engine.embed(image), BOX)[0]
        other = engine.segment(engine.embed(image * 4 - 1000), BOX)[0]
        assert np.allclose(one.logits, other.logits, atol=1e-3)

    def test_threads_do_not_disturb_each_other(self, engine: Sam, image: NDArray) -> None:
        embedded = engine.embed(image)
        prompts = [Prompts().click(10 + 4 * place, 20) for place in range(8)]
        alone = [engine.segment(embedded, one)[0].logits for one in prompts]
        found: dict[int, NDArray] = {}

        def ask(place: int) -> None:
            found[place] = engine.segment(embedded, prompts[place])[0].logits

        threads = [threading.Thread(target=ask, args=(place,)) for place in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(np.allclose(found[place], alone[place], atol=1e-5) for place in range(8))

    def test_open_engine_opens_it_and_the_record_knows_its_weights(
        self, engine: Sam, folder: tuple[str, Path], tmp_path: Path
    ) -> None:
        again = open_engine(*folder)
        assert isinstance(again, Sam) and (again.name, again.version) == (engine.name, engine.version)
        assert again.checkpoint_sha256 == engine.checkpoint_sha256 and len(engine.checkpoint_sha256) == 64
        save(random_network(tiny(), seed=9), tmp_path, name="sam-vit-base", single=False)
        assert open_engine("sam-vit-base", tmp_path).version != engine.version

    def test_a_fine_tuned_decoder_gives_one_answer_without_a_quality(self, tmp_path: Path, image: NDArray) -> None:
        save(random_network(tiny(second=True)), tmp_path, name="sam2.1-hiera-tiny", single=True)
        engine = open_sam("sam2.1-hiera-tiny", tmp_path)
        found = engine.segment(engine.embed(image), BOX)
        assert len(found) == 1 and found[0].quality is None and not engine.predicts_quality


class TestCache:
    def test_a_slice_is_embedded_once_and_answers_are_the_same(
        self, engine: Sam, image: NDArray, tmp_path: Path
    ) -> None:
        cache = EmbeddingCache(EmbeddingStore(tmp_path))
        (first, had), (second, has) = (cache.embed(engine, image) for _ in range(2))
        assert (had, has) == (False, True) and second.shape == first.shape
        one, other = (engine.segment(embedded, BOX)[0] for embedded in (first, second))
        assert np.array_equal(one.logits, other.logits)
        assert not cache.embed(engine, image + 1)[1]

    def test_what_cannot_be_embedded_is_refused_as_without_it(self, engine: Sam, tmp_path: Path) -> None:
        with pytest.raises(ScanError):
            EmbeddingCache(EmbeddingStore(tmp_path)).embed(engine, np.zeros((64, 64)))
        assert not list(tmp_path.iterdir())


class TestRefusals:
    @pytest.mark.parametrize(
        "pixels", [np.zeros((64, 64)), np.full((64, 64), np.nan), np.eye(4), np.ones((3, 64, 64)), np.ones((0, 9))]
    )
    def test_slices_in_which_nothing_can_be_pointed_at(self, engine: Sam, pixels: NDArray) -> None:
        with pytest.raises(ScanError):
            engine.embed(pixels)

    def test_prompts_that_mean_nothing(self, engine: Sam, image: NDArray) -> None:
        embedded = engine.embed(image)
        for prompts in (Prompts(), Prompts().click(3, 3, positive=False), Prompts().click(70, 3)):
            with pytest.raises(DataError):
                engine.segment(embedded, prompts)
        with pytest.raises(DataError, match="embed it again"):
            open_engine("grabcut").segment(embedded, BOX)

    def test_no_weights(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TUMORSCOPE_WEIGHTS", str(tmp_path))
        with pytest.raises(WeightsError, match="weights fetch sam-vit-huge"):
            open_sam("sam-vit-huge")
        with pytest.raises(WeightsError, match=r"copy that folder here$"):
            open_sam("sam-vit-huge")

    def test_no_torch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = importlib.util.find_spec
        monkeypatch.setattr("tumorscope.annotation.sam.find_spec", lambda name: None if name == "torch" else real(name))
        with pytest.raises(MissingExtra, match=r"tumorscope\[train\]"):
            open_sam("sam-vit-base")


class TestScribbles:
    @given(st.lists(st.tuples(st.floats(0, 99), st.floats(0, 99)), min_size=1, max_size=9))
    def test_points_lie_on_the_line_and_begin_where_it_begins(self, path: list[tuple[float, float]]) -> None:
        points = np.array(along(Scribble(tuple(path))))
        assert 1 <= len(points) <= 5 and np.allclose(points[0], path[0])
        for point in points:
            gaps = [distance(point, np.array(one), np.array(other)) for one, other in pairwise(path)]
            assert min([*gaps, float(np.hypot(*(point - path[0])))]) < 1e-6

    def test_signs_are_kept(self) -> None:
        line = Scribble(((0.0, 0.0), (0.0, 40.0)))
        points, labels = placed(Prompts(scribbles=(line,)).click(5, 5, positive=False))
        assert labels.tolist() == [0, 1, 1, 1, 1, 1] and points.shape == (6, 2)


def distance(point: NDArray, start: NDArray, end: NDArray) -> float:
    along_it = end - start
    length = float(along_it @ along_it)
    share = 0.0 if length == 0 else float(np.clip((point - start) @ along_it / length, 0, 1))
    return float(np.hypot(*(point - start - share * along_it)))
