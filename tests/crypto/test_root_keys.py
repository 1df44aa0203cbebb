"""Where a vault's root key is kept, and what happens when it is not there as it should be."""

import base64
import errno
import json
import os
import pickle
import random
import shutil
import socket
import stat
import subprocess
import sys
import textwrap
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.crypto import os_keyring
from vaultctl.crypto.root_keys import (
    ProviderContext,
    RootKey,
    RootKeyConfig,
    create_root_key,
    describe_root_key,
    forget_root_key,
    load_root_key,
    passphrase,
)
from vaultctl.domain.errors import InvalidInput, VaultError, VaultLocked, VaultUnavailable
from vaultctl.domain.secrets import Secret

GOOD_PASSPHRASE = "four random words here"


@pytest.fixture
def context(tmp_path):
    def make(environ=(), ask=None, data_dir=None):
        return ProviderContext(
            data_dir=data_dir or tmp_path, vault_home=str(tmp_path), ask_passphrase=ask, environ=dict(environ)
        )

    return make


@pytest.fixture
def randomness():
    return random.Random(1).randbytes


@pytest.fixture
def key_file(context, randomness, tmp_path):
    _, config, _ = create_root_key("file", context(), randomness)
    return tmp_path / "root.key", config


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """A sealed root key, which takes a while to make, on purpose."""
    home = tmp_path_factory.mktemp("sealed")
    context = ProviderContext(
        data_dir=home, vault_home=str(home), ask_passphrase=None, environ={"VAULT_PASSPHRASE": GOOD_PASSPHRASE}
    )
    _, config, _ = create_root_key("passphrase", context, random.Random(1).randbytes)
    return home / "root.key.sealed", config


@pytest.fixture
def sealed_file(sealed, tmp_path):
    """A copy of it, to spoil."""
    made, config = sealed
    return Path(shutil.copy2(made, tmp_path)), config


class TestTheKeyItself:
    def test_it_prints_without_its_bytes(self, randomness):
        root = RootKey.new(randomness)
        assert repr(root) == f"RootKey(id='{root.id}', key=****)"
        assert f"{root}" == str(root) == repr(root)

    def test_it_is_not_pickled(self, randomness):
        with pytest.raises(TypeError):
            pickle.dumps(RootKey.new(randomness))

    def test_it_has_256_bits_and_an_id_of_its_own(self):
        one, other = RootKey.new(os.urandom), RootKey.new(os.urandom)
        assert len(one.key) == 32
        assert one.id.startswith("rk_")
        assert one.id != other.id
        assert one.key != other.key

    def test_what_settings_remember_of_it_is_camel_case(self):
        config = RootKeyConfig("file", "rk_1")
        assert msgspec.json.encode(config) == b'{"provider":"file","keyId":"rk_1"}'
        assert msgspec.json.decode(b'{"provider":"file","keyId":"rk_1"}', type=RootKeyConfig) == config

    def test_a_context_prints_nothing_of_its_environment(self, context):
        assert GOOD_PASSPHRASE not in repr(context({"VAULT_PASSPHRASE": GOOD_PASSPHRASE}))


