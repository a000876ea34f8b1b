"""The platform on the lab, for the tests of releases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Lab
from tests.system.platform import Platform


@pytest.fixture(scope="module")
def module_platform(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One folder of environments a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONLYVIPS_ENVIRONMENTS_DIR", "")
        yield Platform(lab, tmp_path_factory.mktemp("environments"))


@pytest.fixture
def platform(module_platform: Platform) -> Platform:
    """Nothing open, nothing faulty."""
    module_platform.clean()
    return module_platform
