"""docs/faults.md: each test that it names is there, each fault test is on it, and the code has each key and text that it quotes."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from vloc_ros.aerial.fix import AerialReject
from vloc_ros.retrieval.coarse_to_fine import FineReranker
from vloc_ros.retrieval.rerank import Reranker
from vloc_ros.ros.problems import Problem
from vloc_ros.ros.statistics import DropReason

ROOT = Path(__file__).resolve().parents[1]


def rows() -> list[list[str]]:
    """Cells of the table, without its head."""
    lines = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8").splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return table[1:]


def names_in(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@cache
def texts() -> str:
    """All text constants of the package, one in a line; the pieces of an f-string follow each other."""
    found = []
    for file in sorted((ROOT / "vloc_ros").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


@cache
def keys() -> set[str]:
    """What can be a key of /diagnostics."""
    problems = {f"problem_{problem.name.lower()}" for problem in Problem}
    kept = {f"{reranker.keeps.replace(' ', '_')}_made_again" for reranker in (Reranker, FineReranker)}
    dropped = {f"dropped_{reason.name.lower()}" for reason in DropReason}
    refused = {f"refused_{reason.name.lower()}" for reason in AerialReject}
    return problems | kept | dropped | refused | set(texts().splitlines())


def test_there_is_a_row_for_each_fault_test_and_a_test_for_each_row() -> None:
    named: set[str] = set()
    for fault, does, _, tests in rows():
        assert fault and does
        found = re.findall(r"`(test_\w+\.py)::(test_\w+)`", tests)
        assert found, f"the row '{fault}' names no test"
        for file, test in found:
            assert test in names_in(ROOT / "test" / file), f"{file} has no {test}"
            named.add(f"{file}::{test}")
    for file in sorted((ROOT / "test").glob("test_faults_*.py")):
        if file.name != Path(__file__).name:
            missing = {f"{file.name}::{test}" for test in names_in(file)} - named
            assert not missing, f"docs/faults.md has no row for {missing}"


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:40])
def test_the_code_has_what_the_row_quotes(row: list[str]) -> None:
    said = row[2]
    quoted, named = re.findall(r'"([^"]+)"', said), re.findall(r"`([^`]+)`", said)
    assert quoted or named or said.startswith("nothing"), "a reason, or the word that there is none"
    for text in quoted:
        assert text in texts(), f"no text of the package holds '{text}'"
    for key in named:
        assert key in keys(), f"'{key}' is no key of /diagnostics"
