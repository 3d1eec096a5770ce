"""Real stores of metrics, built from source, and what natlens' points become in them."""
