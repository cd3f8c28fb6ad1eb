"""The pytest plug-in: a test fails when training in it has something wrong.

    def test_training(gradscope_clean): ...      the whole test is recorded and judged
    @pytest.mark.gradscope(ignore=["GS904"])     the same, with settings of `gradscope.expect_clean`

Inside a test, `with gradscope.expect_clean() as trace:` and `gradscope.expect_gradients(trace)` do it for a block.
Importing this module imports neither torch nor anything of gradscope's that needs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

_SETTINGS = frozenset({"fail_on", "ignore", "select"})


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "gradscope(select=[...], ignore=[...], fail_on='warning'): record the test, fail it when gradscope finds "
        "something wrong",
    )


@pytest.fixture
def gradscope_clean(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The recording of the test; the test fails when something is found in it."""
    import gradscope

    with gradscope.expect_clean(**_settings(request.node)) as trace:
        yield trace


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test with the mark uses the fixture."""
    for item in items:
        names = getattr(item, "fixturenames", None)
        if names is not None and item.get_closest_marker("gradscope") and "gradscope_clean" not in names:
            names.insert(0, "gradscope_clean")


def _settings(item: pytest.Item) -> dict[str, Any]:
    """What the test's mark says. Raises pytest.UsageError for what `expect_clean` does not take."""
    mark = item.get_closest_marker("gradscope")
    settings = dict(mark.kwargs) if mark is not None else {}
    unknown = sorted(settings.keys() - _SETTINGS)
    if unknown or (mark is not None and mark.args):
        raise pytest.UsageError(
            f"@pytest.mark.gradscope takes {', '.join(sorted(_SETTINGS))} by name, not {', '.join(unknown) or 'values'}"
        )
    return settings
