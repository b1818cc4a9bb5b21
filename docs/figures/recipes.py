"""docs/reference/recipes.md, written from the recipe model so that it cannot be out of date.

python docs/figures/recipes.py [OUT.md]
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import BaseModel

from tumorscope.training import recipe

OUT = Path(__file__).resolve().parent.parent / "reference" / "recipes.md"
SECTIONS = {
    "model": recipe.Model,
    "input": recipe.Input,
    "[phases]": recipe.Phase,
    "optimiser": recipe.Optimiser,
    "loss": recipe.Loss,
    "data": recipe.Data,
    "augmentation": recipe.Augmentation,
}
OPENING = """# Recipes

A recipe is a TOML file that says how a model is trained. `tumorscope train NAME DATA -o RUN` takes one that comes
with the package ({names}), `tumorscope train FILE.toml DATA -o RUN` one of yours. An unknown key is refused, and
the nearest valid one is named. This page is made by `docs/figures/recipes.py`.
"""


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    parts = [OPENING.format(names=", ".join(f"`{name}`" for name in recipe.names()))]
    top = {name: field for name, field in recipe.Recipe.model_fields.items() if name not in (*SECTIONS, "phases")}
    parts.append("## Top of the file\n\n" + table(top))
    for name, section in SECTIONS.items():
        parts.append(f"## `[{name}]`\n\n{first_line(section)}\n\n{table(section.model_fields)}")
    out.write_text("\n".join(parts), encoding="utf-8")


def first_line(section: type[BaseModel]) -> str:
    return (section.__doc__ or "").strip().splitlines()[0]


def table(fields: dict) -> str:
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for name, field in fields.items():
        default = "required" if field.is_required() else f"`{field.get_default(call_default_factory=True)}`"
        rows.append(f"| `{name}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()
