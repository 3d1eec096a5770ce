"""Connection spans: which segments of which connections end now, and their wire form."""
