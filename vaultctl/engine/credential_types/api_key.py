"""API keys: one word, perhaps with a public prefix that says whose key it is (``shpat_``, ``sk_live_``)."""

import re

from vaultctl.engine.credential_types.shape import check_visible_ascii

# Published by those who issue them, so that secret scanners find a key.
_WELL_KNOWN = re.compile(
    r"(shp(?:at|ss|ca|pa)_|[spr]k_(?:live|test)_|gh[opusr]_|github_pat_|glpat-|xox[abeprs]-|xapp-|sk-ant-|sk-proj-|sk-"
    r"|AKIA|ASIA).{16,}",
    re.ASCII,
)
# The same custom elsewhere. With a dash, or with more of them in what follows, it could as well be the start of a
# random base64url text or of a passphrase.
_CUSTOMARY = re.compile(r"((?:[a-z]{2,10}_){1,2})[A-Za-z0-9]{16,}", re.ASCII)


def read(value: str) -> dict[str, str]:
    """The public prefix, if there is one.

    Raises:
        InvalidInput: It is not 4 to 4,096 visible ASCII characters.
    """
    check_visible_ascii(value, "API key", 4, 4_096)
    match = _WELL_KNOWN.fullmatch(value) or _CUSTOMARY.fullmatch(value)
    return {"prefix": match[1]} if match else {}
