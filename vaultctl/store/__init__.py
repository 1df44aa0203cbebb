"""Transactions over a database. The schema and all SQL live in this room and nowhere else."""
