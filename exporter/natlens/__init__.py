"""natlens: who called my Service, and which pod answered?

Data goes one way: ``kernel -> flows -> identity -> otlp -> delivery``; ``pipeline`` joins
the layers and ``ui`` is what a person sees.
"""

__version__ = "0.1.0"
