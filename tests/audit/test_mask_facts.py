from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tumorscope.audit.mask_facts import OF_ROW, SCHEMA, STORED, look, packed, unpacked


def test_look_never_raises(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    facts, small = look({"id": "a", "path": "none.png", "mask_path": str(tmp_path / "m.png")})
    assert facts["problem"] and small is None and facts["marked"] is None


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
def test_unpacking_undoes_packing(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (1, height, width), np.uint8), rng.random((1, height, width)) < 0.5
    facts = dict.fromkeys(SCHEMA) | {"id": "a", "mask_path": "m", "fit": float(rng.random()), "marked": 3}
    row = packed(facts, small)
    assert set(row) == set(STORED) - {"key"} and not set(row) & set(OF_ROW)
    again, pair = unpacked({"id": "a", "mask_path": "m"}, row)
    assert again == facts and pair is not None
    assert np.array_equal(pair[0], small[0]) and np.array_equal(pair[1], small[1]) and pair[1].dtype == bool
