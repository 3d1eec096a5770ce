"""The join: rows + translations + what the last windows left over → connections. Pure; no I/O, no clock."""
