"""The operations. Each is a function of a transaction, a caller and a request; who commits is not its business.

The only room where rules, crypto, ledger and store meet.
"""
