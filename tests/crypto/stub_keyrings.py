"""Keyring backends for child processes of the tests, chosen with ``PYTHON_KEYRING_BACKEND=stub_keyrings.NAME``.

Not to be imported by the tests themselves: keyring registers every backend class that it ever sees.
"""

import json
import os
import threading
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError


class Good(KeyringBackend):
    """Keeps its entries in a file, and notes the bus that it would have used."""

    priority = 5

    def __init__(self):
        super().__init__()
        self.path = Path(os.environ["STUB_KEYRING"])

    def _entries(self):
        self.path.with_suffix(".bus").write_text(os.environ.get("DBUS_SESSION_BUS_ADDRESS", ""))
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def get_password(self, service, username):
        return self._entries().get(f"{service}/{username}")

    def set_password(self, service, username, password):
        self.path.write_text(json.dumps(self._entries() | {f"{service}/{username}": password}))

    def delete_password(self, service, username):
        entries = self._entries()
        if entries.pop(f"{service}/{username}", None) is None:
            raise PasswordDeleteError
        self.path.write_text(json.dumps(entries))


class PlainText(Good):
    priority = 0.5


class Forgetful(Good):
    def get_password(self, service, username):
        return None


class Locked(Good):
    def get_password(self, service, username):
        raise KeyringLocked("locked")

    def set_password(self, service, username, password):
        raise KeyringLocked(f"can't store {password}")


class Failing(Good):
    def get_password(self, service, username):
        raise RuntimeError(f"can't read {username}")

    def set_password(self, service, username, password):
        raise RuntimeError(f"can't store {password}")


class FailingForKeys(Good):
    """Passes the probe, then refuses a root key, quoting it."""

    def set_password(self, service, username, password):
        if not username.startswith("probe-"):
            raise RuntimeError(f"can't store {password}")
        super().set_password(service, username, password)


class Hanging(Good):
    def get_password(self, service, username):
        threading.Event().wait()

    def set_password(self, service, username, password):
        threading.Event().wait()
