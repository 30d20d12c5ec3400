"""The ledger's steps, in order of their numbers."""
