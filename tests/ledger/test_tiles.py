"""Tiles and entry bundles are called, cut and filled as C2SP tlog-tiles says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.domain.errors import VerificationFailed
from vaultctl.ledger.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    perfect_root,
    proves_consistency,
    proves_inclusion,
    root,
    root_of,
)
from vaultctl.ledger.tiles import (
    Tile,
    Tiles,
    decode_bundle,
    encode_bundle,
    entry_bundles,
    hash_tiles,
    is_in_tree,
    parse_path,
)

PATHS = [
    (Tile(0, 0), "tile/0/000"),
    (Tile(0, 999), "tile/0/999"),
    (Tile(0, 1000), "tile/0/x001/000"),
    (Tile(0, 1_234_067), "tile/0/x001/x234/067"),
    (Tile(3, 67, 1), "tile/3/067.p/1"),
    (Tile(63, 1_234_067, 255), "tile/63/x001/x234/067.p/255"),
    (Tile(None, 0, 8), "tile/entries/000.p/8"),
    (Tile(None, 1_234_067), "tile/entries/x001/x234/067"),
]


@pytest.mark.parametrize(("tile", "path"), PATHS)
def test_a_tile_has_one_path_and_a_path_names_one_tile(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert parse_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "tile/0",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/067",
        "tile/0/001/067",
        "tile/0/x001/x067",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/000\n",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/../000",
        "tile/Entries/000",
        "tile/0/" + "x001/" * 7 + "000",
    ],
)
def test_another_spelling_names_no_tile(path: str) -> None:
    assert parse_path(path) is None


def test_the_specifications_example_of_a_tree_has_the_tiles_that_it_lists() -> None:
    tiles = list(hash_tiles(70_000))
    assert tiles[:273] == [Tile(0, number) for number in range(273)]
    assert tiles[273:] == [Tile(0, 273, 112), Tile(1, 0), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert list(entry_bundles(70_000)) == [*(Tile(None, number) for number in range(273)), Tile(None, 273, 112)]


def test_a_tree_of_256_has_a_full_tile_and_one_hash_above_it() -> None:
    assert list(hash_tiles(256)) == [Tile(0, 0), Tile(1, 0, 1)]
    assert list(hash_tiles(0)) == list(entry_bundles(0)) == []


@given(st.integers(0, 200_000), st.integers(0, 200_000))
def test_what_is_new_since_a_smaller_tree_is_what_that_one_did_not_have(one: int, other: int) -> None:
    since, size = sorted((one, other))
    old, new = set(hash_tiles(since)), list(hash_tiles(size))
    assert list(hash_tiles(size, since)) == [tile for tile in new if tile not in old]
    assert all(is_in_tree(tile, size) for tile in new)
    assert list(entry_bundles(size, since)) == [
        tile for tile in entry_bundles(size) if tile not in entry_bundles(since)
    ]


def test_what_reaches_beyond_the_tree_is_not_in_it() -> None:
    assert is_in_tree(Tile(0, 0, 5), 5)
    assert not is_in_tree(Tile(0, 0, 6), 5)
    assert not is_in_tree(Tile(0, 0), 255)
    assert not is_in_tree(Tile(1, 0, 1), 255)
    assert not is_in_tree(Tile(None, 1, 1), 256)


SIZE = 66_000  # three levels of tiles
LEAVES = [leaf_hash(b"entry %d" % number) for number in range(SIZE)]


@pytest.fixture(scope="module")
def levels() -> list[list[bytes]]:
    found = [LEAVES]
    while len(found[-1]) >= 256:
        below = found[-1]
        found.append([perfect_root(below[at : at + 256]) for at in range(0, len(below) // 256 * 256, 256)])
    return found


def of(levels: list[list[bytes]], size: int) -> Tiles:
    def read(tile: Tile) -> bytes:
        assert is_in_tree(tile, size)
        assert tile.level is not None
        return b"".join(levels[tile.level][tile.number * 256 : tile.number * 256 + tile.width])

    return Tiles(size, read)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65_535, 65_536, 65_537, SIZE])
def test_roots_and_proofs_come_from_the_tiles_of_any_tree(levels: list[list[bytes]], size: int) -> None:
    whole = root_of(LEAVES[:size])
    assert root(size, of(levels, size)) == whole
    for index in {0, size // 2, size - 1}:
        assert proves_inclusion(LEAVES[index], index, size, inclusion_proof(index, size, of(levels, size)), whole)
    for old in {1, size // 2 or 1, size}:
        proof = consistency_proof(old, size, of(levels, size))
        assert proves_consistency(old, size, proof, root_of(LEAVES[:old]), whole)


def test_a_tile_that_holds_too_little_is_an_error(levels: list[list[bytes]]) -> None:
    with pytest.raises(VerificationFailed):
        root(300, Tiles(300, lambda _tile: bytes(31)))


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_a_bundle_holds_its_entries_and_says_if_it_does_not(entries: list[bytes]) -> None:
    data = encode_bundle(entries)
    assert decode_bundle(data, len(entries)) == entries
    for other in (data + b"\0", data[:-1], data + b"\0\0"):
        if other != data:
            with pytest.raises(VerificationFailed):
                decode_bundle(other, len(entries))


def test_an_entry_that_its_length_cannot_express_is_refused() -> None:
    assert len(encode_bundle([bytes(65_535)])) == 65_537
    with pytest.raises(ValueError):
        encode_bundle([bytes(65_536)])
