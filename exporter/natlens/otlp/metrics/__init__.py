"""Flow metrics: one table of metrics, sums over connections by what the user tells apart, and their wire form."""
