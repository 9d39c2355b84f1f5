"""Files of PyTorch are opened without another process, where that process is not the point."""

from __future__ import annotations

import pytest

from unmask.checkpoint import foreign, unpickle


@pytest.fixture(autouse=True, scope="module")
def opened_in_this_process():
    """A child that imports torch takes two seconds per file; these tests are about the weights.

    What cannot be opened goes to the child all the same, which says why. The child is tested in
    ``checkpoint/test_foreign.py``.
    """
    child = foreign._run_child

    def run(path, result):
        try:
            unpickle.main(str(path), str(result), 0, 0)
        except Exception:  # noqa: BLE001 - the child fails as well, and tells it
            child(path, result)

    with pytest.MonkeyPatch.context() as patch:
        # The limits would stay with this process.
        patch.setattr(unpickle, "_limit", lambda *_: None)
        patch.setattr(foreign, "_run_child", run)
        yield
