"""Arguments typed on a command line."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.problem import parse_arguments, parse_named
from landscape.problem.arguments import parse_value


def test_parse_arguments_example() -> None:
    parsed = parse_arguments("lr=0.1, momentum=0.9,betas=(0.9,0.99),nesterov=true")
    assert parsed == {"lr": 0.1, "momentum": 0.9, "betas": (0.9, 0.99), "nesterov": True}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-1e-3", -1e-3),
        ("+5", 5),
        ("1_000", 1000),
        ("True", True),
        ("FALSE", False),
        ("none", None),
        ("-inf", -math.inf),
        ("relu", "relu"),
        ("-relu", "-relu"),
        ("data/x-1.txt", "data/x-1.txt"),
        ("pkg.mod:fn", "pkg.mod:fn"),
        ("~/a b", "~/a b"),
        ("1if", "1if"),
        ("007", "007"),
        ("f(1)", "f(1)"),
        ("...", "..."),
        ("'true'", "true"),
        ('""', ""),
        ("()", ()),
        ("(1,)", (1,)),
        ("[relu, tanh, a/b, none]", ["relu", "tanh", "a/b", None]),
        ("((1,2),[3,(4,)])", ((1, 2), [3, (4,)])),
        ("{a: 1, 'b': (true, 2)}", {"a": 1, "b": (True, 2)}),
        ("Ü", "Ü"),
    ],
)
def test_parse_value(text: str, value: object) -> None:
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)
    assert parse_arguments(f"x={text},y={text}") == {"x": value, "y": value}


def test_parse_nan() -> None:
    assert math.isnan(parse_arguments("x=NaN")["x"])


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.from_regex("[a-z_]{1,5}", fullmatch=True), values, max_size=4))
def test_round_trip_of_python_literals(arguments: dict) -> None:
    assert parse_arguments(",".join(f"{key}={value!r}" for key, value in arguments.items())) == arguments


@given(st.text(alphabet="ab=,:'\"()[]{}\\1.-\n ", max_size=12))
def test_any_text_parses_or_raises_value_error(text: str) -> None:
    for parse in (parse_arguments, parse_named):
        with contextlib.suppress(ValueError):  # and not of anything else
            parse(text)


def test_empty_text() -> None:
    assert parse_arguments("") == parse_arguments("  ") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr", "key=value pairs separated by commas, got 'lr'"),
        ("lr=", "key=value pairs separated by commas, got 'lr='"),
        ("lr=1,", "key=value pairs separated by commas, got ''"),
        ("=1", "before '=', got ''"),
        ("weight-decay=1", "before '=', got 'weight-decay'"),
        ("lr=1,lr=2", "'lr' is given twice"),
        ("betas=(1,2", r"'\(' is not closed"),
        ("betas=1,2)", r"'\)' at position 9 .* has no opening counterpart"),
        ("x=(1]", "has no opening counterpart"),
        ("x='a", '"\'" is not closed'),
    ],
)
def test_invalid_arguments(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_arguments(text)


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("sgd", "sgd", {}),
        ("sgd:lr=0.1,momentum=0.9", "sgd", {"lr": 0.1, "momentum": 0.9}),
        ("pkg.mod:Class", "pkg.mod:Class", {}),
        ("pkg.mod:Class:lr=1", "pkg.mod:Class", {"lr": 1}),
        ("dir/file.py:Class: lr = 1", "dir/file.py:Class", {"lr": 1}),
        ("sgd:path=a:b=c", "sgd", {"path": "a:b=c"}),
        ("f:x={a: 1}", "f", {"x": {"a": 1}}),
    ],
)
def test_parse_named(text: str, name: str, arguments: dict) -> None:
    assert parse_named(text) == (name, arguments)


@pytest.mark.parametrize("text", ["", "  ", "sgd:", ":lr=1", ":x"])
def test_invalid_names(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected name or name:key=value,\.\.\., got"):
        parse_named(text)


def test_dash_in_key() -> None:
    with pytest.raises(ValueError, match="got 'weight-decay'"):
        parse_named("sgd:weight-decay=1")
