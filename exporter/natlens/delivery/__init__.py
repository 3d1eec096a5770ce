"""Delivery: where encoded records go, and the account of each one.

Every record given to an outlet is counted in ``records_captured`` and then in exactly one of
``records_exported``, ``records_rejected{code}`` and ``records_dropped{reason}``, or is in the gauge
``records_pending``.
"""
