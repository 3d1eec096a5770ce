"""``python -m tests.bench``: every figure, one JSON object a line."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import tempfile
from pathlib import Path

from tests.bench import (
    agent,
    bcc,
    cluster,
    encode,
    flows,
    identity,
    learn,
    metric_points,
    metrics,
    pipeline,
    programs,
    spans,
    start,
    storm,
)


def main() -> None:
    """Measure everything."""
    with tempfile.TemporaryDirectory() as directory, programs.noop_object(Path(directory)) as noop:
        programs.known_rows(noop)
        programs.left_out()
        programs.new_rows(noop)
        learn.learned(noop)
    start.helped()
    bcc.compiled()
    storm.attached()
    storm.kept()
    flows.joined()
    identity.resolved()
    encode.encoded()
    encode.wire()
    spans.spanned()
    metrics.aggregated()
    metric_points.pointed()
    pipeline.piped()
    pipeline.exported()
    agent.idle()
    agent.crowded()
    metrics.crowded()
    agent.throughput()
    cluster.main()


if __name__ == "__main__":
    main()
