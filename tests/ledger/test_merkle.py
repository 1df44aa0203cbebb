"""The Merkle tree and its proofs, against public vectors and against the definitions of RFC 6962 themselves."""

import base64
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.recomputed import defined_root
from vaultctl.ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    Node,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    perfect_root,
    perfect_subtrees,
    proves_consistency,
    proves_inclusion,
    root,
    root_of,
)

VECTORS = Path(__file__).parent / "vectors"


def cases(name: str) -> list[Any]:
    found = json.loads((VECTORS / name).read_text())
    return [pytest.param(case, id=key) for key, case in found.items()]


def binary(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def test_there_are_98_vectors_of_each_kind() -> None:
    assert len(cases("merkle-inclusion.json")) == len(cases("merkle-consistency.json")) == 98


@pytest.mark.parametrize("case", cases("merkle-inclusion.json"))
def test_inclusion_vector(case: dict[str, Any]) -> None:
    proof = [binary(part) for part in case["proof"] or []]
    holds = proves_inclusion(binary(case["leafHash"]), case["leafIdx"], case["treeSize"], proof, binary(case["root"]))
    assert holds is not case["wantErr"]


@pytest.mark.parametrize("case", cases("merkle-consistency.json"))
def test_consistency_vector(case: dict[str, Any]) -> None:
    proof = [binary(part) for part in case["proof"] or []]
    roots = binary(case["root1"]), binary(case["root2"])
    assert proves_consistency(case["size1"], case["size2"], proof, *roots) is not case["wantErr"]


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(b"entry %d" % number) for number in range(count)]


def reader(hashes: list[bytes]) -> Any:
    def read(node: Node) -> bytes:
        assert node.number + 1 << node.level <= len(hashes)
        return defined_root(hashes[node.number << node.level : node.number + 1 << node.level])

    return read


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 9, 70, 255, 256, 257])
def test_the_root_is_the_one_that_the_rfc_defines(size: int) -> None:
    hashes = leaves(size)
    assert root_of(hashes) == root(size, reader(hashes)) == defined_root(hashes)


def test_the_empty_trees_root_is_the_hash_of_nothing() -> None:
    assert Frontier().root() == EMPTY_ROOT == sha256(b"").digest()


@given(st.integers(1, 70), st.data())
def test_every_leaf_of_every_tree_is_proved_to_be_in_it_and_nowhere_else(size: int, data: st.DataObject) -> None:
    hashes = leaves(size)
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, reader(hashes))
    assert proves_inclusion(hashes[index], index, size, proof, defined_root(hashes))
    other = data.draw(st.integers(0, size - 1).filter(lambda number: number != index)) if size > 1 else 1
    assert not proves_inclusion(hashes[index], other, size, proof, defined_root(hashes))
    assert not proves_inclusion(leaf_hash(b"another"), index, size, proof, defined_root(hashes))


@given(st.integers(1, 70), st.data())
def test_every_tree_is_proved_to_begin_with_every_smaller_one(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new))
    hashes = leaves(new)
    proof = consistency_proof(old, new, reader(hashes))
    roots = defined_root(hashes[:old]), defined_root(hashes)
    assert proves_consistency(old, new, proof, *roots)
    spoiled = [*hashes]
    spoiled[data.draw(st.integers(0, old - 1))] = leaf_hash(b"another")
    assert not proves_consistency(old, new, proof, defined_root(spoiled[:old]), roots[1])
    if new > old:
        assert not proves_consistency(old, new, proof, roots[0], defined_root(spoiled))


@given(st.integers(0, 600), st.integers(0, 600))
def test_a_range_consists_of_the_fewest_perfect_subtrees_in_order(one: int, other: int) -> None:
    begin, end = sorted((one, other))
    at = begin
    for node in perfect_subtrees(begin, end):
        assert node.number << node.level == at
        at = node.number + 1 << node.level
    assert at == end


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_tree_grows_on_from_where_its_frontier_was_written_down(first: int, more: int) -> None:
    hashes = leaves(first + more)
    tree = Frontier()
    for leaf in hashes[:first]:
        tree.append(leaf)
    tree = Frontier(first, tree.encoded)
    for leaf in hashes[first:]:
        tree.append(leaf)
    assert tree.size == first + more
    assert tree.root() == root_of(hashes)


def test_a_tree_takes_whole_subtrees_where_they_fit() -> None:
    hashes = leaves(516)
    tree = Frontier()
    for begin in (0, 256):
        tree.append_node(8, perfect_root(hashes[begin : begin + 256]))
    for leaf in hashes[512:]:
        tree.append(leaf)
    assert tree.root() == defined_root(hashes)
    with pytest.raises(ValueError):
        tree.append_node(8, hashes[0])


@pytest.mark.parametrize(("size", "encoded"), [(-1, b""), (1, b""), (2, bytes(64)), (3, bytes(63))])
def test_a_frontier_that_no_tree_has_is_refused(size: int, encoded: bytes) -> None:
    with pytest.raises(ValueError):
        Frontier(size, encoded)


@pytest.mark.parametrize(("old", "new"), [(0, 5), (6, 5)])
def test_there_is_no_proof_from_an_empty_or_a_larger_tree(old: int, new: int) -> None:
    with pytest.raises(ValueError):
        consistency_proof(old, new, reader(leaves(6)))


@pytest.mark.parametrize("index", [-1, 5])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(index: int) -> None:
    with pytest.raises(ValueError):
        inclusion_proof(index, 5, reader(leaves(5)))
