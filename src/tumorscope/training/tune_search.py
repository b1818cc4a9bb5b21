"""Search: the finished trials of one search, kept in SQLite, and what is tried next. Needs no torch.

Only finished trials are written. What a search tries next depends on its seed and its finished trials alone, so that a
search that was killed goes on as if it had not been.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from tumorscope.errors import OutputError, TrainingError, look_up
from tumorscope.training.search_space import SearchSpace

SAMPLERS = ("tpe", "random", "grid")
STARTUP = 5  # trials that TPE draws at random before it models anything; Optuna's 10 would be most of a short search
JUDGES = 3  # whole trials before any other is cut short by their median
SPARED = 0.25  # share of a trial's epochs in which it is never cut short
WORDS = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


class Pruned(Exception):
    """A trial was cut short, as its figures are worse than those of most others at the same epoch."""


class Failed(Exception):
    """A trial came to no score; the text says why."""


@dataclass(frozen=True)
class Trial:
    """A trial under way: its number, its settings, and where it tells the figure of each epoch."""

    number: int
    chosen: dict[str, Any]
    report: Callable[[int, float], None]


@dataclass(frozen=True)
class Tried:
    """A finished trial.

    Attributes
    ----------
    search : str
        Name of the search.
    number : int
    state : str
        ``complete``, ``pruned`` or ``failed``.
    score : float
        NaN where it was not completed.
    epochs : int
    chosen : dict
        Its settings.
    reason : str
        Why it failed.
    """

    search: str
    number: int
    state: str
    score: float
    epochs: int
    chosen: dict[str, Any]
    reason: str = ""


@contextmanager
def storage(file: Path) -> Iterator[Any]:
    """The SQLite file that keeps searches, open; made where it is missing.

    Raises
    ------
    OutputError
        Also in the block, when the file cannot be read or written.
    """
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    opened = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        opened = optuna.storages.RDBStorage(f"sqlite:///{file.resolve()}")
        yield opened
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError) as error:
        cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
        words = str(getattr(cause, "orig", None) or cause).splitlines()[0]
        raise OutputError(f"{file}: cannot be used ({words}); check space and permissions, or delete it") from error
    finally:
        if opened is not None:
            opened.remove_session()
            opened.engine.dispose()


class Search:
    """One search: a space, how it is sampled, and its finished trials.

    Parameters
    ----------
    kept : storage
        Of `storage`.
    name : str
    space : SearchSpace
    sampler : str
        ``tpe``, ``random`` or ``grid``.
    seed : int
    lower : bool
        Whether a lower score is better.
    epochs : int
        Of a whole trial.
    prune : bool
        Whether a trial may be cut short, by the median of the others' figures.
    first : dict or None
        Settings of the first trial; a grid keeps its own order.
    """

    def __init__(
        self,
        kept: Any,
        name: str,
        space: SearchSpace,
        *,
        sampler: str = "tpe",
        seed: int = 0,
        lower: bool = False,
        epochs: int = 1,
        prune: bool = True,
        first: dict[str, Any] | None = None,
    ) -> None:
        self.name, self.space, self.seed, self.prune, self.first = name, space, seed, prune, first
        self.sampler = look_up(sampler, SAMPLERS, "sampler")
        self.spared = math.ceil(epochs * SPARED)
        self.direction: Literal["minimize", "maximize"] = "minimize" if lower else "maximize"
        self.study = optuna.create_study(storage=kept, study_name=name, direction=self.direction, load_if_exists=True)

    def __len__(self) -> int:
        return len(self._finished())

    def run(self, score: Callable[[Trial], float]) -> Tried:
        """Try the next settings once: ``score`` gives their score, or raises `Pruned` or `Failed`.

        Any other exception ends the trial without a trace.
        """
        memory = self._memory()
        asked = memory.ask(self.space.distributions())
        told: dict[int, float] = {}

        def report(epoch: int, value: float) -> None:
            if math.isnan(value):
                return
            told[epoch] = value
            asked.report(value, epoch)
            if self.prune and asked.should_prune():
                raise Pruned

        state, value, reason = TrialState.COMPLETE, None, ""
        try:
            value = score(Trial(asked.number, self.space.chosen(asked.params), report))
            if not math.isfinite(value):
                raise Failed("its score is no number")
        except Pruned:
            state, value = TrialState.PRUNED, None
        except Failed as error:
            state, value, reason = TrialState.FAIL, None, str(error)
        finished = optuna.trial.create_trial(
            state=state,
            value=value,
            params=asked.params,
            distributions=asked.distributions,
            intermediate_values=told,
            user_attrs={"reason": reason} if reason else {},
            system_attrs=memory.get_trials(deepcopy=False)[-1].system_attrs,
        )
        self.study.add_trial(finished)
        return self._tried(asked.number, finished)

    def tried(self) -> list[Tried]:
        """All finished trials, in order."""
        return [self._tried(number, one) for number, one in enumerate(self._finished())]

    def best(self) -> Tried:
        """The trial of the best score; the first of equals.

        Raises
        ------
        TrainingError
            If no trial was completed.
        """
        whole = [one for one in self.tried() if one.state == "complete"]
        if not whole:
            reason = next((one.reason for one in self.tried() if one.reason), "none was run")
            raise TrainingError(f"search {self.name}: no trial was completed ({reason}); give a tamer space")
        sign = 1 if self.direction == "minimize" else -1
        return min(whole, key=lambda one: (sign * one.score, one.number))

    def _finished(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _memory(self) -> optuna.Study:
        """A study in memory with the finished trials, whose sampler is seeded by their number."""
        finished = self._finished()
        pruner = optuna.pruners.MedianPruner(n_startup_trials=JUDGES, n_warmup_steps=self.spared)
        memory = optuna.create_study(direction=self.direction, sampler=self._sampler(len(finished)), pruner=pruner)
        memory.add_trials(finished)
        if not finished and self.first is not None and self.sampler != "grid":
            memory.enqueue_trial(self.space.drawn(self.first))
        return memory

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        if self.sampler == "grid":  # the seed orders the points; the trial's number is its place in that order
            return optuna.samplers.GridSampler(self.space.grid(), seed=self.seed)
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        if self.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)

    def _tried(self, number: int, one: FrozenTrial) -> Tried:
        score = one.value if one.state == TrialState.COMPLETE and one.value is not None else math.nan
        chosen, reason = self.space.chosen(one.params), str(one.user_attrs.get("reason", ""))
        return Tried(self.name, number, WORDS[one.state], score, len(one.intermediate_values), chosen, reason)
