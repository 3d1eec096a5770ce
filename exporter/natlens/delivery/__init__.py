"""Delivery: where encoded records, points and spans go, and the account of each one.

Every record given to an outlet is counted in ``records_captured`` and then in exactly one of
``records_exported``, ``records_rejected{code}`` and ``records_dropped{reason}``, or is in the gauge
``records_pending``; so is every point of metrics (``points_captured``, …) and every span (``spans_captured``, …).
"""
