"""docs/reference/recipes.md, written from the recipe models so that it cannot be out of date.

python docs/figures/recipes.py [OUT.md]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from tumorscope.training import recipe
from tumorscope.training.sections import Section

OUT = Path(__file__).resolve().parent.parent / "reference" / "recipes.md"
LIMITS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
OPENING = """# Recipes

A recipe is a TOML file that says how a model is trained. `tumorscope train NAME DATA -o RUN` takes one that comes
with the package, `tumorscope train FILE.toml DATA -o RUN` one of yours; `--set KEY=VALUE` changes a value, as in
`--set fit.batch=16` or `--set phases.0.rate=1e-4`. An unknown key is refused, and the nearest valid one is named.
What a recipe may hold hangs on its `task`. This page is made by `docs/figures/recipes.py`.
"""


def write(out: Path) -> None:
    """Write the page."""
    shipped = {name: recipe.load(name).task for name in recipe.names()}
    parts = [OPENING]
    for task, model in recipe.TASKS.items():
        names = ", ".join(f"`{name}`" for name, own in shipped.items() if own == task)
        parts.append(f"## Task `{task}`\n\n{first_line(model)}\n\nComes with the package: {names or 'none'}.\n")
        parts += sections(model)
    out.write_text("\n".join(parts), encoding="utf-8")


def sections(model: type[Section]) -> list[str]:
    """The tables of a recipe: its own keys first, then each section's."""
    inner = {name: section for name, field in model.model_fields.items() if (section := section_of(field.annotation))}
    top = {name: field for name, field in model.model_fields.items() if name not in inner}
    found = [f"### Top of the file\n\n{table(top)}"]
    for name, section in inner.items():
        listed = section is not model.model_fields[name].annotation
        title = f"[[{name}]]" if listed else f"[{name}]"
        found.append(f"### `{title}`\n\n{first_line(section)}\n\n{table(section.model_fields)}")
    return found


def section_of(annotation: Any) -> type[Section] | None:
    """The section that a field holds, alone or in a tuple; None for a plain value."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind
    return None


def first_line(section: type[Section]) -> str:
    return (section.__doc__ or "").strip().splitlines()[0]


def table(fields: dict[str, Any]) -> str:
    rows = ["| key | default | allowed | meaning |", "|---|---|---|---|"]
    for name, field in fields.items():
        default = "required" if field.is_required() else f"`{shown(field.get_default(call_default_factory=True))}`"
        rows.append(f"| `{name}` | {default} | {allowed(field)} | {field.description} |")
    return "\n".join(rows) + "\n"


def allowed(field: Any) -> str:
    """The words or the limits of a value; empty where its meaning says all."""
    limits = [f"{sign} {getattr(one, name):g}" for one in field.metadata for name, sign in LIMITS if hasattr(one, name)]
    named = [f"`{shown(word)}`" for word in words(field.annotation)]
    inner = get_args(field.annotation)
    if named and any(kind is int or get_origin(kind) is Annotated for kind in inner):
        named.insert(0, "a number")
    return ", ".join(named + limits)


def words(annotation: Any) -> list[Any]:
    """The values of all literals in a type, in order."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [word for inner in get_args(annotation) for word in words(inner)]


def shown(value: Any) -> str:
    """A default as TOML writes it; an absent value in a word."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {shown(one)}" for key, one in value.items()) + " }" if value else "{}"
    return "none" if value is None else json.dumps(value)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT)
