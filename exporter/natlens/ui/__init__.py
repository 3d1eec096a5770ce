"""What a person sees: the command line, rows of records, documentation."""