class TestKeyFile:
    def test_what_was_created_loads_again(self, context, randomness, tmp_path):
        root, config, sentence = create_root_key("file", context(), randomness)
        assert load_root_key(config, context()) == root
        assert config == RootKeyConfig("file", root.id)
        assert sentence == f"The root key is in the key file {tmp_path / 'root.key'} (mode 0600)."

    def test_it_is_one_line_that_only_its_owner_can_read(self, key_file):
        path, config = key_file
        name, key_id, key = path.read_text().removesuffix("\n").split(" ")
        assert (name, key_id, len(base64.b64decode(key))) == ("vaultctl-root-key-1", config.key_id, 32)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_a_strict_or_lax_umask_changes_nothing(self, context, randomness, tmp_path):
        for umask in (0o777, 0o000):
            before = os.umask(umask)
            try:
                directory = tmp_path / f"{umask:o}"
                os.umask(before)
                directory.mkdir()
                os.umask(umask)
                create_root_key("file", context(data_dir=directory), randomness)
            finally:
                os.umask(before)
            assert stat.S_IMODE((directory / "root.key").stat().st_mode) == 0o600

    def test_its_directory_is_made_for_its_owner_alone(self, context, randomness, tmp_path):
        create_root_key("file", context(data_dir=tmp_path / "new" / "vault"), randomness)
        assert stat.S_IMODE((tmp_path / "new" / "vault").stat().st_mode) == 0o700

    def test_nothing_else_is_left_in_the_directory(self, key_file):
        assert [entry.name for entry in key_file[0].parent.iterdir()] == ["root.key"]

    def test_one_that_a_crashed_init_left_is_used(self, context, key_file):
        content = key_file[0].read_text()
        root, config, sentence = create_root_key("file", context(), os.urandom)
        assert config == key_file[1]
        assert root == load_root_key(config, context())
        assert "already in the key file" in sentence
        assert key_file[0].read_text() == content

    def test_a_damaged_one_is_never_overwritten(self, context, tmp_path):
        path = tmp_path / "root.key"
        path.write_text("not a key")
        path.chmod(0o600)
        with pytest.raises(VaultLocked, match="damaged"):
            create_root_key("file", context(), os.urandom)
        assert path.read_text() == "not a key"

    def test_of_many_that_create_at_once_all_get_the_same_key(self, context, tmp_path):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: create_root_key("file", context(), os.urandom)[0], range(16)))
        assert len({answer.key for answer in answers}) == 1
        assert [entry.name for entry in tmp_path.iterdir()] == ["root.key"]

    def test_it_is_made_where_there_are_no_hard_links(self, context, tmp_path, monkeypatch):
        def link(*_):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", link)
        root, config, _ = create_root_key("file", context(), os.urandom)
        again, _, _ = create_root_key("file", context(), os.urandom)
        assert load_root_key(config, context()) == root == again
        assert [entry.name for entry in tmp_path.iterdir()] == ["root.key"]

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o660, 0o644])
    def test_one_that_is_open_to_the_group_or_others_is_refused(self, context, key_file, mode):
        path, config = key_file
        path.chmod(mode)
        with pytest.raises(VaultLocked, match="open to others") as refusal:
            load_root_key(config, context())
        assert refusal.value.hint.endswith(f"chmod 600 {path}")
        with pytest.raises(VaultLocked, match="open to others"):
            create_root_key("file", context(), os.urandom)

    def test_one_of_another_user_is_refused(self, context, key_file, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(VaultLocked, match="belongs to another user"):
            load_root_key(key_file[1], context())

    def test_a_link_to_an_own_file_is_followed(self, context, key_file, tmp_path):
        path, config = key_file
        (tmp_path / "elsewhere").mkdir()
        path.rename(tmp_path / "elsewhere" / "key")
        path.symlink_to(tmp_path / "elsewhere" / "key")
        assert load_root_key(config, context()).id == config.key_id

    def test_a_link_to_a_file_of_another_user_is_refused(self, context, key_file, monkeypatch):
        path, config = key_file
        path.unlink()
        path.symlink_to("/etc/passwd")
        monkeypatch.setattr(os, "geteuid", lambda: 12_345)
        with pytest.raises(VaultLocked, match="belongs to another user"):
            load_root_key(config, context())

    def test_a_link_to_nothing_is_refused(self, context, key_file, tmp_path):
        path, config = key_file
        path.unlink()
        path.symlink_to(tmp_path / "nothing")
        with pytest.raises(VaultLocked, match="missing"):
            load_root_key(config, context())
        with pytest.raises(VaultLocked, match="missing"):
            create_root_key("file", context(), os.urandom)

    def test_a_pipe_or_directory_in_its_place_is_refused_and_not_waited_for(self, context, key_file):
        path, config = key_file
        path.unlink()
        os.mkfifo(path, 0o600)
        with pytest.raises(VaultLocked, match="not a file"):
            load_root_key(config, context())
        path.unlink()
        path.mkdir()
        with pytest.raises(VaultLocked, match="not a file"):
            load_root_key(config, context())

    def test_a_missing_one_is_refused(self, context, key_file):
        key_file[0].unlink()
        with pytest.raises(VaultLocked, match="missing") as refusal:
            load_root_key(key_file[1], context())
        assert refusal.value.hint

    def test_one_of_another_vault_is_refused(self, context, key_file):
        with pytest.raises(VaultLocked, match="another root key"):
            load_root_key(RootKeyConfig("file", "rk_" + "0" * 22), context())

    @pytest.mark.parametrize("kept", [0, 1, 20, 46, 60, 88])
    def test_one_that_was_cut_short_is_refused_without_being_quoted(self, context, key_file, kept):
        path, config = key_file
        content = path.read_text()
        path.write_text(content[:kept])
        with pytest.raises(VaultLocked, match="damaged") as refusal:
            load_root_key(config, context())
        assert content.split(" ")[2].strip() not in "".join(traceback.format_exception(refusal.value))

    @given(content=st.binary(max_size=200) | st.from_regex(rb"vaultctl-root-key-1 rk_[0-9A-Za-z]{20,24} .{40,50}\n?"))
    def test_any_content_gives_a_key_or_a_refusal(self, tmp_path_factory, content):
        directory = tmp_path_factory.mktemp("any")
        path = directory / "root.key"
        path.write_bytes(content)
        path.chmod(0o600)
        context = ProviderContext(directory, "here", environ={})
        try:
            root, _, _ = create_root_key("file", context, os.urandom)
        except VaultLocked:
            assert path.read_bytes() == content
        else:
            assert len(root.key) == 32

    def test_a_directory_that_cannot_be_written_is_an_error_not_a_traceback(self, context, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(VaultUnavailable, match="can't be made") as refusal:
            create_root_key("file", context(data_dir=tmp_path / "file" / "vault"), os.urandom)
        assert refusal.value.hint

    def test_a_full_disk_leaves_nothing(self, context, tmp_path, monkeypatch):
        def fsync(_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(VaultUnavailable, match="no space left"):
            create_root_key("file", context(), os.urandom)
        assert list(tmp_path.iterdir()) == []


class TestForgetting:
    def test_what_was_made_is_removed(self, context, tmp_path):
        made_with = context()
        _, config, _ = create_root_key("file", made_with, os.urandom)
        forget_root_key(config, made_with)
        assert list(tmp_path.iterdir()) == []

    def test_what_was_there_before_stays(self, context, key_file):
        taken_with = context()
        _, config, _ = create_root_key("file", taken_with, os.urandom)
        forget_root_key(config, taken_with)
        assert load_root_key(config, context()).id == config.key_id

    def test_a_file_that_now_holds_another_key_stays(self, context, tmp_path, randomness):
        made_with = context()
        _, config, _ = create_root_key("file", made_with, os.urandom)
        (tmp_path / "root.key").unlink()
        _, other, _ = create_root_key("file", context(), randomness)
        forget_root_key(config, made_with)
        assert load_root_key(other, context()).id == other.key_id

    def test_a_sealed_key_is_removed(self, context, tmp_path):
        made_with = context({"VAULT_PASSPHRASE": GOOD_PASSPHRASE})
        _, config, _ = create_root_key("passphrase", made_with, os.urandom)
        forget_root_key(config, made_with)
        assert list(tmp_path.iterdir()) == []


class TestPassphrase:
    def test_what_was_created_loads_again(self, context, randomness, tmp_path):
        environ = {"VAULT_PASSPHRASE": GOOD_PASSPHRASE}
        root, config, sentence = create_root_key("passphrase", context(environ), randomness)
        assert load_root_key(config, context(environ)) == root
        assert config == RootKeyConfig("passphrase", root.id)
        assert str(tmp_path / "root.key.sealed") in sentence

    def test_the_file_is_private_and_holds_neither_key_nor_passphrase(self, context, tmp_path):
        root, _, _ = create_root_key("passphrase", context({"VAULT_PASSPHRASE": GOOD_PASSPHRASE}), os.urandom)
        path = tmp_path / "root.key.sealed"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert root.encode() not in path.read_text()
        assert GOOD_PASSPHRASE not in path.read_text()

    def test_its_parameters_are_those_of_rfc_9106(self, sealed_file):
        sealed = json.loads(sealed_file[0].read_text())
        assert (sealed["kdf"], sealed["passes"], sealed["lanes"], sealed["memoryKib"]) == ("argon2id", 3, 4, 65_536)
        assert len(base64.b64decode(sealed["salt"])) == 16

    def test_a_wrong_one_is_refused_and_not_quoted(self, context, sealed_file):
        wrong = " ".join(["another", "passphrase"])
        with pytest.raises(VaultLocked, match=r"^The passphrase is wrong\.$") as refusal:
            load_root_key(sealed_file[1], context({"VAULT_PASSPHRASE": wrong}))
        assert refusal.value.hint
        assert wrong not in "".join(traceback.format_exception(refusal.value))

    def test_the_environment_comes_before_a_file_and_a_file_before_asking(self, context, sealed_file, tmp_path):
        def ask():
            pytest.fail("asked")

        right, wrong = tmp_path / "right", tmp_path / "wrong"
        for path, text in ((right, GOOD_PASSPHRASE), (wrong, "wrong passphrase")):
            path.write_text(text)
            path.chmod(0o600)
        both = {"VAULT_PASSPHRASE": GOOD_PASSPHRASE, "VAULT_PASSPHRASE_FILE": str(wrong)}
        assert load_root_key(sealed_file[1], context(both, ask))
        assert load_root_key(sealed_file[1], context({"VAULT_PASSPHRASE_FILE": str(right)}, ask))
        assert load_root_key(sealed_file[1], context(ask=lambda: Secret(GOOD_PASSPHRASE)))

    def test_without_anybody_to_ask_the_vault_is_locked(self, context, sealed_file):
        with pytest.raises(VaultLocked, match="nobody to ask") as refusal:
            load_root_key(sealed_file[1], context())
        assert "VAULT_PASSPHRASE" in refusal.value.hint

    def test_the_same_letters_from_another_keyboard_open_it(self, context, tmp_path):
        root, config, _ = create_root_key("passphrase", context({"VAULT_PASSPHRASE": "caf\u00e9 noir"}), os.urandom)
        assert load_root_key(config, context({"VAULT_PASSPHRASE": "cafe\u0301 noir"})) == root

    @pytest.mark.parametrize("text", ["1234567", "a"])
    def test_a_new_one_has_at_least_eight_characters(self, context, tmp_path, text):
        with pytest.raises(InvalidInput, match="shorter than 8"):
            create_root_key("passphrase", context(ask=lambda: Secret(text)), os.urandom)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("environ", [{"VAULT_PASSPHRASE": ""}, {"VAULT_PASSPHRASE": "\udcff\udcff passphrase"}])
    def test_an_empty_or_undecodable_one_is_refused(self, context, sealed_file, environ):
        for attempt in (
            lambda: load_root_key(sealed_file[1], context(environ)),
            lambda: create_root_key("passphrase", context(environ), os.urandom),
        ):
            with pytest.raises(VaultLocked, match="VAULT_PASSPHRASE is"):
                attempt()

    @pytest.mark.parametrize("end", ["", "\n", "\r\n"])
    def test_one_line_end_of_a_passphrase_file_does_not_count(self, context, sealed_file, tmp_path, end):
        path = tmp_path / "passphrase"
        path.write_bytes((GOOD_PASSPHRASE + end).encode())
        path.chmod(0o600)
        assert load_root_key(sealed_file[1], context({"VAULT_PASSPHRASE_FILE": str(path)}))

    def test_two_line_ends_of_a_passphrase_file_do(self, context, sealed_file, tmp_path):
        path = tmp_path / "passphrase"
        path.write_text(GOOD_PASSPHRASE + "\n\n")
        path.chmod(0o600)
        with pytest.raises(VaultLocked, match="wrong"):
            load_root_key(sealed_file[1], context({"VAULT_PASSPHRASE_FILE": str(path)}))

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
    def test_a_passphrase_file_that_is_open_to_others_is_refused(self, context, sealed_file, tmp_path, mode):
        path = tmp_path / "passphrase"
        path.write_text(GOOD_PASSPHRASE)
        path.chmod(mode)
        with pytest.raises(VaultLocked, match="open to others"):
            load_root_key(sealed_file[1], context({"VAULT_PASSPHRASE_FILE": str(path)}))

    @pytest.mark.parametrize("name", ["/nowhere/at/all", "", "nul\0"])
    def test_a_passphrase_file_that_cannot_be_read_is_refused(self, context, sealed_file, name):
        with pytest.raises(VaultLocked, match="can't be read"):
            load_root_key(sealed_file[1], context({"VAULT_PASSPHRASE_FILE": name}))

    def test_a_passphrase_can_come_through_a_pipe(self, context, sealed_file):
        reading, writing = os.pipe()
        os.write(writing, GOOD_PASSPHRASE.encode() + b"\n")
        os.close(writing)
        try:
            assert load_root_key(sealed_file[1], context({"VAULT_PASSPHRASE_FILE": f"/dev/fd/{reading}"}))
        finally:
            os.close(reading)

    def test_a_sealed_key_that_a_crashed_init_left_is_used(self, context, sealed_file):
        root, config, sentence = create_root_key(
            "passphrase", context({"VAULT_PASSPHRASE": GOOD_PASSPHRASE}), os.urandom
        )
        assert (root.id, config) == (sealed_file[1].key_id, sealed_file[1])
        assert "already" in sentence
        with pytest.raises(VaultLocked, match="wrong"):
            create_root_key("passphrase", context({"VAULT_PASSPHRASE": "another passphrase"}), os.urandom)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("memoryKib", 100 * 1024 * 1024),
            ("memoryKib", -1),
            ("memoryKib", 8),
            ("passes", 2**31),
            ("lanes", 2**24),
            ("lanes", 0),
            ("salt", ""),
            ("nonce", "AAAA"),
            ("ciphertext", ""),
            ("kdf", "none"),
            ("keyId", "../../etc"),
            ("extra", 1),
        ],
    )
    def test_parameters_out_of_bounds_are_refused_before_anything_is_derived(
        self, context, sealed_file, monkeypatch, field, value
    ):
        path, config = sealed_file
        path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
        monkeypatch.setattr(passphrase, "_derive", lambda *_: pytest.fail("derived"))
        with pytest.raises(VaultLocked, match="damaged"):
            load_root_key(config, context({"VAULT_PASSPHRASE": GOOD_PASSPHRASE}))

    @pytest.mark.parametrize(("field", "value"), [("passes", 1), ("lanes", 1), ("memoryKib", 8_192)])
    def test_weaker_parameters_do_not_open_it(self, context, sealed_file, field, value):
        path, config = sealed_file
        path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
        with pytest.raises(VaultLocked, match="wrong"):
            load_root_key(config, context({"VAULT_PASSPHRASE": GOOD_PASSPHRASE}))

    def test_the_key_of_another_id_does_not_open_it(self, context, sealed_file):
        path, _ = sealed_file
        other = "rk_" + "0" * 22
        path.write_text(json.dumps(json.loads(path.read_text()) | {"keyId": other}))
        with pytest.raises(VaultLocked, match="wrong"):
            load_root_key(RootKeyConfig("passphrase", other), context({"VAULT_PASSPHRASE": GOOD_PASSPHRASE}))
        with pytest.raises(VaultLocked, match="another root key"):
            load_root_key(sealed_file[1], context({"VAULT_PASSPHRASE": GOOD_PASSPHRASE}))

    @pytest.mark.parametrize("content", [b"", b"[" * 4_000, b"\xff", b"{}", b'{"keyId": 1}'])
    def test_any_other_content_is_refused(self, context, sealed_file, content):
        sealed_file[0].write_bytes(content)
        with pytest.raises(VaultLocked, match="damaged"):
            load_root_key(sealed_file[1], context({"VAULT_PASSPHRASE": GOOD_PASSPHRASE}))

    def test_an_open_file_is_refused(self, context, sealed_file):
        sealed_file[0].chmod(0o644)
        with pytest.raises(VaultLocked, match="open to others"):
            load_root_key(sealed_file[1], context({"VAULT_PASSPHRASE": GOOD_PASSPHRASE}))


@pytest.fixture
def keyring(monkeypatch, tmp_path):
    """Chooses the keyring of child processes, and runs code in one."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("STUB_KEYRING", str(tmp_path / "keyring.json"))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)

    def choose(name):
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", name if "." in name else f"stub_keyrings.{name}")

    def run(code):
        prologue = f"""
            import os, pathlib, sys, traceback
            from vaultctl.crypto.root_keys import *
            from vaultctl.crypto.root_keys import keyring_store, create_root_key, describe_root_key, forget_root_key
            from vaultctl.crypto.root_keys import load_root_key, ProviderContext, RootKeyConfig
            from vaultctl.crypto import os_keyring
            from vaultctl.domain.errors import VaultError
            context = ProviderContext(pathlib.Path({str(tmp_path)!r}), "here", environ={{}})
        """
        child = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(prologue) + textwrap.dedent(code)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert child.returncode == 0, child.stderr
        assert child.stderr == ""
        return child.stdout.strip()

    choose("Good")
    run.choose = choose
    run.entries = lambda: json.loads((tmp_path / "keyring.json").read_text())
    return run


class TestKeyring:
    def test_a_good_one_is_usable_and_keeps_nothing_of_the_trial(self, keyring):
        assert os_keyring.unusable_reason() is None
        assert keyring.entries() == {}

    @pytest.mark.parametrize(
        ("backend", "reason"),
        [
            ("keyring.backends.fail.Keyring", "there is none"),
            ("keyring.backends.null.Keyring", "it is disabled"),
            ("PlainText", "what there is would not protect it"),
            ("Forgetful", "it does not keep what it is given"),
            ("Locked", "it is locked"),
            ("Failing", "it failed"),
            ("no_such_module.Keyring", "it failed"),
        ],
    )
    def test_others_are_not_for_a_reason(self, keyring, backend, reason):
        keyring.choose(backend)
        assert os_keyring.unusable_reason() == reason

    def test_one_that_hangs_is_given_up(self, keyring):
        keyring.choose("Hanging")
        assert os_keyring.unusable_reason(limit=0.5) == "no answer within 0.5 seconds"

    def test_modules_in_the_working_directory_are_not_run(self, keyring, tmp_path, monkeypatch):
        (tmp_path / "keyring.py").write_text("import pathlib; pathlib.Path('ran').touch()")
        monkeypatch.chdir(tmp_path)
        assert os_keyring.unusable_reason() is None
        assert not (tmp_path / "ran").exists()

    def test_what_was_created_loads_again(self, keyring):
        said = keyring(
            """
            root, config, sentence = create_root_key("keyring", context, os.urandom)
            assert load_root_key(config, context) == root
            assert config.key_id == root.id and describe_root_key(config, context) == []
            print(root.id, root.encode(), sentence, sep="|")
            """
        )
        key_id, key, sentence = said.split("|")
        assert keyring.entries() == {f"vaultctl/{key_id}": key}
        assert sentence == f"The root key is in the OS keyring (service vaultctl, user {key_id})."

    def test_what_was_made_is_forgotten_and_nothing_else(self, keyring):
        keyring(
            """
            root, config, _ = create_root_key("keyring", context, os.urandom)
            root, other, _ = create_root_key("keyring", ProviderContext(context.data_dir, "", environ={}), os.urandom)
            forget_root_key(config, context)
            forget_root_key(other, context)
            """
        )
        assert len(keyring.entries()) == 1

    def test_auto_chooses_it_if_it_is_usable(self, keyring, tmp_path):
        assert keyring('print(create_root_key("auto", context, os.urandom)[1].provider)') == "keyring"
        assert not (tmp_path / "root.key").exists()

    def test_auto_keeps_to_a_key_file_that_is_there(self, keyring, tmp_path, context):
        _, config, _ = create_root_key("file", context(), os.urandom)
        assert create_root_key("auto", context(), os.urandom)[1] == config

    def test_auto_falls_to_the_key_file_and_says_why(self, keyring, context, tmp_path):
        keyring.choose("keyring.backends.fail.Keyring")
        root, config, sentence = create_root_key("auto", context(), os.urandom)
        assert config == RootKeyConfig("file", root.id)
        assert sentence == (
            "No usable OS keyring answered (there is none), so the root key is in the key file "
            f"{tmp_path / 'root.key'} (mode 0600)."
        )

    def test_one_that_refuses_the_key_after_all_makes_auto_fall_to_the_key_file(self, keyring):
        keyring.choose("FailingForKeys")
        said = keyring('print(create_root_key("auto", context, os.urandom)[2])')
        assert said.startswith("No usable OS keyring answered (it failed), so the root key is in the key file")

    def test_asked_for_by_name_it_never_gives_way_to_a_file(self, keyring, context, tmp_path):
        keyring.choose("keyring.backends.null.Keyring")
        with pytest.raises(VaultLocked, match="it is disabled") as refusal:
            create_root_key("keyring", context(), os.urandom)
        assert "--root-key file" in refusal.value.hint
        assert not (tmp_path / "root.key").exists()

    @pytest.mark.parametrize(
        ("backend", "message"),
        [
            ("Good", "has no root key of the vault in here"),
            ("keyring.backends.null.Keyring", "has no root key of the vault in here"),
            ("keyring.backends.fail.Keyring", "does not answer: there is none"),
            ("Locked", "does not answer: it is locked"),
            ("Failing", "does not answer: it failed"),
            ("Hanging", "does not answer: no answer within 0.2 seconds"),
        ],
    )
    def test_a_key_that_cannot_be_had_locks_the_vault(self, keyring, backend, message):
        keyring.choose(backend)
        said = keyring(
            """
            try:
                keyring_store.load("rk_" + "0" * 22, context, limit=0.2 if "Hanging" in os.environ[
                    "PYTHON_KEYRING_BACKEND"] else 30)
            except VaultError as error:
                print(error.code, error.message, error.hint, sep="|")
            """
        )
        code, said_message, hint = said.split("|")
        assert code == "vault_locked"
        assert message in said_message
        assert hint

    def test_a_malformed_entry_is_refused_and_not_quoted(self, keyring, tmp_path):
        key_id = "rk_" + "0" * 22
        (tmp_path / "keyring.json").write_text(json.dumps({f"vaultctl/{key_id}": "s3cr3t-but-no-key"}))
        said = keyring(
            f"""
            config = RootKeyConfig("keyring", {key_id!r})
            try:
                load_root_key(config, context)
            except VaultError as error:
                print("".join(traceback.format_exception(error)), error.hint, *describe_root_key(config, context))
            """
        )
        assert "is not a root key" in said
        assert "s3cr3t" not in said

    def test_a_refusal_that_quotes_the_key_does_not_get_out(self, keyring):
        keyring.choose("FailingForKeys")
        said = keyring(
            """
            keys = []
            def random(count):
                keys.append(os.urandom(count))
                return keys[-1]
            try:
                create_root_key("keyring", context, random)
            except VaultError as error:
                import base64
                text = "".join(traceback.format_exception(error))
                print(error.message, any(base64.b64encode(key).decode() in text for key in keys))
            """
        )
        assert said == "No usable OS keyring answered: it failed. False"

    def test_the_session_bus_is_found_in_a_bare_environment_and_only_lent(self, keyring, tmp_path):
        said = keyring(
            """
            os_keyring.session_bus = lambda: "unix:path=/run/user/1/bus"
            _, config, _ = create_root_key("keyring", context, os.urandom)
            load_root_key(config, context)
            print(os.environ.get("DBUS_SESSION_BUS_ADDRESS"))
            """
        )
        assert said == "None"
        assert (tmp_path / "keyring.bus").read_text() == "unix:path=/run/user/1/bus"

    def test_the_session_bus_is_a_socket_of_ours(self, tmp_path_factory, monkeypatch):
        monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
        run = tmp_path_factory.mktemp("run")
        path = run / str(os.geteuid()) / "bus"
        path.parent.mkdir()
        assert os_keyring.session_bus(run) is None
        path.write_text("not a socket")
        assert os_keyring.session_bus(run) is None
        path.unlink()
        with socket.socket(socket.AF_UNIX) as bus:
            bus.bind(str(path))
            assert os_keyring.session_bus(run) == f"unix:path={path}"
            monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/elsewhere")
            assert os_keyring.session_bus(run) is None


class TestDescribing:
    def test_a_healthy_key_has_no_problems(self, context, key_file):
        assert describe_root_key(key_file[1], context()) == []

    def test_a_healthy_sealed_key_has_none_and_nobody_is_asked(self, context, sealed_file):
        assert describe_root_key(sealed_file[1], context(ask=lambda: pytest.fail("asked"))) == []

    @pytest.mark.parametrize("kind", ["key_file", "sealed_file"])
    def test_modes_other_keys_and_missing_files_are_problems(self, context, kind, request):
        path, config = request.getfixturevalue(kind)
        path.chmod(0o644)
        assert "chmod 600" in describe_root_key(config, context())[0]
        path.chmod(0o600)
        other = RootKeyConfig(config.provider, "rk_" + "0" * 22)
        assert "another root key" in describe_root_key(other, context())[0]
        path.unlink()
        assert "missing" in describe_root_key(config, context())[0]

    def test_what_a_crash_left_is_a_problem(self, context, key_file, tmp_path):
        (tmp_path / ".root.key.new-abc").write_text("")
        [problem] = describe_root_key(key_file[1], context())
        assert str(tmp_path / ".root.key.new-abc") in problem

    def test_a_missing_directory_is_a_problem(self, context, tmp_path):
        config = RootKeyConfig("file", "rk_" + "0" * 22)
        [problem] = describe_root_key(config, context(data_dir=tmp_path / "nowhere"))
        assert "missing" in problem


def test_every_refusal_says_what_to_do_next(context, key_file, sealed_file):
    for path, config in (key_file, sealed_file):
        path.unlink()
        with pytest.raises(VaultError) as refusal:
            load_root_key(config, context({"VAULT_PASSPHRASE": GOOD_PASSPHRASE}))
        assert refusal.value.hint


def test_nothing_heavy_is_imported_for_a_key_file(key_file):
    path, config = key_file
    code = f"""
import sys, pathlib
from vaultctl.crypto.root_keys import ProviderContext, RootKeyConfig, load_root_key
load_root_key(RootKeyConfig("file", {config.key_id!r}), ProviderContext(pathlib.Path({str(path.parent)!r}), ""))
print(sorted(sys.modules.keys() & {{"keyring", "subprocess", "cryptography.x509", "tempfile", "dataclasses",
    "cryptography.hazmat.primitives.kdf.argon2", "cryptography.hazmat.primitives.serialization"}}))
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"
