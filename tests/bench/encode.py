"""What encoding costs on one core: columns to OTLP bytes, beside the SDK's way; and the bytes of a record when sent."""

from collections.abc import Callable
from functools import partial

from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import Resource

from natlens.delivery.compression import Compression, codec
from natlens.otlp.arrange import arrange
from natlens.otlp.batch import Batch
from natlens.otlp.body import lines
from natlens.otlp.encoder import Encoder
from tests.bench.figure import median_s, say, tell
from tests.bench.shapes import CONNECTIONS, RESOURCE, Cluster, batch, connections
from tests.bench.windows import half_and_half

__all__ = ["encoded", "wire"]

SDK_RECORDS = 2000


def encoded() -> None:
    """Both shapes, and the full one by the SDK."""
    tell("encoding")
    cluster, rates = Cluster(), {}
    for shape in ("plain", "full"):
        many = batch(cluster, connections(cluster, CONNECTIONS, full=shape == "full"))
        encoder = Encoder(RESOURCE)
        rates[shape] = CONNECTIONS / median_s(partial(_encode, encoder, many))
        say(f"encode_{shape}_records_per_s", rates[shape], "1/s")
    few = batch(cluster, connections(cluster, SDK_RECORDS, full=True))
    sdk = SDK_RECORDS / median_s(_by_sdk(few), rounds=3)
    say("encode_sdk_records_per_s", sdk, "1/s")
    say("encode_full_over_sdk", rates["full"] / sdk, "x")


def _encode(encoder: Encoder, many: Batch) -> None:
    for _ in encoder.requests(many):
        pass


class _Encoding(LogRecordExporter):
    """Encodes what the SDK's processor hands it, and forgets it."""

    def export(self, batch: list[ReadableLogRecord]) -> LogRecordExportResult:  # type: ignore[override]
        encode_logs(batch).SerializeToString()
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 10_000) -> bool:  # noqa: ARG002  # the interface's
        return True


def _by_sdk(of: Batch) -> Callable[[], None]:
    """Return what emits every record: Logger.emit, batch processor, encoder."""
    shown = lines(of)
    rows = list(map(dict, arrange(of).rows(len(of))))
    observer = Resource({one.key: one.value.string_value for one in RESOURCE.attributes})

    def emit() -> None:
        provider = LoggerProvider(observer)
        provider.add_log_record_processor(BatchLogRecordProcessor(_Encoding(), max_queue_size=2 * SDK_RECORDS))
        logger = provider.get_logger("natlens")
        for line, attributes in zip(shown, rows, strict=True):
            logger.emit(
                timestamp=of.interval_end_ns,
                observed_timestamp=of.observed_ns,
                severity_text="INFO",
                body=line,
                attributes=attributes,
                event_name="flow.connection",
            )
        provider.shutdown()

    return emit


def wire() -> None:
    """Bytes of a record as it is sent: requests of 1,000, half plain, half full."""
    cluster = Cluster()
    requests = list(Encoder(RESOURCE).requests(batch(cluster, half_and_half(cluster))))
    names: tuple[Compression, ...] = "gzip", "zstd"
    for name in names:
        compress = codec(name).compress
        sent = sum(len(compress(request.data)) for request in requests)
        say(f"wire_bytes_per_record_{name}", sent / CONNECTIONS, "B")
    say("raw_bytes_per_record", sum(len(request.data) for request in requests) / CONNECTIONS, "B")
