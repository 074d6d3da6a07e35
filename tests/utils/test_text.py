"""Numbers as text in messages."""

import pytest

from landscape._utils.text import counted


@pytest.mark.parametrize(("number", "expected"), [(0, "0 ranks"), (1, "1 rank"), (2, "2 ranks")])
def test_counted(number, expected):
    assert counted(number, "rank") == expected
