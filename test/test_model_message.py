"""What the topic ``model`` says, and what is no such message."""

import json

import pytest

from vloc_ros.errors import DataError
from vloc_ros.ros.model_message import ModelHint, dumps, loads


@pytest.mark.parametrize("hint", [ModelHint(), ModelHint("site-12", "0123456789abcdef" * 4)])
def test_what_is_said_is_understood(hint):
    assert loads(dumps(hint)) == hint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "site-3",
        "[]",
        "3",
        "null",
        "{}",
        '{"version": 3, "sha256": ""}',
        '{"version": "site-3", "sha256": null}',
        '{"version": "site-3", "sha256": ""}',
        json.dumps({"version": "", "sha256": "a" * 64}),
        json.dumps({"version": "site-0", "sha256": "a" * 64}),
        json.dumps({"version": "../site-3", "sha256": "a" * 64}),
        json.dumps({"version": "site-3", "sha256": "A" * 64}),
        json.dumps({"version": "site-3", "sha256": "a" * 64, "x": "b" * 5000}),
        "[" * 3000,
    ],
)
def test_what_is_none_is_refused_in_one_sentence(text):
    with pytest.raises(DataError, match="the topic 'model'") as caught:
        loads(text)
    assert len(str(caught.value)) < 300


def test_what_it_has_beside_is_ignored():
    assert loads('{"version": "", "sha256": "", "later": [1]}') == ModelHint()
