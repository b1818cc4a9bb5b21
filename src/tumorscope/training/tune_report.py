"""The page of a tuning: its worth on scans that no trial saw, how much choosing flatters, which settings mattered."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from tumorscope.evaluation.evaluate import Evaluation, evaluate_predictions
from tumorscope.evaluation.paired import Pair, compare_models
from tumorscope.evaluation.predictions import Predictions
from tumorscope.evaluation.results import known
from tumorscope.report.charts import chart, drawn
from tumorscope.report.document import Figure, Section, Table, write_document
from tumorscope.training.search_space import Choice, Range, SearchSpace
from tumorscope.training.tune import Tuned
from tumorscope.training.tune_importance import FEWEST, Importance, centred, importances
from tumorscope.training.tune_search import WORDS, Tried

#: Metric of an evaluation that a recipe's ``fit.monitor`` is, for two classes and for several.
METRIC = {
    "auc": ("roc_auc", "macro_roc_auc"),
    "accuracy": ("accuracy", "accuracy"),
    "balanced_accuracy": ("balanced_accuracy", "balanced_accuracy"),
    "f1": ("f1", "macro_f1"),
    "loss": ("roc_auc", "macro_roc_auc"),
}
COLUMNS = 4  # panels in a row of the chart of settings
OPTIMISM = (
    "A best score is the largest of many noisy ones and so too good, even where every trial is equally good. The scans "
    "of an outer fold chose nothing; what they say holds for the whole procedure, search and training, on new scans "
    "like these. An AUC of all scans together also compares scans of different folds, and differs from the folds' mean."
)


def write_report(result: Tuned, out: Path, command: str = "") -> dict[str, Any]:
    """``out/report.html`` of a finished tuning, and its content as plain data for ``tune.json``.

    Parameters
    ----------
    result : Tuned
    out : Path
    command : str
        What was typed.
    """
    recipe = result.recipe
    found, pair = _judged(result)
    mattered = importances(result.trials, result.space, lower=recipe.fit.monitor == "loss", seed=recipe.seed)
    flattery = _flattery(result)
    lead = [*_lead(result, found, pair), _mattered(result, mattered)]
    sections = [
        _honest(result, flattery, found, pair),
        _settings(result, mattered),
        _searches(result),
        _chosen(result),
    ]
    asked = result.protocol
    facts = {
        "recipe": recipe.name,
        "sampler": f"{asked['sampler']}, {asked['trials']} trials a search",
        "score of a trial": f"{recipe.fit.monitor} of "
        + (f"{asked['inner']} inner folds, their mean" if asked["inner"] else "the validation scans"),
        "seed": recipe.seed,
        "command": command,
    }
    write_document(out / "report.html", f"Tuning of {recipe.name}", lead, sections, facts)
    return known(
        {
            "protocol": asked,
            "sentences": lead,
            **flattery,
            "folds": [vars(one) for one in result.judgements],
            "test": None if found is None else found.to_dict(),
            "against_untuned": None if pair is None else pair.to_dict(),
            "importance": [{**vars(one), "told": one.told} for one in mattered],
            "best": {"search": result.chosen.search, "score": result.chosen.score, "settings": result.chosen.chosen},
        }
    )


def _judged(result: Tuned) -> tuple[Evaluation | None, Pair | None]:
    """The evaluation of the scans held out, and the tuned against the recipe as it is."""
    if result.predictions.is_empty():
        return None, None
    tuned, plain = (Predictions.of(one, "tuned") for one in (result.predictions, result.untuned))
    rounds, seed = result.recipe.data.rounds, result.recipe.seed
    metric = METRIC[result.recipe.fit.monitor][0 if tuned.binary else 1]
    models = {"the tuned recipe": tuned, "the untuned one": plain}
    tests = compare_models(models, metric=metric, rounds=rounds, seed=seed)
    return evaluate_predictions(tuned, rounds=rounds, seed=seed), tests.pairs[0]


def _flattery(result: Tuned) -> dict[str, float]:
    """Means over the outer folds: best inner score, the same figure held out, and how much the first is better."""
    if not result.judgements:
        return {}
    inner, tuned, untuned = (
        float(np.mean([getattr(one, name) for one in result.judgements])) for name in ("inner", "tuned", "untuned")
    )
    sign = -1 if result.recipe.fit.monitor == "loss" else 1
    return {"inner": inner, "outer": tuned, "untuned": untuned, "optimism": sign * (inner - tuned)}


def _lead(result: Tuned, found: Evaluation | None, pair: Pair | None) -> list[str]:
    if found is None or pair is None:
        return ["No scan was held out, so nothing can be said of what the tuned recipe is worth on new scans."]
    means, monitor = _flattery(result), result.recipe.fit.monitor
    folds = len(result.judgements)
    where = f"averaged over {folds} outer folds" if folds > 1 else "on the test scans"
    less = means["optimism"]
    told = (
        f"{abs(less):.3f} of the first is what choosing flatters"
        if less > 0.0005
        else "choosing did not flatter this time, which with so few scans is luck"
    )
    return [
        found[pair.metric].sentence(),
        f"The best settings scored {means['inner']:.3f} ({monitor}) on the scans that chose them and "
        f"{means['outer']:.3f} on scans that no trial saw, {where}: {told}. Report the second.",
        pair.sentence().replace(" corrected for all pairs", ""),
    ]


def _mattered(result: Tuned, mattered: list[Importance]) -> str:
    whole = sum(one.state == "complete" for one in result.trials)
    told = [one for one in mattered if one.told]
    if not mattered:
        fewest = "" if whole >= FEWEST else f", fewer than {FEWEST}"
        return f"Which settings mattered cannot be told from {whole} whole trials{fewest}."
    if not told:
        return f"No setting is shown to matter: among {whole} whole trials chance could explain every difference."
    words = [f"{one.setting} ({100 * one.share:.0f} % of the variance; best {one.best})" for one in told]
    rest = len(mattered) - len(told)
    of_others = f"; of the other {rest} chance could explain every difference" if rest else ""
    return f"Among {whole} whole trials these settings mattered: {', '.join(words)}{of_others}."


def _honest(result: Tuned, means: dict[str, float], found: Evaluation | None, pair: Pair | None) -> Section:
    if found is None or pair is None:
        return Section("What it is worth", ["No scan was held out"])
    columns = ("outer fold", "scans held out", "best inner score", "held out", "untuned, held out")
    rows: list[tuple[Any, ...]] = [
        (one.search, one.scans, f"{one.inner:.3f}", f"{one.tuned:.3f}", f"{one.untuned:.3f}")
        for one in result.judgements
    ]
    if len(rows) > 1:
        rows.append(("mean", found.scans, *(f"{means[key]:.3f}" for key in ("inner", "outer", "untuned"))))
    told = [
        (row["title"], row["value"], row["low"], row["high"], row["trivial"], row["reason"] or "")
        for row in found.table().iter_rows(named=True)
    ]
    metrics = ("metric", "value", "low", "high", "without skill", "why unknown")
    chosen = [(one.search, *map(_shown, one.chosen.values())) for one in result.judgements]
    tables = [
        Table(columns, rows, f"{result.recipe.fit.monitor}, fold by fold"),
        Table(metrics, told, "All scans held out, together, with 95 % intervals over groups"),
        Table(("outer fold", *_headings(result.space)), chosen, "Best settings of each fold"),
    ]
    said = [found.sentences()[0], *found.notes, pair.sentence().replace(" corrected for all pairs", "")]
    return Section("What it is worth", said, tables, hint=OPTIMISM)


def _settings(result: Tuned, mattered: list[Importance]) -> Section:
    rows = [(one.setting, one.share, one.p, one.best, "yes" if one.told else "cannot be told") for one in mattered]
    columns = ("setting", "share of variance", "p", "highest scores at", "matters")
    tables = [Table(columns, rows, "Whole trials of all searches, each less the mean of its search")] if rows else []
    hint = (
        "The share is what a setting explains by itself (functional analysis of variance of a random forest), p how "
        "often shuffled scores differ as much between its values, corrected for the number of settings. Settings were "
        "tried within these bounds only, and by TPE more often where scores were high."
    )
    figures = [Figure(picture, caption) for picture, caption in [_slices(result)] if picture is not None]
    return Section("Which settings mattered", [_mattered(result, mattered)], tables, figures, hint=hint)


def _slices(result: Tuned) -> tuple[Any, str]:
    """A panel a setting: its values against the scores, a colour a search."""
    whole = [one for one in result.trials if one.state == "complete"]
    if not whole:
        return None, ""
    scores, keys = centred(whole), list(result.space.settings)
    columns = min(COLUMNS, len(keys))
    rows = math.ceil(len(keys) / columns)
    figure, axes = chart(2.7 * columns, 2.4 * rows, rows, columns)
    names = list(dict.fromkeys(one.search for one in whole))
    for axis, key in zip(axes.flat, keys, strict=False):
        place, ticks = _places(result.space, key, whole)
        for number, name in enumerate(names):
            own = [k for k, one in enumerate(whole) if one.search == name]
            nudge = 0.0 if ticks is None else 0.12 * (number - (len(names) - 1) / 2)
            axis.scatter([place[k] + nudge for k in own], scores[own], s=14, color=f"C{number}", label=name, alpha=0.8)
        if ticks is not None:
            axis.set_xticks(range(len(ticks)), ticks)
        if isinstance(one := result.space.settings[key], Range) and one.log:
            axis.set_xscale("log")
        axis.axhline(0, color="0.8", linewidth=0.8, zorder=0)
        axis.set_title(key, fontsize=9)
        axis.tick_params(labelsize=8)
    for axis in axes.flat[len(keys) :]:
        axis.set_visible(False)
    axes[0, 0].legend(fontsize=7)
    axes[0, 0].set_ylabel(f"{result.recipe.fit.monitor}, less the search's mean", fontsize=8)
    return drawn(figure), "Each dot is a whole trial: one setting across, its score up, a colour for each search"


def _places(space: SearchSpace, key: str, trials: list[Tried]) -> tuple[list[float], list[str] | None]:
    """Where each trial stands along an axis, and the words at its ticks; None for a range."""
    dimension = space.settings[key]
    values = [one.chosen[key] for one in trials]
    if isinstance(dimension, Choice):
        return [dimension.options.index(value) for value in values], [_shown(one) for one in dimension.options]
    return values, None


def _searches(result: Tuned) -> Section:
    names = list(dict.fromkeys(one.search for one in result.trials))
    lower = result.recipe.fit.monitor == "loss"
    figure, axes = chart(6.0, 3.0)
    axis = axes[0, 0]
    said, rows = [], []
    for number, name in enumerate(names):
        own = [one for one in result.trials if one.search == name]
        scores = np.array([one.score for one in own])
        best = (np.fmin if lower else np.fmax).accumulate(scores)
        place = np.arange(len(own))
        axis.scatter(place, scores, s=14, color=f"C{number}", alpha=0.6)
        axis.plot(place, best, color=f"C{number}", label=name, linewidth=1.5, drawstyle="steps-post")
        whole, pruned, failed = (sum(one.state == state for one in own) for state in WORDS.values())
        said.append(f"search {name}: {len(own)} trials, {whole} whole, {pruned} cut short, {failed} failed")
        rows += [
            (one.search, one.number, one.state, one.score, one.epochs, *map(_shown, one.chosen.values()), one.reason)
            for one in own
        ]
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set(xlabel="trial", ylabel=f"score: {result.recipe.fit.monitor}")
    axis.legend(fontsize=8)
    columns = ("search", "trial", "state", "score", "epochs", *_headings(result.space), "why it failed")
    tables = [Table(columns, rows, "All trials")]
    hint = "A failed trial came to no score; one cut short was worse than the median of the others at the same epoch."
    shown = [Figure(drawn(figure), "Score of each whole trial, and the best so far")]
    return Section("How the searches went", said, tables, shown, hint=hint)


def _chosen(result: Tuned) -> Section:
    best = result.chosen
    rows = [(key, _shown(value), _range(result.space.settings[key])) for key, value in best.chosen.items()]
    several = len({one.search for one in result.trials}) > 1
    said = (
        "Each outer fold has best settings of its own. Those in best.toml come from a last search, over all scans; no "
        "scan is left to judge them, and the figure above, of the same procedure with fewer scans, stands for them"
        if several
        else "The settings in best.toml are those of the only search, and the test scans judged them"
    )
    if not result.judgements:
        said = "The settings in best.toml are those of the only search; nothing was held out to judge them"
    return Section(
        "The chosen settings",
        [said, f"Their score, which chose them and flatters them, was {best.score:.3f}"],
        [Table(("setting", "value", "searched"), rows, "best.toml, a recipe for tumorscope train")],
    )


def _headings(space: SearchSpace) -> list[str]:
    """Names of the settings without the table they stand in, where that leaves them apart."""
    short = [key.rpartition(".")[2] for key in space.settings]
    return short if len(set(short)) == len(short) else list(space.settings)


def _range(dimension: Choice | Range) -> str:
    if isinstance(dimension, Choice):
        return ", ".join(map(_shown, dimension.options))
    step = "" if dimension.step is None else f" by {dimension.step:g}"
    return f"{dimension.low:g} to {dimension.high:g}{step}" + (", logarithmic" if dimension.log else "")


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
