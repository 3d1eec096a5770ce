"""What natlens tells of itself: metrics by OTLP and for Prometheus, whether it lives, rules that say when to look."""
