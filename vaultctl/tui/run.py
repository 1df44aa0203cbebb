"""Starting the dashboard on a terminal, and what remains of it at the end."""

import gc
import os

from vaultctl.client import Vault
from vaultctl.domain.errors import InternalError
from vaultctl.domain.text import safe
from vaultctl.tui.app import Dashboard
from vaultctl.tui.feed import take_snapshot
from vaultctl.tui.trail import Exporter


def run_dashboard(vault: Vault, *, acts: bool, export: Exporter) -> int:
    """Show the dashboard until it is closed; answers the exit status.

    Raises:
        VaultError: The caller may not see what it shows, or the vault can't be reached. Nothing was shown then.
    """
    me = vault.whoami()
    first = take_snapshot(vault)
    if not os.environ.get("NO_COLOR", "x"):
        del os.environ["NO_COLOR"]  # by its definition an empty one asks for nothing; Textual sees that it is there
    gc.enable()
    gc.freeze()  # what is loaded stays; a full collection then looks only at what has come since
    app = Dashboard(vault, first, place=safe(f"{me.tenant} as {me.identity.label}"), acts=acts, export=export)
    app.run()
    if app.failure is not None:
        raise InternalError(
            f"The dashboard ended with a defect of vaultctl: {type(app.failure).__name__}.",
            hint="Please report it. The vault is as it was.",
        ) from None
    return app.return_code or 0
