"""The environment of a command: the credentials that it was promised, and none of ours."""

import re
from collections.abc import Iterable, Mapping

from vaultctl.crypto.tokens import token_hash
from vaultctl.domain.errors import InvalidInput, NotAuthenticated
from vaultctl.domain.names import check_name
from vaultctl.domain.secrets import Secret

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)

_OURS = frozenset({"VAULT_TOKEN", "VAULT_PASSPHRASE", "VAULT_PASSPHRASE_FILE", "VAULT_DATABASE_URL"})
"""What opens the vault, or may: the URL of a database can hold its password."""

_RESERVED = re.compile(r"_?VAULT(CTL)?_.*|CORTEX_.*", re.ASCII)

_OBEYED = re.compile(
    r"PATH|HOME|SHELL|USER|LOGNAME|PWD|IFS|ENV|CDPATH|TMPDIR|ZDOTDIR|TERMINFO|LOCPATH|GCONV_PATH"
    r"|LD_.*|DYLD_.*|BASH_ENV|BASHOPTS|SHELLOPTS|BASH_FUNC_.*|PROMPT_COMMAND|PS[0-4]"
    r"|EDITOR|VISUAL|PAGER|SUDO_ASKPASS|SSH_ASKPASS|GIT_(ASKPASS|EDITOR|EXEC_PATH|EXTERNAL_DIFF|PAGER|SSH.*|CONFIG.*)"
    r"|GIT_PROXY_COMMAND|PYTHON(HOME|PATH|STARTUP)|PERL5(DB|LIB|OPT)|RUBY(LIB|OPT)|NODE_(OPTIONS|PATH)"
    r"|_?JAVA_(TOOL_)?OPTIONS|JDK_JAVA_OPTIONS|MAVEN_OPTS",
    re.ASCII,
)
"""What loaders, shells and interpreters load or run: whoever stores a credential would run code as whoever uses it."""


def parse_wanted(texts: Iterable[str]) -> dict[str, str]:
    """Which variable gets which credential, from ``ENV=NAME`` texts.

    Raises:
        InvalidInput: One is malformed, is about a variable that a credential may not set, or comes twice.
    """
    wanted: dict[str, str] = {}
    for text in texts:
        variable, equals, name = text.partition("=")
        if not equals or not _NAME.fullmatch(variable):
            raise InvalidInput(
                "A --credential is ENV=NAME: a variable and the credential that it gets.",
                hint="For example --credential SHOPIFY_KEY=shopify-api-key. Secret values are never arguments.",
            )
        if variable in wanted:
            raise InvalidInput(f"The variable {variable} is given twice.", hint="Give each credential its own.")
        if _OBEYED.fullmatch(variable) or _RESERVED.fullmatch(variable):
            raise InvalidInput(
                f"The variable {variable} steers programs, so that no credential may set it.",
                hint="Name another, and pass it on in the command: sh -c 'NAME=\"$OTHER\" exec …'",
            )
        wanted[variable] = check_name(name, "credential")
    return wanted


def environment_for_child(ours: Mapping[str, str], values: Mapping[str, Secret]) -> dict[bytes, bytes]:
    """The environment ``ours`` without what opens the vault, and with ``values``.

    Whatever else holds one of our tokens goes too: scripts have them in variables of their own.
    """
    child = {
        variable.encode("utf-8", "surrogateescape"): value.encode("utf-8", "surrogateescape")
        for variable, value in ours.items()
        if variable not in _OURS and not _is_token(value)
    }
    for variable, secret in values.items():
        child[variable.encode()] = secret.reveal().encode()
    return child


def _is_token(text: str) -> bool:
    try:
        token_hash(Secret(text))
    except NotAuthenticated:
        return False
    return True
