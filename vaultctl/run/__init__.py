"""``vaultctl run``: a command that has credentials in its environment for as long as it runs.

The leases (:mod:`vaultctl.run.loans`), the process (:mod:`vaultctl.run.child`), what it may not inherit
(:mod:`vaultctl.run.environment`) and what is taken out of its output (:mod:`vaultctl.run.redaction`) know nothing of
each other; :mod:`vaultctl.run.running` puts them together.
"""
